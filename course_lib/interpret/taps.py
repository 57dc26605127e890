"""Listen to the attention layers of a model: the course's own, timm's, torchvision's, Hugging Face's. Chapter 12.

A fused kernel never forms the attention weights, so a hook on the layer waits for them in vain. Here each layer is made
to take its explicit path for as long as somebody listens; `course_lib.interpret.record_attention` is the way in.
Legend: B batch, N tokens, D embedding dimension, H heads, d = D/H.
"""

import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

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


HUB = "course_lib"  # the name under which transformers finds our explicit attention


class _Recording:
    """Who wants the weights of which layers, in the thread that asked for them."""

    def __init__(self, layers: dict[str, nn.Module], take: Callable[[Tensor], object]) -> None:
        self.layers, self.take, self.thread = layers, take, threading.get_ident()
        self.heard, self.taken = set(), 0
        self.taps = _taps_for(layers)


# Recordings may be closed in any order and belong to several threads. So a layer is tapped when the first that wants it
# is opened, and is as it was when the last is closed.
_lock = threading.RLock()
_recordings: tuple[_Recording, ...] = ()  # those that are open, the innermost last
_tapped: dict[Hashable, ExitStack] = {}  # what is tapped, and its way back


@contextmanager
def recording(model: nn.Module, take: Callable[[Tensor], object]) -> Iterator[None]:
    """While this lasts, call `take(weights)` each time an attention layer of `model` has weights (B, H, N, N).

    The weights are the very tensor that the layer goes on with, before dropout. Afterwards the model is as it was, also
    after an error; a copy of it that was made meanwhile is not recorded. Of the recordings that a thread has open, the
    one opened last is given the weights of its layers; what other threads run is none of its business.

    Raises:
        ValueError: as `course_lib.interpret.record_attention`.

    Source: chapter 12.
    """
    mine = _Recording(attention_layers(model), take)
    try:
        _open(mine)
        yield
    finally:
        _close(mine)
    _check_heard(type(model).__name__, mine)


def _open(mine: _Recording) -> None:
    global _recordings
    with _lock:
        _recordings = (*_recordings, mine)
        for what, tap in mine.taps.items():
            if what not in _tapped:
                _tapped[what] = ExitStack()
                _tapped[what].enter_context(tap())


def _close(mine: _Recording) -> None:
    global _recordings
    with _lock:
        _recordings = tuple(each for each in _recordings if each is not mine)
        wanted = {what for each in _recordings for what in each.taps}
        for what in mine.taps.keys() & _tapped.keys() - wanted:
            _tapped.pop(what).close()


def _hand_over(layer: nn.Module, weights: Tensor) -> None:
    listening = [each for each in _recordings if layer in each.taps and each.thread == threading.get_ident()]
    for each in listening:
        each.heard.add(layer)
    if listening:
        listening[-1].taken += 1
        listening[-1].take(weights)


def attention_layers(model: nn.Module) -> dict[str, nn.Module]:
    """{name: layer} of the self-attention layers of `model`, in the order in which they were built.

    Raises:
        ValueError: there are none, or one of timm's that cannot be recorded.

    Source: chapter 12.
    """
    pools = tuple(f"{name}." for name, part in model.named_modules() if "Pool" in type(part).__name__)
    layers = {name: part for name, part in model.named_modules() if _tap_of(part) and not name.startswith(pools)}
    for name, part in model.named_modules():
        if hasattr(part, "fused_attn") and name not in layers and "Pool" not in type(part).__name__:
            raise ValueError(
                f"{name} of the {type(model).__name__} is a {type(part).__name__}, and of such a layer nothing can be "
                f"recorded: it has no weights (B, H, N, N) of one softmax over all tokens. {len(layers)} other layers have."
            )
    if not layers:
        raise ValueError(
            f"{type(model).__name__} contains 0 attention layers that can be recorded, and at least 1 is needed: "
            "MultiHeadSelfAttention, nn.MultiheadAttention, or the attention of timm or transformers. (The query of a "
            "pooling is no token; AttentionPool.weights gives its map.)"
        )
    return layers


def _check_heard(model: str, mine: _Recording) -> None:
    if not mine.taken:
        raise ValueError(
            f"0 attention maps were recorded from the {len(mine.layers)} attention layers of the {model}: "
            "run the model inside the `with` block, in the same thread."
        )
    silent = [name for name, layer in mine.layers.items() if layer not in mine.heard]
    if silent:
        raise ValueError(
            f"only {len(mine.layers) - len(silent)} of the {len(mine.layers)} attention layers of the {model} gave "
            f"weights, not {', '.join(silent[:3])}{' ...' if silent[3:] else ''}: run the whole model inside the `with` "
            "block, or record from the part that runs."
        )


# A tap is a context manager: while it is open, `_hand_over(layer, weights)` is called in each forward pass of the layer.


