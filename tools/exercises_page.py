"""Write the page *All exercises* (book/exercises.md), and their names for the site's ticks (assets/js/exercises.js).

    python tools/exercises_page.py

Titles, difficulty and minutes are those that stand in the chapters; what each exercise is for stands here.
"""

import json
import re
from dataclasses import dataclass

import notebooks
import practice_page

from course_lib.checks import NAMES
from course_lib.files.atomic import write_atomically

PAGE = notebooks.BOOK / "exercises.md"
SCRIPT = notebooks.ROOT / "assets" / "js" / "exercises.js"

# What each is for: the piece of the model, or the thing that one can say afterwards.
FOR = {
    "softmax": "to turn any scores into weights that sum to 1",
    "attention_weights": "to say how much each query looks at each key",
    "scaled_dot_product_attention": "the whole formula, with the weights to look at",
    "masked_attention": "to take keys away, for padding or the future",
    "split_heads": "to let several heads look at once",
    "merge_heads": "to put their results side by side again",
    "multi_head_self_attention": "the attention layer of ViT",
    "layer_norm": "to keep the numbers of a token in range, at any depth",
    "mlp": "the half of a block that works on each token alone",
    "encoder_block": "the block that ViT-B repeats twelve times",
    "patchify": "to make a sequence of an image",
    "unpatchify": "to make an image of patches, to look at what a model made",
    "linear_to_conv": "to load a linear layer's weights where a convolution is wanted",
    "patch_embedding": "the first layer of ViT, from images to tokens",
    "prepend_class_token": "to have a token that answers for the whole image",
    "sincos_pos_embed_2d": "to tell tokens where they were, without learning it",
    "resample_pos_embed": "to use a model on images of another size",
    "vit_forward": "the whole model, from pixels to logits",
    "count_parameters": "to know where the 86 million are",
    "convert_torchvision_state_dict": "to load weights that somebody else has trained",
    "my_vit": "a photograph named, by pieces that are all yours",
    "train_step": "the four lines that every training repeats",
    "warmup_cosine_lr": "to say for each step how fast to learn",
    "param_groups": "to let only those weights decay that should",
    "evaluate": "to measure a model exactly, whatever the last batch is",
    "random_crop_flip": "to show a model more images than there are",
    "soft_cross_entropy": "the loss for labels that are not sure",
    "mixup": "to train on what lies between two images",
    "ema_update": "to keep an average of the weights, steadier than the last ones",
    "newton_schulz": "what Muon does with a matrix in place of a step along its gradient",
    "paired_gain": "to say what an ingredient brings, and how sure that is",
    "replace_head": "to give a trained model other classes",
    "macro_f1": "to measure a classifier where classes are of different sizes",
    "freeze_except": "to choose by name what is trained",
    "lora_linear": "to tune a large layer by two thin matrices",
    "layerwise_lr": "to let early layers move less than late ones",
    "paired_difference": "to say whether one model is better than another on the same images",
    "patch_filters": "to see what the first layer looks for",
    "pos_embed_similarity": "to see whether positions have learned the plane",
    "row_column_share": "to say how much of a position is its row and its column",
    "record_attention": "to get the weights out of any ViT, left as it was",
    "attention_rollout": "to follow attention through all layers",
    "mean_attention_distance": "to measure how far each head looks",
    "pointing_game": "to score a map against where the object is",
    "deletion_curve": "to test a map by taking away what it points at",
    "randomise_from_top": "to test a map against a model that has forgotten",
    "test_attention": "to tell right attention from attention that only has the right shape",
    "test_patchify": "to be sure that each pixel lies where it belongs",
    "test_block": "to see whether a block adds to the tokens what it should",
    "test_train_step": "to catch a training step that learns the wrong way",
    "test_random_flip": "to see whether chance is drawn for each image, and right",
    "test_evaluate": "to catch an accuracy that is counted wrongly",
}

HEADING = re.compile(
    rf"^# ### Exercise (?P<number>{notebooks.NUMBER}) · (?P<title>.*)\n#\n# \*(?P<hard>\w+), (?P<time>\d+ minutes)?",
    re.M,
)

