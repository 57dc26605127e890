"""Vision Transformers that are built otherwise: a few lines each over our own. Chapters 03 and 07."""

from dataclasses import dataclass

from torch import nn

from course_lib.vit import VisionTransformer, ViTConfig


@dataclass(frozen=True)
class PostNormConfig(ViTConfig):
    """A `ViTConfig` for `PostNormViT`."""


class PostNormViT(VisionTransformer):
    """A Vision Transformer whose norms stand after each sum, as in the original Transformer, and not before each part.

    Takes a `PostNormConfig`; shapes as in `VisionTransformer`.

    Source: Vaswani et al. 2017, section 3.1. Chapters 03 and 07.
    """

    def __init__(self, config):
        super().__init__(config)
        self.blocks = nn.Sequential(*(PostNormBlock(block) for block in self.blocks))
        self.norm = nn.Identity()  # the last block ends in a norm already


class PostNormBlock(nn.Module):
    """The parts of an `EncoderBlock` in the other order: norm1(x + attn(x)), then norm2(x + mlp(x)); (B, N, D) stays."""

    def __init__(self, block):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp
        self.drop_path = block.drop_path

    def forward(self, x):
        x = self.norm1(x + self.drop_path(self.attn(x)))
        return self.norm2(x + self.drop_path(self.mlp(x)))
