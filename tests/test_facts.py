"""What stands beside the weights is heeded, and refused in one line where no ViT can have it."""

import json

import pytest
from PIL import Image
from weight_files import SMALL, as_huggingface, assert_same, random_state, refuse, write

from course_lib.models import create_model
from course_lib.weights.load import load_pretrained
from course_lib.weights.preprocessing import Preprocessing

MEAN = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}


@pytest.fixture
def hub_file(tmp_path):
    """A function that lays JSON (or text) beside weights in Hugging Face's names, and gives the path of these."""

    def lay(**beside):
        for name, content in beside.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / f"{name}.json").write_text(text)
        return write("huggingface", random_state(SMALL.model()), tmp_path / "model.safetensors")

    return lay


def test_the_processor_and_config_of_the_library_itself(tmp_path, capsys):
    """Written by it. The answers are compared in test_convert."""
    import transformers

    config = transformers.ViTConfig(layer_norm_eps=3e-4, num_attention_heads=3)
    size = {"height": 8, "width": 8}
    processor = transformers.ViTImageProcessor(size=size, resample=3, **MEAN)
    write("huggingface", random_state(SMALL.model()), tmp_path / "model.safetensors")
    for thing in (config, processor):
        thing.save_pretrained(tmp_path)
    ours = load_pretrained(SMALL.model(), tmp_path / "model.safetensors")
    assert ours.config.norm_eps == ours.norm.eps == ours.blocks[1].norm2.eps == 3e-4
    assert "epsilon set from 1e-06 to 0.0003" in capsys.readouterr().out
    assert ours.preprocessing == Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (8, 8), (8, 8), "bicubic")
    refuse(SMALL.model(num_heads=4), tmp_path / "model.safetensors", capsys, r"3 heads.*has 4.*num_heads=3")


def test_a_nonsquare_file_says_its_grid(hub_file, tmp_path, capsys):
    state = random_state(SMALL.model(img_size=(8, 32)))  # 2 x 8: as many patches as 4 x 4
    path = hub_file(config={"image_size": [8, 32], "patch_size": 4})
    write("huggingface", state, path)
    ours = load_pretrained(SMALL.model(img_size=(8, 32)), path)
    assert "resampled" not in capsys.readouterr().out
    assert_same(as_huggingface(ours.state_dict()), as_huggingface(state))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"size": 8}, (8, 8)),
        ({"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}}, 9),
        ({"size": {"height": 9, "width": 9}, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}}, (9, 9)),
        ({"size": {"shortest_edge": 9}, "crop_size": {"height": 8, "width": 8}}, None),
        ({"size": {"height": 8, "width": 8}, "resample": None}, None),
        ({"size": {"height": 8, "width": 8}, "do_resize": False}, None),
        ({"size": {"height": 8, "width": 8}, "do_rescale": False}, None),
        ({"size": {"height": 8, "width": 8}, "resample": 0}, None),  # neither bilinear nor bicubic: not guessed
    ],
    ids=["number", "shorter side", "crop", "no crop said", "no filter", "no resize", "no rescale", "nearest"],
)
def test_preprocessor_files(facts, expected, hub_file):
    """Loading never fails because of a preprocessor file, and nothing in one is guessed."""
    images = load_pretrained(SMALL.model(), hub_file(preprocessor_config=MEAN | {"resample": 2} | facts)).preprocessing
    if expected is None:
        assert not images
    else:
        assert (images.resize, images.input_size, images.interpolation) == (expected, (8, 8), "bilinear")


@pytest.mark.parametrize("kind", ["Dinov2Model", "Dinov2WithRegistersModel"])
def test_a_hub_folder_of_dinov2_is_read_with_its_processor(kind, tmp_path, monkeypatch):
    """Downloaded by hand: config.json, preprocessor_config.json, model.safetensors. Asked for by its name: the same facts."""
    import transformers
    from sklearn.datasets import load_sample_image

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    processor = transformers.BitImageProcessorPil(size={"shortest_edge": 256}, image_mean=mean, image_std=std)
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "image_size": 518, "patch_size": 14}
    model_class = getattr(transformers, kind)
    for thing in (model_class(model_class.config_class(**sizes)), processor):
        thing.save_pretrained(tmp_path)
    registers = {"reg_tokens": 4, "no_embed_class": True} if "Registers" in kind else {}
    small = {"embed_dim": 12, "depth": 1, "num_heads": 3, **registers}
    ours = create_model("vit_small_patch14_dinov2", img_size=224, pretrained=str(tmp_path), **small)
    assert ours.preprocessing == Preprocessing(mean, std, (224, 224), 256, "bicubic")
    name = f"facebook/dinov2-{'with-registers-' if registers else ''}small"
    monkeypatch.setattr("course_lib.weights.load.fetch", lambda *_, **__: tmp_path / "model.safetensors")
    (tmp_path / "preprocessor_config.json").rename(tmp_path / "other.json")
    named = create_model("vit_small_patch14_dinov2", img_size=224, pretrained=name, **small)
    assert named.preprocessing == ours.preprocessing
    at_518 = create_model("vit_small_patch14_dinov2", pretrained=name, **small)
    assert at_518.preprocessing == Preprocessing(mean, std, (518, 518), 592, "bicubic")  # as much, cropped as much
    # As large as leaves an even number to cut off: of an odd one the hub's processor takes the smaller half, torchvision's
    # crop, which Meta used, the even one.
    photo = Image.fromarray(load_sample_image("china.jpg")[:320])
    found, expected = ours.preprocessing.transform()(photo), processor(photo, return_tensors="pt").pixel_values[0]
    assert (found - expected).abs().max() <= 1e-6


