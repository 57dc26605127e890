"""Attention: a weighted average whose weights come from comparing queries with keys.

Chapter 01 derives the first two functions, chapter 02 the rest.
Legend: B batch, N tokens (Nq queries, Nk keys), D embedding dimension, H heads, d = D/H.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from course_lib.validate import is_count


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """How much each query attends to each key: softmax(Q Kᵀ / √d), row by row.

    Args:
        query: (..., Nq, d).
        key: (..., Nk, d). Leading dimensions broadcast against those of `query`.
        mask: boolean, broadcastable to (..., Nq, Nk); True = may attend. None = all may.
        bias: numbers added to the scores before the softmax, broadcastable to (..., Nq, Nk), such as
            those of `course_lib.pos_embed.RelativePositionBias`. None = none.

    Returns:
        (..., Nq, Nk). Each row sums to 1. A row that may attend to nothing is all zeros, never NaN.

    Raises:
        ValueError: the last dimensions differ, or `mask` is not boolean or does not fit.

    Source: Vaswani et al. 2017, equation 1. Chapter 01.
    """
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"query {tuple(query.shape)} and key {tuple(key.shape)} must agree in their last dimension: "
            "each score is a dot product. Project one of them to the width of the other."
        )
    # The query is scaled, not the scores: in float16 the unscaled scores can overflow.
    scores = (query / query.shape[-1] ** 0.5) @ key.transpose(-2, -1)  # (..., Nq, Nk)
    if bias is not None:
        scores = scores + bias
    if mask is None:
        return scores.softmax(dim=-1)

    _check_mask(mask, scores.shape)
    # The lowest finite number, not -inf: a row with nothing allowed then comes out uniform instead of
    # 0/0 = NaN, and the second fill turns it into zeros.
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1).masked_fill(~mask, 0.0)


def _check_mask(mask: Tensor, scores_shape: torch.Size) -> None:
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be a boolean tensor (True = may attend), got {getattr(mask, 'dtype', type(mask).__name__)}: "
            "use mask.bool() if 1 means 'may attend' in yours, mask == 0 if it is added to the scores."
        )
    try:
        mask.expand(scores_shape)
    except RuntimeError as error:
        raise ValueError(
            f"mask {tuple(mask.shape)} does not broadcast to the scores {tuple(scores_shape)}: "
            "its last two dimensions are (queries, keys), or 1."
        ) from error


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Average the values with the attention weights: softmax(Q Kᵀ / √d) V.

    Args:
        query: (..., Nq, d).
        key: (..., Nk, d).
        value: (..., Nk, dv). One value per key; dv may differ from d.
        mask, bias: as for `attention_weights`.

    Returns:
        (output, weights): (..., Nq, dv) and (..., Nq, Nk). Where a row may attend to nothing, both
        are zeros, never NaN.

    Raises:
        ValueError: as `attention_weights`, or the number of values is not the number of keys.

    Source: Vaswani et al. 2017, equation 1. Chapter 01.
    """
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"key {tuple(key.shape)} and value {tuple(value.shape)} must agree in their second-last "
            "dimension: each key needs one value."
        )
    weights = attention_weights(query, key, mask, bias)
    return weights @ value, weights


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Cut the last dimension into heads: (B, N, D) -> (B, H, N, d), d = D/H. Head h gets columns h·d to (h+1)·d.

    Raises:
        ValueError: D is not a multiple of `num_heads`.

    Source: Vaswani et al. 2017, section 3.2.2. Chapter 02.
    """
    _check_head_count(x.shape[-1], num_heads)
    return rearrange(x, "B N (H d) -> B H N d", H=num_heads)


def merge_heads(x: Tensor) -> Tensor:
    """Lay the heads side by side again, the inverse of `split_heads`: (B, H, N, d) -> (B, N, H·d). Chapter 02."""
    return rearrange(x, "B H N d -> B N (H d)")


def _check_head_count(dim: int, num_heads: int) -> None:
    if not is_count(num_heads) or dim % num_heads:
        raise ValueError(
            f"dim {dim} cannot be cut into num_heads {num_heads} heads of equal width: choose an integer that divides {dim}."
        )


class MultiHeadSelfAttention(nn.Module):
    """H attentions side by side, each in its own d = D/H dimensions, mixed by one last projection.

    Parameters carry timm's names: `qkv` (D -> 3D, laid out q | k | v, each cut into heads) and
    `proj` (D -> D). Attention runs in PyTorch's fused kernel, which never forms the weights (but for bfloat16 on a
    CPU, where that kernel is the slower way). While `course_lib.interpret.record_attention` watches, the same
    projections go through the explicit softmax, and the weights (B, H, N, N) are handed to the recorder.

    Args:
        dim: embedding dimension D.
        num_heads: H, a divisor of D.
        qkv_bias: whether q, k and v get a bias (in ViT they do).
        attn_drop: dropout rate on the attention weights, between 0 and 1.
        proj_drop: dropout rate on the output, between 0 and 1.
        rel_pos: a module that gives a bias (H, N, N) on the scores, as in chapter 05, or None.
        rope: a module that turns queries and keys (B, H, N, d) by their place, as in chapter 15, or None.
        qk_norm: makes a norm of width d, one for the queries and one for the keys (Dehghani et al. 2023); None for none.

    Shapes: (B, N, D) -> (B, N, D).

    Raises:
        ValueError: `num_heads` does not divide `dim`, or the input is not (B, N, dim).

    Source: Vaswani et al. 2017, section 3.2.2; Dosovitskiy et al. 2021, equations 5 to 8. Chapter 02.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        *,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        rel_pos: nn.Module | None = None,
        rope: nn.Module | None = None,
        qk_norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        _check_head_count(dim, num_heads)
        self.dim = dim
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)
        self.rel_pos = rel_pos
        self.rope = rope
        self.q_norm, self.k_norm = (qk_norm(dim // num_heads) if qk_norm else nn.Identity() for _ in "qk")
        # Set by record_attention: a function that is given the weights.
        self.recorder: Callable[[Tensor], object] | None = None

    def forward(self, x: Tensor) -> Tensor:
        check_tokens(x, self.dim)
        q, k, v = rearrange(self.qkv(x), "B N (three H d) -> three B H N d", three=3, H=self.num_heads)  # (B, H, N, d)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.rope is not None:
            q, k = self.rope(q), self.rope(k)
        return self.proj_drop(self.proj(merge_heads(self._attend(q, k, v))))  # (B, H, N, d) -> (B, N, D)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        bias = self.rel_pos() if self.rel_pos is not None else None  # (H, N, N)
        recorder = self.recorder  # read once: another thread may end its recording at any moment
        if recorder is None and not _fused_is_slower(q):
            dropout = self.attn_drop.p if self.training else 0.0
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
        weights = attention_weights(q, k, bias=bias)  # (B, H, N, N)
        if recorder is not None:
            recorder(weights)
        return self.attn_drop(weights) @ v


def check_tokens(x: Tensor, dim: int) -> None:
    """Raise a `ValueError` unless `x` is (B, N, dim)."""
    if x.ndim != 3 or x.shape[-1] != dim:
        raise ValueError(f"input {tuple(x.shape)} must be (B, N, {dim}): batch, tokens, embedding dimension.")


def _fused_is_slower(x: Tensor) -> bool:
    """For bfloat16 on a CPU PyTorch's fused kernel takes 2 to 3 times as long (benchmarks/vit_speed.py)."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"
