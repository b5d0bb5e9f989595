"""Plants bugs in a program: by operators on its syntax tree, or by hand as a replacement of text."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator

from reflectory.envs.code.problems import Problem
from reflectory.errors import EnvError

#: A place that can be changed: the node to be replaced, and what to put there (None removes the statement).
_Change = tuple[ast.AST, ast.AST | None]
_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_NEGATE: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitOr,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}


def plant(problem: Problem, number: int) -> str:
    """The reference of a problem with one of its bugs in it.

    Raises:
        EnvError: There is no such bug, or it does not fit the source any more.
    """
    source = problem.source
    if not 0 <= number < len(problem.bugs):
        msg = f"{problem.path} has {len(problem.bugs)} bugs, so there is no number {number}"
        raise EnvError(msg)
    bug = problem.bugs[number]
    if isinstance(bug, tuple):
        old, new = bug
        if source.count(old) != 1:
            msg = f"bug {number} of {problem.path} replaces {old!r}, which stands in the source {source.count(old)} times instead of once"
            raise EnvError(msg)
        return source.replace(old, new)
    operator, _, place = bug.partition("/")
    found = list(mutants(source, operator))
    if int(place) >= len(found):
        msg = f"bug {number} of {problem.path}: the operator {operator!r} finds {len(found)} places, so there is no {place}"
        raise EnvError(msg)
    return found[int(place)]


def mutants(source: str, operator: str) -> Iterator[str]:
    """The programs that an operator makes of a program, one for each place it fits, in the order of the text.

    Args:
        source: A module.
        operator: A key of `OPERATORS`.
    """
    tree = ast.parse(source)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr | ast.stmt)]
    changes = [change for node in nodes for change in OPERATORS[operator](node)]
    for old, new in sorted(changes, key=lambda change: _place(change[0])[:2]):
        yield _replaced(source, old, new)


def _place(node: ast.AST) -> tuple[int, int, int, int]:
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]


def _replaced(source: str, old: ast.AST, new: ast.AST | None) -> str:
    """The text with one node changed and everything else as it was."""
    lines = source.encode().splitlines(keepends=True)
    first, start, last, end = _place(old)
    if new is None:
        return b"".join([*lines[: first - 1], *lines[last:]]).decode()
    head, tail = lines[first - 1][:start], lines[last - 1][end:]
    return b"".join([*lines[: first - 1], head, ast.unparse(new).encode(), tail, *lines[last:]]).decode()


def _boundary(node: ast.AST) -> Iterator[_Change]:
    """`<` for `<=` and the like."""
    return _compare(node, _COMPARE)


def _negated(node: ast.AST) -> Iterator[_Change]:
    """`==` for `!=`, `in` for `not in`."""
    return _compare(node, _NEGATE)


def _compare(node: ast.AST, table: dict[type[ast.cmpop], type[ast.cmpop]]) -> Iterator[_Change]:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            if type(operator) in table:
                changed = copy.deepcopy(node)
                changed.ops[index] = table[type(operator)]()
                yield node, changed


def _off_by_one(node: ast.AST) -> Iterator[_Change]:
    """An integer that is one too large, or one too small."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield node, ast.Constant(node.value + 1)
        if node.value > 0:
            yield node, ast.Constant(node.value - 1)


def _arithmetic(node: ast.AST) -> Iterator[_Change]:
    """`-` for `+` and the like."""
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield node, ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    if isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
        yield node, ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)


def _logic(node: ast.AST) -> Iterator[_Change]:
    """`and` for `or`, a `not` too many or missing."""
    if isinstance(node, ast.BoolOp):
        yield node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, node.operand


def _swapped(node: ast.AST) -> Iterator[_Change]:
    """The first two arguments of a call in the wrong order."""
    if isinstance(node, ast.Call) and len(node.args) >= 2 and not any(isinstance(part, ast.Starred) for part in node.args[:2]):
        yield node, ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)


def _function(node: ast.AST) -> Iterator[_Change]:
    """`min` for `max`, `any` for `all`."""
    if isinstance(node, ast.Name) and node.id in _FUNCTIONS and isinstance(node.ctx, ast.Load):
        yield node, ast.Name(_FUNCTIONS[node.id], ast.Load())


def _base_case(node: ast.AST) -> Iterator[_Change]:
    """An early return or continue that is missing."""
    if isinstance(node, ast.If) and not node.orelse and len(node.body) == 1 and isinstance(node.body[0], ast.Return | ast.Continue):
        yield node, None


def _no_return(node: ast.AST) -> Iterator[_Change]:
    """A value that is computed and not returned."""
    if isinstance(node, ast.Return) and node.value is not None:
        yield node, ast.Expr(node.value)


OPERATORS: dict[str, Callable[[ast.AST], Iterator[_Change]]] = {
    "boundary": _boundary,
    "negated": _negated,
    "off-by-one": _off_by_one,
    "arithmetic": _arithmetic,
    "logic": _logic,
    "swapped": _swapped,
    "function": _function,
    "base-case": _base_case,
    "no-return": _no_return,
}
