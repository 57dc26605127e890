"""Muon: the polynomial to the last digit, the update orthogonal, the rest AdamW's; and what makes a run cheaper early."""

import pytest
import tiny
import torch
from torch import nn

from course_lib.parts import PatchDropout, SquaredReLU
from course_lib.train.config import TrainConfig
from course_lib.train.loop import fit, train_step
from course_lib.train.muon import COEFFICIENTS, MOMENTUM, MuonAdamW, muon_groups, newton_schulz
from course_lib.train.optim import param_groups, warmup_cosine_lr, warmup_linear_lr
from course_lib.train.run import Run
from course_lib.vit import VisionTransformer, ViTConfig

SHAPES = [(6, 6), (9, 4), (4, 9), (1, 5), (5, 1), (3, 7, 7), (2, 3, 8, 5)]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lifted(s, steps=5):
    """What the polynomial makes of singular values."""
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return s


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_singular_values_go_through_the_polynomial_and_nothing_else_changes(shape, steps):
    x = 7 * random(*shape)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    length = x.norm(dim=(-2, -1), keepdim=True)[..., 0] + 1e-7
    wanted = (u * lifted(s / length, steps)[..., None, :]) @ v
    assert (newton_schulz(x, steps) - wanted).abs().max() <= 1e-12


@pytest.mark.parametrize("least", [0.002, 0.05])
def test_what_comes_out_is_orthogonal_as_far_as_is_claimed(least):
    """Singular values from `least` of the length up to nearly all of it: the docstring's bounds."""
    torch.manual_seed(1)
    u, _ = torch.linalg.qr(random(16, 16, seed=2))
    v, _ = torch.linalg.qr(random(24, 24, seed=3))
    s = torch.logspace(0, -8, 16, dtype=torch.float64).clamp(min=1.01 * least)
    x = u @ torch.diag(s / s.norm()) @ v[:16]
    assert torch.linalg.svdvals(x).min() >= 0.5 * least
    values = torch.linalg.svdvals(newton_schulz(x))
    inside = torch.linalg.svdvals(x) > 0.002
    assert values.max() < 1.21 and lifted(torch.linspace(0.002, 1, 100_001, dtype=torch.float64)).min() > 0.68
    assert inside.any() and values[: int(inside.sum())].min() > 0.68
    assert torch.linalg.svdvals(x)[0] / torch.linalg.svdvals(x)[-1] > 10  # and it had much to do


def test_length_zeros_and_vectors():
    x = random(5, 8)
    assert (newton_schulz(1e6 * x) - newton_schulz(x)).abs().max() < 1e-6
    assert torch.equal(newton_schulz(torch.zeros(3, 4)), torch.zeros(3, 4))
    assert newton_schulz(x.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"\(5,\) must be \(\.\.\., rows, columns\)"):
        newton_schulz(torch.ones(5))


def trained(model, optimizer, steps=4):
    for step in range(steps):
        for number, weight in enumerate(model.parameters()):
            weight.grad = random(*weight.shape, seed=100 * step + number)
        optimizer.step()
    return model


def net():
    return tiny.model(weight_init="xavier").double()


def test_matrices_move_by_the_orthogonal_momentum_each_by_itself():
    model, start = net(), net()
    optimizer = MuonAdamW(muon_groups(param_groups(model, 0.1), model, 0.5), lr=0.02)
    for group in optimizer.param_groups:
        group["lr"] *= group.get("lr_scale", 1)
    trained(model, optimizer)
    for number, (name, weight) in enumerate(start.named_parameters()):
        if not (name.startswith("blocks.") and weight.ndim == 2):
            continue
        expected, momentum = weight.detach().clone(), torch.zeros_like(weight)
        for step in range(4):
            gradient = random(*weight.shape, seed=100 * step + number)
            momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
            ahead = (1 - MOMENTUM) * gradient + MOMENTUM * momentum
            parts = ahead.chunk(3) if name.endswith("qkv.weight") else [ahead]
            move = torch.cat([newton_schulz(part) for part in parts])
            length = max(1, parts[0].shape[0] / parts[0].shape[1]) ** 0.5
            expected = expected * (1 - 0.01 * 0.1) - 0.01 * length * move
        assert (dict(model.named_parameters())[name] - expected).abs().max() < 1e-12, name


def test_the_update_is_orthogonal():
    """What a published course's Muon does not: each of q, k and v moves by a matrix with all singular values near 1."""
    model, start = net(), net()
    optimizer = MuonAdamW(muon_groups(param_groups(model, 0.0), model, 1.0), lr=0.5)
    trained(model, optimizer, steps=1)
    moved = (start.blocks[0].attn.qkv.weight - model.blocks[0].attn.qkv.weight).detach() / 0.5
    number = [name for name, _ in model.named_parameters()].index("blocks.0.attn.qkv.weight")
    for part, gradient in zip(moved.chunk(3), random(36, 12, seed=number).chunk(3), strict=True):
        values, before = (torch.linalg.svdvals(each) for each in (part, gradient))
        large = int((before > 0.002 * before.norm()).sum())
        assert large >= 11 and values[:large].min() > 0.68 and values.max() < 1.21
        assert before[0] / before[large - 1] > 5  # which the gradient itself is far from


