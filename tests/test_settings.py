"""Settings at the command line: every wrong value of every setting is one line, and the order does not matter."""

import functools
import itertools
import re
from dataclasses import replace

import pytest
import torch
from test_recipes import TINY

from course_lib import cli
from course_lib.data.augment import Augment
from course_lib.data.sources import load_data
from course_lib.models import save_model
from course_lib.models.cnn import CNNConfig
from course_lib.models.resnet import ResNetConfig, TorchvisionResNet
from course_lib.models.saved import build
from course_lib.models.variants import PostNormConfig
from course_lib.recipes import runner
from course_lib.recipes.finetuning import FineTuning
from course_lib.recipes.recipe import Recipe
from course_lib.recipes.runner import RECIPES
from course_lib.recipes.settings import override, setting_paths
from course_lib.train import loop
from course_lib.train.config import TrainConfig
from course_lib.weights.load import write_weights

SMALL = TrainConfig(epochs=2, warmup_epochs=0.5, batch_size=400, precision="float32", device="cpu", augment=Augment())
WORDS = {"what": "for the tests", "data": "digits", "train": SMALL, "cost": "", "expect": "", "source": ""}
VIT = TINY.model
KINDS = [
    Recipe(name="kind_vit", model=VIT, **WORDS),
    Recipe(name="kind_post_norm", model=PostNormConfig(**vars(VIT)), **WORDS),
    Recipe(name="kind_cnn", model=CNNConfig(widths=(4, 6)), **WORDS),
    Recipe(name="kind_resnet", model=ResNetConfig(in_chans=1, width=4, blocks=1), **WORDS),
    FineTuning(name="kind_tuned_vit", model=VIT, **WORDS),
    FineTuning(name="kind_tuned_resnet", model=ResNetConfig(in_chans=1, width=4, blocks=1), **WORDS),
    FineTuning(name="kind_torchvision", model=TorchvisionResNet("resnet18", 8), **WORDS | {"data": "toy_shapes"}),
]
VALUES = (
    *(
        "",
        " ",
        "abc",
        "-1",
        "0",
        "1",
        "1.5",
        "5",
        "nan",
        "-inf",
        "1e400",
        "None",
        "True",
        "no",
        "[1,2]",
        "(3,4,5)",
        "{}",
    ),
    *(
        '"x"',
        "1" * 30,
        "9" * 5000,
        "1e300",
        "../x",
        "a:b",
        "\0",
        "ü",
        "folder:",
        "folder:nothing",
        "toy_shapes:circle,ring",
    ),
)


@pytest.fixture
def kinds(monkeypatch, tmp_path):
    """The recipes of every kind; a run makes one step instead of many."""
    for recipe in KINDS:
        monkeypatch.setitem(RECIPES, recipe.name, recipe)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")
    torch.set_num_threads(1)

    def complete(run, val, **_):
        loop.train_step(run, torch.arange(min(run.config.batch_size, 3)))
        raise ValueError("one step was made")

    monkeypatch.setattr(runner, "complete", complete)
    real = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda model: real(model, backend="eager"))
    monkeypatch.setattr("course_lib.recipes.recipe.load_data", loaded)


@functools.cache
def loaded(name, split, **options):
    return load_data(name, split, **options)


def owner(recipe, path):
    """The class that a setting stands in: the recipe's own ones count once for each kind of recipe."""
    config = recipe
    for part in path[:-1]:
        config = getattr(config, part)
    return type(config).__name__


CASES = {(owner(recipe, path), name): recipe.name for recipe in KINDS for name, path in setting_paths(recipe).items()}


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=".".join)
def test_any_value_of_any_setting_is_a_run_or_one_line(kinds, case, capsys):
    """Never a traceback: each of these ends in status 1 and one line, that of the value or that of the step."""
    name, recipe = case[1], CASES[case]
    for value in VALUES:
        if name.startswith(TOO_LARGE) and len(value) == 30:
            continue  # so many parts would be made for ever
        assert cli.main(["train", recipe, f"{name}={value}", "--quiet"]) == 1, value
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and said[0].startswith("course train: ") and len(said[0]) > 25, (value, said)


