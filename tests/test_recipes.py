"""Recipes, runs, records and the `course` command."""

import json
import math
import random
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torchvision.models.resnet import BasicBlock

from course_lib import cli, records
from course_lib.data.augment import Augment
from course_lib.files import places
from course_lib.models.cnn import CNN, CNNConfig
from course_lib.models.resnet import ResNet, ResNetConfig
from course_lib.models.variants import PostNormConfig, PostNormViT
from course_lib.recipes import runner as runs
from course_lib.recipes.finetuning import FINE_TUNING, PHOTOS
from course_lib.recipes.recipe import Recipe, balanced_rows
from course_lib.recipes.runner import RECIPES, find_recipe
from course_lib.recipes.settings import override
from course_lib.records import load_record
from course_lib.train.config import TrainConfig
from course_lib.train.device import count_parameters
from course_lib.train.loop import evaluate_set
from course_lib.train.optim import ema_decay
from course_lib.vit import VisionTransformer, ViTConfig

TINY = Recipe(
    name="tiny",
    what="scikit-learn's digits, for the tests",
    data="digits",
    model=ViTConfig(
        img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=12, depth=2, num_heads=3, mlp_ratio=2.0
    ),
    train=TrainConfig(epochs=2, warmup_epochs=0.5, batch_size=400, precision="float32", augment=Augment(translate=0.1)),
    cost="a second",
    expect="nothing",
    source="the tests",
)
FINE_TUNED = {
    recipe.name for recipe in (*FINE_TUNING, PHOTOS)
}  # these want published weights: see test_finetune_recipes.py


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    torch.set_num_threads(1)


def test_every_recipe_says_what_it_is():
    assert len({recipe.what for recipe in RECIPES.values()}) == len(RECIPES)
    for name, recipe in RECIPES.items():
        assert recipe.name == name and re.fullmatch(r"[a-z0-9_]+", name)
        assert all((recipe.what, recipe.cost, recipe.expect, recipe.source))
        assert recipe.data in ("mnist", "cifar10", "cifar100", "toy_shapes") or name in FINE_TUNED


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if name not in FINE_TUNED])
def test_every_recipe_trains_a_step(name):
    """On random images of the right form: model, augmentation and settings fit together."""
    from course_lib.data.image_set import ImageSet
    from course_lib.train import loop as train

    recipe = RECIPES[name]
    channels, size = (1, 28) if recipe.data == "mnist" else (3, 32)
    classes = recipe.model.num_classes
    images = torch.randint(256, (12, channels, size, size), dtype=torch.uint8)
    names = tuple(map(str, range(classes)))
    data = ImageSet("random/train", images, torch.arange(12) % classes, names, (0.5,) * channels, (0.5,) * channels)
    data = data.resized(recipe.size) if recipe.size else data
    model = recipe.build()
    before = [parameter.clone() for parameter in model.parameters()]
    run = train.Run(model, data, replace(recipe.train, device="cpu", batch_size=12, compile=False))
    loss = train.train_step(run, torch.arange(len(data)))
    if (
        getattr(recipe.model, "weight_init", "") == "zero"
    ):  # first the head moves, then what the head sees, then the rest
        for run.progress.step in (1, 2):
            train.train_step(run, torch.arange(len(data)))
    assert 0.6 * math.log(classes) < loss < 1.7 * math.log(classes)  # about that of guessing
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True) if old.any())


