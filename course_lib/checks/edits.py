"""Known mistakes, each written as a change of a right answer's text.

One object serves twice: the checks compare a reader's answer with it, to find the hint; the tests hand it in as a
wrong answer, which must be rejected with that hint.
"""

import ast
import inspect
import textwrap
from functools import cached_property
from itertools import groupby

from course_lib.checks.exercise import Mistake


class Edited:
    """A right function with some of its text changed. It is compiled when it is first called.

    Args:
        right: a function of a module, not of another function.
        changes: pairs (old, new). `old` stands once in the text of `right`; where it is "", `new` is the whole body.
    """

    def __init__(self, right, changes):
        self.right, self.changes = right, changes

    def __call__(self, *inputs):
        return self.function(*inputs)

    @cached_property
    def function(self):
        """The changed function.

        Raises:
            ValueError: an old text does not stand in the function exactly once.
        """
        text, name = inspect.getsource(self.right), self.right.__name__
        for old, new in self.changes:
            text = _changed(text, old, new) if old else _with_body(text, new)
        names = dict(self.right.__globals__)
        exec(compile(text, f"<{name}, edited>", "exec"), names)
        return names[name]


def edits_of(right, text):
    """The mistakes that `text` lists: for each the hint, and below it, indented, what is changed in `right`.

        you add the heads up: lay them side by side.
            - torch.cat(x.unbind(1), dim=-1)
            + x.sum(1)
        you stop half-way.
            + return x.transpose(1, 2)

    What follows - gives way to what follows +; either may have several lines. Without a - the whole body gives way.
    Several changes make one mistake together; a line with the word `or` begins another form, with the same hint.
    """
    return tuple(Mistake(hint, Edited(right, changes)) for hint, changes in listed(text))


def listed(text):
    """[(hint, changes)] of a text in the form that `edits_of` explains."""
    found = []
    for line in filter(str.strip, textwrap.dedent(text).splitlines()):
        words = line.strip()
        if line[0] != " ":
            found.append((words, []))
        elif words == "or":
            found.append((found[-1][0], []))
        else:
            found[-1][1].append(words)
    return [(hint, _changes(lines)) for hint, lines in found]


def _changes(lines):
    """Pairs (old, new) from lines that begin with - or +."""
    pairs = []
    for mark, group in groupby(lines, key=lambda line: line[0]):
        piece = "\n".join(line[2:] for line in group)
        if mark == "-":
            pairs.append((piece, ""))
        elif mark == "+":
            old = pairs.pop()[0] if pairs else ""
            pairs.append((old, piece))
        else:
            raise ValueError(f"expected a line that begins with - or +, got {piece!r}: indent no hints.")
    return tuple(pairs)


def _changed(text, old, new):
    first = old.partition("\n")[0]
    if text.count(first) != 1:
        raise ValueError(f"{first!r} must stand once in this text, and stands there {text.count(first)} times:\n{text}")
    line = text[text.rfind("\n", 0, text.index(first)) + 1 :]
    margin = "\n" + line[: len(line) - len(line.lstrip())]  # the further lines are indented as the first one is
    return text.replace(old.replace("\n", margin), new.replace("\n", margin))


def _with_body(text, body):
    (function,) = ast.parse(text).body
    head = text.splitlines()[: function.body[0].lineno - 1]
    return "\n".join(head) + "\n" + textwrap.indent(body, "    ")
