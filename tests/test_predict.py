"""`course predict` and `course export`: a trained model is asked, and says what it does not know."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib import cli
from course_lib.data.image_set import IMAGENET_MEAN, IMAGENET_STD
from course_lib.models import CNN, CNNConfig, ResNet, ResNetConfig, load_model, save_model
from course_lib.models.ask import as_pixels, probabilities, unlike, where_it_looks
from course_lib.records import load_record
from course_lib.vit import VisionTransformer, ViTConfig
from course_lib.weights import Preprocessing

CLASSES = ("cat", "dog", "red panda", "owl", "newt", "yak")
CONFIG = ViTConfig(img_size=(16, 24), patch_size=8, num_classes=6, embed_dim=12, depth=2, num_heads=3)
WANTS = Preprocessing(IMAGENET_MEAN, IMAGENET_STD, (16, 24), "cover", "bilinear")
MODELS = {
    "token": lambda: VisionTransformer(CONFIG),
    "avg": lambda: VisionTransformer(replace(CONFIG, global_pool="avg")),
    "ResNet": lambda: ResNet(ResNetConfig(3, 6, width=4, blocks=1)),
}


@pytest.fixture(params=MODELS)
def run(request, tmp_path):
    """The folder of a run whose model looks at pictures of 16 x 24 pixels."""
    torch.manual_seed(2)
    model = MODELS[request.param]()
    model.head.weight.data.mul_(50)  # an opinion
    save_model(model, tmp_path / "run" / "model.safetensors", classes=CLASSES, preprocessing=WANTS)
    return tmp_path / "run"


@pytest.fixture
def photos(tmp_path):
    """Files of several kinds in a folder, some of them without an ending that tells."""
    folder, noise = tmp_path / "photos", np.random.default_rng(3).integers(0, 255, (30, 40, 3), np.uint8)
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(noise[:, :20]).save(folder / "b.jpg", exif=turned)
    Image.fromarray(noise[..., 0]).save(folder / "c.gif")
    return folder


def ask(*arguments, capsys):
    status = cli.main(["predict", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_what_a_program_gets(run, photos, capsys):
    status, out, err = ask(run, photos / "a.png", photos / "b.jpg", "--json", capsys=capsys)
    assert (status, err) == (0, "")
    model = load_model(run)
    for found, name in zip(json.loads(out), ("a.png", "b.jpg"), strict=True):
        assert set(found) == {"file", "top"} and found["file"] == str(photos / name)
        with Image.open(photos / name) as picture:
            expected = probabilities(model, WANTS.transform()(picture)[None])[0]
        chances = [answer["probability"] for answer in found["top"]]
        assert chances == pytest.approx(expected.sort(descending=True).values[:5].tolist(), abs=1e-6)
        assert [CLASSES.index(answer["class"]) for answer in found["top"]] == expected.argsort(descending=True)[
            :5
        ].tolist()


def test_what_a_person_gets(run, photos, capsys):
    status, out, err = ask(run, photos, capsys=capsys)
    assert (status, err) == (0, "") and [line for line in out.splitlines() if not line.startswith(" ")] == [
        str(photos / name) for name in ("a.png", "b.jpg", "c.gif")
    ]
    assert out.count(" %  ") == 15


def test_maps_are_drawn_or_it_is_said_that_there_are_none(run, photos, tmp_path, capsys):
    status, out, err = ask(run, photos, photos / "a.png", "--maps", tmp_path / "maps", capsys=capsys)
    assert status == 0
    if isinstance(load_model(run), ResNet):
        assert err == "course predict: this model has no attention, so no maps were drawn.\n"
        assert not (tmp_path / "maps").exists()
        return
    names = ["a-2.png", "a.png", "b.png", "c.png"]
    assert sorted(file.name for file in (tmp_path / "maps").iterdir()) == names and err == ""
    assert all(f"where it looks: {tmp_path / 'maps' / name}" in out for name in names)
    with Image.open(tmp_path / "maps" / "a.png") as drawn:
        assert len(np.unique(np.asarray(drawn.convert("RGB")).reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize("kind", ["token", "avg"])
def test_where_it_looks_is_the_last_layers_attention(kind):
    torch.manual_seed(4)
    model, images = MODELS[kind]().eval(), torch.randn(2, 3, 16, 24)
    seen = []
    model.blocks[1].attn.register_forward_hook(lambda block, inputs, output: seen.append(inputs[0]))
    looks = where_it_looks(model, images)
    qkv = model.blocks[1].attn.qkv(seen[0]).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4)  # (3, B, H, N, d)
    weights = (qkv[0] @ qkv[1].mT / 2).softmax(-1).mean(1)  # (B, N, N), the mean over heads
    expected = weights[:, 0, 1:] if kind == "token" else weights.mean(1)
    assert looks.shape == (2, 2, 3) and torch.allclose(looks.flatten(1), expected, atol=1e-6)


def test_one_bad_file_keeps_none_of_the_others_back(run, photos, capsys):
    (photos / "broken.jpg").write_bytes(b"no picture")
    status, out, err = ask(run, photos, photos / "nothing.png", "--json", capsys=capsys)
    assert status == 1 and [bool(found["top"]) for found in json.loads(out)] == [True, True, False, True, False]
    assert "broken.jpg (10 bytes) cannot be read as an image" in err and "nothing.png is not there" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "x.png"], "no weights 'nowhere'"),
        (["{empty}", "x.png"], "holds no model.safetensors: it is no run, or one that has not finished"),
        (
            ["{run}/model.safetensors", "https://example.com/a.jpg", "--json"],
            "addresses are not fetched, save the picture",
        ),
        (["x.png", "{run}"], "no weights 'x.png'"),
        (["{run}", "{empty}"], "holds no pictures: name the files, or the folder that they lie in"),
        (["{bare}", "x.png"], "how these weights want their images is not known: keep them with save_model"),
        (["{headless}", "x.png"], "the model has no head, so it names nothing"),
    ],
)
def test_what_cannot_be_asked_is_one_line(arguments, words, tmp_path, capsys):
    places = {name: tmp_path / name for name in ("empty", "run", "bare", "headless")}
    places["empty"].mkdir()
    save_model(MODELS["token"](), places["run"] / "model.safetensors", preprocessing=WANTS)
    save_model(MODELS["token"](), places["bare"] / "model.safetensors")
    headless = VisionTransformer(replace(CONFIG, num_classes=0))
    save_model(headless, places["headless"] / "model.safetensors", preprocessing=WANTS)
    status, _, err = ask(*(word.format(**places) for word in arguments), capsys=capsys)
    assert status == 1 and words in err and err.count("\n") == 1


def test_without_names_the_outputs_are_numbered(photos, tmp_path, capsys):
    save_model(MODELS["token"](), tmp_path / "model.safetensors", preprocessing=WANTS)
    _, out, _ = ask(tmp_path, photos / "a.png", "--json", capsys=capsys)
    assert {answer["class"] for answer in json.loads(out)[0]["top"]} < {f"class {number}" for number in range(6)}


# Pictures of another kind than the model knows.

GREY = Preprocessing((0.13,), (0.31,), (28, 28), "cover", "bilinear")


def digit(ink, paper, colour=(1, 1, 1)):
    """A thick stroke."""
    pixels = np.full((40, 40, 3), paper, float)
    pixels[5:35, 18:22] = ink
    return Image.fromarray((pixels * colour).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("picture", "wants", "words"),
    [
        (digit(255, 0), GREY, []),
        (digit(200, 30), GREY, []),
        (digit(0, 255), GREY, ["it is dark on light, and the model knows the opposite: --invert"]),
        (digit(60, 220), GREY, ["it is dark on light"]),
        (digit(255, 0, (1, 0.2, 0.2)), GREY, ["it is in colour, and the model knows grey"]),
        (digit(255, 0), replace(GREY, mean=(0.87,)), ["it is light on dark"]),
        (digit(0, 255), WANTS, []),
        (digit(255, 0), WANTS, []),
        (digit(250, 0, (1, 0.97, 0.95)), GREY, []),
    ],
)
def test_what_is_unlike_is_noticed(picture, wants, words):
    notes = unlike(picture, wants)
    assert len(notes) == len(words) and all(word in note for word, note in zip(words, notes, strict=True))


def test_pixels_come_back():
    image = GREY.transform()(digit(255, 0))
    assert as_pixels(image, GREY)[0, 14, [14, 2]].tolist() == pytest.approx([1, 0], abs=1e-6)


def test_what_was_right_before_it_was_turned_round_is_said(tmp_path, capsys):
    digit(255, 0).save(tmp_path / "light.png")
    status, out, _ = ask("course/vit_mnist_token_patch4_28", tmp_path / "light.png", "--invert", capsys=capsys)
    assert status == 0 and "leave out --invert." in out and "turns it round" not in out


def test_dark_ink_is_read_once_it_is_turned_round(tmp_path, capsys):
    examples = load_record("mnist_test_examples")["examples"]
    labels = [example["label"] for example in examples]
    for number, example in enumerate(examples):
        pixels = np.frombuffer(bytes.fromhex("".join(example["image"])), np.uint8).reshape(28, 28)
        Image.fromarray(255 - pixels).save(tmp_path / f"{number}.png")
    name, right = "course/vit_mnist_token_patch4_28", []
    for more in ([], ["--invert"]):
        status, out, _ = ask(name, tmp_path, "--json", *more, capsys=capsys)
        found = json.loads(out)
        assert status == 0 and all(("notes" in answer) == (not more) for answer in found)
        right.append(sum(f["top"][0]["class"] == str(int(label)) for f, label in zip(found, labels, strict=True)))
    assert right[0] < len(labels) / 2 and right[1] >= len(labels) - 1


# ONNX


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*MODELS, "CNN"])
def test_an_exported_model_answers_alike(kind, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(6)
    model = MODELS[kind]() if kind in MODELS else CNN(CNNConfig(3, 6, (4, 6)))
    save_model(model, tmp_path / "model.safetensors", classes=CLASSES, preprocessing=WANTS)
    assert cli.main(["export", str(tmp_path), "--onnx", str(tmp_path / "out" / "m.onnx"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["input"] == ["batch", 3, 16, 24] and told["largest_difference"] < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "out" / "m.onnx", providers=["CPUExecutionProvider"])
    images = torch.randn(5, 3, 16, 24)
    with torch.no_grad():
        expected = model.eval()(images)
    (found,) = session.run(None, {"images": images.numpy()})
    assert np.abs(found - expected.numpy()).max() < 1e-4
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(CLASSES)
    assert json.loads(about["preprocessing"])["input_size"] == [16, 24]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["m.onnx"]


def test_an_export_that_cannot_be_is_one_line(tmp_path, monkeypatch, capsys):
    save_model(MODELS["token"](), tmp_path / "model.safetensors", preprocessing=WANTS)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["export", str(tmp_path), "--onnx", str(tmp_path / "m.onnx")]) == 1
    assert "this needs onnx and onnxscript and onnxruntime: pip install" in capsys.readouterr().err
