"""Write the page *Practise here* (book/practice.md) and the numbers that it judges by (assets/practice.json).

    python tools/practice_page.py

The numbers are those of the exercises' records: their probes with one seed, what the oracle gives, and what each known
mistake gives, with its hint. Where a record takes tensors, the page takes lists.
"""

import copy
import html
import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import notebooks
import torch

from course_lib.checks import find, in_page
from course_lib.checks.exercise import Exercise
from course_lib.files.atomic import write_atomically

PAGE = notebooks.BOOK / "practice.md"
RECORDS = notebooks.ROOT / "assets" / "practice.json"
SEED = 0

# What tells of a mistake in arithmetic, and what MicroPython raises in its place. Other errors can have many reasons.
ERRORS = {"OverflowError": "ValueError", "ValueError": "ValueError", "ZeroDivisionError": "ZeroDivisionError"}


@dataclass(frozen=True)
class Practice:
    """One exercise of the page.

    `about` is Markdown: difficulty and minutes, what it is for, what is asked, an example. `answer` is a right function,
    or the name of the chapter's exercise whose solution it is. Where `relative`, small numbers are judged as strictly as
    large ones.
    """

    record: Exercise
    title: str
    about: str
    doc: str
    hint: str
    answer: Callable | str
    imports: str = "import math\n\n\n"
    relative: bool = False

    @property
    def passes(self) -> str:
        """The chapter's exercise that is passed here, where it is the very same: it takes no tensors."""
        same = isinstance(self.answer, str)
        return self.record.name if same else f"practice:{self.record.name}"

    @property
    def stub(self) -> str:
        return f'{self.imports}def {self.record.signature}:\n    """{self.doc}"""\n    {notebooks.STUB}\n'

    @property
    def solution(self) -> str:
        """The answer, as it could be written into the page."""
        if isinstance(self.answer, str):
            (path,) = notebooks.BOOK.glob(f"{self.record.chapter}_*.py")
            cells = notebooks.read_source(path).cells
            (cell,) = [cell for cell in cells if cell.id == f"exercise-{self.answer}"]
            return self.imports + notebooks.solution(cell) + "\n"
        own = self.answer.__name__
        return self.imports + inspect.getsource(self.answer).replace(f"def {own}(", f"def {self.record.name}(")


def macro_f1(labels, answers, num_classes):
    scores = []
    for k in range(num_classes):
        tp = sum(labels[i] == answers[i] == k for i in range(len(labels)))
        both = labels.count(k) + answers.count(k)
        if both:
            scores.append(2 * tp / both)
    return sum(scores) / len(scores)


