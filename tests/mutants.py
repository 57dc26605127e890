"""Vision Transformers with one mistake each, and which check sees it.

    python tests/mutants.py          # writes data/results/model_mutants.json

A mutant is a small change to a right model: to its weights, as when they are loaded wrongly, or to its forward
pass, as when it is written wrongly. Each is compared with the NumPy reference by the tests' own bar, and by what is
usual elsewhere: a tolerance of 1e-3 or 1e-4 on the logits, the same top-1, the same number of parameters.
"""

import json
import platform
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from libraries import ours, random_images, run_ours, run_reference, within_bar
from torch import nn

from course_lib.pos_embed import RelativePositionBias
from course_lib.vit import ViTConfig

RECORD = Path(__file__).parent.parent / "data" / "results" / "model_mutants.json"
BATCH = 16
SIZES = {"img_size": (24, 40), "patch_size": 8, "embed_dim": 48, "depth": 4, "num_heads": 4, "num_classes": 10}


# Mistakes in the weights


def change(part, repair):
    """A mutant in which every weight whose name ends in `part` is what `repair` makes of it."""

    def spoil(model):
        found = [parameter for name, parameter in model.named_parameters() if name.endswith(part)]
        assert found, part
        for parameter in found:
            parameter.data = repair(parameter.data).contiguous()

    return spoil


def reorder(*order):
    """q, k and v in another order."""
    return lambda qkv: torch.cat([qkv.chunk(3)[part] for part in order])


def without(part):
    """The bias of one of q, k, v left at zero."""
    return lambda bias: torch.cat([0 * third if i == part else third for i, third in enumerate(bias.chunk(3))])


def both(*spoils):
    return lambda model: [spoil(model) for spoil in spoils]


def in_first_block(spoil):
    def spoil_first(model):
        spoil(model.blocks[0])

    return spoil_first


def filters_by_pixel(weight):
    """The numbers of a filter read as (row, column, channel) where they are (channel, row, column)."""
    return rearrange(weight.flatten(1), "D (P Q C) -> D C P Q", P=weight.shape[2], Q=weight.shape[3])


def packed_by_head(qkv):
    """Rows taken for head, then q | k | v, where they are q | k | v, then head."""
    return rearrange(qkv, "(H three d) ... -> (three H d) ...", three=3, H=SIZES["num_heads"])


def swap_norms(model):
    for block in model.blocks:
        block.norm1, block.norm2 = block.norm2, block.norm1


def no_second_bias(model):
    for block in model.blocks:
        block.mlp.fc2.bias = None


def reverse_blocks(model):
    model.blocks = nn.Sequential(*reversed(model.blocks))


def drop_last_block(model):
    model.blocks = model.blocks[:-1]


# Mistakes in LayerNorm, GELU and dropout


def for_each(kind, spoil):
    return lambda model: [spoil(module) for module in model.modules() if isinstance(module, kind)]


def set_eps(eps):
    return for_each(nn.LayerNorm, lambda norm: setattr(norm, "eps", eps))


def normalise(denominator):
    """LayerNorm with another denominator, a function of the centred input and epsilon."""

    def forward(norm, x):
        centred = x - x.mean(-1, keepdim=True)
        return centred / denominator(centred, norm.eps) * norm.weight + norm.bias

    return for_each(nn.LayerNorm, lambda norm: setattr(norm, "forward", partial(forward, norm)))


def sample_variance(centred, eps):
    return (centred.square().sum(-1, keepdim=True) / (centred.shape[-1] - 1) + eps).sqrt()


def eps_outside(centred, eps):
    return centred.square().mean(-1, keepdim=True).sqrt() + eps


def activation(function):
    return for_each(nn.GELU, lambda gelu: setattr(gelu, "forward", function))


def drop_a_tenth(x):
    """Dropout at 0.1, each tenth number instead of a random one: the same on every machine."""
    keep = (torch.arange(x.numel()) % 10 > 0).view_as(x)
    return x * keep / 0.9


def dropout_stays_on(model):
    for block in model.blocks:
        block.mlp.drop.forward = drop_a_tenth


# Mistakes in attention