TOO_LARGE = ("model.blocks",)
UNFIT = {  # a setting, what it wants, and values that it cannot have
    "data": ("must be one of", "5", "nothing", "-1"),
    "weights": ("", "5", "nothing.pth"),
    "size": ("whole number|at most 4096", "abc", "0", "-1", "1.5", "nan", "5000"),
    "images": ("whole number|at least 10", "many", "0", "-3", "5"),
    "skip": ("True or False|folder", "maybe", "True"),
    "epochs": ("whole number", "many", "0", "-1", "1.5", "", "None"),
    "seed": ("whole number", "", "-1", "x", "0.5", "None"),
    "lr": ("number|above 0", "fast", "0", "-1", "2", "nan", "1e400"),
    "betas": ("numbers", "0.9", "a,b", "0.9,1.0", "1,2,3"),
    "device": ("not here|must be a word", "tpu", "cpu:7", ""),
    "precision": ("must be one of|must be a word", "half", "5", ""),
    "patience": ("whole number", "-1", "long"),
    "class_weights": ("True or False", "1", "yes"),
    "model.depth": ("whole number", "-1", "0", "deep", "1.5"),
    "model.num_heads": ("whole number|must be a multiple|divide", "0", "5"),
    "model.pos_embed": ("must be one of", "sin", "None"),
    "augment.crop": ("whole number", "-1", "x", "2.5"),
    "augment.erase": ("must be", "2", "-0.1", "x"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_the_line_says_what_is_wanted(kinds, name, capsys):
    wanted, *values = UNFIT[name]
    for value in values:
        assert cli.main(["train", "kind_vit", f"{name}={value}", "--quiet"]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and re.search(wanted, said) and "one step" not in said, (value, said)


ORDERS = [
    ("epochs=1", "warmup_epochs=0"),
    ("epochs=30", "warmup_epochs=20"),
    ("batch_size=9", "accumulate=3"),
    ("model.embed_dim=20", "model.num_heads=5", "model.mlp_ratio=0.05"),
    ("class_weights=False", "balanced=True", "lr=1e-2"),
]


@pytest.mark.parametrize("words", ORDERS, ids=" ".join)
def test_the_order_does_not_matter(words):
    """Each alone may not fit; together they do."""
    found = [override(TINY, order) for order in itertools.permutations(words)]
    assert all(recipe == found[0] != TINY for recipe in found)


def test_what_does_not_fit_together_is_refused_in_any_order():
    for words in itertools.permutations(("warmup_epochs=3", "lr=0.01", "epochs=3")):
        with pytest.raises(ValueError, match=r"warmup_epochs 3.0 must be below epochs 3"):
            override(TINY, words)


def test_a_setting_given_twice():
    with pytest.raises(ValueError, match="epochs is given twice, as 5 and as 6: leave one out"):
        override(TINY, ["train.epochs=5", "epochs=6"])
    assert override(TINY, ["epochs=5", "train.epochs=5"]).train.epochs == 5


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("epoch", "epochs"),
        ("batchsize", "batch_size"),
        ("depth", "model.depth"),
        ("flip", "augment.flip"),
        ("augment.flipp", "augment.flip"),
        ("model.emb_dim", "model.embed_dim"),
        ("wegihts", "weights"),
        ("class_weight", "class_weights"),
    ],
)
def test_an_unknown_setting_names_the_nearest_and_all(word, near):
    with pytest.raises(ValueError, match=f"no setting '{word}'; near are .*") as error:
        override(TINY, [f"{word}=1"])
    said = str(error.value)
    assert near in said.partition(". There are")[0] and "\n" not in said
    for name in setting_paths(TINY):
        assert re.search(rf"[ ,]{re.escape(name)}[,;.]", said), name


def test_a_word_that_is_like_nothing():
    with pytest.raises(
        ValueError, match="no setting 'zzzz'. There are, of the recipe: data, size, images, weights, skip"
    ):
        override(TINY, ["zzzz=1"])


def test_a_seed_is_a_setting_or_an_option(kinds, capsys):
    seen = []

    def run(recipe, *_, **__):
        seen.append(recipe.train.seed)
        raise ValueError("enough")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "run_recipe", run)
        for words in (["seed=3"], ["--seeds", "4"], []):
            assert cli.main(["train", "kind_vit", *words]) == 1
    assert seen == [3, 4, 0]
    assert cli.main(["train", "kind_vit", "seed=3", "--seeds", "4", "5"]) == 1
    assert "seed= and --seeds 4 5 are both given: leave one out" in capsys.readouterr().err


