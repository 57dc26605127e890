"""Look inside a model: the attention weights that a forward pass used. Chapter 02."""

from contextlib import contextmanager

from course_lib.attention import MultiHeadSelfAttention


@contextmanager
def record_attention(model):
    """Collect the attention weights of every forward pass inside the `with` block.

    While recording, attention runs through the explicit softmax (same numbers to rounding, a little
    slower), because the fused kernel never forms the weights. Afterwards the model is as it was.

        with record_attention(model) as maps:
            model(x)
        maps[0]        # first attention layer, (B, H, N, N), row = query, column = key

    Args:
        model: any module that contains `course_lib.attention.MultiHeadSelfAttention`.

    Yields:
        a list, filled in the order in which the layers run.

    Raises:
        ValueError: `model` contains no such layer, or nothing ran inside the `with` block.
    """
    layers = [module for module in model.modules() if isinstance(module, MultiHeadSelfAttention)]
    if not layers:
        raise ValueError(
            f"{type(model).__name__} contains 0 MultiHeadSelfAttention layers; at least 1 is needed to record from."
        )
    maps, before = [], [layer.recorder for layer in layers]
    for layer in layers:
        layer.recorder = maps.append
    try:
        yield maps
    finally:
        for layer, recorder in zip(layers, before, strict=True):
            layer.recorder = recorder
    if not maps:
        raise ValueError("0 attention maps were recorded: run the model inside the `with` block.")