LEAD = """\
---
html_theme.sidebar_secondary.remove: true
---

# All exercises

{count} exercises with a check, {hours:.0f} hours in all; eight short ones can be written [in the page](practice.md). Together the functions of chapters 1 to 6 are a Vision Transformer. What is ticked has passed: here when it passed in the page, when you bring the file that the notebooks' checks have written, or when you tick it yourself.

```{{raw}} html
<div id="course-progress-all"></div>
```

In a notebook, the last cell of every chapter says what has passed. `course certificate --name "Your name"` writes your answers into a file that a teacher can judge again, with `course check certificate.json`. To have something forgotten there: `from course_lib.checks import forget`, then `forget("softmax")`, or `forget()` for everything.

"""
HEAD = "| passed | exercise | what it is for | how hard | time |\n|:-:|:--|:--|:--|--:|"


@dataclass(frozen=True)
class Entry:
    """An exercise as its chapter announces it. Its name is "" where it has no check."""

    number: str
    title: str
    hard: str
    minutes: int

    @property
    def name(self) -> str:
        name = self.title.strip("`")
        return name if name in NAMES else ""


def entries(path) -> list[Entry]:
    """The exercises of a chapter's source, in order."""
    found = HEADING.finditer(path.read_text(encoding="utf-8"))
    return [Entry(m["number"], m["title"], m["hard"].lower(), int((m["time"] or "0").split()[0])) for m in found]


def tick(name):
    return f'<span data-exercise="{name}"></span>' if name else ""


def chapter(path) -> str:
    """The section of one chapter."""
    known = notebooks.targets()
    title = notebooks.read_source(path).cells[0].source.partition("\n")[0].removeprefix("# ")
    lines = [f"## [{title}]({known[notebooks.label(path)]})\n", HEAD]
    for entry in entries(path):
        time = f"{entry.minutes} min" if entry.minutes else "hours, on a GPU"
        what = FOR[entry.name] if entry.name else "to check a published claim yourself; there is no check"
        link = f"[{entry.number} {entry.title}]({known[entry.number]})"
        lines.append(f"| {tick(entry.name)} | {link} | {what} | {entry.hard} | {time} |")
    return "\n".join(lines) + "\n"


def in_the_page() -> str:
    """The section of the exercises that are written in the page."""
    lines = ["## [In the page, without PyTorch](practice.md)\n", HEAD]
    for number, practice in enumerate(practice_page.PRACTICES, 1):
        found = re.match(r"\*(\w+), (\d+) minutes\. (.*?)\.\*", practice.about)
        assert found, practice.about
        hard, time, what = found.groups()
        anchor = re.sub(r"[^\w -]", "", f"{number} {practice.title}".lower()).replace(" ", "-")
        link = f"[{practice.title}](practice.md#{anchor})"
        lines.append(
            f"| {tick(practice.passes)} | {link} | {what[0].lower()}{what[1:]} | {hard.lower()} | {time} min |"
        )
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page, in Markdown."""
    paths = notebooks.sources()
    minutes = sum(entry.minutes for path in paths for entry in entries(path))
    lead = LEAD.format(count=len(NAMES), hours=minutes / 60)
    text = "\n".join([lead, *(chapter(path) for path in paths if entries(path)), in_the_page()])
    return notebooks.link_mentions(text, notebooks.targets())


def script() -> str:
    """The names of the exercises by the page that they stand on, as a module."""
    pages = {path.stem: [entry.name for entry in entries(path) if entry.name] for path in notebooks.sources()}
    lines = [f"  {json.dumps(page)}: {json.dumps(names)}," for page, names in pages.items() if names]
    return "\n".join(
        [
            "// Written by tools/exercises_page.py: {page of a chapter: its exercises}.",
            "export default {",
            *lines,
            "};",
            "",
        ]
    )


if __name__ == "__main__":
    write_atomically(PAGE, page().encode())
    write_atomically(SCRIPT, script().encode())
