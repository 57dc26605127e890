"""Vision Transformers that are built otherwise: a few lines each over our own. Chapters 03 and 07."""

from dataclasses import dataclass

from torch import Tensor, nn

from course_lib.vit import EncoderBlock, VisionTransformer, ViTConfig


@dataclass(frozen=True)
class PostNormConfig(ViTConfig):
    """A `ViTConfig` for `PostNormViT`."""


class PostNormBlock(EncoderBlock):
    """The parts of an `EncoderBlock` in the other order: norm1(x + attn(x)), then norm2(x + mlp(x)); (B, N, D) stays."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.drop_path(self.ls1(self.attn(x))))
        return self.norm2(x + self.drop_path(self.ls2(self.mlp(x))))


class PostNormViT(VisionTransformer):
    """A Vision Transformer whose norms stand after each sum, as in the original Transformer, and not before each part.

    Takes a `PostNormConfig`; shapes as in `VisionTransformer`.

    Source: Vaswani et al. 2017, section 3.1. Chapters 03 and 07.
    """

    block_class = PostNormBlock

    def __init__(self, config: PostNormConfig) -> None:
        super().__init__(config)
        self.norm = nn.Identity()  # the last block ends in a norm already
