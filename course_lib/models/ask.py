"""Ask a trained model about a picture: what it says, where it looks, and whether it knows such pictures. Chapter 07."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_lib.data.pictures import ImageError, open_picture, to_rgb
from course_lib.interpret.maps import attention_maps
from course_lib.vit import VisionTransformer
from course_lib.weights.preprocessing import Preprocessing

if TYPE_CHECKING:
    from PIL import Image

# How much nearer the picture must come to what the model knows when its ink is turned round, of the range from 0 to 1.
CLEARLY = 0.25


def wanted_images(model: Any) -> Preprocessing:
    """How a model from `load_model` wants its images.

    Raises:
        ValueError: nobody knows it, or the model has no head to answer with.
    """
    if not model.config.num_classes:
        raise ValueError("the model has no head, so it names nothing: fine-tune it first, or ask another.")
    if not model.preprocessing:
        raise ValueError(
            "how these weights want their images is not known: keep them with save_model(..., preprocessing=...), from the "
            "mean, std and input size that their publisher names."
        )
    return model.preprocessing


def class_names(model: Any) -> tuple[str, ...]:
    """The name of each output; "class 0", "class 1", ... where none are known."""
    return model.classes or tuple(f"class {number}" for number in range(model.config.num_classes))


@torch.no_grad()
def probabilities(model: nn.Module, images: Tensor) -> Tensor:
    """What a model says of images: (B, C, h, w) as it wants them -> (B, K) float32 on the CPU; each row sums to 1."""
    return model(images.to(next(model.parameters()))).float().softmax(dim=1).cpu()


def ask_files(model: nn.Module, paths: Sequence[Path], wants: Preprocessing, batch_size: int = 64) -> Tensor:
    """What a model says of picture files, read as they are read for training: n paths -> (n, K), each row sums to 1.

    Raises:
        ValueError: files cannot be read; the first are named.
    """

    def read(path: Path) -> Tensor | ImageError:
        try:
            return prepare(open_picture(path))
        except ImageError as error:
            return error

    prepare, rows, unread = wants.transform(), [], []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), batch_size):
            found = list(pool.map(read, paths[start : start + batch_size]))
            unread += [error for error in found if isinstance(error, ImageError)]
            if not unread:
                rows.append(probabilities(model, torch.stack([image for image in found if isinstance(image, Tensor)])))
    if unread:
        rest = f" So are {len(unread) - 1} others." if len(unread) > 1 else ""
        raise ValueError(f"{unread[0]}{rest}")
    return torch.cat(rows)


def where_it_looks(model: nn.Module, images: Tensor) -> Tensor | None:
    """The attention of the last layer over the patches, mean over heads: (B, C, h, w) -> (B, gh, gw).

    Of the class token, where the head reads it; otherwise the mean over the patches, which the head sees. None
    for a model without attention.
    """
    if not isinstance(model, VisionTransformer):
        return None
    maps = attention_maps(model, images.to(next(model.parameters())))[:, -1].mean(dim=1)  # (B, N, N)
    prefix = model.num_prefix_tokens
    looks = maps[:, 0] if model.config.global_pool == "token" else maps[:, prefix:].mean(dim=1)  # (B, N)
    return looks[:, prefix:].unflatten(1, model.patch_embed.grid_size).cpu()


def as_pixels(image: Tensor, wants: Preprocessing) -> Tensor:
    """A model's input (C, h, w) as a picture again, between 0 and 1."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (wants.mean, wants.std))
    return (image * std + mean).clamp(0, 1)


def unlike(picture: "Image.Image", wants: Preprocessing) -> list[str]:
    """In what a picture (PIL, of any kind) is unlike those that a model knows, in sentences; [] if nothing is noticed.

    Noticed are ink and paper that have changed places, and colour where the model knows grey ones. Whether it shows one
    of the model's classes at all, nobody can tell from that.
    """
    notes, channels, picture = [], len(wants.mean), to_rgb(picture)
    red, green, blue = (torch.tensor(list(part.resize((32, 32)).tobytes())) for part in picture.split())
    colourful = max((red - green).abs().float().mean(), (green - blue).abs().float().mean()).item()
    if channels == 1 and colourful > 8:  # of 255: less is the tint of a scanner
        notes.append("it is in colour, and the model knows grey pictures: it sees the brightness alone.")
    known = sum(wants.mean) / channels
    seen = as_pixels(wants.transform()(picture), wants).mean().item()
    if abs(1 - seen - known) + CLEARLY < abs(seen - known):
        dark = "dark on light" if seen > known else "light on dark"
        notes.append(f"it is {dark}, and the model knows the opposite: --invert turns it round.")
    return notes
