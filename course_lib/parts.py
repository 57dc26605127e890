"""What Vision Transformers published since ViT have in their blocks and heads: other gates, norms, scales and pooling.

Chapter 15 compares them. Legend: B batch, N tokens, D embedding dimension, H heads, d = D/H.
"""

from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from course_lib.attention import attention_weights, merge_heads, split_heads


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), an approximation of GELU that differs from it by up to 0.02.

    Shapes: any, unchanged.

    Source: Hendrycks & Gimpel 2016, section 2; Radford et al. 2021 (CLIP), released code. Chapter 15.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class SquaredReLU(nn.Module):
    """max(x, 0)²: as cheap as a ReLU, and without its kink.

    Shapes: any, unchanged.

    Source: So et al. 2021 (Primer), section 4. Chapter 08.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


ACTIVATIONS = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "relu2": SquaredReLU,
}

NORMS = {"layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm}


class SwiGLU(nn.Module):
    """An MLP whose hidden layer is gated: fc2(silu(gate) · value), where fc1(x) = gate | value.

    Parameters carry timm's names: `fc1` (D -> 2 hidden, gate first) and `fc2` (hidden -> D).

    Args:
        dim: embedding dimension D.
        hidden_dim: width between the two layers; 8/3 D makes it as large as ViT's MLP of 4 D.
        drop: dropout rate after each layer, between 0 and 1.

    Shapes: (..., D) -> (..., D).

    Source: Shazeer 2020, equations 5 and 6; Oquab et al. 2023 (DINOv2) for its ViT-g. Chapter 15.
    """

    def __init__(self, dim: int, hidden_dim: int, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 2 * hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.fc1(x).chunk(2, dim=-1)  # (..., hidden) each
        return self.drop(self.fc2(self.drop(F.silu(gate) * value)))


class PatchDropout(nn.Module):
    """In training, leave out a random part of each image's patches: fewer tokens, and less to compute.

    Unlike dropout it puts no zeros anywhere, and nothing is scaled up. The order of what stays is random; with its
    position in it, a token does not mind.

    Args:
        prefix: how many tokens in front of the patches always stay.

    Shapes: (B, prefix + patches, D) -> (B, prefix + kept, D); `rate`, the share left out, is set from outside.

    Source: Liu et al. 2022, "PatchDropout", section 3; Li et al. 2023 (FLIP), section 3. Chapter 08.
    """

    def __init__(self, prefix: int = 0) -> None:
        super().__init__()
        self.prefix = prefix
        self.rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        batch, tokens, dim = x.shape
        patches = tokens - self.prefix
        kept = max(1, round(patches * (1 - self.rate)))
        rows = torch.rand(batch, patches, device=x.device).argsort(dim=1)[:, :kept] + self.prefix  # (B, kept)
        stays = x.gather(1, rows[:, :, None].expand(-1, -1, dim))  # (B, kept, D)
        return torch.cat([x[:, : self.prefix], stays], dim=1) if self.prefix else stays


class LayerScale(nn.Module):
    """A learned factor for each dimension of what a block adds, small at the start, so that a deep model begins simple.

    The parameter carries timm's name: `gamma`, (D,).

    Args:
        dim: embedding dimension D.
        init_values: every factor at the start.

    Shapes: (..., D) -> (..., D).

    Source: Touvron et al. 2021 (CaiT), section 2. Chapter 15.
    """

    def __init__(self, dim: int, init_values: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(init_values)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class AttentionPool(nn.Module):
    """One learned query looks at all tokens; what it finds goes through an MLP: x = attention, then x + mlp(norm(x)).

    Parameters carry timm's names: `latent` (1, 1, D), `q` (D -> D), `kv` (D -> 2D, k | v), `proj`, `norm`, `mlp`.

    Args:
        dim: embedding dimension D.
        num_heads: H, a divisor of D.
        norm: what stands before the MLP.
        mlp: (B, 1, D) -> (B, 1, D).

    Shapes: (B, N, D) -> (B, D).

    Source: Zhai et al. 2022, section 3.2, there "multihead attention pooling" (MAP). Chapter 15.
    """

    def __init__(self, dim: int, num_heads: int, norm: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.latent = nn.Parameter(dim**-0.5 * torch.randn(1, 1, dim))
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm = norm
        self.mlp = mlp

    def weights(self, tokens: Tensor) -> Tensor:
        """How much the query looks at each token: (B, N, D) -> (B, H, 1, N); each row sums to 1.

        `record_attention` does not give this map, as its query is no token. Chapter 12.
        """
        query, key, _ = self._query_key_value(tokens)
        return attention_weights(query, key)

    def _query_key_value(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query = split_heads(self.q(self.latent.expand(tokens.shape[0], -1, -1)), self.num_heads)  # (B, H, 1, d)
        key, value = rearrange(self.kv(tokens), "B N (two H d) -> two B H N d", two=2, H=self.num_heads)
        return query, key, value

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self._query_key_value(tokens)
        x = self.proj(merge_heads(F.scaled_dot_product_attention(query, key, value)))  # (B, H, 1, d) -> (B, 1, D)
        return (x + self.mlp(self.norm(x)))[:, 0]  # (B, 1, D) -> (B, D)
