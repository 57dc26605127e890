"""Known mistakes, each written as a change of a right answer's text.

One object serves twice: the checks compare a reader's answer with it, to find the hint; the tests hand it in as a
wrong answer, which must be rejected with that hint.
"""

import ast
import inspect
import re
import textwrap
from functools import cached_property

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
    def text(self):
        """The source of the changed function.

        Raises:
            ValueError: an old text does not stand in the function exactly once.
        """
        text = inspect.getsource(self.right)
        for old, new in self.changes:
            text = _changed(text, old, new) if old else _with_body(text, new)
        return text

    @cached_property
    def function(self):
        """The changed function.

        Raises:
            ValueError: an old text does not stand in the function exactly once.
        """
        text, name = self.text, self.right.__name__
        names = dict(self.right.__globals__)
        exec(compile(text, f"<{name}, edited>", "exec"), names)
        edited, names[name] = names[name], self.right  # the new text may call the right function
        return edited


def edits_of(right, text):
    """The mistakes that `text` lists: for each the hint, and below it, indented, what is changed in `right`.

        you add the heads up: lay them side by side.
            torch.cat(x.unbind(1), dim=-1) ⇒ x.sum(1)
        you stop half-way.
            ⇒ return x.transpose(1, 2)

    With nothing before the arrow the whole body is new; with nothing after it a piece is left out. Several lines make
    one mistake together. A line that begins with | goes on with the line above it. The word `or`, alone in a line,
    begins another form of the same mistake.
    """
    return tuple(Mistake(hint, Edited(right, changes)) for hint, changes in listed(text))


def listed(text):
    """[(hint, changes)] of a text in the form that `edits_of` explains.

    Raises:
        ValueError: an indented line has no arrow.
    """
    found = []
    for line in filter(None, re.split(r"\n(?! *\|)", textwrap.dedent(text).strip())):
        change = re.sub(r"\n *\| ?", "\n", line.strip())
        if line[0] != " ":
            found.append((change, []))
        elif change == "or":
            found.append((found[-1][0], []))
        elif "⇒" in change:
            old, new = change.split("⇒")
            found[-1][1].append((old.strip(), new.strip()))
        else:
            raise ValueError(f"expected `old ⇒ new` below a hint, got {change!r}: indent no hints.")
    return found


def _changed(text, old, new):
    before = text.partition(old.partition("\n")[0])[0]
    margin = "\n" + " " * (
        len(last := before.rpartition("\n")[2]) - len(last.lstrip(" "))
    )  # further lines are indented as the first one is
    old, new = old.replace("\n", margin), new.replace("\n", margin)
    if text.count(old) != 1:
        raise ValueError(
            f"the old text of an edit must stand once in the function, got {text.count(old)} times {old!r}"
        )
    return text.replace(old, new)


def _with_body(text, body):
    (function,) = ast.parse(text).body
    head = text.splitlines()[: function.body[0].lineno - 1]
    return "\n".join(head) + "\n" + textwrap.indent(body, "    ")
