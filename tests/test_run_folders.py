"""Folders of runs: their names, what a finished run says, beginning anew, going on for longer, going on after Ctrl-C."""

import itertools
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_recipes import TINY

from course_lib import cli
from course_lib.data.sources import DATA_SETS, digits
from course_lib.recipes import folders, runner
from course_lib.recipes.recipe import Recipe
from course_lib.recipes.runner import RECIPES
from course_lib.recipes.settings import override
from course_lib.train import loop

pytestmark = pytest.mark.slow
SHORT = replace(TINY, train=replace(TINY.train, epochs=3, batch_size=600, lr=0.01))  # two steps an epoch


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setitem(RECIPES, "tiny", SHORT)
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return Path("runs/tiny")


def course(*words):
    return cli.main(["train", "tiny", *words, "--quiet"])


def stop_at(monkeypatch, number):
    """In the training step of that number, counted over all runs from now on, a Ctrl-C arrives."""
    count, real = itertools.count(1), loop.compute_gradients

    def compute_gradients(run, rows):
        if next(count) == number:
            signal.raise_signal(signal.SIGINT)
        return real(run, rows)

    monkeypatch.setattr(loop, "compute_gradients", compute_gradients)


def steps(monkeypatch):
    """A list that gets the number of each training step from now on."""
    seen, real = [], loop.compute_gradients

    def compute_gradients(run, rows):
        seen.append(run.progress.step)
        return real(run, rows)

    monkeypatch.setattr(loop, "compute_gradients", compute_gradients)
    return seen


def same_weights(first, second):
    first, second = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    return all(torch.equal(value, second[name]) for name, value in first.items())


# Names

LONG = "folder:" + "/a very long name of a folder" * 20
NAMES = [
    [],
    ["epochs=2"],
    ["data=folder:C:\\Users\\Me\\My Photos\\cats"],
    ["data=folder:/home/me/fotos/Ünïcödé: <what?>*|"],
    [f"data={LONG}"],
    ["weights=CON", "model.img_size=8,8"],
    ["lr=0.002", *(f"augment.{name}=1" for name in ("crop", "rotate", "erase", "mixup", "cutmix"))],
    ["data=folder:x. ", "weights=NUL."],
    ["data=folder:.."],
]


@pytest.mark.parametrize("words", NAMES, ids=lambda words: (words or ["as it stands"])[0][:30])
def test_every_system_takes_the_name(words):
    standing = RECIPES["cifar10_vit_token"] if "img_size" not in str(words) else TINY
    name = folders.run_name(override(standing, words), standing)
    assert len(name) <= 80 and name.isascii() and not set(name) & set(':\\/*?"<>| \t\n')
    assert not name.endswith((".", " ")) and name.split(".")[0].upper() not in ("CON", "NUL", "PRN", "AUX")
    assert (name == standing.name) == (not words)


def test_no_recipe_has_a_long_name():
    for recipe in RECIPES.values():
        name = folders.run_name(override(recipe, [f"data={LONG}", "lr=0.123", "epochs=123456"]), recipe)
        assert name.startswith(f"{recipe.name[:30]}-") and len(name) <= 80


def test_the_same_settings_are_the_same_folder():
    """In whatever order, however written; and what changes only the time is no other run."""
    words = ("epochs=5", "lr=0.01", "augment.rotate=10")
    names = {folders.run_name(override(TINY, order), TINY) for order in itertools.permutations(words)}
    for other in (
        ("train.epochs=5", "lr=1e-2", "augment.rotate=10.0"),
        (*words, "accumulate=2"),
        (*words, "device=cpu"),
        (*words, "weight_decay=0.05"),
    ):
        names.add(folders.run_name(override(TINY, other), TINY))
    assert len(names) == 1
    assert folders.run_name(override(TINY, ["compile=True", "device=cpu", "seed=3"]), TINY) == "tiny"


def test_other_settings_are_other_folders():
    words = [
        ["lr=0.01"],
        ["lr=0.02"],
        ["model.depth=1"],
        ["data=a/x"],
        ["data=b/x"],
        ["data=A/x"],
        ["patience=1"],
        ["weights=x"],
    ]
    assert len({folders.run_name(override(TINY, word), TINY) for word in words}) == len(words)


def test_the_settings_are_inside(tiny):
    assert course("epochs=1", "seed=4") == 0
    (folder,) = Path("runs").glob("tiny-epochs=1-*/seed-4")
    about = json.loads((folder / "settings.json").read_text())
    assert about["settings"]["train"]["epochs"] == 1 and (about["recipe"], about["seed"]) == ("tiny", 4)


