"""Listen to the attention layers of a model: the course's own, timm's and torchvision's. Chapter 12.

A fused kernel never forms the attention weights, so a hook on the layer waits for them in vain. Here each layer is made
to take its explicit path for as long as somebody listens; `course_lib.interpret.record_attention` is the way in.
Legend: B batch, N tokens, D embedding dimension, H heads, d = D/H.
"""

import sys
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from course_lib.attention import MultiHeadSelfAttention, attention_weights, merge_heads

# timm's layers in which each token attends to all others by one softmax. (Its differential attention subtracts two, its
# windowed ones see a part of the image, and its pooling ones have a query that is no token.)
TIMM_LAYERS = {
    "timm.layers.attention.Attention",
    "timm.layers.attention.AttentionRope",
    "timm.models.beit.Attention",
    "timm.models.eva.EvaAttention",
    "timm.models.vision_transformer.Attention",  # where older versions of timm have the first
    "timm.models.vision_transformer.ParallelScalingBlock",
    "timm.models.vision_transformer_relpos.RelPosAttention",
}


class _Recording:
    """The layers that were heard while one recording was open."""

    def __init__(self):
        self.heard = set()


_open_recordings = []  # the innermost one is given the weights, and all count the layer as heard


@contextmanager
def recording(model, take):
    """While this lasts, call `take(weights)` each time an attention layer of `model` has weights (B, H, N, N).

    The weights are the very tensor that the layer goes on with, before dropout. Afterwards the model is as it was, also
    after an error. Of nested recordings the innermost is given the weights of its layers.

    Raises:
        ValueError: as `course_lib.interpret.record_attention`.

    Source: chapter 12.
    """
    layers, mine, taken = attention_layers(model), _Recording(), 0

    def hand_over(layer, weights):
        nonlocal taken
        taken += 1
        for each in _open_recordings:
            each.heard.add(layer)
        take(weights)

    with ExitStack() as stack:
        stack.enter_context(_nothing_compiled())
        for layer in layers.values():
            stack.enter_context(_tap_of(layer)(layer, partial(hand_over, layer)))
        _open_recordings.append(mine)
        stack.callback(_open_recordings.remove, mine)
        yield
    _check_heard(type(model).__name__, taken, layers, mine.heard)


def attention_layers(model):
    """{name: layer} of the self-attention layers of `model`, in the order in which they were built.

    Raises:
        ValueError: there are none, or one of timm's that cannot be recorded.

    Source: chapter 12.
    """
    layers = {name: part for name, part in model.named_modules() if _tap_of(part)}
    for name, part in model.named_modules():
        if hasattr(part, "fused_attn") and name not in layers and "Pool" not in type(part).__name__:
            raise ValueError(
                f"{name} of the {type(model).__name__} is a {type(part).__name__}, and of such a layer nothing can be "
                f"recorded: it has no weights (B, H, N, N) of one softmax over all tokens. {len(layers)} other layers have."
            )
    if not layers:
        raise ValueError(
            f"{type(model).__name__} contains 0 attention layers that can be recorded, and at least 1 is needed: "
            "MultiHeadSelfAttention, nn.MultiheadAttention, or timm's Attention."
        )
    return layers


def _check_heard(model, taken, layers, heard):
    if not taken:
        raise ValueError(
            f"0 attention maps were recorded from the {len(layers)} attention layers of the {model}: "
            "run the model inside the `with` block."
        )
    silent = [name for name, layer in layers.items() if layer not in heard]
    if silent:
        raise ValueError(
            f"only {len(layers) - len(silent)} of the {len(layers)} attention layers of the {model} gave weights, not "
            f"{', '.join(silent[:3])}{' ...' if silent[3:] else ''}: run the whole model inside the `with` block, "
            "or record from the part that runs."
        )


# A tap is a context manager: while it is open, `hand_over(weights)` is called in each forward pass of the layer.


def _tap_of(layer):
    """The tap that fits this module, None if it is no self-attention layer that we know."""
    if isinstance(layer, MultiHeadSelfAttention):
        return _tap_own
    if isinstance(layer, nn.MultiheadAttention):
        return _tap_multihead
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(layer).__mro__}
    return _tap_timm if names & TIMM_LAYERS else None


def _tap_own(layer, hand_over):
    return _replaced(layer, "recorder", hand_over)


@contextmanager
def _tap_timm(layer, hand_over):
    """Without its fused kernel, timm's layer sends its weights through `attn_drop`."""
    dropout = layer.attn_drop

    def forward(weights):
        hand_over(weights)
        return type(dropout).forward(dropout, weights)

    with _replaced(layer, "fused_attn", False), _replaced(dropout, "forward", forward):
        yield


@contextmanager
def _tap_multihead(layer, hand_over):
    """PyTorch's layer, which is torchvision's too. (The fast path of `nn.TransformerEncoderLayer` would pass it by.)"""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _replaced(layer, "forward", partial(_multihead_forward, layer, hand_over)):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _multihead_forward(
    layer,
    hand_over,
    query,
    key,
    value,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    average_attn_weights=True,
    is_causal=False,
):
    """The forward pass of `nn.MultiheadAttention` by the explicit softmax.

    Asked for its weights, PyTorch's own gives a copy from after the dropout, on which the output does not depend: good
    to look at, but there is no gradient with respect to it.
    """
    plain = query is key and key is value and query.ndim == 3 and key_padding_mask is None and attn_mask is None
    if not plain or layer.in_proj_weight is None or layer.bias_k is not None or layer.add_zero_attn:
        raise ValueError(
            f"nn.MultiheadAttention was called with query {tuple(query.shape)} and key {tuple(key.shape)}: it can be "
            "recorded only where one batch (three dimensions) attends to itself, without a mask or extra keys."
        )
    x = query if layer.batch_first else query.transpose(0, 1)  # (B, N, D)
    qkv = F.linear(x, layer.in_proj_weight, layer.in_proj_bias)  # (B, N, 3D): q | k | v
    q, k, v = rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=layer.num_heads)
    weights = attention_weights(q, k)  # (B, H, N, N)
    hand_over(weights)
    weights = F.dropout(weights, layer.dropout, layer.training)
    output = layer.out_proj(merge_heads(weights @ v))  # (B, H, N, d) -> (B, N, D)
    output = output if layer.batch_first else output.transpose(0, 1)
    if not need_weights:
        return output, None
    return output, weights.mean(dim=1) if average_attn_weights else weights


@contextmanager
def _replaced(thing, name, value):
    """While this lasts, `thing` has that attribute of its own; afterwards the one that it had, or none."""
    had, before = name in vars(thing), vars(thing).get(name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        if had:
            setattr(thing, name, before)
        else:
            delattr(thing, name)


@contextmanager
def _nothing_compiled():
    """While this lasts, what torch.compile made runs as it was written.

    Otherwise the model would be compiled anew, tapped, for every recording, and after a few of them not at all any more.
    """
    if "torch._dynamo" not in sys.modules:  # imported, for seconds, with the first use of torch.compile
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
