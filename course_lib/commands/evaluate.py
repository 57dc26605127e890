"""`course evaluate`: how good a trained model is on a folder of pictures, and where it is wrong. Chapter 09."""

import argparse
import json
from pathlib import Path
from typing import Any

from course_lib.commands import save_figure

WORST = 12  # mistakes that are shown


def add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="say how good a trained model is on a folder of pictures",
        description="Accuracy, macro-F1, the worst class, what is taken for what, and the worst mistakes.",
    )
    evaluate.add_argument("model", help="a run's folder, its model.safetensors, or a name such as vit_base_patch16_224")
    evaluate.add_argument("folder", type=Path, help="with a folder of pictures for each class")
    evaluate.add_argument(
        "--split", help="train, val or test, as in training; by default all that it was not trained on"
    )
    evaluate.add_argument("--out", type=Path, default=Path("evaluation"), help="where to draw (default: evaluation)")
    evaluate.add_argument("--json", action="store_true", help="print it all for programs")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from course_lib.data.folders import labelled_files
    from course_lib.data.image_set import check_split
    from course_lib.metrics import score
    from course_lib.models.ask import ask_files, class_names, wanted_images
    from course_lib.models.saved import load_model

    folder, out = options.folder.expanduser().resolve(), options.out.expanduser()
    if out.resolve().is_relative_to(folder):
        raise ValueError(f"{out} lies among the pictures, and would be taken for some: give another folder with --out.")
    model = load_model(options.model)
    wants, names = wanted_images(model), class_names(model)
    if options.split is not None:
        check_split(options.split)
    split = options.split or _unseen(model, options.folder)
    paths, labels, classes = labelled_files(options.folder, split)
    labels = _as_outputs(labels, classes, names, bool(model.classes))
    chances = ask_files(model, paths, wants)
    scores = score(chances.double().log(), labels)
    told = (
        {"split": split or "all"}
        | _facts(scores, labels, names)
        | {"mistakes": _mistakes(chances, labels, names, paths)}
    )
    told |= _notes(model, options.folder, split, classes, names) | _draw(told, model, wants, out)
    print(json.dumps(told, indent=1) if options.json else _in_words(told))
    return 0


def _unseen(model: Any, folder: Path) -> str | None:
    """The test split of the folder that a model was trained on; None, for all, of any other."""
    data = ((model.record or {}).get("settings") or {}).get("data", "")
    trained_on = Path(data.removeprefix("folder:")).expanduser().resolve()
    return "test" if data.startswith("folder:") and trained_on == folder.expanduser().resolve() else None


def _notes(model: Any, folder: Path, split: str | None, classes: Any, names: tuple[str, ...]) -> dict:
    """What is to be noticed about the pictures, if anything is."""
    from course_lib.data.folders import fingerprint_of

    notes, trained_on = [], (model.record or {}).get("images") or {}
    if absent := [name for name in names if name not in classes] if model.classes else []:
        notes.append(f"no pictures of {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}.")
    if split is None and trained_on:
        notes.append("if it was trained on some of these pictures, this is better than it will be on new ones.")
    elif split and trained_on.get(split, "") != fingerprint_of(folder, split):
        notes.append("these are other pictures than this split had in training: it may have been trained on some.")
    return {"notes": notes} if notes else {}


def _as_outputs(labels: Any, classes: Any, names: tuple[str, ...], named: bool) -> Any:
    """The labels by the model's outputs, which are found by the classes' names: (n,) -> (n,)."""
    import torch

    if not named and len(classes) == len(names):  # by their order, as in training
        return labels
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(
            f"the folder has classes that the model does not know ({', '.join(unknown[:5])}); it knows "
            f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}: rename the folders, or move those away."
        )
    return torch.tensor([names.index(name) for name in classes])[labels]