def test_starting_weights_depend_on_the_seed_alone():
    """And the reader's random numbers go on as if no model had been built."""
    torch.manual_seed(8)
    random.seed(8)
    before = torch.get_rng_state(), random.getstate()
    first, again = TINY.build(), TINY.build()
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    other = replace(TINY, train=replace(TINY.train, seed=1)).build()
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("epochs=5", {"train": {"epochs": 5}}),
        ("lr=2e-3", {"train": {"lr": 2e-3}}),
        ("augment.crop=2", {"train": {"augment": {"crop": 2}}}),
        ("augment.flip=True", {"train": {"augment": {"flip": True}}}),
        ("model.depth=3", {"model": {"depth": 3}}),
        ("model.pos_embed=none", {"model": {"pos_embed": "none"}}),
        ("model.img_size=[8,8]", {"model": {"img_size": (8, 8)}}),
        ("data=toy_shapes", {"data": "toy_shapes"}),
        ("images=100", {"images": 100}),
        ("images=None", {"images": None}),
        ("train.epochs=7", {"train": {"epochs": 7}}),
    ],
)
def test_override(setting, expected):
    found = asdict(override(TINY, [setting]))

    def check(found, expected):
        for name, value in expected.items():
            if isinstance(value, dict):
                check(found[name], value)
            else:
                assert found[name] == value and type(found[name]) is type(value)

    check(found, expected)
    same = asdict(TINY)
    changed = [name for name in same if found[name] != same[name]]
    assert changed == [name for name in expected if expected[name] != same[name]]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "must be name=value"),
        ("epoch=5", "no setting 'epoch'; near are epochs"),
        ("model.width=5", "no setting 'model.width'.*of model: model.img_size, "),
        ("epochs=many", "epochs=many: 'many' must be a whole number"),
        ("epochs=0", "epochs 0 must be a whole number"),
        ("augment=5", "not a single setting"),
        ("model=5", "not a single setting"),
        ("epochs.x=5", "no setting 'epochs.x'; near are epochs"),
        ("augment.flip=yes", "augment.flip=yes: 'yes' must be True or False"),
        ("name=other", "no setting 'name'"),
    ],
)
def test_a_wrong_override_is_one_clear_line(setting, message):
    with pytest.raises(ValueError, match=message) as error:
        override(TINY, [setting])
    assert "\n" not in str(error.value)


def test_the_same_share_of_each_class():
    labels = torch.tensor([2, 0, 1, 1, 0, 2, 2, 1, 0])
    assert balanced_rows(labels, 6, 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert balanced_rows(labels, 3, 3).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="not 4 images of each class"):
        balanced_rows(labels, 12, 3)


def test_a_run_leaves_its_record_and_its_weights(tiny, tmp_path):
    model, record = runs.run_recipe(TINY, tmp_path / "run", quiet=True)
    written = json.loads((tmp_path / "run" / "record.json").read_text())
    assert written["runs"] == [json.loads(json.dumps(record))] and written["settings"] == TINY.settings()
    assert len(record["curve"]) == 2 and record["parameters"] == count_parameters(model)
    assert record["val_accuracy"] == record["curve"][-1]["val_accuracy"]
    assert {"seed", "device", "versions", "commit", "code", "seconds", "test_accuracy"} <= record.keys()
    scores, test = record["test_scores"], TINY.load("test")
    assert scores.keys() == {"macro_f1", "calibration_error", "reliability", "confusion"}
    right, images = sum(row[k] for k, row in enumerate(scores["confusion"])), sum(map(sum, scores["confusion"]))
    assert images == len(test.labels) and right / images == pytest.approx(record["test_accuracy"])
    assert evaluate_set(model, test) == pytest.approx((record["test_loss"], record["test_accuracy"]), rel=1e-5)

    from course_lib.weights.load import load_pretrained

    again = VisionTransformer(TINY.model)
    load_pretrained(again, tmp_path / "run" / "model.safetensors")
    assert all(map(torch.equal, again.state_dict().values(), model.state_dict().values()))
    assert again.preprocessing.mean == (0.5,) and again.preprocessing.input_size == (8, 8)


