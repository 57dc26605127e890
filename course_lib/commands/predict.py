"""`course predict`: ask a trained model about photographs. Chapter 07."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from course_lib.commands import save_figure

TOP = 5  # answers that are shown
EXTRAS = {"map": "where it looks", "error": "not answered"}


def add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="ask a trained model what photographs show",
        description="Name the five likeliest classes of each photograph.",
    )
    predict.add_argument("model", help="a run's folder, its model.safetensors, or a name such as vit_base_patch16_224")
    predict.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="picture files, or folders of them")
    predict.add_argument("--maps", type=Path, metavar="FOLDER", help="draw there where the model looks in each")
    predict.add_argument("--invert", action="store_true", help="turn light and dark round first")
    predict.add_argument("--json", action="store_true", help="print a list for programs")
    predict.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    from course_lib.models.ask import class_names, wanted_images, where_it_looks
    from course_lib.models.saved import load_model

    model, photos, drawn = load_model(options.model), list(_pictures(options.photos)), set()
    wanted_images(model)  # raises before anything is asked
    names, results = class_names(model), []
    for path in photos:
        try:
            image, row, notes = _answer(model, path, options.invert)
        except ValueError as error:  # the others are asked all the same
            if options.json:
                print(f"course predict: {error}", file=sys.stderr)
            results.append({"file": str(path), "top": [], "error": str(error)})
            continue
        best = row.topk(min(TOP, len(names)))
        top = [
            {"class": names[label], "probability": chance}
            for chance, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        results.append({"file": str(path), "top": top} | ({"notes": notes} if notes else {}))
        if options.maps:
            looks = where_it_looks(model, image[None])
            if looks is not None:
                file = _free(options.maps.expanduser() / f"{path.stem}.png", drawn)
                _draw(image, looks[0], top[0], model.preprocessing, file)
                results[-1]["map"] = str(file)
    if options.maps and not any("map" in result for result in results):
        print("course predict: this model has no attention, so no maps were drawn.", file=sys.stderr)
    print(json.dumps(results, indent=1) if options.json else "\n".join(map(_in_words, results)))
    return int(any("error" in result for result in results))


def _pictures(paths: list[Path]) -> Any:
    """The files, and those in the folders."""
    from course_lib.data.listing import list_folder

    for path in (path.expanduser() for path in paths):
        if not path.is_dir():
            yield path
            continue
        found = list_folder(path).all_pictures()
        if not found:
            raise ValueError(f"{path} holds no pictures: name the files, or the folder that they lie in.")
        yield from found


def _answer(model: Any, path: Path, invert: bool) -> tuple[Any, Any, list[str]]:
    """(the model's input (C, h, w), its probabilities (K,), what is to be noticed) of one file."""
    from PIL import ImageOps

    from course_lib.data.pictures import open_picture
    from course_lib.models.ask import probabilities, unlike, wanted_images

    wants, picture = wanted_images(model), open_picture(path)
    picture = ImageOps.invert(picture) if invert else picture
    image = wants.transform()(picture)
    notes = unlike(picture, wants)
    if invert:
        notes = [note.replace("--invert turns it round", "leave out --invert") for note in notes]
    return image, probabilities(model, image[None])[0], notes


def _free(file: Path, drawn: set[Path]) -> Path:
    """`file`, or with a number where a photograph of the same name from another folder has it already."""
    number, free = 2, file
    while free in drawn:
        free, number = file.with_stem(f"{file.stem}-{number}"), number + 1
    drawn.add(free)
    return free


def _draw(image: Any, looks: Any, first: dict, wants: Any, file: Path) -> None:
    """Draw the picture as the model sees it, and where it looks, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from course_lib import viz
    from course_lib.models.ask import as_pixels

    viz.set_style()
    pixels = as_pixels(image, wants).permute(1, 2, 0).squeeze(-1).numpy()
    height, width = pixels.shape[:2]
    figure, axes = plt.subplots(1, 2, figsize=(7, 0.3 + 3.5 * height / width), layout="constrained")
    axes[0].imshow(pixels, cmap="gray")
    axes[0].set_title(f"{first['class']}, {first['probability']:.0%}")
    axes[1].imshow(looks.numpy(), extent=(0, width, height, 0), cmap=viz.WEIGHTS, vmin=0)
    axes[1].set_title("where it looks, last layer")
    for ax in axes:
        ax.axis("off")
    save_figure(figure, file)


def _in_words(result: dict) -> str:
    lines = [result["file"]]
    lines += [f"  {100 * answer['probability']:5.1f} %  {answer['class']}" for answer in result["top"]]
    lines += [f"  note: {note}" for note in result.get("notes", ())]
    lines += [f"  {words}: {result[name]}" for name, words in EXTRAS.items() if name in result]
    return "\n".join(lines)