def test_pytorchs_muon_goes_the_same_way():
    """PyTorch's has one matrix a weight and computes in bfloat16: so close, and no closer."""
    mine, theirs = (nn.Linear(24, 40, bias=False) for _ in "12")
    theirs.load_state_dict(mine.state_dict())
    start = mine.weight.detach().clone()
    trained(mine.double(), MuonAdamW([{"params": [mine.weight], "matrices": 1, "weight_decay": 0.1}], lr=0.02))
    trained(theirs.double(), torch.optim.Muon(theirs.parameters(), lr=0.02, weight_decay=0.1, momentum=MOMENTUM))
    moves = [(each.weight.detach() - start).double() for each in (mine, theirs)]
    assert torch.cosine_similarity(*(move.flatten() for move in moves), dim=0) > 0.9999
    assert (moves[0] - moves[1]).norm() / moves[0].norm() < 0.012


@pytest.mark.parametrize("fused", [True, False])
def test_the_rest_is_adamw_to_the_last_bit(fused):
    first, second = net(), net()
    trained(first, MuonAdamW(muon_groups(param_groups(first, 0.1), first, 0.5), lr=1e-2, fused=fused))
    trained(second, torch.optim.AdamW(param_groups(second, 0.1), lr=1e-2, fused=fused))
    for (name, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        matrix = name.startswith("blocks.") and one.ndim == 2
        assert torch.equal(one, two) != matrix, name


def test_without_muon_all_is_adamw():
    first, second = net(), net()
    trained(first, MuonAdamW(param_groups(first, 0.1), lr=1e-2))
    trained(second, torch.optim.AdamW(param_groups(second, 0.1), lr=1e-2))
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), second.parameters(), strict=True))


def test_every_weight_is_in_one_group_and_its_rate_is_scaled():
    model = tiny.model()
    run = Run(model, tiny.image_set(), tiny.config(lr=0.002, muon_lr=0.01), {"blocks.0.attn.qkv.weight": 0.5})
    groups = run.optimizer.param_groups
    ids = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(ids) == sorted(map(id, model.parameters()))
    names = {id(weight): name for name, weight in model.named_parameters()}
    scales = {names[id(p)]: (g["lr_scale"], g.get("matrices"), g["weight_decay"]) for g in groups for p in g["params"]}
    assert scales["blocks.0.attn.qkv.weight"] == (2.5, 3, 0.05) and scales["blocks.1.attn.qkv.weight"] == (5.0, 3, 0.05)
    assert scales["blocks.1.mlp.fc1.weight"] == (5.0, 1, 0.05) and scales["blocks.1.mlp.fc1.bias"] == (1.0, None, 0.0)
    assert scales["head.weight"] == (1.0, None, 0.05) and scales["pos_embed"] == (1.0, None, 0.0)


def test_a_model_without_blocks():
    with pytest.raises(ValueError, match="Linear has no matrices in blocks for Muon to train: set muon_lr=0"):
        muon_groups(param_groups(nn.Linear(3, 3), 0.1), nn.Linear(3, 3), 1.0)


SETTINGS = {"muon_lr": 0.02, "patch_drop": 0.5, "schedule": "linear", "warmup_epochs": 0.5, "ema": 0.9}


def test_a_run_with_all_of_it_goes_on_to_the_last_bit(tmp_path):
    config, whole = tiny.config(**SETTINGS), tiny.model()
    history = fit(whole, tiny.image_set(), tiny.val_set(), config, quiet=True)
    half, steps = tiny.model(), []
    real = Run.order

    def order(run):  # stopped as the third epoch begins
        steps.append(run.progress.step)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return real(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "order", order)
        with pytest.raises(KeyboardInterrupt):
            fit(half, tiny.image_set(), tiny.val_set(), config, folder=tmp_path, quiet=True)
    again = tiny.model(seed=5)
    rest = fit(again, tiny.image_set(), tiny.val_set(), config, folder=tmp_path, quiet=True)
    assert [row["val_loss"] for row in rest] == [row["val_loss"] for row in history]
    assert tiny.same(again.state_dict(), whole.state_dict())


def test_patches_are_left_out_until_the_last_part_of_the_run():
    model, seen = tiny.model(img_size=16, patch_size=4), []
    data = tiny.image_set()
    data = type(data)(data.name, data.images.repeat(1, 1, 2, 2), data.labels, data.classes, data.mean, data.std)
    model.blocks[0].register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
    run = Run(model, data, tiny.config(epochs=4, patch_drop=0.5, patch_drop_until=0.75))
    model.train()
    for _ in range(run.total_steps):
        train_step(run, torch.arange(tiny.BATCH))
        run.progress.step += 1
    assert seen == [1 + 8] * 15 + [1 + 16] * 5
    model.eval()(data.normalised(data.images[:2]))
    assert seen[-1] == 1 + 16