def attention(compute):
    """A mutant in which `compute` takes the place of softmax(Q Kᵀ / √d) V; all are (B, H, N, d)."""

    def spoil(model):
        for block in model.blocks:
            block.attn._attend = partial(compute, block.attn)

    return spoil


def mix(attn, scores, v, over=-1):
    weights = scores.softmax(over)
    attn.recorder(weights)
    return weights @ v


def scaled(factor):
    """Another factor on the scores, given D and d."""
    return attention(lambda attn, q, k, v: mix(attn, q @ k.mT * factor(attn.dim, q.shape[-1]), v))


def scores_of(q, k):
    return q @ k.mT / q.shape[-1] ** 0.5


def merge_by_view(attn, q, k, v):
    """The heads laid one after the other as they lie in memory, without turning (H, N) into (N, H) first."""
    out = mix(attn, scores_of(q, k), v)
    return rearrange(out.reshape(len(out), -1), "B (N H d) -> B H N d", H=out.shape[1], d=out.shape[3])


def over_the_batch(attn, q, k, v):
    """Batch and tokens exchanged: each token looks at the same place in the other images."""
    q, k, v = (rearrange(x, "B H N d -> N H B d") for x in (q, k, v))
    return rearrange(mix(attn, scores_of(q, k), v), "N H B d -> B H N d")


def first_head_zero(attn, q, k, v):
    out = mix(attn, scores_of(q, k), v)
    return torch.cat([0 * out[:, :1], out[:, 1:]], dim=1)


def in_float16(attn, q, k, v):
    q, k, v = (x.half().to(x.dtype) for x in (q, k, v))
    return mix(attn, scores_of(q, k), v)


def transposed_bias(model):
    for module in model.modules():
        if isinstance(module, RelativePositionBias):
            module.index = module.index.T.contiguous()


# Mistakes in the block and the model


def block_forward(forward):
    def spoil(model):
        for block in model.blocks:
            block.forward = partial(forward, block)

    return spoil


def post_norm(block, x):
    x = block.norm1(x + block.attn(x))
    return block.norm2(x + block.mlp(x))


def parallel(block, x):
    return x + block.attn(block.norm1(x)) + block.mlp(block.norm2(x))


def no_first_residual(block, x):
    x = block.attn(block.norm1(x))
    return x + block.mlp(block.norm2(x))


def no_second_residual(block, x):
    x = x + block.attn(block.norm1(x))
    return block.mlp(block.norm2(x))


def norm1_twice(block, x):
    x = x + block.attn(block.norm1(x))
    return x + block.mlp(block.norm1(x))


def no_norm2(block, x):
    x = x + block.attn(block.norm1(x))
    return x + block.mlp(x)


def embedding(embed):
    """Another equation 1: `embed` makes the first tokens from the model and the embedded patches (B, gh·gw, D)."""

    def spoil(model):
        def forward_features(images):
            return model.norm(model.blocks(embed(model, model.patch_embed(images))))

        model.forward_features = forward_features

    return spoil


def classes(model, patches):
    return model.cls_token.expand(len(patches), -1, -1)


def by_columns(model, patches):
    gh, gw = model.patch_embed.grid_size
    patches = rearrange(patches, "B (gh gw) D -> B (gw gh) D", gh=gh, gw=gw)
    return torch.cat([classes(model, patches), patches], 1) + model.pos_embed


def class_last(model, patches):
    return torch.cat([patches, classes(model, patches)], 1) + model.pos_embed


def class_without_position(model, patches):
    """Positions added to the patches, from the first on, and the class token put in front after that."""
    return torch.cat([classes(model, patches), patches + model.pos_embed[:, :-1]], 1)


def positions_twice(model, patches):
    return torch.cat([classes(model, patches), patches + model.pos_embed[:, 1:]], 1) + model.pos_embed


def no_class_token(model, patches):
    """The answer is then read off the first patch."""
    return patches + model.pos_embed[:, 1:]


def pool(how):
    def spoil(model):
        model.forward_head = lambda tokens: model.head(how(tokens))

    return spoil


def no_final_norm(model):
    model.norm.forward = lambda x: x


def norm_after_pooling(model):
    final = nn.LayerNorm(model.config.embed_dim, model.config.norm_eps, dtype=model.norm.weight.dtype)
    final.load_state_dict(model.norm.state_dict())
    no_final_norm(model)
    model.forward_head = lambda tokens: model.head(final(tokens.mean(1)))


