"""Weights as each library names and lays them out, written down by hand and apart from `course_lib.weights.convert`.

The truth of every test is a dictionary under timm's names with all numbers random. `as_torchvision`,
`as_huggingface` and `as_google` say what the same model holds in the other libraries.
"""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from course_lib.vit import VisionTransformer, ViTConfig


@dataclass(frozen=True)
class Shape:
    """A small model in which no two dimensions are the same by accident: D is not P·P·C, heads and classes differ."""

    img: int
    patch: int
    dim: int
    depth: int
    heads: int
    hidden: int
    classes: int = 7

    def config(self, **changes):
        facts = {
            "img_size": self.img,
            "patch_size": self.patch,
            "embed_dim": self.dim,
            "depth": self.depth,
            "num_heads": self.heads,
            "mlp_ratio": self.hidden / self.dim,
            "num_classes": self.classes,
        }
        return ViTConfig(**(facts | changes))

    def model(self, **changes):
        return VisionTransformer(self.config(**changes)).eval()


SHAPES = {
    "patch8": Shape(img=32, patch=8, dim=24, depth=2, heads=3, hidden=40),
    "patch14": Shape(img=42, patch=14, dim=20, depth=3, heads=5, hidden=80, classes=4),
    "deep": Shape(img=8, patch=4, dim=16, depth=11, heads=2, hidden=24, classes=10),  # block 1 and block 10
}
SMALL = Shape(img=8, patch=4, dim=12, depth=2, heads=3, hidden=20)


def random_state(model, seed=0):
    """A state dict for `model` with every number random: no norm is one, no bias zero, nothing saturates."""
    generator = np.random.default_rng(seed)
    state = {}
    for name, value in model.state_dict().items():
        z = torch.from_numpy(generator.standard_normal(tuple(value.shape), dtype=np.float32))
        if name.endswith("weight") and value.ndim >= 2 and not name.endswith("table"):
            z = z / value[0].numel() ** 0.5
        elif "norm" in name and name.endswith("weight"):
            z = 1 + 0.3 * z
        else:
            z = 0.3 * z
        state[name] = z.contiguous()
    return state


def filled(model, seed=0):
    """The model itself, with weights of `random_state`."""
    model.load_state_dict(random_state(model, seed))
    return model


def part(qkv, letter):
    """The rows of q, k or v in timm's fused tensor."""
    third = qkv.shape[0] // 3
    start = "qkv".index(letter) * third
    return qkv[start : start + third]


def depth_of(state):
    return 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))


KINDS = ("weight", "bias")


def as_torchvision(state, published=False):
    """torchvision's names; `published`: those of its files, which are older than the code."""
    fc1, fc2 = ("linear_1", "linear_2") if published else ("0", "3")
    theirs = {"class_token": state["cls_token"], "encoder.pos_embedding": state["pos_embed"]}
    for kind in KINDS:
        theirs[f"conv_proj.{kind}"] = state[f"patch_embed.proj.{kind}"]
        theirs[f"encoder.ln.{kind}"] = state[f"norm.{kind}"]
        if f"head.{kind}" in state:
            theirs[f"heads.head.{kind}"] = state[f"head.{kind}"]
        if f"pre_logits.fc.{kind}" in state:
            theirs[f"heads.pre_logits.{kind}"] = state[f"pre_logits.fc.{kind}"]
        for i in range(depth_of(state)):
            ours, block = f"blocks.{i}.", f"encoder.layers.encoder_layer_{i}."
            theirs[f"{block}ln_1.{kind}"] = state[f"{ours}norm1.{kind}"]
            theirs[f"{block}self_attention.in_proj_{kind}"] = state[f"{ours}attn.qkv.{kind}"]
            theirs[f"{block}self_attention.out_proj.{kind}"] = state[f"{ours}attn.proj.{kind}"]
            theirs[f"{block}ln_2.{kind}"] = state[f"{ours}norm2.{kind}"]
            theirs[f"{block}mlp.{fc1}.{kind}"] = state[f"{ours}mlp.fc1.{kind}"]
            theirs[f"{block}mlp.{fc2}.{kind}"] = state[f"{ours}mlp.fc2.{kind}"]
    return theirs


