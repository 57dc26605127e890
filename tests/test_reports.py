"""The five reports: every experiment has a way to it, and what is missing is named. Chapter 10."""

from dataclasses import replace

import pytest
import reports_page
import torch
from weight_files import random_state, write

from course_lib import cli
from course_lib.recipes import reports
from course_lib.recipes.runner import RECIPES
from course_lib.records import load_record
from course_lib.vit import VisionTransformer, ViTConfig


def test_every_experiment_has_a_recipe_or_a_chapter():
    names = [experiment.name for experiment in reports.EXPERIMENTS]
    assert len(set(names)) == len(names) and {name[0] for name in names} == set(reports.REPORTS)
    for experiment in reports.EXPERIMENTS:
        assert (experiment.recipe in RECIPES) if experiment.figure else (experiment.recipe is None)
        assert 1 <= experiment.chapter <= 14


def test_every_fine_tuning_recipe_is_an_experiment():
    from course_lib.recipes.finetuning import FINE_TUNING

    assert {recipe.name for recipe in FINE_TUNING} <= {experiment.recipe for experiment in reports.EXPERIMENTS}
    for experiment in reports.EXPERIMENTS:  # the recipe quotes the same figure
        if experiment.recipe in {recipe.name for recipe in FINE_TUNING}:
            assert experiment.figure in RECIPES[experiment.recipe].expect


def test_our_figure_is_that_of_the_record():
    runs = load_record("mnist_report_d")["runs"]
    mean = sum(run["test_accuracy"] for run in runs) / len(runs)
    assert reports.ours(reports.find_experiment("d.MNIST")).startswith(f"{100 * mean:.2f} % ({len(runs)} run")


def test_the_page_is_what_the_records_say():
    assert reports_page.PAGE.read_text(encoding="utf-8") == reports_page.page(), "run python tools/reports_page.py"


def test_the_page_has_every_experiment_and_claims_nothing_that_was_not_run():
    text = reports_page.page().replace("&nbsp;", " ")
    for experiment in reports.EXPERIMENTS:
        (line,) = [line for line in text.splitlines() if f"`{experiment.name}`" in line]
        assert experiment.what in line and experiment.figure in line
        if experiment.recipe:
            assert (reports.ours(experiment) or "not run") in line


def test_the_list_names_everything(capsys):
    assert cli.main(["reproduce"]) == 0
    printed = capsys.readouterr().out
    for experiment in reports.EXPERIMENTS:
        assert f"  {experiment.name} " in printed and experiment.figure in printed
    assert "kaggle.com" in printed and "train/cat, train/dog" in printed


def test_an_experiment_of_a_chapter(capsys):
    assert cli.main(["reproduce", "C.positions"]) == 0
    assert "chapter 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("A.nothing", "no experiment 'A.nothing'; there are A.parts"),
        (
            "C.all",
            "train.zip, which `course sort` sorts into train/cat, train/dog, and the same in test, in data/cache/dogs_vs_cats",
        ),
        ("E.vit", "train/boot, train/sandal, train/shoe"),
    ],
)
def test_what_is_missing_is_one_line(name, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", name]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_weights_are_looked_for_where_they_will_be_put(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_LIB_CACHE", str(tmp_path))
    for name, file in (("A.cifar10", "vit_b_16-c867db91.pth"), ("A.cifar10.resnet", "resnet152-394f9c45.pth")):
        experiment = reports.find_experiment(name)
        assert (
            f"fetches weights {file} from https://download.pytorch.org/models/{file}, to {tmp_path}"
            in reports.state(experiment)
        )
        (tmp_path / file).write_bytes(b"weights")
        assert reports.state(experiment) == "ready to run"


def test_an_experiment_runs_as_soon_as_everything_is_there(tmp_path, monkeypatch, capsys):
    """Small weights in the published format, and a folder of small images, in place of the real ones."""
    from PIL import Image

    from course_lib.train.config import TrainConfig

    torch.set_num_threads(1)
    small = ViTConfig(img_size=32, patch_size=16, num_classes=2, embed_dim=12, depth=1, num_heads=3)
    weights = write("zip", random_state(VisionTransformer(replace(small, num_classes=5))), tmp_path / "vit.pth")
    recipe = replace(
        RECIPES["dogs_vs_cats_vit_b16"],
        model=small,
        size=32,
        weights=str(weights),
        train=TrainConfig(epochs=1, batch_size=4, warmup_epochs=0, device="cpu", precision="float32"),
    )
    monkeypatch.setitem(RECIPES, recipe.name, recipe)
    monkeypatch.setattr("course_lib.files.places.RESULTS", (tmp_path / "results",))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    assert cli.main(["reproduce", "C.all", "--quiet"]) == 1
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / "cache" / "dogs_vs_cats" / part / name
            folder.mkdir(parents=True)
            for number in range(10):
                Image.new("RGB", (33, 40), (number, 0, 200 * (name == "cat"))).save(folder / f"{number}.jpg")
    assert reports.state(reports.find_experiment("C.all")) == "ready to run"
    assert cli.main(["reproduce", "C.all", "--quiet", "--record"]) == 0
    assert "% on test" in capsys.readouterr().out
    assert reports.ours(reports.find_experiment("C.all")).endswith("% (1 run)")
    assert reports.state(reports.find_experiment("C.all")) == "recorded"
