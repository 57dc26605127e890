"""The Vision Transformer: patches and positions in, encoder blocks, a head.

Chapter 03 derives the MLP and the block, chapter 06 the model. Legend: B batch, N tokens, D embedding
dimension, H heads, L depth, (gh, gw) patch grid.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from course_lib.attention import MultiHeadSelfAttention
from course_lib.patch_embed import PatchEmbed
from course_lib.pos_embed import POS_EMBEDS, RelativePositionBias, sincos_pos_embed_1d, sincos_pos_embed_2d


class MLP(nn.Module):
    """Two linear layers with a GELU between, applied to each token on its own.

    Parameters carry timm's names: `fc1` (D -> hidden) and `fc2` (hidden -> D). The GELU is the exact
    one, with the error function; the tanh approximation differs by up to 5e-4.

    Args:
        dim: embedding dimension D.
        hidden_dim: width between the two layers; 4 D in ViT.
        drop: dropout rate after each layer, between 0 and 1.

    Shapes: (..., D) -> (..., D).

    Source: Dosovitskiy et al. 2021, section 3.1; Hendrycks & Gimpel 2016 for GELU. Chapter 03.
    """

    def __init__(self, dim, hidden_dim, drop=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class DropPath(nn.Module):
    """Stochastic depth: in training, leave a block's contribution out for a random part of the batch.

    What stays is divided by the share that stays, so that the mean does not change.

    Args:
        rate: the share left out, at least 0 and below 1.

    Shapes: (B, ...) -> (B, ...).

    Source: Huang et al. 2016. Chapter 08.
    """

    def __init__(self, rate=0.0):
        super().__init__()
        _check_rate("rate", rate)
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0.0:
            return x
        keep = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)


class EncoderBlock(nn.Module):
    """One pre-norm encoder block: x + attn(norm1(x)), then x + mlp(norm2(x)).

    Submodules carry timm's names: `norm1`, `attn`, `norm2`, `mlp`.

    Args:
        dim: embedding dimension D.
        num_heads: H, a divisor of D.
        mlp_ratio: hidden width of the MLP divided by D.
        qkv_bias: whether q, k and v get a bias.
        norm_eps: added to the variance in both LayerNorms; ViT uses 1e-6, PyTorch's default is 1e-5.
        attn_drop: dropout rate on the attention weights.
        proj_drop: dropout rate on the output of the attention and inside the MLP.
        drop_path: rate at which each of the two contributions is left out in training.
        rel_pos: a module that gives a bias (H, N, N) on the attention scores, or None.

    Shapes: (B, N, D) -> (B, N, D).

    Raises:
        ValueError: `num_heads` does not divide `dim`, or the input is not (B, N, dim).

    Source: Dosovitskiy et al. 2021, equations 2 and 3. Chapter 03.
    """

    def __init__(
        self,
        dim,
        num_heads,
        *,
        mlp_ratio=4.0,
        qkv_bias=True,
        norm_eps=1e-6,
        attn_drop=0.0,
        proj_drop=0.0,
        drop_path=0.0,
        rel_pos=None,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = MultiHeadSelfAttention(
            dim, num_heads, qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=proj_drop, rel_pos=rel_pos
        )
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = MLP(dim, int(dim * mlp_ratio), drop=proj_drop)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        if x.ndim != 3 or x.shape[-1] != self.attn.dim:
            raise ValueError(
                f"input {tuple(x.shape)} must be (B, N, {self.attn.dim}): batch, tokens, embedding dimension."
            )
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


@dataclass(frozen=True)
class ViTConfig:
    """Everything that makes one Vision Transformer differ from another. The defaults are ViT-B/16.

    Args:
        img_size: height and width in pixels, or one number if they are the same.
        patch_size: P, in pixels.
        in_chans: C, 3 for colour.
        num_classes: outputs of the head; 0 for no head.
        embed_dim: D.
        depth: L, the number of blocks.
        num_heads: H.
        mlp_ratio: hidden width of the MLP divided by D.
        qkv_bias: whether q, k and v get a bias.
        norm_eps: what LayerNorm adds to the variance.
        drop_rate: dropout after the embedding, after the attention's projection and in the MLP.
        attn_drop_rate: dropout on the attention weights.
        drop_path_rate: stochastic depth of the last block; the others rise to it linearly from 0 in the first.
        pos_embed: "learn", "sincos1d", "sincos2d", "relative" or "none".
        global_pool: "token" reads the answer off a class token; "avg" averages the patches, without one.
        representation_size: width of the hidden layer (tanh) of the head used in pre-training; None for none.
        weight_init: how the blocks' linear layers start: "normal" (std 0.02, as DeiT and timm) or "xavier" (by their
            width, as the paper's code; in a narrow model 0.02 is too little to start with).

    Raises:
        ValueError: a value that no model can have, when the config is made.

    Source: Dosovitskiy et al. 2021, table 1. Chapter 06.
    """

    img_size: int | tuple[int, int] = 224
    patch_size: int = 16
    in_chans: int = 3
    num_classes: int = 1000
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    pos_embed: str = "learn"
    global_pool: str = "token"
    representation_size: int | None = None
    weight_init: str = "normal"

    def __post_init__(self):
        if isinstance(self.img_size, list):
            object.__setattr__(self, "img_size", tuple(self.img_size))
        sides = self.img_size if isinstance(self.img_size, tuple) else (self.img_size, self.img_size)
        if len(sides) != 2 or not all(_is_count(side) for side in sides):
            raise ValueError(f"img_size {self.img_size!r} must be a positive integer, or two of them: (height, width).")
        for name in ("patch_size", "in_chans", "embed_dim", "depth", "num_heads"):
            if not _is_count(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)!r} must be a positive integer.")
        if self.num_classes != 0 and not _is_count(self.num_classes):
            raise ValueError(f"num_classes {self.num_classes!r} must be a positive integer, or 0 for no head.")
        if self.representation_size is not None and not _is_count(self.representation_size):
            raise ValueError(f"representation_size {self.representation_size!r} must be a positive integer or None.")
        if not (_is_number(self.mlp_ratio) and self.embed_dim * self.mlp_ratio >= 1):
            raise ValueError(
                f"mlp_ratio {self.mlp_ratio!r} leaves no hidden width for embed_dim {self.embed_dim}: 4 is usual."
            )
        if not (_is_number(self.norm_eps) and self.norm_eps > 0):
            raise ValueError(f"norm_eps {self.norm_eps!r} must be a positive number, such as 1e-6.")
        if self.pos_embed not in POS_EMBEDS:
            raise ValueError(f"pos_embed {self.pos_embed!r} must be one of {', '.join(POS_EMBEDS)}.")
        if self.global_pool not in ("token", "avg"):
            raise ValueError(f"global_pool {self.global_pool!r} must be 'token' or 'avg'.")
        if self.weight_init not in ("normal", "xavier"):
            raise ValueError(f"weight_init {self.weight_init!r} must be 'normal' or 'xavier'.")
        for name in ("drop_rate", "attn_drop_rate", "drop_path_rate"):
            _check_rate(name, getattr(self, name))


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value):
    return isinstance(value, int | float) and math.isfinite(value)


def _check_rate(name, rate):
    if not (_is_number(rate) and 0 <= rate < 1):
        raise ValueError(f"{name} {rate!r} must be at least 0 and below 1.")


_TINY = {"embed_dim": 192, "depth": 12, "num_heads": 3}
_SMALL = {"embed_dim": 384, "depth": 12, "num_heads": 6}
_BASE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
_LARGE = {"embed_dim": 1024, "depth": 24, "num_heads": 16}
_HUGE = {"embed_dim": 1280, "depth": 32, "num_heads": 16}
_TOKEN = {"patch_size": 4, "embed_dim": 64, "depth": 6, "num_heads": 4, "mlp_ratio": 2.0, "weight_init": "xavier"}

# Base, Large and Huge are the paper's Table 1; Tiny and Small are those of DeiT (Touvron et al. 2021).
VIT_CONFIGS = {
    "vit_tiny_patch16_224": ViTConfig(patch_size=16, **_TINY),
    "vit_tiny_patch16_384": ViTConfig(patch_size=16, img_size=384, **_TINY),
    "vit_small_patch16_224": ViTConfig(patch_size=16, **_SMALL),
    "vit_small_patch16_384": ViTConfig(patch_size=16, img_size=384, **_SMALL),
    "vit_small_patch32_224": ViTConfig(patch_size=32, **_SMALL),
    "vit_small_patch32_384": ViTConfig(patch_size=32, img_size=384, **_SMALL),
    "vit_base_patch8_224": ViTConfig(patch_size=8, **_BASE),
    "vit_base_patch16_224": ViTConfig(patch_size=16, **_BASE),
    "vit_base_patch16_384": ViTConfig(patch_size=16, img_size=384, **_BASE),
    "vit_base_patch32_224": ViTConfig(patch_size=32, **_BASE),
    "vit_base_patch32_384": ViTConfig(patch_size=32, img_size=384, **_BASE),
    "vit_large_patch16_224": ViTConfig(patch_size=16, **_LARGE),
    "vit_large_patch16_384": ViTConfig(patch_size=16, img_size=384, **_LARGE),
    "vit_large_patch16_512": ViTConfig(patch_size=16, img_size=512, **_LARGE),
    "vit_large_patch32_224": ViTConfig(patch_size=32, **_LARGE),
    "vit_large_patch32_384": ViTConfig(patch_size=32, img_size=384, **_LARGE),
    "vit_huge_patch14_224": ViTConfig(patch_size=14, **_HUGE),
    "vit_huge_patch14_518": ViTConfig(patch_size=14, img_size=518, **_HUGE),
    # Small enough to train on a laptop.
    "vit_digits_patch2_8": ViTConfig(
        img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=48, depth=4, num_heads=3, mlp_ratio=2.0
    ),
    "vit_mnist_patch7_28": ViTConfig(
        img_size=28, patch_size=7, in_chans=1, num_classes=10, embed_dim=64, depth=6, num_heads=4, mlp_ratio=2.0
    ),
    "vit_mnist_patch4_28": ViTConfig(
        img_size=28,
        patch_size=4,
        in_chans=1,
        num_classes=10,
        embed_dim=96,
        depth=3,
        num_heads=4,
        mlp_ratio=2.0,
        pos_embed="sincos2d",
        global_pool="avg",
        weight_init="xavier",
    ),
    "vit_cifar_small_patch4_32": ViTConfig(
        img_size=32,
        patch_size=4,
        num_classes=10,
        embed_dim=128,
        depth=6,
        num_heads=4,
        mlp_ratio=2.0,
        pos_embed="sincos2d",
        global_pool="avg",
        weight_init="xavier",
    ),
    # Three with one body, to be looked into: class token, learned positions, six blocks of four heads.
    "vit_mnist_token_patch4_28": ViTConfig(img_size=28, in_chans=1, num_classes=10, **_TOKEN),
    "vit_cifar_token_patch4_32": ViTConfig(img_size=32, num_classes=10, **_TOKEN),
    "vit_shapes_token_patch4_32": ViTConfig(img_size=32, num_classes=8, **_TOKEN),
    "vit_cifar_patch4_32": ViTConfig(
        img_size=32, patch_size=4, num_classes=10, embed_dim=192, depth=9, num_heads=3, mlp_ratio=2.0
    ),
}


class VisionTransformer(nn.Module):
    """An image classifier: cut into patches, embed, add positions, L encoder blocks, norm, pool, head.

    Parameters and submodules carry timm's names: `patch_embed.proj`, `cls_token` (1, 1, D), `pos_embed`
    (1, N, D), `blocks.i`, `norm`, `head`, and `pre_logits.fc` where there is a representation layer.

    Args:
        config: a `ViTConfig`.

    Attributes:
        config: the same.
        preprocessing: how the loaded weights want their images; None until `load_pretrained` sets it.

    Shapes: (B, C, height, width) -> (B, num_classes); N = gh·gw, one more with a class token.

    Raises:
        ValueError: the config does not fit together, or the images are not of its size.

    Source: Dosovitskiy et al. 2021, equations 1 to 4. Chapter 06.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        dim, prefix = config.embed_dim, int(config.global_pool == "token")
        self.num_prefix_tokens = prefix
        self.preprocessing: Any = None
        self.patch_embed = PatchEmbed(config.img_size, config.patch_size, config.in_chans, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if prefix else None
        self._make_pos_embed()
        self.pos_drop = nn.Dropout(config.drop_rate)
        self.blocks = nn.Sequential(*(self._make_block(i) for i in range(config.depth)))
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.pre_logits = (
            Representation(dim, config.representation_size) if config.representation_size else nn.Identity()
        )
        self.head = _make_head(config.representation_size or dim, config.num_classes)
        self.apply(init_weights)
        if config.weight_init == "xavier":
            for module in self.blocks.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)

    def _make_pos_embed(self):
        config, grid, prefix = self.config, self.patch_embed.grid_size, self.num_prefix_tokens
        tokens = prefix + self.patch_embed.num_patches
        if config.pos_embed == "learn":
            self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens, config.embed_dim))
        elif config.pos_embed == "sincos1d":
            self.register_buffer("pos_embed", sincos_pos_embed_1d(torch.arange(tokens), config.embed_dim)[None], False)
        elif config.pos_embed == "sincos2d":
            patches = sincos_pos_embed_2d(grid, config.embed_dim)
            table = torch.cat([torch.zeros(prefix, config.embed_dim), patches])  # the class token has no place
            self.register_buffer("pos_embed", table[None], False)
        else:
            self.pos_embed = None

    def _make_block(self, index):
        config = self.config
        rel_pos = None
        if config.pos_embed == "relative":
            rel_pos = RelativePositionBias(self.patch_embed.grid_size, config.num_heads, self.num_prefix_tokens)
        return EncoderBlock(
            config.embed_dim,
            config.num_heads,
            mlp_ratio=config.mlp_ratio,
            qkv_bias=config.qkv_bias,
            norm_eps=config.norm_eps,
            attn_drop=config.attn_drop_rate,
            proj_drop=config.drop_rate,
            drop_path=config.drop_path_rate * index / max(config.depth - 1, 1),
            rel_pos=rel_pos,
        )

    def embed(self, images):
        """The tokens, each with its place: (B, C, height, width) -> (B, N, D), the class token first if there is one."""
        x = self.patch_embed(images)  # (B, gh·gw, D)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)  # (B, 1 + gh·gw, D)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        return self.pos_drop(x)

    def encode(self, tokens):
        """The blocks and the last norm: (B, N, D) -> (B, N, D)."""
        return self.norm(self.blocks(tokens))

    def forward_features(self, images):
        """All tokens after the last norm: (B, C, height, width) -> (B, N, D)."""
        return self.encode(self.embed(images))

    def forward_head(self, tokens):
        """From the tokens to the answer: (B, N, D) -> (B, num_classes)."""
        pooled = tokens[:, 0] if self.cls_token is not None else tokens.mean(dim=1)  # (B, D)
        return self.head(self.pre_logits(pooled))

    def forward(self, images):
        return self.forward_head(self.forward_features(images))

    def reset_classifier(self, num_classes):
        """Put a new head with `num_classes` outputs in place of the old one (0: none); all else stays.

        As in fine-tuning (Dosovitskiy et al. 2021, section 3.2), a representation layer goes with the old head.
        """
        self.config = replace(self.config, num_classes=num_classes, representation_size=None)
        self.pre_logits = nn.Identity()
        self.head = _make_head(self.config.embed_dim, num_classes)
        init_weights(self.head)
        self.head.to(self.norm.weight)  # its device and dtype


class Representation(nn.Module):
    """The hidden layer of the head used in pre-training: tanh(fc(x)), (B, D) -> (B, representation_size).

    Source: Dosovitskiy et al. 2021, section 3.1. Chapter 06.
    """

    def __init__(self, dim, representation_size):
        super().__init__()
        self.fc = nn.Linear(dim, representation_size)

    def forward(self, x):
        return self.fc(x).tanh()


def _make_head(dim, num_classes):
    return nn.Linear(dim, num_classes) if num_classes else nn.Identity()


def init_weights(module):
    """Starting values: linear weights and tables small and random (std 0.02), biases 0, patch filters by fan-in.

    Nothing is cut off: the usual bounds, -2 and 2, are 100 deviations away, and PyTorch's `trunc_normal_` gives other
    numbers from version to version.

    Source: Dosovitskiy et al. 2021, released code; Touvron et al. 2021 for 0.02. Chapter 05.
    """
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_in = module.weight[0].numel()  # C·P·P
        nn.init.normal_(module.weight, std=fan_in**-0.5)
    elif isinstance(module, RelativePositionBias):
        nn.init.normal_(module.relative_position_bias_table, std=0.02)
    if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
        nn.init.zeros_(module.bias)