PRACTICES = (
    Practice(
        in_page.SOFTMAX,
        "Softmax of a list",
        "*Easy, 5 minutes. To turn any scores into weights.* As exercise 1.1, for one list of numbers.\n\n"
        "* `scores` is a list of numbers, of any size. Return a list of as many weights, all positive, that sum to 1.\n\n"
        "`softmax([0.0, 1.0, 1.0])` is about `[0.155, 0.422, 0.422]`.",
        "A list of numbers -> a list of positive weights that sum to 1.",
        "`math.exp` of 900 is more than a float can hold. The result does not change if you subtract one and the same number from all scores.",
        in_page._softmax,
    ),
    Practice(
        in_page.ATTENTION_ROW,
        "One row of attention",
        "*Easy, 10 minutes. To see that attention is a weighted average, number by number.* As exercise 1.3, for one query.\n\n"
        "* `query` is a list of $d$ numbers; `keys` is a list of keys, each $d$ numbers; `values` is a list of as many values.\n"
        "* Return the output: one list, as long as a value.\n\n"
        "You may copy your softmax from above.",
        "One query, several keys and their values -> the weighted average of the values.",
        "Four steps: the dot product with each key, divided by $\\sqrt d$; the softmax of these scores; and for each place of a value, the sum of weight times value.",
        in_page._attention_row,
    ),
    Practice(
        in_page.ONLINE_SOFTMAX,
        "Softmax in pieces",
        "*Medium, 15 minutes. To see how fused attention works without ever holding a whole row of scores.* It comes after chapter 1.\n\n"
        "* Scores arrive in blocks. What is kept of those seen so far is their `maximum` $m$ and `total` $=\\sum_j e^{s_j - m}$. At the very start these are `-inf` and `0.0`.\n"
        "* `block` is a list of further scores. Return the two numbers for all scores seen, as `maximum, total`.\n"
        "* Scores may be as large as 900.\n\n"
        "`online_softmax(1.0, 2.0, [1.0, 0.0])` is about `(1.0, 3.368)`.",
        "What is kept of the scores so far, and a block of new ones -> what is to be kept.",
        "If the maximum grows from $m$ to $m'$, every old term $e^{s - m}$ becomes $e^{s - m'}$. By which one number is the old total multiplied?",
        in_page._online_softmax,
    ),
    Practice(
        in_page.PATCH_INDEX,
        "Where does a pixel go?",
        "*Medium, 10 minutes. To know by heart in which order patches and their numbers lie.* It belongs to exercise 4.1.\n\n"
        "* An image is cut into square patches, counted from 0 in reading order. Each patch is laid flat in the order channel, row, column.\n"
        "* `channel`, `row`, `column` say which pixel; `width` is that of the image in pixels, a multiple of `patch_size`.\n"
        "* Return two whole numbers: the patch, and the place in it, both from 0.\n\n"
        "`patch_index(0, 0, 5, 8, 4)` is `(1, 1)`.",
        "A pixel -> the number of its patch, and its place in the patch laid flat.",
        "`//` gives the row and the column of the patch, `%` the row and the column within it. A row of patches has `width // patch_size` of them; a channel of a patch has `patch_size ** 2` numbers.",
        in_page._patch_index,
        imports="",
    ),
    Practice(
        find("count_parameters"),
        "How many parameters?",
        "*Medium, 10 minutes. To know where the parameters of a ViT are.* It is exercise 6.2.\n\n"
        "* A ViT with class token, learned positions, and a bias in each linear layer. All seven arguments are whole numbers; `mlp_dim` is the hidden width of the MLP, `dim` is $D$.\n"
        "* Return a whole number.\n\n"
        "For ViT-B/16, `count_parameters(224, 16, 3, 1000, 768, 12, 3072)`, it is 86567656.",
        "The number of parameters of a ViT, from its sizes alone.",
        "Five parts: the patch embedding, the class token and the positions, `depth` times a block (two norms, q, k, v, the output projection, two layers of the MLP), the last norm, the head. Each linear layer has inputs · outputs + outputs.",
        "count_parameters",
        imports="",
    ),
    Practice(
        in_page.ENCODER_MACS,
        "How much work?",
        "*Medium, 10 minutes. To see what grows with the square of the number of tokens.* It comes after chapter 6.\n\n"
        "* Count the multiplications in all matrix products of the blocks, for one image: the projections to q, k, v and back, the scores, the weighted sum of the values, and the two layers of the MLP. Biases, norms and softmax do not count.\n"
        "* All four arguments are whole numbers, and so is the result. It does not depend on the number of heads.\n\n"
        "For ViT-B/16, `encoder_macs(197, 768, 12, 3072)`, it is 17447454720.",
        "The multiplications of all blocks, for one image.",
        "A product of a matrix $(n, k)$ with one $(k, m)$ takes $n k m$ multiplications. Write down the sizes of the eight products of one block.",
        in_page._encoder_macs,
        imports="",
    ),
    Practice(
        find("warmup_cosine_lr"),
        "Warm-up and cosine",
        "*Easy, 10 minutes. To say for each step how fast a model is to learn.* It is exercise 7.2.\n\n"
        "* Steps are counted from 0 to `total_steps - 1`. In the first `warmup_steps` of them, if there are any, the rate rises on a straight line, from `peak / warmup_steps` at step 0 to `peak` at the last of them.\n"
        "* From step `warmup_steps` on it is `peak` times $\\tfrac12(1 + \\cos(\\pi p))$. The progress $p$ is 0 at that step, and would be 1 at step `total_steps`.\n\n"
        "`warmup_cosine_lr(8, 12, 4, 1.0)` is `0.5`.",
        "A straight line up to `peak`, then half a cosine down towards 0; returns a float.",
        "Two cases: `step < warmup_steps`, and the rest. In the second, the progress is the steps since the warm-up, divided by all steps after the warm-up.",
        "warmup_cosine_lr",
        relative=True,
    ),
    Practice(
        find("macro_f1"),
        "Macro-F1",
        "*Medium, 15 minutes. To measure a classifier where classes are of different sizes.* As exercise 9.2, for lists.\n\n"
        "* `labels` and `answers` are lists of as many whole numbers, from 0 to `num_classes - 1`: what each image is, and what the model says.\n"
        "* For each class F1 is $2\\,TP / (2\\,TP + FP + FN)$. Return the plain mean over the classes.\n"
        "* A class that is neither among the labels nor among the answers is left out. One that is only among the labels, or only among the answers, has an F1 of 0, and counts.\n\n"
        "`macro_f1([0, 0, 1, 2], [0, 1, 1, 1], 4)` is about `0.389`.",
        "The mean over classes of 2 TP / (2 TP + FP + FN): two lists, a number -> a float.",
        "A loop over the classes. 2 TP + FP + FN is how often the class is among the labels plus how often it is among the answers.",
        macro_f1,
        imports="",
    ),
)

