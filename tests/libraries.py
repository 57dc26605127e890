"""The same model in other libraries: build it from a `ViTConfig`, copy our weights over, run it.

Each library has three plain functions: which configs it knows, how to build one, and our state dict under its
names. Loading is strict: a name too many or too few is an error.
"""

import re
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from reference import Pass, vision_transformer
from torch import nn

from course_lib.interpret.maps import record_attention
from course_lib.validate import as_pair
from course_lib.vit import VisionTransformer

# The bar, for every element: the largest error allowed, absolute, and as a share of the largest number in the tensor.
BARS = {torch.float64: (1e-12, 1e-12), torch.float32: (1e-5, 5e-6)}


def within_bar(found, expected):
    """Whether `found` has the shape of `expected` (which may be float64) and meets the bar of its own dtype."""
    if found.shape != expected.shape or not expected.isfinite().all():
        return False
    absolute, share = BARS[found.dtype]
    error = (found.double() - expected.double()).abs().max()
    return bool(error <= absolute and error <= share * expected.abs().max())  # False for NaN too


def fill(shape, name, generator):
    """Random numbers for the weight called `name`: nothing zero, nothing one, nothing vanishing or saturating.

    The tokens enter the first block small (0.1), or the epsilon of a LayerNorm would hardly matter; what the blocks
    add is scaled down, or all tokens would grow alike and every attention map flat.
    """
    z = generator.standard_normal(shape, dtype=np.float32)
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.3 * z
    if name.endswith("bias_table"):
        return z
    if name in ("cls_token", "pos_embed") or name == "patch_embed.proj.bias":
        return 0.05 * z
    if name.endswith("bias"):
        return (0.02 if OUTPUT.search(name) else 0.1) * z
    (gain,) = [gain for part, gain in GAINS.items() if part in name] or [1.0]
    return gain / np.sqrt(np.prod(shape[1:])) * z


OUTPUT = re.compile(r"attn\.proj|mlp\.fc2")
GAINS = {"patch_embed": 0.1, "attn.qkv": 1.25, "attn.proj": 0.25, "fc2": 0.5}


def random_weights(model, seed=0):
    """A state dict for `model` with every number random. NumPy draws them: the same on every machine."""
    generator = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(np.asarray(fill(tuple(value.shape), name, generator), np.float32))
        for name, value in model.state_dict().items()
    }


def random_images(config, batch=2, seed=1, dtype=torch.float32):
    height, width = as_pair("img_size", config.img_size)
    z = np.random.default_rng(seed).standard_normal((batch, config.in_chans, height, width), dtype=np.float32)
    return torch.from_numpy(z).to(dtype)


def built(build):
    """A module whose weights will all be replaced: no time is lost on starting values unless it computes tables."""
    with torch.device("meta"):
        model = build()
    return build() if [*model.buffers()] else model


def ours(config, dtype=torch.float32, seed=0):
    """Our model of that config in evaluation mode, its weights from `random_weights`."""
    model = built(lambda: VisionTransformer(config))
    model.load_state_dict(random_weights(model, seed), assign=True)
    return model.to(dtype).eval()