def rows_first(model):
    first, second = model.pos_embed.chunk(2, dim=-1)
    model.pos_embed = torch.cat([second, first], dim=-1)


def alternating(model):
    """Sines and cosines alternating, as in the first Transformer, where all sines come first."""
    model.pos_embed = rearrange(model.pos_embed, "1 N (part two D) -> 1 N (part D two)", part=2, two=2)


qkv, qkv_bias = "attn.qkv.weight", "attn.qkv.bias"
swap_qk = both(change(qkv, reorder(1, 0, 2)), change(qkv_bias, reorder(1, 0, 2)))

# {name: (options of the right model, what spoils it)}
MUTANTS = {
    "LayerNorm epsilon 1e-5": ({}, set_eps(1e-5)),
    "LayerNorm epsilon 1e-12": ({}, set_eps(1e-12)),
    "LayerNorm: epsilon outside the root": ({}, normalise(eps_outside)),
    "LayerNorm: variance with D - 1": ({}, normalise(sample_variance)),
    "GELU by tanh": ({}, activation(partial(F.gelu, approximate="tanh"))),
    "GELU by x · sigmoid(1.702 x)": ({}, activation(lambda x: x * torch.sigmoid(1.702 * x))),
    "ReLU for GELU": ({}, activation(F.relu)),
    "dropout active in evaluation": ({}, dropout_stays_on),
    "q and k swapped": ({}, swap_qk),
    "q and k swapped in one block": ({}, in_first_block(swap_qk)),
    "k and v swapped": ({}, both(change(qkv, reorder(0, 2, 1)), change(qkv_bias, reorder(0, 2, 1)))),
    "bias of q dropped": ({}, change(qkv_bias, without(0))),
    "bias of k dropped": ({}, change(qkv_bias, without(1))),
    "bias of v dropped": ({}, change(qkv_bias, without(2))),
    "qkv packed by head": ({}, both(change(qkv, packed_by_head), change(qkv_bias, packed_by_head))),
    "bias of the output projection dropped": ({}, change("attn.proj.bias", torch.zeros_like)),
    "output projection transposed": ({}, change("attn.proj.weight", torch.t)),
    "second bias of the MLP missing": ({}, no_second_bias),
    "bias of the head dropped": ({}, change("head.bias", torch.zeros_like)),
    "bias of the patch embedding dropped": ({}, change("patch_embed.proj.bias", torch.zeros_like)),
    "class token not loaded": ({}, change("cls_token", torch.zeros_like)),
    "final norm not loaded": ({}, both(change("norm.weight", torch.ones_like), change("norm.bias", torch.zeros_like))),
    "the two norms of a block swapped": ({}, swap_norms),
    "blocks in reverse order": ({}, reverse_blocks),
    "last block left out": ({}, drop_last_block),
    "channels BGR": ({}, change("patch_embed.proj.weight", lambda weight: weight.flip(1))),
    "rows and columns of a patch exchanged": ({}, change("patch_embed.proj.weight", lambda weight: weight.mT)),
    "patch read as (row, column, channel)": ({}, change("patch_embed.proj.weight", filters_by_pixel)),
    "position of the class token dropped": ({}, change("pos_embed", lambda table: F.pad(table[:, 1:], (0, 0, 1, 0)))),
    "positions rolled by one": ({}, change("pos_embed", lambda table: table.roll(1, dims=1))),
    "scores divided by √D": ({}, scaled(lambda dim, d: dim**-0.5)),
    "scores divided by d": ({}, scaled(lambda dim, d: 1 / d)),
    "scores not scaled": ({}, scaled(lambda dim, d: 1.0)),
    "softmax over the queries": ({}, attention(lambda attn, q, k, v: mix(attn, scores_of(q, k), v, over=-2))),
    "heads merged by a view": ({}, attention(merge_by_view)),
    "attention over the batch": ({}, attention(over_the_batch)),
    "first head zero": ({}, attention(first_head_zero)),
    "attention in float16": ({}, attention(in_float16)),
    "post-norm": ({}, block_forward(post_norm)),
    "attention and MLP in parallel": ({}, block_forward(parallel)),
    "no residual around attention": ({}, block_forward(no_first_residual)),
    "no residual around the MLP": ({}, block_forward(no_second_residual)),
    "norm1 in place of norm2": ({}, block_forward(norm1_twice)),
    "no norm before the MLP": ({}, block_forward(no_norm2)),
    "patches by columns": ({}, embedding(by_columns)),
    "class token last": ({}, embedding(class_last)),
    "class token without a position": ({}, embedding(class_without_position)),
    "positions added twice": ({}, embedding(positions_twice)),
    "class token missing": ({}, embedding(no_class_token)),
    "mean of the patches for the class token": ({}, pool(lambda tokens: tokens[:, 1:].mean(1))),
    "mean of all tokens": ({}, pool(lambda tokens: tokens.mean(1))),
    "no final norm": ({}, no_final_norm),
    "norm after the pooling": ({"global_pool": "avg"}, norm_after_pooling),
    "first patch for the mean": ({"global_pool": "avg"}, pool(lambda tokens: tokens[:, 0])),
    "sincos2d: row before column": ({"pos_embed": "sincos2d"}, rows_first),
    "sincos2d: sine and cosine alternating": ({"pos_embed": "sincos2d"}, alternating),
    "relative bias transposed": ({"pos_embed": "relative"}, transposed_bias),
    "tanh of the representation missing": (
        {"representation_size": 20},
        lambda model: setattr(model.pre_logits, "forward", lambda x: model.pre_logits.fc(x)),
    ),
}