def git(folder, *words):
    """Run git there, for nobody in particular; returns what it says."""
    nobody = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    command = ["git", "-C", str(folder), *nobody, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("project", [None, '[project]\nname = "somebodys"\n'])
def test_an_installed_copy_does_not_record_somebodys_commit(tmp_path, monkeypatch, project):
    """The package lies in a repository that is not the course's, as in a virtual environment or a copied folder."""
    copied = tmp_path / "course_lib"
    shutil.copytree(places.PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    if project:
        (tmp_path / "pyproject.toml").write_text(project)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "theirs")
    script = "from course_lib.records import code_digest, commit; print(commit(), code_digest())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["None", records.code_digest()]


def test_a_checkout_records_its_commit(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "course-lib"\n')
    monkeypatch.setattr(places, "CHECKOUT", tmp_path)
    assert records.commit() is None  # a copy without history
    git(tmp_path, "init", "-q")
    assert records.commit() is None  # nor is there any yet
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "ours")
    assert records.commit() == git(tmp_path, "rev-parse", "--short=12", "HEAD")


def test_the_digest_is_of_the_code(tmp_path, monkeypatch):
    (tmp_path / "wing").mkdir()
    monkeypatch.setattr(places, "PACKAGE", tmp_path)
    found = set()
    for name, content in (("a.py", "1"), ("wing/b.py", "1"), ("wing/b.py", "2"), ("data.json", "2")):
        (tmp_path / name).write_text(content)
        found.add(records.code_digest())
    assert len(found) == 3 and all(re.fullmatch("[0-9a-f]{16}", digest) for digest in found)


def test_runs_are_gathered_by_seed(tmp_path):
    path = runs.add_to_record(TINY, [{"seed": 1, "device": "a", "versions": {}}], tmp_path)
    seeded = replace(TINY, train=replace(TINY.train, seed=0))
    runs.add_to_record(seeded, [{"seed": 0, "device": "b", "versions": {}}], tmp_path)
    runs.add_to_record(TINY, [{"seed": 1, "device": "c", "versions": {}}], tmp_path)
    record = json.loads(path.read_text())
    assert [(run["seed"], run["device"]) for run in record["runs"]] == [(0, "b"), (1, "c")]
    changed = replace(TINY, train=replace(TINY.train, lr=0.01))
    runs.add_to_record(changed, [{"seed": 5, "device": "d", "versions": {}}], tmp_path)
    assert [run["seed"] for run in json.loads(path.read_text())["runs"]] == [5]


@pytest.mark.slow
def test_the_command_trains_records_and_goes_on(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("course_lib.files.places.RESULTS", (tmp_path / "results",))
    (tmp_path / "results").mkdir()
    assert cli.main(["train", "tiny", "--seeds", "0", "1", "--quiet", "--record"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("tiny, seed") == 2 and "% on validation" in printed
    record = json.loads((tmp_path / "results" / "tiny.json").read_text())
    assert [run["seed"] for run in record["runs"]] == [0, 1]
    assert record["device"] and record["versions"]

    capsys.readouterr()
    assert cli.main(["train", "tiny", "--quiet", "--record"]) == 0  # finished already: nothing is trained again
    printed = capsys.readouterr().out
    assert (
        f"{Path('runs/tiny/seed-0')}: already finished after 2 epochs, nothing trained; --again trains anew" in printed
    )
    assert "tiny, seed 0:" in printed and "% on test (macro-F1 " in printed and "; worst is '" in printed
    again = json.loads((tmp_path / "results" / "tiny.json").read_text())
    assert again == record

    capsys.readouterr()
    assert cli.main(["train", "tiny", "epochs=1", "--quiet"]) == 0
    assert "Recorded" not in capsys.readouterr().out
    (folder,) = tmp_path.glob("runs/tiny-epochs=1-????????/seed-0")
    assert (folder / "record.json").is_file()
    assert json.loads((tmp_path / "results" / "tiny.json").read_text()) == again


def test_settings_may_stand_after_the_options(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "tiny", "lr=0.02", "--quiet", "epochs=1"]) == 0
    (folder,) = tmp_path.glob("runs/tiny-epochs=1-lr=0.02-????????/seed-0")
    record = json.loads((folder / "record.json").read_text())
    assert record["settings"]["train"]["epochs"] == 1 and record["settings"]["train"]["lr"] == 0.02


@pytest.mark.parametrize("arguments", [["train", "tiny", "--fast"], ["train", "tiny", "--lr=1"], ["runs", "epochs=1"]])
def test_what_is_no_option_is_refused(tiny, arguments, capsys):
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert f"unrecognized arguments: {arguments[-1]}" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["train", "tiny"], ["reproduce", "D.mnist"]])
def test_nothing_is_recorded_unasked(tiny, tmp_path, monkeypatch, capsys, command):
    """A clone stays as it was."""
    monkeypatch.setitem(RECIPES, "mnist_report_d", replace(TINY, name="mnist_report_d"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("course_lib.files.places.RESULTS", (tmp_path / "results",))
    (tmp_path / "results").mkdir()
    assert cli.main([*command, "--quiet"]) == 0
    assert not [*(tmp_path / "results").iterdir()] and "Recorded" not in capsys.readouterr().out
    assert cli.main([*command, "--quiet", "--record"]) == 0
    (record,) = (tmp_path / "results").iterdir()
    assert len(json.loads(record.read_text())["runs"]) == 1 and "Recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=toy_shapes"], "here data is changed"),
        (["epochs=5", "lr=0.1"], "here epochs, lr are changed"),
        (["compile=True"], "here compile is changed"),
        (["--allow-change"], "--record is for a run without changes half way"),
    ],
)
def test_only_the_recipe_as_it_stands_is_recorded(tiny, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr("course_lib.files.places.RESULTS", (tmp_path / "results",))
    assert cli.main(["train", "tiny", *words, "--record"]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "runs").exists()


def test_no_checkout_to_record_in(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("course_lib.files.places.RESULTS", (tmp_path / "results",))
    assert cli.main(["train", "tiny", "--record"]) == 1
    assert "there is no such folder: leave it out" in capsys.readouterr().err


def test_a_run_that_was_changed_half_way_is_not_recorded(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr("course_lib.files.places.RESULTS", (tmp_path / "results",))
    runs.run_recipe(override(TINY, ["epochs=1", "lr=0.02"]), "runs/tiny/seed-0", quiet=True)
    assert cli.main(["train", "tiny", "--allow-change", "--quiet"]) == 0
    assert cli.main(["train", "tiny", "--quiet", "--record"]) == 1
    error = capsys.readouterr().err
    assert "not recorded" in error and "config.epochs: 1 -> 2" in error and error.count("\n") == 1
    assert cli.main(["train", "tiny", "--quiet", "--record", "--again"]) == 0
    assert [*(tmp_path / "results").iterdir()]


def test_a_damaged_record_is_not_written_over(tmp_path):
    (tmp_path / "tiny.json").write_text("{")
    with pytest.raises(ValueError, match=r"tiny.json is damaged: delete it, or get it back with git"):
        runs.add_to_record(TINY, [{"seed": 1, "device": "a", "versions": {}}], tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nothing"], "no recipe 'nothing'; `course runs` lists all"),
        (["train", "mnist_fst"], "no recipe 'mnist_fst'; near are mnist_fast, "),
        (["train", "tiny", "lr=x"], "'x' must be a number"),
        (["train", "tiny", "data=nothing"], "nothing"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(tiny, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_ctrl_c_is_status_130(tiny, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run_recipe", stopped)
    assert cli.main(["train", "tiny"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_the_list_of_runs(capsys):
    assert cli.main(["runs"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}\n" in printed and recipe.what in printed for name, recipe in RECIPES.items())


@pytest.mark.slow
def test_python_m_course_lib_is_the_same_command():
    command = [sys.executable, "-m", "course_lib", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "torchvision" in done.stdout and "All is well" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that closes")
@pytest.mark.slow
def test_a_list_that_is_not_read_to_its_end():
    command = [sys.executable, "-u", "-m", "course_lib", "runs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "mnist_report_d\n"
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 0


def test_the_doctor_names_a_wrong_pair(monkeypatch, capsys):
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["numpy", "torch==2.0.1"])
    assert cli.main(["doctor"]) == 1
    assert re.search(r"torch 2\S+ and torchvision \S+ do not belong together.*torch ?==2.0.1", capsys.readouterr().err)


def test_the_convolutional_network():
    model = CNN(CNNConfig(widths=(3, 5, 7, 4, 6)))
    assert model(torch.randn(2, 1, 28, 20)).shape == (2, 10)
    sizes = [(1, 3), (3, 5), (5, 7), (7, 4), (4, 6)]
    assert count_parameters(model) == sum(9 * a * b + 2 * b for a, b in sizes) + 6 * 10 + 10


def test_the_residual_network():
    model = ResNet(ResNetConfig())
    assert sum(isinstance(module, BasicBlock) for module in model.modules()) == 9
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) + 1 == 20  # with the linear layer: ResNet-20
    # He et al. have 0.27 million; their shortcuts carry no parameters, ours are two 1 x 1 convolutions with norms.
    assert count_parameters(model) == 269_722 + (16 * 32 + 64) + (32 * 64 + 128)
    features = model.stages(model.stem(torch.randn(2, 3, 32, 32)))
    assert features.shape == (2, 64, 8, 8)


def test_the_two_compared_networks_are_of_equal_size():
    vit = count_parameters(find_recipe("mnist_report_d").build())
    assert abs(count_parameters(find_recipe("mnist_cnn").build()) / vit - 1) < 0.001


def test_post_norm_is_the_library_encoder_with_norm_first_false():
    config = PostNormConfig(
        img_size=8, patch_size=4, in_chans=2, num_classes=5, embed_dim=12, depth=2, num_heads=3, mlp_ratio=2.0
    )
    model = PostNormViT(config).double().eval()
    x = torch.randn(3, 5, 12, dtype=torch.float64)
    expected = x
    for block in model.blocks:
        layer = torch.nn.TransformerEncoderLayer(12, 3, 24, 0.0, "gelu", 1e-6, batch_first=True, dtype=torch.float64)
        ours = {
            "self_attn.in_proj_weight": block.attn.qkv.weight,
            "self_attn.in_proj_bias": block.attn.qkv.bias,
            "self_attn.out_proj.weight": block.attn.proj.weight,
            "self_attn.out_proj.bias": block.attn.proj.bias,
            "linear1.weight": block.mlp.fc1.weight,
            "linear1.bias": block.mlp.fc1.bias,
            "linear2.weight": block.mlp.fc2.weight,
            "linear2.bias": block.mlp.fc2.bias,
            "norm1.weight": block.norm1.weight,
            "norm1.bias": block.norm1.bias,
            "norm2.weight": block.norm2.weight,
            "norm2.bias": block.norm2.bias,
        }
        layer.load_state_dict(ours)
        expected = layer.eval()(expected)
    torch.testing.assert_close(model.norm(model.blocks(x)), expected, atol=1e-12, rtol=0)


def test_records_of_recipes_are_of_these_recipes():
    """A record that no longer fits its recipe would be a number without a way to it."""
    for recipe in RECIPES.values():
        try:
            record = load_record(recipe.name)
        except ValueError:
            continue
        expected = recipe.settings()
        if expected["data"] == "cifar10":
            expected["data"] = record["settings"]["data"]
            assert expected["data"] in ("cifar10", "cifar10_jpeg")
        assert record["settings"] == expected, recipe.name
        assert record["what"] == recipe.what
        assert len({run["seed"] for run in record["runs"]}) == len(record["runs"])


IMAGES = {"mnist": 55_000, "cifar10": 45_000, "cifar10_jpeg": 45_000, "toy_shapes": 8_000}


def test_recorded_runs_are_long_enough_for_their_average():
    """The shorter average of short runs came after them: none of them is one, at no step."""
    averaged = 0
    for recipe in RECIPES.values():
        if not recipe.train.ema or not (places.RESULTS[0] / f"{recipe.name}.json").is_file():
            continue
        record = load_record(recipe.name)
        images = recipe.images or IMAGES[record["settings"]["data"]]
        total = recipe.train.epochs * (images // recipe.train.batch_size)
        assert all(
            ema_decay(recipe.train.ema, step, total) == recipe.train.ema for step in (0, 1, total // 2, total - 1)
        )
        averaged += 1
    assert averaged >= 15
    assert len(find_recipe("shapes_vit_token").load("train")) == IMAGES["toy_shapes"]


def test_the_list_as_json_has_every_recipe_and_every_recorded_run(capsys):
    assert cli.main(["runs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(RECIPES)
    for row in rows:
        assert row["what"] == RECIPES[row["name"]].what and row["expect"] == RECIPES[row["name"]].expect
        try:
            recorded = load_record(row["name"])["runs"]
        except ValueError:
            recorded = []
        assert [run["test_accuracy"] for run in row["runs"]] == [run["test_accuracy"] for run in recorded]
    assert sum(bool(row["runs"]) for row in rows) > 10


def test_what_a_recipe_says_it_reached_is_recorded():
    said = {name: re.match(r"(\d\d\.\d\d) % on test", recipe.expect) for name, recipe in RECIPES.items()}
    said = {name: float(found[1]) for name, found in said.items() if found}
    assert {"mnist_report_d", "mnist_cnn", "mnist_vit", "cifar10_vit_small"} <= said.keys()
    for name, figure in said.items():
        assert figure == round(100 * load_record(name)["runs"][0]["test_accuracy"], 2), name
    for run in load_record("mnist_looks")["runs"]:
        assert f"{100 * run['test']['five']:.2f} % with five looks" in RECIPES[run["recipe"]].expect
