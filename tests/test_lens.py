"""The logit lens: each token at each depth against a model that really ends there, and the model's own answer at the end."""

import copy
import inspect
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import nn

from course_lib.interpret import answers_by_depth, lens, logit_lens
from course_lib.vit import VisionTransformer, ViTConfig

CONFIG = ViTConfig(
    img_size=(4, 12), patch_size=2, in_chans=2, embed_dim=12, depth=3, num_heads=2, num_classes=5, mlp_ratio=1.5
)
CONFIGS = {
    "class token": CONFIG,
    "mean of the patches": replace(CONFIG, global_pool="avg", pos_embed="sincos2d"),
    "mean, with a class token": replace(CONFIG, global_pool="avg", class_token=True),
    "norm after the pool": replace(CONFIG, global_pool="avg", fc_norm=True),
    "hidden layer in the head": replace(CONFIG, representation_size=7),
    "registers, rotary": replace(CONFIG, reg_tokens=2, pos_embed="rope", init_values=0.5, embed_dim=16),
    "relative": replace(CONFIG, pos_embed="relative", num_heads=3, drop_rate=0.5, attn_drop_rate=0.5, drop_path_rate=0.5),
}  # fmt: skip
every_config = pytest.mark.parametrize("name", CONFIGS)


def model_of(name, dtype=torch.float64):
    torch.manual_seed(list(CONFIGS).index(name))
    model = VisionTransformer(CONFIGS[name]).to(dtype)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    images = torch.randn(4, 2, 4, 12, dtype=dtype)
    return model, images


def ending_after(model, depth):
    """A copy that has no more than so many blocks."""
    short = copy.deepcopy(model).eval()
    short.blocks = short.blocks[:depth]
    return short


def check_answers(lib, name):
    model, images = model_of(name)
    found = lib.answers_by_depth(model.train(), images)
    assert found.shape == (4, 4, 5) and not found.requires_grad and found.dtype == torch.float64
    for depth in range(4):
        assert torch.equal(found[:, depth], ending_after(model, depth)(images)), depth
    assert (found[:, 1:] - found[:, :-1]).abs().min() > 1e-6


@every_config
def test_answers_are_those_of_a_model_that_ends_there(name):
    check_answers(lens, name)


def check_tokens(lib, name):
    """A model of as many blocks whose head reads this one token: every token, every depth."""
    model, images = model_of(name)
    found = lib.logit_lens(model, images)
    prefix, patches = model.num_prefix_tokens, 12
    assert found.shape == (4, 4, prefix + patches, 5)
    for depth in range(4):
        short = ending_after(model, depth)
        tokens = short.forward_features(images)
        for token in range(prefix + patches):
            short.pool = lambda tokens, token=token: tokens[:, token]
            assert (found[:, depth, token] - short.forward_head(tokens)).abs().max() < 1e-12, (depth, token)


@every_config
def test_each_token_is_read_as_the_answer_is(name):
    check_tokens(lens, name)


def test_the_answer_lies_among_the_tokens():
    """What the page of "Draw a digit" and the chapter say: the class token's row, or the mean over the patches."""
    model, images = model_of("class token")
    assert torch.equal(logit_lens(model, images)[:, :, 0], answers_by_depth(model, images))
    model, images = model_of("mean, with a class token")
    mean = logit_lens(model, images)[:, :, 1:].mean(dim=2)
    assert torch.allclose(mean, answers_by_depth(model, images), atol=1e-12)


def check_left(lib, name):
    function = getattr(lib, name)
    model, images = model_of("relative", torch.float32)
    model.train().blocks[1].eval()
    heard = []
    handle = model.blocks[0].register_forward_hook(lambda *_: heard.append(1))
    first, random = function(model, images), torch.get_rng_state()
    assert torch.equal(function(model, images), first) and torch.equal(torch.get_rng_state(), random)
    assert model.training and model.blocks[0].training and not model.blocks[1].training and len(heard) == 2
    with pytest.raises(ValueError, match=r"images are torch.float64, the model is torch.float32"):
        function(model, images.double())
    assert [len(block._forward_hooks) for block in model.blocks] == [1, 0, 0] and not model.blocks[0]._forward_pre_hooks
    handle.remove()