def _taps_for(layers: dict[str, nn.Module]) -> dict[Hashable, Callable[[], AbstractContextManager]]:
    """What has to be tapped or switched to hear these layers."""
    taps: dict[Hashable, Callable[[], AbstractContextManager]] = {}
    if "torch._dynamo" in sys.modules:  # imported, for seconds, with the first use of torch.compile
        taps["compiler"] = _nothing_compiled
    for layer in layers.values():
        tap = _tap_of(layer)
        if tap:
            taps[layer] = partial(tap, layer)
        if isinstance(layer, nn.MultiheadAttention):
            taps["fast path"] = _no_fast_path
    return taps


def _tap_of(layer: nn.Module) -> Callable[[Any], AbstractContextManager] | None:
    """The tap that fits this module, None if it is no self-attention layer that we know."""
    if isinstance(layer, MultiHeadSelfAttention):
        return _tap_own
    if isinstance(layer, nn.MultiheadAttention):
        return _tap_multihead
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(layer).__mro__}
    if names & TIMM_LAYERS:
        return _tap_timm
    projects = hasattr(layer, "q_proj") or hasattr(layer, "query")  # in transformers 5, or before
    its_room = vars(sys.modules.get(type(layer).__module__, sys))
    return _tap_hub if projects and hasattr(layer, "config") and "ALL_ATTENTION_FUNCTIONS" in its_room else None


def _tap_own(layer):
    return _replaced(layer, "recorder", _StandIn(partial(_hand_over, layer), type(None)))


@contextmanager
def _tap_timm(layer):
    """Without its fused kernel, timm's layer sends its weights through `attn_drop`."""
    dropout = layer.attn_drop

    def forward(weights):
        _hand_over(layer, weights)
        return type(dropout).forward(dropout, weights)

    with (
        _replaced(layer, "fused_attn", _StandIn(None, bool, layer.fused_attn)),
        _replaced(dropout, "forward", _StandIn(forward, getattr, dropout, "forward")),
    ):
        yield


def _tap_hub(layer):
    """A layer of transformers looks up in its configuration which function attends."""
    from transformers import AttentionInterface

    AttentionInterface.register(HUB, _hub_attention)
    return _replaced(layer, "config", _Recorded(layer.config))


class _Recorded:
    """The configuration of a layer of transformers, but for the function that attends; a copy is the configuration."""

    _attn_implementation = HUB

    def __init__(self, config: Any) -> None:
        self.config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self.config, name)

    def __reduce__(self):
        return _itself, (self.config,)


def _itself(thing):
    return thing


def _hub_attention(layer, query, key, value, mask, scaling=None, dropout=0.0, is_causal=False, **_):
    """What transformers asks of a function that attends: (B, H, N, d) three times -> (B, N, H, d) and the weights."""
    if is_causal or key.shape != query.shape:
        raise ValueError(
            f"{type(layer).__name__} attends from query {tuple(query.shape)} to key {tuple(key.shape)}"
            f"{', to earlier tokens only' * bool(is_causal)}: it can be recorded only where all tokens attend to all. "
            "Record from the part that looks at images, such as model.vision_model."
        )
    if scaling is not None:
        query = query * (scaling * query.shape[-1] ** 0.5)  # where it is not 1/√d
    boolean = mask is not None and mask.dtype == torch.bool
    weights = attention_weights(query, key, mask if boolean else None, None if boolean else mask)  # (B, H, N, N)
    _hand_over(layer, weights)
    output = F.dropout(weights, dropout, layer.training) @ value  # (B, H, N, d)
    return output.transpose(1, 2).contiguous(), weights


def _tap_multihead(layer):
    """PyTorch's layer, which is torchvision's too."""
    return _replaced(layer, "forward", _StandIn(partial(_multihead_forward, layer), getattr, layer, "forward"))


class _StandIn:
    """What a tapped layer has in place of something of its own. It is false, as `fused_attn` must be.

    A copy of the layer gets its own back: copying and pickling call `make(*arguments)` instead.
    """

    def __init__(self, call: Any, make: Callable, *arguments: object) -> None:
        self.call, self.made = call, (make, arguments)

    def __call__(self, *arguments, **options):
        return self.call(*arguments, **options)

    def __bool__(self):
        return False

    def __reduce__(self):
        return self.made


def _multihead_forward(
    layer,
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
    _hand_over(layer, weights)
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
    yield  # `_close` ends it, after an error too
    if had:
        setattr(thing, name, before)
    else:
        vars(thing).pop(name, None)


@contextmanager
def _no_fast_path():
    """While this lasts, `nn.TransformerEncoderLayer` does not pass its attention by."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _nothing_compiled():
    """While this lasts, what torch.compile made runs as it was written.

    Otherwise the model would be compiled anew, tapped, for every recording, and after a few of them not at all any more.
    """
    with torch.compiler.set_stance("force_eager"):
        yield
