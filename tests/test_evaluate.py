"""`course evaluate`: how good a model is on a folder, and where it is wrong, by names and files."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score

from course_lib import cli
from course_lib.data.folders import fingerprint_of
from course_lib.models import CNN, CNNConfig, load_model, save_model
from course_lib.models.ask import ask_files
from course_lib.weights import Preprocessing

WANTS = Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (16, 16), "cover", "bilinear")
CLASSES = ("blue", "green", "red")  # and the model takes each for what it has most of
COLOURS = dict(zip(("red", "green", "blue"), np.eye(3), strict=True))


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A run whose model names the strongest colour."""
    model = CNN(CNNConfig(3, 3, (3, 3)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for layer in (model.features[0], model.features[3]):
            layer.weight[range(3), range(3), 1, 1] = 1.0
        for norm in (model.features[1], model.features[4]):
            norm.weight.fill_(1.0)
        model.head.weight.copy_(3 * torch.eye(3).flip(0))
    run = tmp_path_factory.mktemp("run") / "colours"
    save_model(model, run / "model.safetensors", classes=CLASSES, preprocessing=WANTS)
    return run


@pytest.fixture
def folder(tmp_path):
    """Twenty pictures of each colour in several kinds of file; two reds and a blue are called green."""
    folder, generator = tmp_path / "photos", np.random.default_rng(3)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = (generator.uniform(0, 60, (24, 30, 3)) + 180 * colour).astype(np.uint8)
            ending = ("png", "jpg", "webp")[number % 3]
            Image.fromarray(pixels).save(folder / name / f"{number:02}.{ending}", quality=95)
    for source, number in (("red", 3), ("red", 6), ("blue", 9)):
        shutil.move(folder / source / f"{number:02}.png", folder / "green" / f"{source}{number}.png")
    return folder


def evaluate(*arguments, capsys):
    status = cli.main(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_what_a_program_gets(colours, folder, tmp_path, capsys):
    status, out, err = evaluate(colours, folder, "--out", tmp_path / "drawn", "--json", capsys=capsys)
    told = json.loads(out)
    assert (status, err) == (0, "") and told["split"] == "all" and told["images"] == 60
    labels = [1] * 23 + [2] * 18 + [0] * 19
    answers = [1] * 20 + [2, 2, 0] + [2] * 18 + [0] * 19
    assert told["accuracy"] == pytest.approx(57 / 60)
    assert told["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"))
    assert told["worst_class"] == {"class": "green", "right": 20, "of": 23}
    assert told["always_the_commonest"] == {"class": "green", "accuracy": pytest.approx(23 / 60)}
    assert told["classes"] == list(CLASSES) and told["confusion"] == [[19, 0, 0], [1, 20, 2], [0, 0, 18]]
    wrong = {str(folder / "green" / name) for name in ("red3.png", "red6.png", "blue9.png")}
    assert {mistake["file"] for mistake in told["mistakes"]} == wrong
    assert all(m["is"] == "green" and m["said"] in m["file"] for m in told["mistakes"])
    sure = [mistake["probability"] for mistake in told["mistakes"]]
    assert sure == sorted(sure, reverse=True) and min(sure) > 1 / 3
    for name in ("confusion_picture", "mistakes_picture"):
        with Image.open(told[name]) as drawn:
            assert min(drawn.size) > 200


def test_what_a_person_gets(colours, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, _ = evaluate(colours, folder, capsys=capsys)
    assert status == 0 and "95.00 % of 60 pictures right (all); macro-F1 0.9" in out
    assert "worst class: green, 20 of 23 right" in out and "always saying green would be right in 38.33 %" in out
    assert f"{folder / 'green' / 'red3.png'}: red " in out and out.count(", is green") == 3
    assert sorted(file.name for file in (tmp_path / "evaluation").iterdir()) == ["confusion.png", "mistakes.png"]


def test_the_folder_it_was_trained_on_is_looked_at_by_its_test(colours, folder, tmp_path, capsys):
    model = load_model(colours)
    record = {"settings": {"data": f"folder:{folder}"}}
    save_model(model, tmp_path / "m.safetensors", classes=CLASSES, preprocessing=WANTS, record=record)
    for images, note in (
        ({"test": fingerprint_of(folder, "test")}, []),
        ({"test": "another"}, ["these are other pictures than this split had in training"]),
    ):
        known = record | {"images": images}
        save_model(model, tmp_path / "m.safetensors", classes=CLASSES, preprocessing=WANTS, record=known)
        _, out, _ = evaluate(tmp_path / "m.safetensors", folder, "--json", "--out", tmp_path / "drawn", capsys=capsys)
        notes = json.loads(out).get("notes", [])
        assert len(notes) == len(note) and all(words in said for words, said in zip(note, notes, strict=True))
    shutil.copytree(folder, tmp_path / "copy")
    _, elsewhere, _ = evaluate(tmp_path / "m.safetensors", tmp_path / "copy", "--out", tmp_path / "d", capsys=capsys)
    assert "note: if it was trained on some of these pictures" in elsewhere
    assert {m["file"] for m in json.loads(out)["mistakes"]} == {str(folder / "green" / f"red{n}.png") for n in (3, 6)}
    assert json.loads(out)["split"] == "test" and json.loads(out)["images"] == 4


def test_classes_are_found_by_their_names(colours, folder, tmp_path, capsys):
    """Whatever else lies in the model's order, and whether all are there."""
    shutil.rmtree(folder / "blue")
    _, out, _ = evaluate(colours, folder, "--json", "--out", tmp_path / "drawn", capsys=capsys)
    assert json.loads(out)["accuracy"] == pytest.approx(38 / 41) and json.loads(out)["notes"] == [
        "no pictures of blue."
    ]
    (folder / "red").rename(folder / "crimson")
    status, _, err = evaluate(colours, folder, "--out", tmp_path / "drawn", capsys=capsys)
    assert status == 1 and "classes that the model does not know (crimson); it knows blue, green, red" in err


def test_without_names_the_order_counts(colours, folder, tmp_path, capsys):
    save_model(load_model(colours), tmp_path / "model.safetensors", preprocessing=WANTS)
    _, out, _ = evaluate(tmp_path / "model.safetensors", folder, "--json", "--out", tmp_path / "d", capsys=capsys)
    assert json.loads(out)["accuracy"] == pytest.approx(57 / 60)


def test_all_right_draws_no_mistakes(colours, folder, tmp_path, capsys):
    shutil.rmtree(folder / "green")
    status, out, _ = evaluate(colours, folder, "--out", tmp_path / "drawn", capsys=capsys)
    assert status == 0 and "100.00 % of 37" in out and "mistakes" not in out
    assert [file.name for file in (tmp_path / "drawn").iterdir()] == ["confusion.png"]


def test_what_cannot_be_is_one_line(colours, folder, tmp_path, capsys):
    for arguments, words in (
        ((colours, tmp_path / "nowhere"), "is not a folder"),
        ((colours, folder, "--split", "tets"), "split 'tets' must be one of train, val, test"),
        (("nothing", folder), "no weights 'nothing'"),
        ((colours, folder, "--out", folder / "new"), "lies among the pictures, and would be taken for some"),
        ((folder / "red" / "00.png", folder), "is no weights file that is known here"),
    ):
        status, _, err = evaluate(*arguments, capsys=capsys)
        assert status == 1 and words in err and err.count("\n") == 1
    (folder / "red" / "00.png").write_bytes(b"broken")
    (folder / "red" / "03.webp").write_bytes(b"broken")
    status, _, err = evaluate(colours, folder, capsys=capsys)
    assert status == 1 and "00.png (6 bytes) cannot be read" in err and "So are 1 others" in err


def test_many_files_are_asked_in_their_order(colours, folder):
    paths = sorted(folder.rglob("*.*"))
    together = ask_files(load_model(colours), paths, WANTS, batch_size=7)
    alone = torch.cat([ask_files(load_model(colours), [path], WANTS) for path in paths])
    assert torch.allclose(together, alone, atol=1e-6)