@pytest.mark.parametrize(("prefix", "rate", "kept"), [(0, 0.5, 8), (2, 0.5, 8), (1, 0.75, 4), (0, 0.99, 1)])
def test_what_stays_is_what_was_there(prefix, rate, kept):
    drop, x = (
        PatchDropout(prefix),
        torch.arange(3 * (prefix + 16), dtype=torch.float32).view(3, -1, 1).expand(-1, -1, 2),
    )
    assert torch.equal(drop(x), x)  # as built, it leaves out nothing
    drop.rate = rate
    torch.manual_seed(4)
    y = drop(x)
    assert y.shape == (3, prefix + kept, 2) and torch.equal(y[:, :prefix], x[:, :prefix])
    for before, after in zip(x, y, strict=True):
        rows = after[prefix:, 0].tolist()
        assert len(set(rows)) == kept and set(rows) <= set(before[prefix:, 0].tolist())
    assert torch.equal(drop.eval()(x), x)


def test_every_patch_is_left_out_as_often_as_any_other():
    drop = PatchDropout()
    drop.rate = 0.5
    torch.manual_seed(5)
    x = torch.arange(16.0).view(1, 16, 1).expand(4000, -1, -1)
    counts = drop(x).flatten().long().bincount()
    assert (counts - 2000).abs().max() < 5 * (4000 * 0.25) ** 0.5


def test_models_that_need_every_patch():
    with pytest.raises(ValueError, match="a Linear cannot leave out patches: set patch_drop=0"):
        Run(nn.Linear(64, 5), tiny.image_set(), tiny.config(patch_drop=0.5))
    for kind in ("relative", "rope"):
        model = tiny.model(pos_embed=kind, embed_dim=16, num_heads=2)
        with pytest.raises(ValueError, match=f"positions of kind '{kind}' need every patch"):
            Run(model, tiny.image_set(), tiny.config(patch_drop=0.5))


def test_the_line_down():
    rates = [warmup_linear_lr(step, 10, 4, 2.0) for step in range(10)]
    assert rates[:4] == [warmup_cosine_lr(step, 10, 4, 2.0) for step in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4:] == pytest.approx([2.0 * left / 6 for left in (6, 5, 4, 3, 2, 1)])
    with pytest.raises(ValueError, match="step 10 must be at least 0 and below total_steps 10"):
        warmup_linear_lr(10, 10, 4, 2.0)


def test_blocks_that_begin_as_the_identity():
    torch.manual_seed(0)
    config = ViTConfig(img_size=8, patch_size=4, num_classes=3, embed_dim=12, depth=2, num_heads=2, weight_init="zero")
    model, x = VisionTransformer(config), torch.randn(2, 5, 12)
    assert torch.equal(model.blocks(x), x)
    assert torch.equal(model(torch.randn(2, 3, 8, 8)), torch.zeros(2, 3))
    torch.manual_seed(0)
    other = VisionTransformer(ViTConfig(**{**config.settings(), "weight_init": "xavier"}))
    for name, weight in other.named_parameters():
        zeroed = name.endswith((".proj.weight", "fc2.weight", "head.weight")) and "patch_embed" not in name
        assert torch.equal(model.get_parameter(name), torch.zeros_like(weight) if zeroed else weight), name


@pytest.mark.parametrize("changes", [{"global_pool": "map"}, {"dist_token": True}, {"activation": "swiglu"}])
def test_a_model_that_begins_with_zeros_learns(changes):
    """Nothing but blocks and heads starts at 0: else no gradient would reach anything, ever."""
    torch.manual_seed(0)
    model = tiny.model(weight_init="zero", **changes)
    run = Run(model, tiny.image_set(), tiny.config(lr=0.01))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    for _ in range(4):
        train_step(run, torch.arange(tiny.BATCH))
        run.progress.step += 1
    still = {name for name, old in before.items() if torch.equal(old, model.get_parameter(name))}
    assert not still, still


def test_squared_relu():
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)
    assert torch.equal(SquaredReLU()(x), torch.where(x > 0, x**2, 0.0))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("schedule", "step", "schedule 'step'"),
        ("muon_lr", -1.0, "muon_lr -1.0 must be a number, at least 0"),
        ("muon_lr", 2.0, "muon_lr 2.0 must be at most 1"),
        ("patch_drop", 1.0, "patch_drop 1.0"),
        ("patch_drop_until", 1.5, "patch_drop_until 1.5 must be at most 1"),
    ],
)
def test_values_that_no_run_can_have(name, value, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig(**{name: value})


def test_settings_that_change_nothing_are_not_written():
    assert not {"schedule", "muon_lr", "patch_drop", "patch_drop_until"} & TrainConfig().settings().keys()
    assert TrainConfig(muon_lr=0.01).settings()["muon_lr"] == 0.01