# A finished run


def test_a_finished_run_says_so(tiny, monkeypatch, capsys):
    assert course() == 0
    first, record = capsys.readouterr().out, (tiny / "seed-0" / "record.json").read_bytes()
    seen = steps(monkeypatch)
    assert course() == 0
    said = capsys.readouterr().out
    assert (
        f"{tiny / 'seed-0'}: already finished after 3 epochs, nothing trained; --again trains anew, epochs=N goes on to N."
        in said
    )
    assert first in said and not seen and (tiny / "seed-0" / "record.json").read_bytes() == record


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"runs": []}', '{"runs": 5}', "\xff"])
def test_a_record_that_is_missing_or_damaged_is_made_anew(tiny, monkeypatch, capsys, content):
    assert course() == 0
    path = tiny / "seed-0" / "record.json"
    before = json.loads(path.read_text())
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"record.json is (damaged|not there): the command that trained") as error:
        folders.read_record(tiny / "seed-0")
    assert "\n" not in str(error.value)
    seen = steps(monkeypatch)
    assert course() == 0
    assert "record.json is" in capsys.readouterr().out and not seen
    after = folders.read_record(tiny / "seed-0")
    assert after["runs"][0]["curve"] == before["runs"][0]["curve"]
    assert after["runs"][0]["test_accuracy"] == before["runs"][0]["test_accuracy"]


def test_the_best_epochs_weights_lie_beside_the_last(tiny, capsys):
    assert course("lr=0.2", "epochs=6", "patience=3") == 0
    (folder,) = Path("runs").glob("tiny-*/seed-0")
    record = folders.read_record(folder)["runs"][0]
    accuracies = [row["val_accuracy"] for row in record["curve"]]
    assert record["best_epoch"] == 1 + accuracies.index(max(accuracies)) < len(accuracies), "choose another rate"
    assert (
        f"best.safetensors is of epoch {record['best_epoch']}, {100 * max(accuracies):.2f} %" in capsys.readouterr().out
    )
    recipe = override(SHORT, [f"weights={folder / 'best.safetensors'}"])
    _, accuracy = loop.evaluate_set(recipe.build(), recipe.load("val"))
    assert accuracy == max(accuracies)


def test_the_worst_class_has_its_name():
    confusion = [[9, 1, 0], [0, 0, 0], [5, 1, 4]]
    assert runner.worst_class(confusion, ("boot", "sandal", "shoe")) == {"name": "shoe", "recall": 0.4, "images": 10}
    assert runner.worst_class([[1, 1], [1, 1]], ("a", "b"))["name"] == "a"


# --again


def test_again_keeps_the_run_before(tiny, monkeypatch, capsys):
    assert course() == 0
    before = {
        path.name: path.read_bytes() for path in (tiny / "seed-0").iterdir() if path.suffix in (".json", ".safetensors")
    }
    seen = steps(monkeypatch)
    for number in (1, 2):
        assert course("--again") == 0
        assert f"the run before is kept in {tiny / f'seed-0.before-{number}'}" in capsys.readouterr().out
    assert seen == [*range(6), *range(6)]
    kept = tiny / "seed-0.before-1"
    assert {name: (kept / name).read_bytes() for name in before} == before
    assert same_weights(kept, tiny / "seed-0")


def test_again_where_nothing_is(tiny):
    assert course("--again") == 0
    assert [path.name for path in tiny.iterdir()] == ["seed-0"]


def test_again_sets_the_copy_aside_too(tiny):
    for words in ((), ("--again",)):
        assert course("--copy-to", "drive", *words) == 0
    assert {path.name for path in Path("drive/tiny").iterdir()} == {"seed-0", "seed-0.before-1"}


def test_again_of_an_unfinished_run_begins_anew_once(tiny, monkeypatch):
    """A run that was stopped, and that --again is to replace; the new one is stopped too, and goes on."""
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert course() == 130
    with monkeypatch.context() as patch:
        seen = steps(patch)
        stop_at(patch, 4)
        assert course("--again") == 130
        assert seen == [0, 1, 2, 3]
    seen = steps(monkeypatch)
    assert course("--again") == 0
    assert seen == [4, 5] and (tiny / "seed-0.before-1").is_dir() and not (tiny / "seed-0.before-2").exists()


def test_again_while_the_run_is_going(tiny, capsys):
    assert course() == 0
    with loop.Store(tiny / "seed-0"):
        assert course("--again") == 1
    assert "is in use by" in capsys.readouterr().err and not (tiny / "seed-0.before-1").exists()


# More epochs