# Weights to begin with


def test_weights_for_every_kind_of_recipe(tmp_path):
    """From a run of the same kind, for other classes: everything but the head is taken over."""
    for recipe in KINDS:
        torch.manual_seed(1)
        before = replace(recipe, train=replace(SMALL, seed=5), model=replace(recipe.model, num_classes=7)).build()
        path = tmp_path / f"{recipe.name}.safetensors"
        save_model(before, path)
        begun = override(recipe, [f"weights={path}"])
        model, plain = begun.build(), recipe.build()
        assert begun.settings()["weights"] == str(path)
        for name, value in before.state_dict().items():
            if not name.startswith(("head", "fc")):
                assert torch.equal(model.state_dict()[name], value), name
        head = next(value for name, value in model.state_dict().items() if name in ("head.weight", "fc.weight"))
        assert len(head) == recipe.model.num_classes
        assert not all(map(torch.equal, model.parameters(), plain.parameters()))


OTHER = {
    "kind_vit": {"embed_dim": 32, "depth": 3, "num_heads": 4, "pos_embed": "sincos2d"},
    "kind_cnn": {"widths": (5, 7, 9)},
    "kind_resnet": {"width": 8, "blocks": 2},
}


@pytest.mark.parametrize("recipe", [recipe for recipe in KINDS if recipe.name in OTHER], ids=lambda recipe: recipe.name)
def test_weights_of_another_model_say_all_that_mends_it(recipe, tmp_path):
    other = replace(recipe.model, **OTHER[recipe.name])
    save_model(build(other), tmp_path / "other.safetensors")
    begun = override(recipe, [f"weights={tmp_path / 'other.safetensors'}"])
    with pytest.raises(ValueError, match=r"is of another model than the recipe's: set (.*)\.") as error:
        begun.build()
    assert override(begun, str(error.value).rpartition(": set ")[2].rstrip(".").split()).build().config == other


def test_weights_whose_words_are_damaged(tmp_path):
    path = tmp_path / "odd.safetensors"
    write_weights(build(VIT).state_dict(), path, {"kind": "ViT", "config": {"width": 3}})
    with pytest.raises(ValueError, match="odd.safetensors is damaged"):
        override(KINDS[0], [f"weights={path}"]).build()


def test_weights_of_other_channels_are_adapted(tmp_path, capsys):
    save_model(build(replace(VIT, in_chans=3)), tmp_path / "colour.safetensors")
    assert override(KINDS[0], [f"weights={tmp_path / 'colour.safetensors'}"]).build().config == VIT
    assert "channel" in capsys.readouterr().out


def test_weights_of_another_kind_of_model(tmp_path):
    vit, *_, resnet = KINDS[:4]
    save_model(build(resnet.model), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds a ResNet, the recipe's model is a ViT"):
        override(vit, [f"weights={tmp_path / 'other.safetensors'}"]).build()


@pytest.mark.parametrize("recipe", KINDS, ids=lambda recipe: recipe.name)
def test_weights_that_are_not_there(recipe, tmp_path):
    for word in (str(tmp_path / "nothing.safetensors"), "5", str(tmp_path)):
        with pytest.raises(ValueError, match="nothing|'5'|5|folder|file") as error:
            override(recipe, [f"weights={word}"]).build()
        assert "\n" not in str(error.value)


def test_a_recipe_says_nothing_of_what_it_has_not():
    """Older records hold neither word, and are still of these recipes."""
    assert not {"weights", "skip"} & TINY.settings().keys()
    assert not {"patience", "class_weights", "balanced"} & TINY.settings()["train"].keys()
    changed = override(TINY, ["weights=x", "patience=3", "balanced=True"]).settings()
    assert (changed["weights"], changed["train"]["patience"], changed["train"]["balanced"]) == ("x", 3, True)
