"""`course look`: what is in a folder, whether it can be trained on or not, on one screen, as JSON, and as a sheet."""

import io
import json
import os
import warnings

import numpy as np
import pytest
from data_files import picture
from PIL import Image

from course_lib import cli
from course_lib.data.survey import look_at

pytestmark = pytest.mark.usefixtures("own_folder")


def put(path, number=0, width=6, height=5, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    picture(number, width, height).convert(mode).save(file, Image.registered_extensions()[path.suffix.lower()])
    path.write_bytes(file.getvalue())
    return path


def run(capsys, *arguments):
    status = cli.main(["look", *map(str, arguments)])
    found = capsys.readouterr()
    assert "Traceback" not in found.err
    return status, found.out, found.err


def photographs(root):
    """200 in three classes, with all that is wrong with people's photographs."""
    for number in range(194):
        name = ("ant", "bee", "wasp")[(number % 8 > 4) + (number % 8 > 6)]
        put(
            root / name / f"{number:03}.jpg",
            number,
            *((40, 30) if number % 3 else (30, 30)),
            "L" if number % 50 == 0 else "RGB",
        )
    put(root / "bee" / "wide.png", 500, 90, 20, "RGBA")
    put(root / "ant" / "000 copy.png", 501)
    put(root / "ant" / "zz.png", 501)  # in another split
    put(root / "wasp" / "zzz.bmp", 501)  # in another class
    for number in (1, 2):
        (root / "bee" / f"broken{number}.jpg").write_bytes(b"no picture")
    for number in range(16):
        (root / "ant" / f"IMG_{number}.HEIC").write_bytes(b"heic")
    (root / "ant" / "list.csv").write_text("")


def test_two_hundred_photographs_on_one_screen(tmp_path, capsys):
    root = tmp_path / "photos"
    photographs(root)
    status, out, err = run(capsys, root)
    assert status == 0 and not err
    assert sum(1 + len(line) // 100 for line in out.splitlines()) <= 24
    for said in (
        f"{root}: 200 pictures in 3 classes, 0.",
        "Held back: the last tenth of each class for the test, the one before it for validation.",
        "together      162       19       17",
        "to train on: ",
        "Sizes: 4, from 6 x 5 to 90 x 20; most often 40 x 30 (129). 133 are not square",
        "size=224",
        "Colours: RGB 193, grey 4, transparent 1.",
        "Left out: 16 .heic (pip install pillow-heif reads them), 1 .csv.",
        "Unreadable: 2 files: bee/broken1.jpg, bee/broken2.jpg. Replace or delete them, or leave them out with skip=True.",
        "Duplicates (the same pixels): 3 files, sets of them: 1; across splits: 1; across classes: 1.",
        "ant/000 copy.png = ant/zz.png = wasp/zzz.bmp",
    ):
        assert said in out, said
    assert "Not ready" not in out


def test_as_json(tmp_path, capsys):
    root = tmp_path / "photos"
    photographs(root)
    status, out, _ = run(capsys, root, "--json")
    facts = json.loads(out)
    assert status == 0 and facts == json.loads(json.dumps(look_at(root)[0]))
    assert facts["refused"] is None and facts["tenths_held_back"] == 2
    total = {split: sum(counts[split] for counts in facts["classes"].values()) for split in ("train", "val", "test")}
    assert sum(total.values()) == 198 and facts["folders"] == {"ant": 124, "bee": 51, "wasp": 25}
    assert facts["sizes"]["largest"] == [90, 20] and facts["sizes"]["smallest"] == [6, 5]
    assert [each["file"] for each in facts["unreadable"]] == ["bee/broken1.jpg", "bee/broken2.jpg"]
    assert "cannot be read as an image" in facts["unreadable"][0]["error"]
    (group,) = facts["duplicates"]
    assert group["classes"] == ["ant", "wasp"] and "train" in group["splits"] and "test" in group["splits"]
    assert facts["left_out"] == {".heic": 16, ".csv": 1}


def test_counts_are_those_that_are_trained_on(tmp_path):
    from course_lib.data.folders import image_folder

    root = tmp_path / "photos"
    photographs(root)
    classes = look_at(root)[0]["classes"]
    for split in ("train", "val", "test"):
        data = image_folder(root, split, 8, skip=True)
        found = data.labels.bincount().tolist()
        assert [classes[name][split] for name in data.classes] == found


def test_imbalance(tmp_path, capsys):
    seeds = iter(range(60))
    for part, counts in (("train", {"cat": 38, "dog": 2}), ("test", {"cat": 19, "dog": 1})):
        for name, count in counts.items():
            for number in range(count):
                put(tmp_path / "pets" / part / name / f"{number}.png", next(seeds))
    out = run(capsys, tmp_path / "pets")[1]
    assert (
        "Balance: cat 35, dog 1 to train on: 35.0 to 1. A model that always says cat is right in 95.0 % of the test."
        in out
    )
    assert "Held back: the last tenth of each class for validation." in out
    assert "Sizes: all 6 x 5; with a size" in out and "Duplicates: none" in out


def test_a_folder_that_is_refused(tmp_path, capsys):
    for number in range(10):
        for name in ("cat", "dog"):
            put(tmp_path / "dogs" / "train" / f"{name}.{number}.jpg", number)
        put(tmp_path / "dogs" / "test1" / f"{number}.jpg", 50 + number)
    status, out, _ = run(capsys, tmp_path / "dogs")
    assert status == 0 and f"{tmp_path / 'dogs'}: 30 pictures, 0." in out
    assert f"Not ready to be trained on: {tmp_path / 'dogs' / 'train'} holds 20 pictures and no folders" in out
    assert "run `course sort" in out and "10 in test1" in out and "20 in train" in out
    assert "Sizes: all 6 x 5" in out and "20 files, sets of them: 10; across splits: 0" in out
    facts = json.loads(run(capsys, tmp_path / "dogs", "--json")[1])
    assert "course sort" in facts["refused"] and facts["classes"] == {}
    status, out, _ = run(capsys, tmp_path / "dogs", "--sheet", tmp_path / "sheet.png")
    assert status == 0 and (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: root.mkdir(), "holds no folders with pictures"),
        (lambda root: put(root / "cat" / "1.png"), "cat has too few images for a share of them to be 'train'"),
        (lambda root: [put(root / "cat" / f"{n}.png") for n in range(9)], "has one class only: a classifier needs at least two"),
        (lambda root: [put(root / name / f"{n}.png") for name in ("cat", "dog") for n in range(9)] and (root / "cow").mkdir(), "cow has no images"),
    ],
)  # fmt: skip
def test_what_would_fail_later_is_said(tmp_path, capsys, make, said):
    make(tmp_path / "pets")
    status, out, _ = run(capsys, tmp_path / "pets")
    assert status == 0 and "Not ready to be trained on: " in out and said in out