def test_more_epochs_go_on(tiny, monkeypatch, capsys):
    assert course() == 0
    before = (tiny / "seed-0" / "model.safetensors").read_bytes()
    capsys.readouterr()
    rates, real = [], loop.SCHEDULES["cosine"]
    monkeypatch.setattr(loop, "SCHEDULES", {"cosine": lambda *words: rates.append(real(*words)) or rates[-1]})
    seen = steps(monkeypatch)
    assert course("epochs=5") == 0
    said = capsys.readouterr().out
    assert seen == [6, 7, 8, 9] and rates == [real(step, 10, 1, 0.01) for step in seen]
    assert (
        f"Going on from the run in {tiny / 'seed-0'}, which stays as it is; --again trains all 5 epochs anew." in said
    )
    assert f"After 3 epochs the learning rate goes on as in a run of 5, from {rates[0]:.2g}." in said
    assert (tiny / "seed-0" / "model.safetensors").read_bytes() == before
    (folder,) = Path("runs").glob("tiny-epochs=5-*/seed-0")
    record = folders.read_record(folder)["runs"][0]
    assert [row["epoch"] for row in record["curve"]] == [1, 2, 3, 4, 5]
    assert record["changes"] == ["after epoch 3: config.epochs: 3 -> 5"]

    seen.clear()  # the longest shorter one is taken, whose settings are the same
    assert course("epochs=6") == 0 and seen == [10, 11]
    assert course("epochs=6") == 0 and seen == [10, 11]
    assert course("epochs=7", "lr=0.02") == 0 and seen == [10, 11, *range(14)]
    seen.clear()
    assert course("epochs=6", "--again") == 0 and seen == [*range(12)]
    assert "changes" not in folders.read_record(next(Path("runs").glob("tiny-epochs=6-*/seed-0")))["runs"][0]


def test_more_epochs_of_a_run_with_a_name(tiny, monkeypatch, capsys):
    """Its folder has a run that is not touched; the advice works."""
    assert course("--name", "mine") == 0
    seen = steps(monkeypatch)
    assert course("--name", "mine", "epochs=5") == 1
    error = capsys.readouterr().err
    assert "mine/seed-0 has a run of 3 epochs, and keeps it: give the one of 5 another --name" in error.replace(
        "\\", "/"
    )
    assert error.count("\n") == 1 and not seen
    assert course("--name", "longer", "epochs=5") == 0 and seen == [6, 7, 8, 9]
    assert course("--name", "mine") == 0 and "already finished after 3 epochs" in capsys.readouterr().out


def test_the_recipe_as_it_stands_never_goes_on_from_a_trial(tiny, monkeypatch):
    """Its record must be of its own schedule."""
    assert course("epochs=1") == 0  # 0.5 of it is warm-up
    seen = steps(monkeypatch)
    assert course() == 0 and course("epochs=3") == 0 and seen == [*range(6)]


def test_fewer_epochs_are_a_run_of_their_own(tiny, monkeypatch):
    assert course() == 0
    seen = steps(monkeypatch)
    assert course("epochs=2") == 0 and seen == [*range(4)]


def test_an_unfinished_run_goes_on_for_longer_too(tiny, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert course("epochs=4") == 130
    seen = steps(monkeypatch)
    assert course("epochs=6") == 0 and seen == [*range(3, 12)]


def test_a_run_of_an_older_version_goes_on_for_longer(tiny, monkeypatch):
    """It has no settings.json."""
    assert course() == 0
    (tiny / "seed-0" / "settings.json").unlink()
    seen = steps(monkeypatch)
    assert course("epochs=4") == 0 and seen == [6, 7]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 5}', "5"])
def test_a_damaged_settings_file_is_no_obstacle(tiny, capsys, content):
    assert course() == 0
    (tiny / "seed-0" / "settings.json").write_text(content)
    (tiny / "again.json").write_text(content)
    assert course() == 0 and course("epochs=4") == 0 and course("--again") == 0
    assert (tiny / "seed-0.before-1").is_dir()


def test_a_run_with_patience_is_trained_anew(tiny, monkeypatch):
    assert course("patience=1") == 0
    seen = steps(monkeypatch)
    assert course("patience=1", "epochs=4") == 0 and seen[0] == 0


# The same command after Ctrl-C

