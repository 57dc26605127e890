"""Torchvision's ResNets under our interface: published files, own files, and files that do not fit. Chapter 09."""

import hashlib
import io
import pathlib
from functools import partial

import pytest
import torch
import torchvision
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.v2.functional import to_pil_image

from course_lib import finetune
from course_lib.models import resnet
from course_lib.models.resnet import ResNet, ResNetConfig, create_resnet


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(3)
    model = torchvision.models.resnet18(num_classes=7)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    return model.eval()


def written(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.fixture
def published(theirs, tmp_path, monkeypatch):
    """The weights, as torchvision publishes them: the name holds the digest, the file lies in the cache already."""
    content = written(theirs.state_dict())
    name = f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("COURSE_LIB_CACHE", str(tmp_path))

    class Published(WeightsEnum):
        IMAGENET1K_V1 = Weights(
            url=f"https://download.pytorch.org/models/{name}",
            transforms=partial(ImageClassification, crop_size=64, resize_size=72),
            meta={},
        )
        DEFAULT = IMAGENET1K_V1

    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: Published)
    return tmp_path / name


IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [True, "IMAGENET1K_V1", "the file"])
def test_published_weights_give_their_answers(theirs, published, wanted):
    model = create_resnet("resnet18", pretrained=published if wanted == "the file" else wanted, num_classes=7).eval()
    assert torch.equal(model(IMAGES), theirs(IMAGES))
    assert model.preprocessing.input_size == (64, 64) and model.preprocessing.resize == 72
    assert model.preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.slow
def test_their_preprocessing_is_torchvisions(published):
    model = create_resnet("resnet18", pretrained=True, num_classes=7)
    picture = to_pil_image(torch.rand(3, 90, 120))
    ours, reference = (
        model.preprocessing.transform()(picture),
        ImageClassification(crop_size=64, resize_size=72)(picture),
    )
    assert (ours - reference).abs().max() <= 1e-6


@pytest.mark.slow
def test_a_new_head_for_other_classes(theirs, published, capsys):
    model = create_resnet("resnet18", pretrained=True, num_classes=3)
    assert "its head (7 classes) is left out; the new one (3 classes) is untrained" in capsys.readouterr().out
    body = {name: value for name, value in model.state_dict().items() if not name.startswith("fc.")}
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in body.items())
    assert finetune.replace_head(model, 5)(IMAGES).shape == (2, 5)
    assert finetune.set_trainable(model, "head")[0] == 512 * 5 + 5


@pytest.mark.slow
def test_older_files_count_no_batches(theirs, tmp_path):
    state = {name: value for name, value in theirs.state_dict().items() if not name.endswith("num_batches_tracked")}
    (tmp_path / "mine.pth").write_bytes(written(state))
    model = create_resnet("resnet18", pretrained=tmp_path / "mine.pth", num_classes=7).eval()
    assert torch.equal(model(IMAGES), theirs(IMAGES)) and model.preprocessing is None


SMALL = ResNetConfig(num_classes=7, width=2, blocks=1)
STATE = ResNet(SMALL).state_dict()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (STATE | {"fc.weight": torch.ones(2)}, "does not fit it: 0 tensors missing, 1 left over, such as fc.weight"),
        (
            {name: value for name, value in STATE.items() if "stages.2" not in name},
            "15 tensors missing, 0 left over, such as stages.2.0.bn1.bias",
        ),
        (
            STATE | {"stem.0.weight": torch.ones(2, 1, 3, 3)},
            "stem.0.weight has shape (2, 1, 3, 3) in the file and (2, 3,",
        ),
        (STATE | {"stem.1.bias": torch.full((2,), torch.nan)}, "stem.1.bias holds NaN or infinity"),
        (STATE | {"head.weight": torch.ones(7, 99)}, "head.weight has shape (7, 99)"),
    ],
)
def test_files_that_do_not_fit(state, message, tmp_path):
    (tmp_path / "mine.pth").write_bytes(written(state))
    model = ResNet(SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        resnet.load_strictly(model, tmp_path / "mine.pth", head="head", what="it")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_file_of_another_model(tmp_path):
    (tmp_path / "mine.pth").write_bytes(written(STATE))
    with pytest.raises(ValueError, match=r"does not fit a resnet18: \d+ tensors missing, \d+ left over"):
        create_resnet("resnet18", pretrained=tmp_path / "mine.pth")


def test_a_damaged_download_is_noticed(published):
    content = bytearray(published.read_bytes())
    content[-100] ^= 1
    published.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256|digest"):
        create_resnet("resnet18", pretrained=True, num_classes=7)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet7", False, "model 'resnet7' must be one of resnet18"),
        ("resnet18", "IMAGENET22K", "no weights 'IMAGENET22K': neither a file, nor a name of torchvision's"),
    ],
)
def test_names_that_there_are_not(name, weights, message):
    with pytest.raises(ValueError) as caught:
        create_resnet(name, pretrained=weights)
    assert message in str(caught.value)


def test_every_name_is_torchvisions():
    assert set(resnet.NAMES) <= set(torchvision.models.list_models())
    for name in resnet.NAMES:
        for entry in torchvision.models.get_model_weights(name):
            assert resnet.published_preprocessing(name, entry.name).input_size == (224, 224)
            assert pathlib.PurePosixPath(entry.url).name.startswith(name)
