"""ResNets as torchvision builds and publishes them, under the interface of our Vision Transformer. Chapter 09."""

from pathlib import Path

from course_lib.files.fetch import fetch, verify
from course_lib.files.places import weights_folder
from course_lib.weights.formats import read_weights
from course_lib.weights.preprocessing import Preprocessing

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


def create_resnet(name, *, pretrained=False, num_classes=1000):
    """Build a ResNet by name.

        create_resnet("resnet50", pretrained=True, num_classes=10)

    Args:
        name: one of `NAMES`.
        pretrained: True loads torchvision's newest weights for ImageNet; a string says which, such as
            "IMAGENET1K_V1", or is the path of a file with such weights. False starts from random weights.
        num_classes: outputs. If the weights have another number, the head is new and untrained.

    Returns:
        the model, with the attribute `preprocessing`: how its weights want their images; None if that is not known.

    Raises:
        ValueError: no such name or weights, or they do not fit. The line says what is wrong.

    Source: He et al. 2016, table 1. Chapter 09.
    """
    import torchvision

    if name not in NAMES:
        raise ValueError(f"no model {name!r}; there are {', '.join(NAMES)}.")
    model = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    model.preprocessing = None
    if not pretrained:
        return model
    _load(model, _locate(name, pretrained))
    model.preprocessing = published_preprocessing(name, pretrained)
    return model


def published_preprocessing(name, weights):
    """How torchvision's weights for a ResNet want their images, a `Preprocessing`; None if the weights are not its own.

    Args:
        name, weights: as in `create_resnet`.
    """
    entry = _find_entry(name, weights)
    if entry is None:
        return None
    transform = entry.transforms()
    (size,), (resize,) = transform.crop_size, transform.resize_size
    return Preprocessing(
        tuple(transform.mean), tuple(transform.std), (size, size), resize, transform.interpolation.value
    )


def published_url(name, weights):
    """Where torchvision's weights for a ResNet are to be had; None if the weights are not its own.

    Args:
        name, weights: as in `create_resnet`.
    """
    entry = _find_entry(name, weights)
    return entry and entry.url


def _find_entry(name, weights):
    """Torchvision's entry for weights that are asked for by their name or by the name of their file; None if there is none."""
    from torchvision.models import get_model_weights

    published = get_model_weights(name)
    if weights is True:
        return published.DEFAULT
    names = {entry.name: entry for entry in published} | {Path(entry.url).name: entry for entry in published}
    return names.get(Path(weights).name)


def _locate(name, weights):
    """The path of a weights file: the reader's own, or a published one, which is fetched if it is not here yet."""
    entry = _find_entry(name, weights)
    path = Path("" if weights is True else weights).expanduser()
    if path.is_file():
        verify(path)
        return path
    if entry is None or path.name == Path(entry.url).name:
        raise ValueError(
            f"no weights {str(weights)!r}: neither a file, nor a name of torchvision's, such as IMAGENET1K_V1."
        )
    return fetch(entry.url, weights_folder() / Path(entry.url).name)


def _load(model, path):
    """Load a file's tensors strictly, but for a head with another number of classes."""
    state = read_weights(path)
    wanted = model.state_dict()
    counters = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    state = counters | state  # older files have none, and nothing needs them
    missing, left_over = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or left_over:
        first = sorted(missing or left_over)[0]
        raise ValueError(
            f"{path} does not fit a ResNet of this name: {len(missing)} tensors missing, {len(left_over)} left over, "
            f"such as {first}. Use the file that belongs to it."
        )
    theirs, ours = state["fc.weight"].shape, wanted["fc.weight"].shape
    if theirs != ours and theirs[1:] == ours[1:]:
        print(f"{path.name}: its head ({theirs[0]} classes) is left out; the new one ({ours[0]} classes) is untrained.")
        state |= {name: wanted[name] for name in ("fc.weight", "fc.bias")}
    other = [name for name, value in wanted.items() if state[name].shape != value.shape]
    if other:
        raise ValueError(
            f"{path}: {other[0]} has shape {tuple(state[other[0]].shape)} in the file and {tuple(wanted[other[0]].shape)} "
            "in the model: use the file that belongs to it."
        )
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ValueError(f"{path}: {broken[0]} holds NaN or infinity: the file is damaged, or its training went wrong.")
    model.load_state_dict(state)
