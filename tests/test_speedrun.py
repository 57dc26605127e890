"""The speedrun: operations counted to the last one, the cheapest recipe that was recorded, and what the command says."""

import json
from dataclasses import replace

import pytest
import speedrun_page
import torch

from course_lib import cli
from course_lib.data.augment import Augment
from course_lib.data.image_set import ImageSet
from course_lib.recipes import speedrun
from course_lib.recipes.runner import RECIPES
from course_lib.recipes.scratch import LADDER
from course_lib.recipes.speedrun import forward_flops, quickest, recorded, training_flops
from course_lib.records import load_record
from course_lib.train.config import TrainConfig
from course_lib.vit import VisionTransformer, ViTConfig


def by_hand(config, tokens):
    """Two operations for each product of the patch embedding, the blocks and the head, for one image."""
    d, hidden, classes = config.embed_dim, int(config.embed_dim * config.mlp_ratio), config.num_classes
    patches = (config.img_size // config.patch_size) ** 2
    block = tokens * (4 * d * d + 2 * d * hidden) + 2 * tokens**2 * d
    return 2 * (patches * config.in_chans * config.patch_size**2 * d + config.depth * block + d * classes)


@pytest.mark.parametrize("name", ["cifar10_fast", "cifar10_vit_small", "mnist_vit_token", "cifar10_report_d"])
def test_operations_are_those_of_the_formula(name):
    recipe = RECIPES[name]
    config = recipe.model
    with torch.device("meta"):
        model = VisionTransformer(config).eval()
    patches = (config.img_size // config.patch_size) ** 2
    whole = by_hand(config, config.num_prefix_tokens + patches)
    assert forward_flops(model, config.in_chans, config.img_size, config.img_size) == whole
    train, early = recipe.train, whole
    if train.patch_drop:
        early = by_hand(config, config.num_prefix_tokens + round(patches * (1 - train.patch_drop)))
    images = speedrun.TRAINING_IMAGES[recipe.data] // train.batch_size * train.batch_size
    share = train.patch_drop_until if train.patch_drop else 0
    expected = 3 * train.epochs * images * (share * early + (1 - share) * whole)
    assert training_flops(recipe) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("change", [{"data": "folder:photos"}, {"model": RECIPES["mnist_cnn"].model}])
def test_what_cannot_be_counted_is_said(change):
    with pytest.raises(ValueError, match=r"operations are counted for ViTs on cifar10, .*, not for a \w+ on "):
        training_flops(replace(RECIPES["cifar10_fast"], **change))


def test_patches_that_are_left_out_cost_nothing():
    fast = RECIPES["cifar10_fast"]
    all_of_them = replace(fast, train=replace(fast.train, patch_drop=0.0))
    assert 0.55 < training_flops(fast) / training_flops(all_of_them) < 0.6


def test_the_cheapest_that_reached_the_target():
    found = recorded("cifar10")
    cost = {name: training_flops(RECIPES[name]) for name in found}
    for target in (100 * accuracy - 1e-9 for accuracy in found.values()):
        good = [name for name, accuracy in found.items() if 100 * accuracy >= target]
        assert quickest("cifar10", target).name == min(good, key=cost.get)


def test_means_are_over_validation():
    runs = load_record("mnist_report_d")["runs"]
    assert recorded("mnist")["mnist_report_d"] == sum(run["val_accuracy"] for run in runs) / len(runs)
    assert not any("cnn" in name or "post_norm" in name for name in recorded("mnist"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cifar10", "99"], r"no recorded recipe reaches 99 % of cifar10's validation split; the best is cifar10_"),
        (["cifar", "80"], "no recorded run of a plain ViT on cifar; there are some on cifar10, mnist."),
    ],
)
def test_a_target_that_nothing_reached_is_one_line(words, message, capsys):
    assert cli.main(["speedrun", *words]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(("reaches", "word"), [(0.0, "reached"), (0.9, "missed")])
def test_a_speedrun_says_whether_the_target_was_reached(tmp_path, monkeypatch, capsys, reaches, word):
    """One small recipe in place of them all, with a record that says what it reached on validation."""
    small = replace(
        RECIPES["cifar10_fast"],
        model=ViTConfig(img_size=8, patch_size=4, in_chans=1, num_classes=2, embed_dim=12, depth=1, num_heads=3),
        train=TrainConfig(
            epochs=1, batch_size=4, warmup_epochs=0, device="cpu", precision="float32", augment=Augment()
        ),
    )
    torch.set_num_threads(1)
    monkeypatch.setattr(speedrun, "RECIPES", {"cifar10_fast": small})
    monkeypatch.setitem(RECIPES, "cifar10_fast", small)
    monkeypatch.setattr("course_lib.files.places.RESULTS", (tmp_path,))
    record = {"runs": [{"seed": 0, "val_accuracy": reaches or 0.01, "test_accuracy": 0.5, "device": "cpu"}]}
    (tmp_path / "cifar10_fast.json").write_text(json.dumps(record))
    images = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)  # all alike: half of the answers are right
    data = ImageSet("tiny", images, torch.tensor([0, 1] * 4), ("a", "b"), (0.5,), (0.3,))
    monkeypatch.setattr("course_lib.recipes.recipe.load_data", lambda *_, **__: data)
    monkeypatch.chdir(tmp_path)
    target = "90" if reaches else "1"
    status = cli.main(["speedrun", "cifar10", target, "--quiet", "--seeds", "0", "1"])
    said = capsys.readouterr().out
    assert status == 0 and said.startswith(f"{target} % of cifar10: cifar10_fast, ")
    assert said.count(f"target {word}, 50.00 % on validation") == 2
    assert said.count(" core-minutes (") == 2 and said.count(" PFLOP") == 2


def test_of_several_processes_one_speaks(monkeypatch, capsys):
    monkeypatch.setattr("course_lib.commands.speedrun.train_runs", lambda options: [])  # as in all but the main one
    for number, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", number)
        assert cli.main(["speedrun", "cifar10", "80"]) == 0
        assert capsys.readouterr().out.count("\n") == lines


def test_the_page_is_what_the_records_say():
    assert speedrun_page.PAGE.read_text(encoding="utf-8") == speedrun_page.page(), "run python tools/speedrun_page.py"


def test_the_picture_is_what_the_records_say():
    assert speedrun_page.PICTURE.read_bytes() == speedrun_page.picture(), "run python tools/speedrun_page.py"


def test_what_the_page_claims():
    """Every sentence that compares, over the numbers it speaks of."""
    text, ours = speedrun_page.page(), speedrun_page.runs()
    costs = [training_flops(recipe) for recipe, _ in ours]
    assert costs == sorted(costs) and max(costs) < min(claim.flops for claim in speedrun_page.CLAIMS)
    for recipe, each in ours:
        assert f"| `{recipe.name.removeprefix('cifar10_')}` | " in text and all(
            run["parameters"] <= 4e6 for run in each
        )
        assert load_record(recipe.name)["settings"]["data"] == "cifar10_jpeg"
    assert ours[2][0].name == "cifar10_fast"
    fast = RECIPES["cifar10_fast"]
    assert (fast.train.patch_drop, fast.train.patch_drop_until, fast.train.schedule) == (0.5, 0.85, "linear")
    assert fast.train.muon_lr and fast.model.weight_init == "zero"
    assert (fast.model.activation, fast.model.norm_layer) == ("relu2", "rmsnorm")
    assert fast.train.batch_size > LADDER["ema"].train.batch_size and fast.train.label_smoothing
    for rung, name in (("zero", "weight_init"), ("muon", "muon_lr"), ("patch_drop", "patch_drop")):
        assert name in {**LADDER[rung].train.settings(), **LADDER[rung].model.settings()}


@pytest.mark.parametrize("claim", speedrun_page.CLAIMS, ids=lambda claim: claim.who)
def test_what_a_claim_costs_is_counted_by_hand(claim):
    shown = claim.passes * claim.images
    assert claim.flops == pytest.approx(3 * shown * by_hand(claim.model, 64 + claim.model.num_prefix_tokens), rel=1e-12)


@pytest.mark.parametrize("target", [line for line in speedrun_page.LEAD.splitlines() if line.startswith("course ")])
def test_the_page_s_command_finds_a_recipe(target):
    _, command, data, percent = target.split()
    assert command == "speedrun" and quickest(data, float(percent)).name.startswith(data)