# The checks


def config_of(name):
    return ViTConfig(**(SIZES | MUTANTS[name][0]))


right_model = cache(ours)  # to compare with; nobody changes it


@cache
def expected(config):
    """The NumPy reference with the right weights, in float64."""
    return run_reference(right_model(config, torch.float64), random_images(config, BATCH))


def mutant(name, dtype):
    model = ours(config_of(name), dtype)
    MUTANTS[name][1](model)
    return model


def alike(found, wanted):
    return len(found) == len(wanted) and all(map(within_bar, found, wanted))


def same_parameters(model, right):
    found, wanted = dict(model.named_parameters()), dict(right.named_parameters())
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def seen_by(model, found):
    """Which of our checks see that `model`, whose forward pass gave `found`, is not the right one."""
    wanted, right = expected(model.config), right_model(model.config, found.logits.dtype)
    checks = {
        "logits": within_bar(found.logits, wanted.logits),
        "blocks": alike(found.blocks, wanted.blocks),
        "attention": alike(found.attention, wanted.attention),
        "parameters": same_parameters(model, right),
    }
    return [check for check, passed in checks.items() if not passed]


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def score(name):
    """One row of the table. The numbers come from float64: they are the same on every machine."""
    config = config_of(name)
    rows = {}
    for dtype in (torch.float64, torch.float32):
        model = mutant(name, dtype)
        found = run_ours(model, random_images(config, BATCH, dtype=dtype))
        rows[dtype] = found, seen_by(model, found), count(model)
    found, seen, parameters = rows[torch.float64]
    error = (found.logits - expected(config).logits).abs().max().item()
    return {
        "mutant": name,
        "logit_error": float(f"{error:.1e}") if error > 1e-12 else 0.0,
        "passes_1e-3": error <= 1e-3,
        "passes_1e-4": error <= 1e-4,
        "top1_changed": int((found.logits.argmax(1) != expected(config).logits.argmax(1)).sum()),
        "same_parameter_count": parameters == count(right_model(config, torch.float32)),
        "seen_by": seen,
        "seen_in_float32": bool(rows[torch.float32][1]),
    }


def write():
    what = (
        "wrong Vision Transformers against the NumPy reference in float64: largest logit error, whether a tolerance of "
        "1e-3 or 1e-4 passes it, on how many images the top-1 changes, and which of our checks see it"
    )
    record = {"what": what, "images": BATCH, "bar": "1e-12 in float64; 1e-5 and 5e-6 of the largest in float32"}
    record |= {
        "model": SIZES | {"weights": "random, see tests/libraries.py"},
        "mutants": [score(name) for name in MUTANTS],
        "device": "cpu",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write()