@pytest.mark.parametrize("name", ["logit_lens", "answers_by_depth"])
def test_nothing_is_left_behind(name):
    check_left(lens, name)


def test_of_half_precision_the_logits_are_float32():
    model, images = model_of("class token", torch.bfloat16)
    assert logit_lens(model, images).dtype == answers_by_depth(model, images).dtype == torch.float32


@pytest.mark.parametrize("function", [logit_lens, answers_by_depth])
def test_what_has_no_answer_is_refused(function):
    with pytest.raises(ValueError, match="gives features, and the lens reads answers: give the model a head"):
        function(VisionTransformer(replace(CONFIG, num_classes=0)), torch.zeros(1, 2, 4, 12))
    with pytest.raises(ValueError, match="model is a Linear, and must be a VisionTransformer"):
        function(nn.Linear(2, 2), torch.zeros(1, 2))


def test_an_attention_pool_has_answers_and_no_lens():
    model = VisionTransformer(replace(CONFIG, global_pool="map")).eval()
    images = torch.randn(2, 2, 4, 12)
    assert torch.equal(answers_by_depth(model, images)[:, -1], model(images))
    with pytest.raises(ValueError, match=r"global_pool 'map'.*answers_by_depth"):
        logit_lens(model, images)


def test_a_distilled_model_answers_with_both_heads():
    model = VisionTransformer(replace(CONFIG, dist_token=True)).eval()
    images = torch.randn(2, 2, 4, 12)
    lens = logit_lens(model, images)
    assert torch.equal(answers_by_depth(model, images)[:, -1], model(images)) and lens.shape == (2, 4, 14, 5)
    assert torch.allclose(lens[:, -1, 1], model.head(model.forward_features(images)[:, 1]), atol=1e-6)


MUTANTS = {  # name: (check, its argument, source, what stands there instead)
    "the class token alone": (
        check_tokens,
        "class token",
        "model.norm(tokens))))",
        "model.norm(tokens[:, :1] + 0 * tokens))))",
    ),
    "no last norm": (check_tokens, "class token", "model.fc_norm(model.norm(tokens))", "model.fc_norm(tokens)"),
    "no norm after the pool": (
        check_tokens,
        "norm after the pool",
        "model.fc_norm(model.norm(tokens))",
        "model.norm(tokens)",
    ),
    "no hidden layer": (check_tokens, "hidden layer in the head", "model.pre_logits(", "nn.Linear(12, 7).double()("),
    "answer without the norm": (
        check_answers,
        "class token",
        "model.forward_head(model.norm(tokens))",
        "model.forward_head(tokens)",
    ),
    "nothing before the blocks": (check_answers, "class token", "note(args[0])", "note(0 * args[0])"),
    "block by block backwards": (check_answers, "class token", "in model.blocks]", "in model.blocks[:-1]]"),
    "in training mode": (check_answers, "relative", "with evaluating(model, images):", "if True:"),
    "gradients kept": (check_answers, "class token", "@torch.no_grad()", ""),
    "hooks stay": (check_left, "logit_lens", "handle.remove()", "pass"),
    "hooks stay after an error": (
        check_left,
        "answers_by_depth",
        "    finally:\n        for",
        "    if True:\n        for",
    ),
}


def mutated(old, new):
    source = inspect.getsource(lens)
    assert source.count(old) == 1, source.count(old)
    source = source.replace(old, new)
    if "    try:" in source and "finally" not in source:
        source = source.replace("    try:", "    if True:")
    module = ModuleType("mutant")
    exec(compile(source, "mutant", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_caught(name):
    check, argument, old, new = MUTANTS[name]
    mutant = mutated(old, new)
    with pytest.raises((AssertionError, RuntimeError)):
        check(mutant, argument)