TIMM = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 8, 8], "interpolation": "bicubic"}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"crop_pct": 0.875}, 9),
        ({"crop_pct": 0.875, "crop_mode": "squash"}, (9, 9)),
        ({"crop_pct": 1.0, "crop_mode": "border"}, None),
        ({"interpolation": "random"}, None),
        ({"mean": None}, None),
        ({"input_size": [3, 8, 12]}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("nested", [True, False])
def test_timms_config(facts, expected, nested, tmp_path):
    """The older files of timm have it all on one level. What ours cannot do is not known, rather than nearly right."""
    about = {"pretrained_cfg": TIMM | facts} if nested else TIMM | facts
    (tmp_path / "config.json").write_text(json.dumps(about | {"architecture": "vit_of_somebody"}))
    write("safetensors", random_state(SMALL.model()), tmp_path / "model.safetensors")
    images = load_pretrained(SMALL.model(), tmp_path).preprocessing
    if expected is None:
        assert not images
    else:
        assert images == Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (8, 8), expected, "bicubic")


@pytest.mark.parametrize("change", [{"pretrained_cfg": 3}, {"pretrained_cfg": TIMM | {"mean": 1}}], ids=str)
def test_what_timm_never_writes_is_refused(change, tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_base_patch16_224"} | change))
    write("safetensors", random_state(SMALL.model()), tmp_path / "model.safetensors")
    refuse(SMALL.model(), tmp_path / "model.safetensors", capsys, "config.json beside it says what no ViT has")


def test_a_number_means_another_thing_to_clip(hub_file):
    size = {"size": 8, "crop_size": 8, "do_center_crop": True, "resample": 3}
    for kind, expected in (("CLIPFeatureExtractor", 8), ("ViTFeatureExtractor", (8, 8))):
        beside = MEAN | size | {"feature_extractor_type": kind}
        assert load_pretrained(SMALL.model(), hub_file(preprocessor_config=beside)).preprocessing.resize == expected


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"layer_norm_eps": null, "model_type": "vit"}', "<html>"])
def test_what_is_broken_beside_the_file_counts_as_missing(text, hub_file):
    assert load_pretrained(SMALL.model(), hub_file(config=text, preprocessor_config=text)).config.norm_eps == 1e-12


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "vit_msn", "layer_norm_eps": 1e-6},  # a relative of ViT keeps its own
        {"layer_norm_eps": "1e-6", "num_attention_heads": "3"},  # numbers as text
    ],
    ids=str,
)
def test_configs_that_are_heeded(config, hub_file):
    assert load_pretrained(SMALL.model(), hub_file(config=config)).config.norm_eps == 1e-6


@pytest.mark.parametrize(
    ("beside", "match"),
    [
        ({"config": {"layer_norm_eps": -1}}, "norm_eps"),
        ({"config": {"layer_norm_eps": "small"}}, "config.json"),
        ({"config": {"num_attention_heads": "many"}}, "config.json"),
        ({"config": {"num_attention_heads": 4}}, "4 heads"),
        ({"config": {"image_size": [8, 8], "patch_size": 0}}, "config.json"),
        ({"config": {"hidden_act": "relu"}}, "relu"),
        ({"config": {"hidden_act": "gelu_pytorch_tanh"}}, "activation='gelu_tanh'"),  # 7e-4 in the answer, unseen
        ({"preprocessor_config": {"image_mean": 0.5, "image_std": 0.5, "size": 8}}, "preprocessor_config.json"),
        ({"preprocessor_config": {"resample": [2]}}, "preprocessor_config.json"),
    ],
    ids=str,
)
def test_what_does_not_fit_changes_nothing(beside, match, hub_file, capsys):
    refuse(SMALL.model(), hub_file(**beside), capsys, match)