COMMANDS = {
    "plain": ((), ()),
    "seeds": ((), ("--seeds", "0", "1")),
    "again": ([()], ("--again",)),
    "again with seeds": ([("--seeds", "0", "1")], ("--seeds", "0", "1", "--again")),
    "longer": ([()], ("epochs=5",)),
    "longer with seeds": ([("--seeds", "0", "1")], ("epochs=5", "--seeds", "0", "1")),
    "copy": ((), ("--copy-to", "drive")),
    "settings": ((), ("lr=0.02", "augment.flip=True", "balanced=True", "patience=2")),
    "allow change": ((), ("--allow-change",)),
    "record": ((), ("--record",)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_goes_on_after_ctrl_c(tiny, tmp_path, monkeypatch, capsys, name):
    """After any step: nothing is trained twice, and what comes out is what the undisturbed command gives."""
    first, command = COMMANDS[name]
    monkeypatch.setattr("course_lib.files.places.RESULTS", (tmp_path / "results",))
    (tmp_path / "results").mkdir()
    for words in first:
        assert course("--out", "whole", *words) == 0
    seen = steps(monkeypatch)
    assert course("--out", "whole", *command) == 0
    whole = [*seen]
    if Path("drive").exists():
        Path("drive").rename("drive of the whole")
    for words in first:
        assert course("--out", "parts", *words) == 0
    seen.clear()
    for _ in range(len(whole) - 1):
        with monkeypatch.context() as patch:
            stop_at(patch, 1)
            assert course("--out", "parts", *command) == 130
        assert "The same command goes on from here." in capsys.readouterr().err
    assert course("--out", "parts", *command) == 0
    assert seen == whole
    for path in Path("whole").glob("*/seed-*/model.safetensors"):
        assert same_weights(path.parent, "parts" / path.parent.relative_to("whole"))
    assert not [*Path("parts").glob("*/again.json")]


def test_other_commands_do_not_go_on(monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("course_lib.commands.runs._recorded", stopped)
    assert cli.main(["runs"]) == 130
    assert capsys.readouterr().err == "Stopped.\n"


# The images have changed


PRINTS = {}


def listed(split):
    """Images whose files are known."""
    return replace(digits(split), fingerprint=PRINTS.get(split))


@pytest.fixture
def files(tiny, monkeypatch):
    """The tiny recipe on data whose files are known: PRINTS has the fingerprint of each split."""
    monkeypatch.setitem(DATA_SETS, "listed", listed)
    monkeypatch.setitem(RECIPES, "tiny", replace(SHORT, data="listed"))
    PRINTS.clear()
    PRINTS.update(train="a", val="b", test="c")
    return tiny


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_repaired_folder(files, monkeypatch, capsys, split, finished):
    """Refused in one line that says what to do, and doing it works; also twice, with a Ctrl-C and a repair between."""
    with monkeypatch.context() as patch:
        stop_at(patch, 7 if finished else 3)
        assert course() == (0 if finished else 130)
    capsys.readouterr()
    PRINTS[split] = "new"
    assert course() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"the images in listed ({split}) have changed since this run began: --again trains anew" in error
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert course("--again") == 130
    PRINTS[split] = "newer"
    assert course() == 1
    assert course("--again") == 0
    assert course() == 0 and "already finished" in capsys.readouterr().out


def test_a_repaired_folder_on_request(files, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert course() == 130
    PRINTS["val"] = "new"
    assert course("--allow-change") == 0
    assert course() == 0 and "already finished" in capsys.readouterr().out


def test_files_nobody_knew_of(files, monkeypatch):
    """As in a run of an older version."""
    PRINTS.clear()
    assert course() == 0
    PRINTS.update(train="a", val="b", test="c")
    assert course() == 0


def test_a_folder_in_the_way(tiny, capsys):
    Path("file").touch()
    assert course("--out", "file") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot write in" in error and "choose another folder with --out" in error


@pytest.mark.parametrize("words", [(), ("epochs=4",), ("--again",)])
def test_a_folder_whose_own_name_is_too_long(tiny, capsys, words):
    """There --out is what helps."""
    assert course("--out", "x" * 300, *words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "choose another folder with --out" in error
    assert course("--out", "x" * 30, *words) == 0


def test_any_error_of_a_file_is_one_line(tiny, monkeypatch, capsys):
    def fail(*_, **__):
        raise PermissionError(13, "Permission denied", "somewhere/model.safetensors")

    monkeypatch.setattr(runner, "save_model", fail)
    assert course() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "somewhere/model.safetensors" in error and "Permission denied" in error


def test_memory_shortage_anywhere_is_one_line(tiny, monkeypatch, capsys):
    def fail(*_):
        raise MemoryError("Unable to allocate 3.64 TiB for an array")

    monkeypatch.setattr(Recipe, "load", fail)
    assert course() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "out of memory: Unable to allocate 3.64 TiB" in error and "batch_size" in error