@contextmanager
def outputs_of(modules, pick=lambda output: output):
    """What each of the modules gives back, in the order in which they run."""
    found = []
    handles = [module.register_forward_hook(lambda _, __, output: found.append(pick(output))) for module in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def run_ours(model, images):
    with outputs_of(model.blocks) as blocks, record_attention(model) as maps:
        return Pass(model(images), blocks, maps)


@torch.no_grad()
def run_ours_fused(model, images):
    """The same without recording: what everybody runs. No attention maps."""
    with outputs_of(model.blocks) as blocks:
        return Pass(model(images), blocks, [])


def positions_as_weights(model):
    """Our weights, and among them the sine-cosine table, which the libraries can only hold as a parameter."""
    weights = dict(model.state_dict())
    if model.pos_embed is not None:
        weights["pos_embed"] = model.pos_embed.detach()
    return weights


def eps_norm(config):
    return partial(nn.LayerNorm, eps=config.norm_eps)


# NumPy


def run_reference(model, images):
    weights = {name: value.detach().double().numpy() for name, value in positions_as_weights(model).items()}
    found = vision_transformer(weights, images.double().numpy(), model.config.num_heads, model.config.norm_eps)
    return Pass(
        torch.from_numpy(found.logits),
        [*map(torch.from_numpy, found.blocks)],
        [*map(torch.from_numpy, found.attention)],
    )


# timm


def timm_knows(config):
    return not config.representation_size


def timm_model(config):
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vision_transformer_relpos import VisionTransformerRelPos

    same = ("img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads", "mlp_ratio")
    options = {name: getattr(config, name) for name in (*same, "qkv_bias", "global_pool")}
    options |= {"class_token": config.global_pool == "token", "fc_norm": False, "norm_layer": eps_norm(config)}
    if config.pos_embed == "relative":
        return VisionTransformerRelPos(**options, init_values=None, rel_pos_type="bias")
    return VisionTransformer(**options, pos_embed="none" if config.pos_embed == "none" else "learn")


def timm_weights(model):
    return positions_as_weights(model)


@torch.no_grad()
def timm_run(model, images):
    for block in model.blocks:
        block.attn.fused_attn = False
    with outputs_of(model.blocks) as blocks, outputs_of([b.attn.attn_drop for b in model.blocks]) as maps:
        return Pass(model(images), blocks, maps)


# torchvision


def torchvision_knows(config):
    square = len(set(as_pair("img_size", config.img_size))) == 1
    return square and config.in_chans == 3 and config.qkv_bias and config.pos_embed != "relative" and has_token(config)


def has_token(config):
    return config.global_pool == "token"


def torchvision_model(config):
    from torchvision.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        image_size=config.img_size,
        patch_size=config.patch_size,
        num_layers=config.depth,
        num_heads=config.num_heads,
        hidden_dim=config.embed_dim,
        mlp_dim=int(config.embed_dim * config.mlp_ratio),
        num_classes=config.num_classes,
        representation_size=config.representation_size,
        norm_layer=eps_norm(config),
    )


TORCHVISION_NAMES = {
    "norm1": "ln_1",
    "attn.qkv.weight": "self_attention.in_proj_weight",
    "attn.qkv.bias": "self_attention.in_proj_bias",
    "attn.proj": "self_attention.out_proj",
    "norm2": "ln_2",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.3",
}


def torchvision_weights(model):
    weights = positions_as_weights(model)
    theirs = {
        "conv_proj.weight": weights["patch_embed.proj.weight"],
        "conv_proj.bias": weights["patch_embed.proj.bias"],
        "class_token": weights["cls_token"],
        "encoder.pos_embedding": weights.get("pos_embed", no_positions(model)),
        "encoder.ln.weight": weights["norm.weight"],
        "encoder.ln.bias": weights["norm.bias"],
        "heads.head.weight": weights["head.weight"],
        "heads.head.bias": weights["head.bias"],
    }
    for kind in ("weight", "bias"):
        if f"pre_logits.fc.{kind}" in weights:
            theirs[f"heads.pre_logits.{kind}"] = weights[f"pre_logits.fc.{kind}"]
    for i in range(len(model.blocks)):
        theirs |= renamed(weights, f"blocks.{i}.", f"encoder.layers.encoder_layer_{i}.", TORCHVISION_NAMES)
    return theirs


def renamed(weights, prefix, new_prefix, names):
    """The weights of one block under other names: `names` maps the beginnings of ours to the beginnings of theirs."""
    found = {}
    for name, value in weights.items():
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            (start,) = [start for start in names if rest.startswith(start)]
            found[new_prefix + names[start] + rest.removeprefix(start)] = value
    return found


def no_positions(model):
    return torch.zeros(1, model.patch_embed.num_patches + 1, model.config.embed_dim)


def ask_for_weights(module, arguments, options):
    """torchvision calls its attention with need_weights=False; this asks for the weights of each head."""
    return arguments, options | {"need_weights": True, "average_attn_weights": False}