LEAD = """\
---
html_theme.sidebar_secondary.remove: true
---

# Practise here

Eight exercises that need no PyTorch. You write them in this page, and it judges them. Press *Check*, and it fetches a small Python and the numbers (250 kB, once); until then it has fetched neither. What you write stays in your browser.

* **Check** runs your code and compares your function with right results, on inputs prepared from the same records that judge the notebooks. **Run** only runs it: call your function and `print` what you want to see.
* **Stop** ends it, an endless loop too.
* The Python is MicroPython: lists, loops, `math`. There is no `torch` and no `numpy`, so these functions take numbers and lists where the notebooks' take tensors. They mean the same.
* In the editor, Enter keeps the indentation and Backspace takes it back; Ctrl + ] and Ctrl + [ move whole lines right and left; Ctrl + Enter checks. Tab goes on to the buttons.

The inputs are the same each time here, and fresh in the notebooks: what counts there is that it is right for any input.

<noscript><strong>This page needs JavaScript.</strong></noscript>

```{raw} html
<link rel="stylesheet" href="../_static/css/practice.css">
<script type="module" src="../_static/js/practice.js"></script>
```
"""

SECTION = """\
## {number}. {title}

{about}

```{{raw}} html
<div class="course-practice" data-name="{name}" data-passes="{passes}">
<label for="code-{name}">Your {name}</label>
<textarea id="code-{name}" rows="{rows}" readonly spellcheck="false" autocapitalize="off" autocomplete="off" autocorrect="off">
{stub}</textarea>
<div class="course-practice__do"><button type="button" data-do="check" disabled>Check</button> <button type="button" data-do="run" disabled>Run</button> <button type="button" data-do="stop" disabled>Stop</button> <button type="button" data-do="again" disabled>Start again</button></div>
<p role="status">Not checked yet.</p>
<pre tabindex="0" aria-label="What {name} printed" hidden></pre>
</div>
```

<details>
<summary>Hint</summary>

{hint}

</details>

<details>
<summary>Answer</summary>

```python
{answer}
```

</details>
"""


def plain(value):
    """A result as JSON holds it: whole numbers as numbers, floats as text, which tells 1.0 from 1 and can be nan or inf."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return repr(float(f"{value:.10g}"))
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return {"type": type(value).__name__}


def outcome(function, inputs):
    """What a function gives for the inputs of a probe, as JSON holds it; {"error": its kind, or ""} if it raises one."""
    try:
        return plain(function(*copy.deepcopy(inputs).values()))
    except Exception as error:  # a known mistake may raise anything
        return {"error": ERRORS.get(type(error).__name__, "")}


def same(result, wanted) -> bool:
    """Whether two results are alike to rounding."""
    if isinstance(result, list) and isinstance(wanted, list):
        return len(result) == len(wanted) and all(map(same, result, wanted))
    if isinstance(result, str) and isinstance(wanted, str):
        return math.isclose(float(result), float(wanted), rel_tol=1e-6)
    return result == wanted


def numbers(practice: Practice) -> dict:
    """What the page needs to judge an exercise. In the results of mistakes "=" stands for the right one."""
    record = practice.record
    probes = record.probes(torch.Generator().manual_seed(SEED))
    right = [outcome(record.oracle, probe) for probe in probes]
    mistakes, seen = [], set()
    for mistake in record.mistakes:
        given = [outcome(mistake.gives, probe) for probe in probes]
        results = ["=" if same(result, wanted) else result for result, wanted in zip(given, right, strict=True)]
        shows = any(result != "=" for result in results) and {"error": ""} not in results
        if shows and (key := json.dumps([mistake.hint, results])) not in seen:
            mistakes.append({"hint": mistake.hint, "results": results})
            seen.add(key)
    return {
        "signature": record.signature,
        "task": record.task,
        "absolute": 0 if practice.relative else 1e-5,
        "calls": [[plain(value) for value in probe.values()] for probe in probes],
        "right": right,
        "mistakes": mistakes,
    }


def records() -> str:
    """The text of assets/practice.json, an exercise a line."""
    lines = [f"{json.dumps(each.record.name)}: {json.dumps(numbers(each), ensure_ascii=False)}" for each in PRACTICES]
    return '{"exercises": {\n' + ",\n".join(lines) + "\n}}\n"


def section(number: int, practice: Practice) -> str:
    """One exercise of the page, in Markdown."""
    return SECTION.format(
        number=number,
        title=practice.title,
        about=practice.about,
        name=practice.record.name,
        passes=practice.passes,
        rows=practice.stub.count("\n") + 5,
        stub=html.escape(practice.stub, quote=False),
        hint=practice.hint,
        answer=practice.solution.strip(),
    )


def page() -> str:
    """The whole page, in Markdown."""
    sections = [section(number, each) for number, each in enumerate(PRACTICES, 1)]
    return notebooks.link_mentions("\n".join([LEAD, *sections]), notebooks.targets())


if __name__ == "__main__":
    write_atomically(RECORDS, records().encode())
    write_atomically(PAGE, page().encode())
