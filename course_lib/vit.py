"""The Vision Transformer: patches and positions in, encoder blocks, a head.

Chapter 03 derives the MLP and the block, chapter 06 the model, chapter 15 what later models changed.
Legend: B batch, N tokens, D embedding dimension, H heads, L depth, (gh, gw) patch grid.
"""

from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.attention import MultiHeadSelfAttention, check_tokens
from course_lib.parts import ACTIVATIONS, NORMS, AttentionPool, LayerScale, PatchDropout, SwiGLU
from course_lib.patch_embed import PatchEmbed
from course_lib.pos_embed import (
    POS_EMBEDS,
    RelativePositionBias,
    RotaryPositions,
    sincos_pos_embed_1d,
    sincos_pos_embed_2d,
)
from course_lib.validate import as_pair, check_choice, check_count, check_rate, is_number

STD = 0.02  # of the starting values: see `init_weights`
DEEPEST = 1000  # blocks: a number with thirty digits would be built for ever


class MLP(nn.Module):
    """Two linear layers with a GELU between, applied to each token on its own.

    Parameters carry timm's names: `fc1` (D -> hidden) and `fc2` (hidden -> D). The GELU is the exact
    one, with the error function; the tanh approximation differs by up to 5e-4.

    Args:
        dim: embedding dimension D.
        hidden_dim: width between the two layers; 4 D in ViT.
        drop: dropout rate after each layer, between 0 and 1.
        activation: one of `course_lib.parts.ACTIVATIONS`, where a published model wants another.

    Shapes: (..., D) -> (..., D).

    Source: Dosovitskiy et al. 2021, section 3.1; Hendrycks & Gimpel 2016 for GELU. Chapter 03.
    """

    def __init__(self, dim: int, hidden_dim: int, drop: float = 0.0, activation: str = "gelu") -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = ACTIVATIONS[activation]()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


def make_mlp(activation: str, dim: int, hidden_dim: int, drop: float = 0.0) -> MLP | SwiGLU:
    """The MLP of a block: `SwiGLU` for "swiglu", else an `MLP` with that activation. Chapter 15."""
    return SwiGLU(dim, hidden_dim, drop) if activation == "swiglu" else MLP(dim, hidden_dim, drop, activation)