def test_all_pictures_of_a_class_are_broken(tmp_path, capsys):
    for number in range(9):
        put(tmp_path / "pets" / "cat" / f"{number}.png", number)
        put(tmp_path / "pets" / "dog" / f"{number}.png").write_bytes(b"")
    out = run(capsys, tmp_path / "pets")[1]
    assert "dog has too few images" in out and "9 files: dog/0.png, dog/1.png" in out and "and 1 more" in out


def test_no_such_folder(tmp_path, capsys):
    status, out, err = run(capsys, tmp_path / "nowhere")
    assert status == 1 and not out and "nowhere is not a folder" in err and err.count("\n") == 1


def test_many_classes(tmp_path, capsys):
    for label in range(40):
        for number in range(3):
            put(tmp_path / "many" / f"kind {label:02}" / f"{number}.png", 3 * label + number)
    out = run(capsys, tmp_path / "many", "--sheet", tmp_path / "sheet.png")[1]
    assert "and 25 more classes" in out and "together       40       40       40" in out
    assert "all classes have 1 to train on" in out and "is right in 2.5 % of the test" in out
    assert "the first 30 of 40 classes" in out


def test_the_sheet_shows_what_the_model_sees(tmp_path, capsys):
    """Red left and right of a blue middle square: the model sees no red. Pictures of one size it sees whole."""
    pixels = np.zeros((30, 90, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[:, 30:60] = (0, 0, 255)
    for number in range(9):
        for name in ("cat $x_1$", "猫"):
            path = put(tmp_path / "pets" / name / f"{number} $^.png")
            Image.fromarray(pixels).save(path)
    sheet = tmp_path / "sheet.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other, red in ((None, True), ((90, 60), False)):
            if other:
                put(tmp_path / "pets" / "猫" / "other.png", 3, *other)
            status, out, _ = run(capsys, tmp_path / "pets", "--sheet", sheet)
            assert status == 0 and f"Sheet: {sheet}" in out
            found = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
            reds = ((found[..., 0] > 240) & (found[..., 1:] < 15).all(axis=2)).sum()
            blues = ((found[..., 2] > 240) & (found[..., :2] < 15).all(axis=2)).sum()
            assert blues > 10_000 and (reds > 10_000) == red


def test_where_a_sheet_may_lie(tmp_path, capsys):
    for number in range(9):
        for name in ("cat", "dog"):
            put(tmp_path / "pets" / name / f"{number}.png", number)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for sheet, said in (
        (tmp_path / "sheet.jpg", "must be a .png file"),
        (tmp_path / "pets" / "sheet.png", "would lie among the pictures"),
        (tmp_path / "file" / "sheet.png", "cannot write"),
        (tmp_path / "folder.png", "cannot write"),
    ):
        status, _, err = run(capsys, tmp_path / "pets", "--sheet", sheet)
        assert status == 1 and said in err and err.count("\n") == 1
    (tmp_path / "nothing").mkdir()
    status, _, err = run(capsys, tmp_path / "nothing", "--sheet", tmp_path / "sheet.png")
    assert status == 1 and "no pictures for a sheet" in err
    status, out, err = run(capsys, tmp_path / "pets", "--json", "--sheet", tmp_path / "new" / "sheet.png")
    assert status == 0 and json.loads(out) and "Sheet: " in err


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_names_that_are_no_text(tmp_path, capsys):
    for number in range(9):
        for name in ("cat", "dog"):
            put(tmp_path / "pets" / name / f"{number}.png", number)
    with open(os.path.join(os.fsencode(tmp_path), b"pets/cat/\xff.png"), "wb") as file:
        file.write(b"broken")
    assert "cat/\\udcff.png" in run(capsys, tmp_path / "pets")[1]
    assert json.loads(run(capsys, tmp_path / "pets", "--json")[1])["unreadable"][0]["file"] == "cat/\udcff.png"
    assert run(capsys, tmp_path / "pets", "--sheet", tmp_path / "sheet.png")[0] == 0
