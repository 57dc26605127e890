"""Wrong functions made from right ones by small changes of the syntax tree: slips of the pen that nobody thought of."""

import ast
import copy
import inspect
import itertools
import re
import textwrap
import warnings

OPERATORS = {ast.Add: ast.Sub, ast.Mult: ast.Div, ast.FloorDiv: ast.Mult, ast.Lt: ast.LtE, ast.Gt: ast.GtE}
OPERATORS |= {ast.Eq: ast.NotEq, ast.And: ast.Or, ast.Is: ast.IsNot, ast.In: ast.NotIn}
OPERATORS |= {new: old for old, new in OPERATORS.items() if new not in OPERATORS}
ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Pow, ast.MatMult)  # operands whose order matters
SYMMETRIC = ("transpose", "swapaxes", "min", "max", "minimum", "maximum", "isinstance")  # the order says nothing
NAMES = {"amax": "amin", "max": "min", "sum": "mean", "cos": "sin", "any": "all", "sqrt": "square"}
NAMES |= {new: old for old, new in NAMES.items()}


def mutants(function, cut=True):
    """{"old line ⇒ new line": the function with that change}, for each change of one place in its source.

    Of a function made inside another, or of anything that is no function, there are none.

    Args:
        cut: also with `.detach()` after what is computed.
    """
    function = inspect.unwrap(function)
    if not inspect.isfunction(function) or function.__closure__:
        return {}
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):  # strict=True in zip is a guard, and changes no answer
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "strict"]
    lines, found = ast.unparse(tree).splitlines(), {}
    for place, old in enumerate(_places(tree)):
        for new in [*_replacements(old), *_with_more(old, cut)]:
            if isinstance(new, ast.Starred):  # alone it is no program
                continue
            twin = _with(copy.deepcopy(tree), place, new)
            changed = [pair for pair in zip(lines, ast.unparse(twin).splitlines(), strict=False) if pair[0] != pair[1]]
            if changed:
                found[" ⇒ ".join(map(str.strip, changed[0]))] = _compiled(twin, function)
    return found


def _compiled(tree, function):
    names = dict(function.__globals__)
    module = ast.fix_missing_locations(ast.Module([tree], []))
    with warnings.catch_warnings(action="ignore"):  # a mutant may be odd; whether it is right, its numbers say
        exec(compile(module, f"<{function.__name__}, mutated>", "exec"), names)
    return names[function.__name__]


def _places(tree):
    """The statements and expressions in the body, each with all that it holds, always in the same order."""
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    return [node for statement in body for node in ast.walk(statement) if isinstance(node, ast.stmt | ast.expr)]


def _with(tree, place, new):
    old = _places(tree)[place]

    class Change(ast.NodeTransformer):
        def visit(self, node):
            return new if node is old else self.generic_visit(node)

    return Change().visit(tree)


def _replacements(node):
    """All that may stand in the place of `node` by one slip."""
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(value + 1), ast.Constant(abs(value - 1)))
        case ast.Constant(value=float(value)):
            yield ast.Constant(2 * value)
        case ast.Constant(value=str(value)) if " -> " in value:  # einops
            yield from map(ast.Constant, _turned(value))
        case ast.UnaryOp(operand=operand) | ast.Attribute(value=operand, attr="T" | "mT"):
            yield operand
        case ast.BinOp(left=left, op=op, right=right):
            yield from (left, right)
            if type(op) in OPERATORS:
                yield ast.BinOp(left, OPERATORS[type(op)](), right)
            if isinstance(op, ORDERED):
                yield ast.BinOp(right, op, left)
        case ast.Compare(ops=[op]) if type(op) in OPERATORS:
            yield ast.Compare(node.left, [OPERATORS[type(op)]()], node.comparators)
        case ast.BoolOp(op=op):
            yield ast.BoolOp(OPERATORS[type(op)](), node.values)
            yield from node.values
        case ast.IfExp():
            yield from (node.body, node.orelse)
        case ast.Tuple(elts=elts) if not all(isinstance(item, ast.Constant) for item in elts):
            yield from (ast.Tuple(order, node.ctx) for order in _swapped(elts))
        case ast.Call(func=func, args=args, keywords=keywords):
            if getattr(func, "attr", getattr(func, "id", "")) not in SYMMETRIC:
                yield from (ast.Call(func, order, keywords) for order in _swapped(args))
            yield from (ast.Call(func, args, [k for k in keywords if k is not gone]) for gone in keywords)
            if isinstance(func, ast.Attribute):
                yield func.value  # the call left out
                if func.attr in NAMES:
                    yield ast.Call(ast.Attribute(func.value, NAMES[func.attr], ast.Load()), args, keywords)
            yield from args[:1]
        case ast.Slice(lower=lower, upper=upper):
            yield from (ast.Slice(None, upper), ast.Slice(lower, None))
        case ast.If():
            yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
            yield ast.Pass()
        case ast.Assign() | ast.AugAssign() | ast.Expr() | ast.Raise() | ast.For() | ast.Delete():
            yield ast.Pass()
        case ast.With(body=body):
            yield ast.If(ast.Constant(True), body, [])


def _with_more(node, cut):
    """A statement whose result is squeezed, transposed or, if `cut`, detached."""
    if not isinstance(node, ast.Assign | ast.Return) or not isinstance(
        node.value, ast.Call | ast.BinOp | ast.Name | ast.Attribute
    ):
        return
    for name in ("squeeze", "detach") if cut else ("squeeze",):
        yield _with_value(node, ast.Call(ast.Attribute(node.value, name, ast.Load()), [], []))
    yield _with_value(node, ast.Attribute(node.value, "mT", ast.Load()))


def _with_value(statement, value):
    twin = copy.copy(statement)
    twin.value = value
    return twin


def _swapped(items):
    """The list with each two neighbours exchanged."""
    return [[*items[:i], items[i + 1], items[i], *items[i + 2 :]] for i in range(len(items) - 1)]


def _turned(pattern):
    """An einops pattern with each two neighbours on the right exchanged."""
    left, right = pattern.split(" -> ")
    words = re.findall(r"\w+|\S| ", right)
    places = [i for i, word in enumerate(words) if word.isalnum()]
    for a, b in itertools.pairwise(places):
        turned = list(words)
        turned[a], turned[b] = turned[b], turned[a]
        yield f"{left} -> {''.join(turned)}"