class DropPath(nn.Module):
    """Stochastic depth: in training, leave a block's contribution out for a random part of the batch.

    What stays is divided by the share that stays, so that the mean does not change.

    Args:
        rate: the share left out, at least 0 and below 1.

    Shapes: (B, ...) -> (B, ...).

    Source: Huang et al. 2016. Chapter 08.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        check_rate("rate", rate)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)


class EncoderBlock(nn.Module):
    """One pre-norm encoder block: x + attn(norm1(x)), then x + mlp(norm2(x)).

    Submodules carry timm's names: `norm1`, `attn`, `norm2`, `mlp`, and `ls1`, `ls2` where there is LayerScale.

    Args:
        dim: embedding dimension D.
        num_heads: H, a divisor of D.
        mlp_ratio: hidden width of the MLP divided by D.
        qkv_bias: whether q, k and v get a bias.
        norm_eps: added to the variance in both LayerNorms; ViT uses 1e-6, PyTorch's default is 1e-5.
        attn_drop: dropout rate on the attention weights.
        proj_drop: dropout rate on the output of the attention and inside the MLP.
        drop_path: rate at which each of the two contributions is left out in training.
        rel_pos, rope: positions that enter the attention, or None: see `MultiHeadSelfAttention`.
        init_values: what LayerScale's factors start as; None for no LayerScale.
        activation, norm_layer, qk_norm: as in `ViTConfig`.

    Shapes: (B, N, D) -> (B, N, D).

    Raises:
        ValueError: `num_heads` does not divide `dim`, or the input is not (B, N, dim).

    Source: Dosovitskiy et al. 2021, equations 2 and 3. Chapter 03.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        norm_eps: float = 1e-6,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        drop_path: float = 0.0,
        rel_pos: nn.Module | None = None,
        rope: nn.Module | None = None,
        init_values: float | None = None,
        activation: str = "gelu",
        norm_layer: str = "layernorm",
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        norm = partial(NORMS[norm_layer], eps=norm_eps)
        self.norm1 = norm(dim)
        self.attn = MultiHeadSelfAttention(
            dim,
            num_heads,
            qkv_bias=qkv_bias,
            attn_drop=attn_drop,
            proj_drop=proj_drop,
            rel_pos=rel_pos,
            rope=rope,
            qk_norm=norm if qk_norm else None,
        )
        self.norm2 = norm(dim)
        self.mlp = make_mlp(activation, dim, int(dim * mlp_ratio), proj_drop)
        self.ls1, self.ls2 = (nn.Identity() if init_values is None else LayerScale(dim, init_values) for _ in "12")
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        check_tokens(x, self.attn.dim)
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x))))
        x = x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))
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
        norm_eps: what each norm adds to the variance.
        drop_rate: dropout after the embedding, after the attention's projection and in the MLP.
        attn_drop_rate: dropout on the attention weights.
        drop_path_rate: stochastic depth of the last block; the others rise to it linearly from 0 in the first.
        pos_embed: "learn", "sincos1d", "sincos2d", "relative", "rope" (turns queries and keys) or "none".
        global_pool: "token" reads the answer off a class token; "avg" averages the patches; "map" asks them with
            one learned query (`AttentionPool`).
        representation_size: width of the hidden layer (tanh) of the head used in pre-training; None for none.
        weight_init: how the blocks' linear layers start: "normal" (std 0.02, as DeiT and timm), or "xavier" (uniform
            within √(6 / (width in + width out)); in a narrow model 0.02 is too little to start with). `qkv` is one
            layer, D to 3D, here as in timm's "jax"; the paper's code draws q, k and v apart, √2 times as wide. With
            "zero", as "xavier", but what each part of a block adds, and the answer, start at 0.
        class_token: whether there is one; None: only where it is read, with global_pool "token".
        dist_token: a second token with a head of its own, `head_dist`; the answer is the mean of both (DeiT).
        reg_tokens: how many register tokens stand between these and the patches (DINOv2 with registers).
        no_embed_class: positions are added to the patches alone, not to the tokens in front of them (DeiT-III).
        init_values: what LayerScale's factors start as; None for no LayerScale.
        activation: of the MLP: "gelu", "gelu_tanh" (SigLIP), "quick_gelu" (CLIP), "relu2" (ReLU, squared), or "swiglu", a
            gate (DINOv2's giant).
        norm_layer: "layernorm" or "rmsnorm".
        norm_pre: a norm before the blocks, and then no bias in the patch embedding (CLIP).
        fc_norm: the last norm stands after the pooling, not before (MAE's fine-tuned models).
        qk_norm: a norm on the queries and on the keys of each head.
        pos_antialias: whether positions are antialiased as they are resampled to a smaller grid; it comes with weights.
        pos_offset: added to the new grid then, as in `resample_pos_embed`; it comes with weights (0.1: Meta's DINOv2).

    Raises:
        ValueError: a value that no model can have, when the config is made.

    Source: Dosovitskiy et al. 2021, table 1. Chapter 06; from `class_token` on chapter 15.
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
    class_token: bool | None = None
    dist_token: bool = False
    reg_tokens: int = 0
    no_embed_class: bool = False
    init_values: float | None = None
    activation: str = "gelu"
    norm_layer: str = "layernorm"
    norm_pre: bool = False
    fc_norm: bool = False
    qk_norm: bool = False
    pos_antialias: bool = True
    pos_offset: float = 0.0

    def __post_init__(self) -> None:
        sides = as_pair("img_size", self.img_size)
        if not isinstance(self.img_size, int):
            object.__setattr__(self, "img_size", sides)
        for name in ("patch_size", "in_chans", "embed_dim", "depth", "num_heads"):
            check_count(name, getattr(self, name))
        for name in ("num_classes", "reg_tokens"):
            check_count(name, getattr(self, name), least=0)
        if self.depth > DEEPEST:
            raise ValueError(f"depth {self.depth} must be at most {DEEPEST} blocks.")
        if self.representation_size is not None:
            check_count("representation_size", self.representation_size)
        if not (is_number(self.mlp_ratio) and self.embed_dim * self.mlp_ratio >= 1):
            raise ValueError(
                f"mlp_ratio {self.mlp_ratio!r} leaves no hidden width for embed_dim {self.embed_dim}: 4 is usual."
            )
        if not (is_number(self.norm_eps) and self.norm_eps > 0):
            raise ValueError(f"norm_eps {self.norm_eps!r} must be a positive number, such as 1e-6.")
        if self.init_values is not None and not is_number(self.init_values):
            raise ValueError(
                f"init_values {self.init_values!r} must be a number, such as 1e-5, or None for no LayerScale."
            )
        check_choice("pos_embed", self.pos_embed, (*POS_EMBEDS, "rope"))
        check_choice("global_pool", self.global_pool, ("token", "avg", "map"))
        check_choice("weight_init", self.weight_init, ("normal", "xavier", "zero"))
        check_choice("activation", self.activation, (*ACTIVATIONS, "swiglu"))
        check_choice("norm_layer", self.norm_layer, NORMS)
        check_choice("class_token", self.class_token, (None, True, False))
        for name in ("dist_token", "no_embed_class", "norm_pre", "fc_norm", "qk_norm", "pos_antialias"):
            check_choice(name, getattr(self, name), (True, False))
        if not self.has_class_token and (self.dist_token or self.global_pool == "token"):
            who = "dist_token=True" if self.dist_token else "global_pool='token'"
            raise ValueError(f"{who} and class_token={self.class_token} do not go together: leave class_token=True.")
        for name in ("drop_rate", "attn_drop_rate", "drop_path_rate", "pos_offset"):
            check_rate(name, getattr(self, name))

    @property
    def has_class_token(self) -> bool:
        """`class_token`, or what None stands for."""
        return self.global_pool == "token" if self.class_token is None else self.class_token

    @property
    def num_prefix_tokens(self) -> int:
        """How many tokens stand before the patches: class token, distillation token, registers."""
        return self.has_class_token + self.dist_token + self.reg_tokens

    def settings(self) -> dict[str, Any]:
        """All fields in a dict; those from `class_token` on only where they are not ViT's: so older records stay true."""
        fields = asdict(self)
        later = list(fields)[list(fields).index("class_token") :]
        return {name: value for name, value in fields.items() if name not in later or value != getattr(ViTConfig, name)}


# Base, Large and Huge are the paper's Table 1; Tiny and Small are those of DeiT (Touvron et al. 2021).
_TINY = ViTConfig(embed_dim=192, num_heads=3)
_SMALL = ViTConfig(embed_dim=384, num_heads=6)
_BASE = ViTConfig()
_LARGE = ViTConfig(embed_dim=1024, depth=24, num_heads=16)
_HUGE = ViTConfig(embed_dim=1280, depth=32, num_heads=16, patch_size=14)
# Small enough to train on a laptop. Of _TOKEN there are three, to be looked into: one body, and a class token.
_DIGITS = ViTConfig(
    img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=48, depth=4, num_heads=3, mlp_ratio=2.0
)
_TOKEN = ViTConfig(
    img_size=32, patch_size=4, num_classes=10, embed_dim=64, depth=6, num_heads=4, mlp_ratio=2.0, weight_init="xavier"
)
_AVERAGE = replace(_TOKEN, embed_dim=128, pos_embed="sincos2d", global_pool="avg")

VIT_CONFIGS = {
    "vit_tiny_patch16_224": _TINY,
    "vit_tiny_patch16_384": replace(_TINY, img_size=384),
    "vit_small_patch16_224": _SMALL,
    "vit_small_patch16_384": replace(_SMALL, img_size=384),
    "vit_small_patch32_224": replace(_SMALL, patch_size=32),
    "vit_small_patch32_384": replace(_SMALL, patch_size=32, img_size=384),
    "vit_base_patch8_224": replace(_BASE, patch_size=8),
    "vit_base_patch16_224": _BASE,
    "vit_base_patch16_384": replace(_BASE, img_size=384),
    "vit_base_patch32_224": replace(_BASE, patch_size=32),
    "vit_base_patch32_384": replace(_BASE, patch_size=32, img_size=384),
    "vit_large_patch16_224": _LARGE,
    "vit_large_patch16_384": replace(_LARGE, img_size=384),
    "vit_large_patch16_512": replace(_LARGE, img_size=512),
    "vit_large_patch32_224": replace(_LARGE, patch_size=32),
    "vit_large_patch32_384": replace(_LARGE, patch_size=32, img_size=384),
    "vit_huge_patch14_224": _HUGE,
    "vit_huge_patch14_518": replace(_HUGE, img_size=518),
    "vit_digits_patch2_8": _DIGITS,
    "vit_mnist_patch7_28": replace(_DIGITS, img_size=28, patch_size=7, embed_dim=64, depth=6, num_heads=4),
    "vit_mnist_patch4_28": replace(_AVERAGE, img_size=28, in_chans=1, embed_dim=96, depth=3),
    "vit_cifar_small_patch4_32": _AVERAGE,
    "vit_mnist_token_patch4_28": replace(_TOKEN, img_size=28, in_chans=1),
    "vit_cifar_token_patch4_32": _TOKEN,
    "vit_shapes_token_patch4_32": replace(_TOKEN, num_classes=8),
}

# What others published, under timm's names. Towers and self-supervised models have no head: num_classes is 0.
_BODIES = dict(tiny=_TINY, small=_SMALL, base=_BASE, large=_LARGE, huge=_HUGE)
_BODIES |= dict(medium=ViTConfig(embed_dim=512, num_heads=8), giant=ViTConfig(embed_dim=1536, depth=40, num_heads=24))
_DINOV2 = dict(img_size=518, patch_size=14, num_classes=0, init_values=1e-5)
_DINOV3 = dict(img_size=256, num_classes=0, init_values=1e-5, reg_tokens=4, pos_embed="rope", norm_eps=1e-5)
_CLIP = dict(num_classes=512, norm_pre=True, norm_eps=1e-5)
_GATED = dict(activation="swiglu", mlp_ratio=8 / 3)


def _sized(name: str, sizes: str, **changes: Any) -> dict[str, ViTConfig]:
    """{name with each of the sizes in the place of *: the config of that size, changed}."""
    return {name.replace("*", size): replace(_BODIES[size], **changes) for size in sizes.split()}


VIT_CONFIGS |= {
    **_sized("deit_*_patch16_224", "tiny small base"),
    **_sized("deit_*_patch16_384", "base", img_size=384),
    **_sized("deit_*_distilled_patch16_224", "tiny small base", dist_token=True),
    **_sized("deit_*_distilled_patch16_384", "base", dist_token=True, img_size=384),
    **_sized("deit3_*_patch16_224", "small medium base large", no_embed_class=True, init_values=1e-6),
    **_sized("deit3_*_patch16_384", "small base large", no_embed_class=True, init_values=1e-6, img_size=384),
    **_sized("deit3_*_patch14_224", "huge", no_embed_class=True, init_values=1e-6),
    **_sized("vit_*_patch14_dinov2", "small base large", **_DINOV2),
    **_sized("vit_*_patch14_dinov2", "giant", **_DINOV2, **_GATED),
    **_sized("vit_*_patch14_reg4_dinov2", "small base large", **_DINOV2, reg_tokens=4, no_embed_class=True),
    **_sized("vit_*_patch14_reg4_dinov2", "giant", **_DINOV2, **_GATED, reg_tokens=4, no_embed_class=True),
    **_sized("vit_*_patch16_dinov3", "small base large", **_DINOV3, qkv_bias=False),
    **_sized("vit_*_patch16_dinov3_qkvb", "small base large", **_DINOV3),
    **_sized("vit_*_patch16_clip_224", "base", **_CLIP),
    **_sized("vit_*_patch32_clip_224", "base", **_CLIP, patch_size=32),
    **_sized("vit_*_patch14_clip_224", "large", **_CLIP | {"num_classes": 768}, patch_size=14),
    **_sized("vit_*_patch16_clip_quickgelu_224", "base", **_CLIP, activation="quick_gelu"),
    **_sized("vit_*_patch32_clip_quickgelu_224", "base", **_CLIP, activation="quick_gelu", patch_size=32),
    **_sized("vit_*_patch16_siglip_224", "base", num_classes=0, global_pool="map"),
}


class VisionTransformer(nn.Module):
    """An image classifier: cut into patches, embed, add positions, L encoder blocks, norm, pool, head.

    Parameters and submodules carry timm's names: `patch_embed.proj`, `cls_token` (1, 1, D), `pos_embed`
    (1, N, D), `blocks.i`, `norm`, `head`, and `pre_logits.fc` where there is a representation layer (section 3.1 of the
    paper), as in Google's weights from ImageNet-21k; `dist_token`, `reg_token`, `norm_pre`, `fc_norm`, `attn_pool`,
    `head_dist` where the config asks for them.

    Args:
        config: a `ViTConfig`.

    Attributes:
        config: the same.
        preprocessing: how the loaded weights want their images; None until `load_pretrained` sets it.

    Shapes: (B, C, height, width) -> (B, num_classes); N = gh·gw, one more with a class token (and see
        `ViTConfig.num_prefix_tokens`).

    Raises:
        ValueError: the config does not fit together, or the images are not of its size.

    Source: Dosovitskiy et al. 2021, equations 1 to 4. Chapter 06.
    """

    block_class: type[EncoderBlock] = EncoderBlock

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing: Any = None
        self.num_prefix_tokens = config.num_prefix_tokens
        dim, norm = config.embed_dim, self._make_norm
        self.patch_embed = PatchEmbed(
            config.img_size, config.patch_size, config.in_chans, dim, bias=not config.norm_pre
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if config.has_class_token else None
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim)) if config.dist_token else None
        self.reg_token = nn.Parameter(STD * torch.randn(1, config.reg_tokens, dim)) if config.reg_tokens else None
        self.pos_embed = self._make_pos_embed()
        self.pos_drop = nn.Dropout(config.drop_rate)
        self.patch_drop = PatchDropout(self.num_prefix_tokens)
        self.norm_pre = norm() if config.norm_pre else nn.Identity()
        self.blocks = nn.Sequential(*map(self._make_block, range(config.depth)))
        self.norm = nn.Identity() if config.fc_norm else norm()
        self.attn_pool = None
        if config.global_pool == "map":
            mlp = make_mlp(config.activation, dim, int(dim * config.mlp_ratio))
            self.attn_pool = AttentionPool(dim, config.num_heads, norm(), mlp)
        self.fc_norm = norm() if config.fc_norm else nn.Identity()
        self.pre_logits, self.head, self.head_dist = self._make_head()
        init_weights(self, config.weight_init)

    def _make_norm(self) -> nn.Module:
        return NORMS[self.config.norm_layer](self.config.embed_dim, eps=self.config.norm_eps)

    def _make_pos_embed(self) -> nn.Parameter | nn.Buffer | None:
        """What is added to the tokens, or to the patches alone, (1, N, D): learned, computed (and no weight), or nothing."""
        dim, prefix = self.config.embed_dim, 0 if self.config.no_embed_class else self.num_prefix_tokens
        tokens = prefix + self.patch_embed.num_patches
        if self.config.pos_embed == "learn":
            return nn.Parameter(STD * torch.randn(1, tokens, dim))
        if self.config.pos_embed == "sincos1d":
            return nn.Buffer(sincos_pos_embed_1d(torch.arange(tokens), dim)[None], persistent=False)
        if self.config.pos_embed == "sincos2d":
            patches = sincos_pos_embed_2d(self.patch_embed.grid_size, dim)
            table = torch.cat([torch.zeros(prefix, dim), patches])  # the class token has no place
            return nn.Buffer(table[None], persistent=False)
        return None

    def _make_block(self, index: int) -> EncoderBlock:
        config, rel_pos, rope = self.config, None, None
        if config.pos_embed == "relative":
            rel_pos = RelativePositionBias(self.patch_embed.grid_size, config.num_heads, self.num_prefix_tokens)
        elif config.pos_embed == "rope":
            rope = RotaryPositions(self.patch_embed.grid_size, config.embed_dim // config.num_heads)
        return self.block_class(
            config.embed_dim,
            config.num_heads,
            mlp_ratio=config.mlp_ratio,
            qkv_bias=config.qkv_bias,
            norm_eps=config.norm_eps,
            attn_drop=config.attn_drop_rate,
            proj_drop=config.drop_rate,
            drop_path=config.drop_path_rate * index / max(config.depth - 1, 1),
            rel_pos=rel_pos,
            rope=rope,
            init_values=config.init_values,
            activation=config.activation,
            norm_layer=config.norm_layer,
            qk_norm=config.qk_norm,
        )

    def _make_head(self) -> tuple[nn.Module, nn.Module, nn.Module | None]:
        """The representation layer, tanh(fc(x)), the layer that answers, and that of the distillation token.

        Where there is none, it passes on; the third is None without a distillation token.
        """
        dim, hidden, classes = self.config.embed_dim, self.config.representation_size, self.config.num_classes
        pre_logits: nn.Module = nn.Identity()
        if hidden:
            pre_logits = nn.Sequential(OrderedDict(fc=nn.Linear(dim, hidden), act=nn.Tanh()))
        head = nn.Linear(hidden or dim, classes) if classes else nn.Identity()
        if not self.config.dist_token:
            return pre_logits, head, None
        return pre_logits, head, nn.Linear(dim, classes) if classes else nn.Identity()

    def embed(self, images: Tensor) -> Tensor:
        """The tokens, each with its place: (B, C, height, width) -> (B, N, D), the class token first if there is one."""
        x = self.patch_embed(images)  # (B, gh·gw, D)
        if self.config.no_embed_class and self.pos_embed is not None:
            x = x + self.pos_embed
        prefix = [token for token in (self.cls_token, self.dist_token, self.reg_token) if token is not None]
        if prefix:
            x = torch.cat([*(token.expand(x.shape[0], -1, -1) for token in prefix), x], dim=1)  # (B, prefix + gh·gw, D)
        if not self.config.no_embed_class and self.pos_embed is not None:
            x = x + self.pos_embed
        return self.norm_pre(self.patch_drop(self.pos_drop(x)))

    def encode(self, tokens: Tensor) -> Tensor:
        """The blocks and the last norm: (B, N, D) -> (B, N, D)."""
        return self.norm(self.blocks(tokens))

    def forward_features(self, images: Tensor) -> Tensor:
        """All tokens after the last norm: (B, C, height, width) -> (B, N, D)."""
        return self.encode(self.embed(images))

    def pool(self, tokens: Tensor) -> Tensor:
        """What the head sees: (B, N, D) -> (B, D)."""
        if self.config.global_pool == "token":
            return tokens[:, 0]
        patches = tokens[:, self.num_prefix_tokens :]  # (B, gh·gw, D)
        return patches.mean(dim=1) if self.attn_pool is None else self.attn_pool(patches)

    def forward_head(self, tokens: Tensor) -> Tensor:
        """From the tokens to the answer: (B, N, D) -> (B, num_classes)."""
        answer = self.head(self.pre_logits(self.fc_norm(self.pool(tokens))))
        if self.head_dist is None:
            return answer
        return (answer + self.head_dist(self.fc_norm(tokens[:, 1]))) / 2  # of the class and the distillation token

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new head with `num_classes` outputs in place of the old one (0: none); all else stays.

        As in fine-tuning (Dosovitskiy et al. 2021, section 3.2), a representation layer goes with the old head.
        """
        self.config = replace(self.config, num_classes=num_classes, representation_size=None)
        self.pre_logits, self.head, self.head_dist = self._make_head()
        for head in filter(None, (self.head, self.head_dist)):
            init_weights(head)
            head.to(self.patch_embed.proj.weight)  # its device and dtype


def init_weights(model: nn.Module, weight_init: str = "normal") -> None:
    """Starting values: linear weights and tables small and random (std 0.02), biases 0, patch filters by fan-in.

    With "xavier" the blocks' linear weights are drawn again, by their width; with "zero" moreover the last layer of each
    part of a block, and the head, start at 0, so that each block begins as the identity. Learned positions are drawn
    where they are made: the order of the draws decides what a seed gives, and recorded runs hold to it. Nothing is cut off: the
    usual bounds, -2 and 2, are 100 deviations away, and PyTorch's `trunc_normal_` differs from version to version.

    Source: Dosovitskiy et al. 2021, released code; Touvron et al. 2021 for 0.02; Glorot & Bengio 2010, equation 16,
    for "xavier"; Zhang et al. 2019 (Fixup) for blocks that begin as the identity. Chapters 05 and 08.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=STD)
        elif isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)  # fan-in: C·P·P
        elif isinstance(module, RelativePositionBias):
            nn.init.normal_(module.relative_position_bias_table, std=STD)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for name, module in model.named_modules():
        if weight_init == "normal" or not isinstance(module, nn.Linear):
            continue
        in_block = name.startswith("blocks.")
        if in_block:
            nn.init.xavier_uniform_(module.weight)
        if weight_init == "zero" and (name in ("head", "head_dist") or (in_block and name.endswith((".proj", ".fc2")))):
            nn.init.zeros_(module.weight)