def as_huggingface(state, old=False, prefix="vit."):
    """transformers' names: those in memory since 5.0, or the `old` ones, which its files keep."""
    theirs = {
        f"{prefix}embeddings.cls_token": state["cls_token"],
        f"{prefix}embeddings.position_embeddings": state["pos_embed"],
    }
    for kind in KINDS:
        theirs[f"{prefix}embeddings.patch_embeddings.projection.{kind}"] = state[f"patch_embed.proj.{kind}"]
        theirs[f"{prefix}layernorm.{kind}"] = state[f"norm.{kind}"]
        if f"head.{kind}" in state:
            theirs[f"classifier.{kind}"] = state[f"head.{kind}"]
        if f"pre_logits.fc.{kind}" in state:
            theirs[f"{prefix}pooler.dense.{kind}"] = state[f"pre_logits.fc.{kind}"]
        for i in range(depth_of(state)):
            ours = f"blocks.{i}."
            block = f"{prefix}encoder.layer.{i}." if old else f"{prefix}layers.{i}."
            for letter, word in zip("qkv", ("query", "key", "value"), strict=True):
                name = f"attention.attention.{word}" if old else f"attention.{letter}_proj"
                if f"{ours}attn.qkv.{kind}" in state:
                    theirs[f"{block}{name}.{kind}"] = part(state[f"{ours}attn.qkv.{kind}"], letter)
            names = {
                "norm1": "layernorm_before",
                "norm2": "layernorm_after",
                "attn.proj": "attention.output.dense" if old else "attention.o_proj",
                "mlp.fc1": "intermediate.dense" if old else "mlp.fc1",
                "mlp.fc2": "output.dense" if old else "mlp.fc2",
            }
            for mine, name in names.items():
                theirs[f"{block}{name}.{kind}"] = state[f"{ours}{mine}.{kind}"]
    return theirs