@torch.no_grad()
def torchvision_run(model, images):
    attentions = [layer.self_attention for layer in model.encoder.layers]
    handles = [layer.register_forward_pre_hook(ask_for_weights, with_kwargs=True) for layer in attentions]
    try:
        with outputs_of(model.encoder.layers) as blocks, outputs_of(attentions, lambda output: output[1]) as maps:
            return Pass(model(images), blocks, maps)
    finally:
        for handle in handles:
            handle.remove()


# Hugging Face transformers


def huggingface_knows(config):
    return has_token(config) and config.pos_embed != "relative" and not config.representation_size


def huggingface_model(config):
    from transformers import ViTConfig, ViTForImageClassification

    theirs = ViTConfig(
        image_size=config.img_size,
        patch_size=config.patch_size,
        num_channels=config.in_chans,
        num_labels=config.num_classes,
        hidden_size=config.embed_dim,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        intermediate_size=int(config.embed_dim * config.mlp_ratio),
        qkv_bias=config.qkv_bias,
        layer_norm_eps=config.norm_eps,
        attn_implementation="eager",
    )
    return ViTForImageClassification(theirs)


HUGGINGFACE_NAMES = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.o_proj",
    "norm2": "layernorm_after",
    "mlp": "mlp",
}


def huggingface_weights(model):
    weights = positions_as_weights(model)
    theirs = {
        "vit.embeddings.patch_embeddings.projection.weight": weights["patch_embed.proj.weight"],
        "vit.embeddings.patch_embeddings.projection.bias": weights["patch_embed.proj.bias"],
        "vit.embeddings.cls_token": weights["cls_token"],
        "vit.embeddings.position_embeddings": weights.get("pos_embed", no_positions(model)),
        "vit.layernorm.weight": weights["norm.weight"],
        "vit.layernorm.bias": weights["norm.bias"],
        "classifier.weight": weights["head.weight"],
        "classifier.bias": weights["head.bias"],
    }
    for i in range(len(model.blocks)):
        fused = {name: weights.pop(name) for name in list(weights) if name.startswith(f"blocks.{i}.attn.qkv.")}
        for name, value in fused.items():
            for part, third in zip("qkv", value.chunk(3), strict=True):
                theirs[f"vit.layers.{i}.attention.{part}_proj.{name.split('.')[-1]}"] = third
        theirs |= renamed(weights, f"blocks.{i}.", f"vit.layers.{i}.", HUGGINGFACE_NAMES)
    return theirs


def fused_with_weights(module, query, key, value, mask, scaling, **options):
    """The library's fused attention, and beside it the weights from the queries, keys and scale it was given.

    Its eager attention rounds the softmax to float32 even in a float64 model: no use at 1e-12.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    output, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **options)
    return output, (query @ key.transpose(2, 3) * scaling).softmax(-1)


@torch.no_grad()
def huggingface_run(model, images):
    from transformers import AttentionInterface

    AttentionInterface.register("fused_with_weights", fused_with_weights)
    kind = "fused_with_weights" if images.dtype == torch.float64 else "eager"
    model.set_attn_implementation(kind)
    attentions = [layer.attention for layer in model.vit.layers]
    with outputs_of(model.vit.layers) as blocks, outputs_of(attentions, lambda output: output[1]) as maps:
        return Pass(model(images).logits, blocks, maps)


LIBRARIES = {
    "timm": SimpleNamespace(knows=timm_knows, build=timm_model, weights=timm_weights, run=timm_run),
    "torchvision": SimpleNamespace(
        knows=torchvision_knows, build=torchvision_model, weights=torchvision_weights, run=torchvision_run
    ),
    "transformers": SimpleNamespace(
        knows=huggingface_knows, build=huggingface_model, weights=huggingface_weights, run=huggingface_run
    ),
}


def as_published(library, model):
    """The library's model as its users run it: fused attention, no hooks. Gives the function from images to logits."""
    theirs = twin(library, model)
    if library == "transformers":
        theirs.set_attn_implementation("sdpa")
        return lambda images: theirs(images).logits
    return theirs


def twin(library, model):
    """The library's own model with the config, weights and dtype of ours, in evaluation mode."""
    library = LIBRARIES[library]
    theirs = built(lambda: library.build(model.config))
    theirs.load_state_dict(library.weights(model), strict=True, assign=True)
    return theirs.to(next(model.parameters()).dtype).eval()