def _facts(scores: dict, labels: Any, names: tuple[str, ...]) -> dict:
    """What the numbers are, with the names of the classes."""
    confusion, counts = scores["confusion"], labels.bincount(minlength=len(names)).tolist()
    there = [label for label, count in enumerate(counts) if count]
    worst = min(there, key=lambda label: confusion[label][label] / counts[label])
    common = max(there, key=counts.__getitem__)
    return {
        "images": len(labels),
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "worst_class": {"class": names[worst], "right": confusion[worst][worst], "of": counts[worst]},
        "always_the_commonest": {"class": names[common], "accuracy": counts[common] / len(labels)},
        "classes": list(names),
        "confusion": confusion,
    }


def _mistakes(chances: Any, labels: Any, names: tuple[str, ...], paths: Any) -> list[dict]:
    """The pictures that it is wrong about, the surest first."""
    said = chances.argmax(dim=1)
    rows = (said != labels).nonzero()[:, 0].tolist()
    found = [
        {
            "file": str(paths[row]),
            "is": names[labels[row]],
            "said": names[said[row]],
            "probability": chances[row, said[row]].item(),
        }
        for row in rows
    ]
    return sorted(found, key=lambda mistake: -mistake["probability"])


def _draw(told: dict, model: Any, wants: Any, folder: Path) -> dict:
    """Draw which class is taken for which, and the worst mistakes; returns the files by name."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import torch

    from course_lib import viz
    from course_lib.data.pictures import open_picture
    from course_lib.models.ask import as_pixels

    viz.set_style()
    used = [
        label for label, row in enumerate(told["confusion"]) if sum(row) or any(r[label] for r in told["confusion"])
    ]
    counts, classes = [[told["confusion"][i][j] for j in used] for i in used], [told["classes"][i] for i in used]
    side = max(3.5, 0.4 * len(used) + 1.5)
    figure, ax = plt.subplots(figsize=(side, side), layout="constrained")
    viz.confusion_matrix(counts, ax, classes=classes)
    ax.tick_params(axis="x", rotation=90 if max(map(len, classes)) > 3 else 0)
    drawn = {"confusion_picture": save_figure(figure, folder / "confusion.png")}
    if worst := told["mistakes"][:WORST]:
        prepare = wants.transform()
        images = torch.stack([as_pixels(prepare(open_picture(Path(mistake["file"]))), wants) for mistake in worst])
        titles = [f"{m['said']} {m['probability']:.0%}\nis {m['is']}\n{Path(m['file']).name}" for m in worst]
        columns = min(4, len(worst))
        rows = -(-len(worst) // columns)
        figure, axes = plt.subplots(
            rows, columns, figsize=(1.9 * columns, 2.6 * rows), layout="constrained", squeeze=False
        )
        for ax in axes.flat:
            ax.axis("off")
        for ax, image, title in zip(axes.flat, images, titles, strict=False):
            ax.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray")
            ax.set_title(title, fontsize=8)
        drawn["mistakes_picture"] = save_figure(figure, folder / "mistakes.png")
    return drawn


def _in_words(told: dict) -> str:
    worst, common, mistakes = told["worst_class"], told["always_the_commonest"], told["mistakes"]
    lines = [
        f"{100 * told['accuracy']:.2f} % of {told['images']:,} pictures right ({told['split']}); "
        f"macro-F1 {told['macro_f1']:.3f}",
        f"worst class: {worst['class']}, {worst['right']} of {worst['of']} right",
        f"always saying {common['class']} would be right in {100 * common['accuracy']:.2f} %",
    ]
    lines += [f"note: {note}" for note in told.get("notes", ())]
    if mistakes:
        lines.append(f"the surest of {len(mistakes):,} mistakes:")
    lines += [f"  {m['file']}: {m['said']} {m['probability']:.0%}, is {m['is']}" for m in mistakes[:WORST]]
    lines.append(
        f"drawn: {', '.join(told[name] for name in ('confusion_picture', 'mistakes_picture') if name in told)}"
    )
    return "\n".join(lines)