def as_google(state, heads, prefix=""):
    """Google's arrays: the input dimension first, and the heads an axis of their own."""
    x = {name: value.numpy() for name, value in state.items()}
    dim = x["cls_token"].shape[-1]
    theirs = {
        "cls": x["cls_token"],
        "Transformer/posembed_input/pos_embedding": x["pos_embed"],
        "embedding/kernel": np.einsum("dcpq->pqcd", x["patch_embed.proj.weight"]),
        "embedding/bias": x["patch_embed.proj.bias"],
        "Transformer/encoder_norm/scale": x["norm.weight"],
        "Transformer/encoder_norm/bias": x["norm.bias"],
    }
    for mine, name in (("head", "head"), ("pre_logits.fc", "pre_logits")):
        if f"{mine}.weight" in x:
            theirs[f"{name}/kernel"] = np.einsum("oi->io", x[f"{mine}.weight"])
            theirs[f"{name}/bias"] = x[f"{mine}.bias"]
    for i in range(depth_of(state)):
        ours, block = f"blocks.{i}.", f"Transformer/encoderblock_{i}/"
        for mine, number in (("norm1", 0), ("norm2", 2)):
            theirs[f"{block}LayerNorm_{number}/scale"] = x[f"{ours}{mine}.weight"]
            theirs[f"{block}LayerNorm_{number}/bias"] = x[f"{ours}{mine}.bias"]
        attention = f"{block}MultiHeadDotProductAttention_1/"
        for letter, word in zip("qkv", ("query", "key", "value"), strict=True):
            weight = part(x[f"{ours}attn.qkv.weight"], letter).reshape(heads, dim // heads, dim)
            theirs[f"{attention}{word}/kernel"] = np.einsum("hdi->ihd", weight)
            theirs[f"{attention}{word}/bias"] = part(x[f"{ours}attn.qkv.bias"], letter).reshape(heads, dim // heads)
        weight = x[f"{ours}attn.proj.weight"].reshape(dim, heads, dim // heads)
        theirs[f"{attention}out/kernel"] = np.einsum("ohd->hdo", weight)
        theirs[f"{attention}out/bias"] = x[f"{ours}attn.proj.bias"]
        for mine, number in (("fc1", 0), ("fc2", 1)):
            theirs[f"{block}MlpBlock_3/Dense_{number}/kernel"] = np.einsum("oi->io", x[f"{ours}mlp.{mine}.weight"])
            theirs[f"{block}MlpBlock_3/Dense_{number}/bias"] = x[f"{ours}mlp.{mine}.bias"]
    return {prefix + name: np.ascontiguousarray(value) for name, value in theirs.items()}


def assert_same(found, expected):
    """Two dictionaries of tensors: the same names, and every tensor equal to the last bit."""
    assert sorted(found) == sorted(expected)
    different = [name for name in expected if not torch.equal(torch.as_tensor(found[name]), expected[name])]
    assert not different


def write(kind, state, path, heads=3):
    """A file of that kind with the weights `state`: the four formats, and two ways of naming in each."""
    from safetensors.torch import save_file

    if kind == "npz":
        np.savez(path, **as_google(state, heads))
    elif kind == "npz-packed":
        np.savez_compressed(path, **as_google(state, heads))
    elif kind == "safetensors":
        save_file({name: value.contiguous() for name, value in state.items()}, path, metadata={"format": "pt"})
    elif kind == "huggingface":
        theirs = as_huggingface(state, old=True)
        save_file({name: value.contiguous() for name, value in theirs.items()}, path, metadata={"format": "pt"})
    else:
        torch.save(as_torchvision(state, published=True), path, _use_new_zipfile_serialization=kind == "zip")
    return path


ENDINGS = {
    "zip": ".pth",
    "legacy": ".pth",
    "safetensors": ".safetensors",
    "huggingface": ".safetensors",
    "npz": ".npz",
    "npz-packed": ".npz",
}


class Snapshot:
    """A model as it was: whatever fails must leave it so."""

    def __init__(self, model):
        self.state = {name: value.clone() for name, value in model.state_dict().items()}
        self.rest = self.describe(model)

    @staticmethod
    def describe(model):
        eps = [module.eps for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
        return repr(model), model.config, model.preprocessing, eps

    def assert_unchanged(self, model):
        assert_same(model.state_dict(), self.state)
        assert self.describe(model) == self.rest


LONGEST = 300  # characters of a message, beside the file's path


def refuse(model, file, capsys, match=None, **options):
    """Loading `file` must fail with one line that names it, change nothing and print nothing. Returns the line."""
    from course_lib.weights.load import load_pretrained

    before = Snapshot(model)
    capsys.readouterr()
    with pytest.raises(ValueError) as caught:
        load_pretrained(model, file, **options)
    message = str(caught.value)
    check_message(message, file)
    assert caught.type is ValueError
    before.assert_unchanged(model)
    assert capsys.readouterr().out == ""
    if match:
        assert re.search(match, message), message
    return message


def check_message(message, file):
    assert "\n" not in message and "\r" not in message, repr(message)
    assert file.name in message, message
    assert len(message.replace(str(file), file.name)) <= LONGEST, message
    assert "weights_only" not in message and "allow_pickle=True" not in message, message


def torchvision_weights():
    """{our name: torchvision's entry} of its Vision Transformers."""
    import torchvision.models as models

    enums = (
        models.ViT_B_16_Weights,
        models.ViT_B_32_Weights,
        models.ViT_L_16_Weights,
        models.ViT_L_32_Weights,
        models.ViT_H_14_Weights,
    )
    return {
        f"torchvision/{enum.__name__.removesuffix('_Weights').lower()}.{weights.name.lower()}": weights
        for enum in enums
        for weights in enum
    }
