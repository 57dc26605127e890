"""The logit lens: what the model would answer if it ended here, after each block and at each token. Chapter 12.

Legend: B images, L blocks, N tokens = prefix (class token, registers) + gh·gw patches, D embedding dimension, K classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.interpret.maps import evaluating
from course_lib.vit import VisionTransformer


def logit_lens(model: VisionTransformer, images: Tensor) -> Tensor:
    """What each token would answer after each block: the last norm and the head, applied to all tokens at every depth.

        lens = logit_lens(model, images).softmax(dim=-1)       # (B, L + 1, N, K)
        lens[0, 3, 0]                                          # image 0, after block 3, the class token

    The last norm and the head were trained for what they read in the last layer, a class token or a mean of patches.
    What they say of other tokens and depths is a reading of these, and nothing that the model itself makes use of.

    Args:
        model: a `VisionTransformer` with a head; in evaluation mode meanwhile.
        images: (B, C, height, width), as the model wants them.

    Returns:
        (B, L + 1, N, K) logits, at least float32, without gradient; at depth 0 stand the embedded tokens, before any
        block. A distillation token is read by the head of the class token, as all others are.

    Raises:
        ValueError: the model is no `VisionTransformer`, or has no head, or its head reads the answer of an attention pool;
            or the images are of another dtype than the model.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens", there for language; Vilas et al. 2023, "Analyzing
    Vision Transformers for Image Classification in Class Embedding Space". Chapter 12.
    """
    _check(model)
    if model.attn_pool is not None:
        raise ValueError(
            "global_pool 'map': the head reads what an attention pool has made of all tokens, and no single token; "
            "answers_by_depth asks the pool."
        )
    return _at_every_depth(
        model, images, lambda tokens: model.head(model.pre_logits(model.fc_norm(model.norm(tokens))))
    )


def answers_by_depth(model: VisionTransformer, images: Tensor) -> Tensor:
    """What the model would answer after each block, by its own way from tokens to answer: (B, L + 1, K) logits.

    With a class token that is the lens on this token, without one the lens on the mean of the patches. The last row is the
    model's answer itself.

    Args, returns, raises, source: as `logit_lens`, any pool allowed. Chapter 12.
    """
    _check(model)
    return _at_every_depth(model, images, lambda tokens: model.forward_head(model.norm(tokens)))


def _check(model: nn.Module) -> None:
    if not isinstance(model, VisionTransformer):
        raise ValueError(f"model is a {type(model).__name__}, and must be a VisionTransformer of this course.")
    if isinstance(model.head, nn.Identity):
        raise ValueError("the VisionTransformer gives features, and the lens reads answers: give the model a head.")


@torch.no_grad()
def _at_every_depth(model: VisionTransformer, images: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
    """`read` of the tokens (B, N, D) before the first block and after each: (B, L + 1, ...)."""
    found: list[Tensor] = []

    def note(tokens: Tensor) -> None:
        answer = read(tokens)
        found.append(answer.to(torch.promote_types(answer.dtype, torch.float32)))

    def before(_: nn.Module, args: tuple[Tensor]) -> None:
        note(args[0])

    def after(_: nn.Module, __: object, output: Tensor) -> None:
        note(output)

    handles = [model.blocks[0].register_forward_pre_hook(before)]
    handles += [block.register_forward_hook(after) for block in model.blocks]
    try:
        with evaluating(model, images):
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found, dim=1)
