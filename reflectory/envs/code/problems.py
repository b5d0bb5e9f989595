"""A programming problem: a reference function whose docstring is the specification, examples to show, and inputs to hide."""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import inspect
import random
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reflectory.envs.code.values import written
from reflectory.errors import EnvError

#: The file that is asked for and that hidden tests import.
MAIN = "solution.py"
#: At least so many hidden inputs decide.
HIDDEN = 20
Args = tuple[Any, ...]
#: A planted bug: "OPERATOR/PLACE" of `reflectory.envs.code.mutate`, or (what stands in the reference, what to put there).
Bug = str | tuple[str, str]


@dataclass(frozen=True)
class Problem:
    """One function to write.

    Attributes:
        reference: Solves it; its docstring says what it does. Arguments and result are JSON values, tuples or sets.
        examples: Arguments of the visible tests, two or three.
        edges: Arguments of hidden tests that are easily got wrong.
        draw: Draws the arguments of further hidden tests.
        bugs: What can be planted in the reference for a repair task.
        tolerance: Allowed difference of floats, absolute and relative; None means none.
    """

    reference: Callable[..., Any]
    examples: tuple[Args, ...]
    edges: tuple[Args, ...]
    draw: Callable[[random.Random], Args]
    bugs: tuple[Bug, ...] = ()
    tolerance: float | None = None

    def __call__(self, *args: Any) -> Any:
        """The reference itself, so that it may call itself and others of its module."""
        return self.reference(*args)

    @property
    def name(self) -> str:
        """Of the function."""
        return self.reference.__name__

    @property
    def path(self) -> str:
        """Dotted path `module:name`, by which a task finds it again."""
        return f"{self.reference.__module__}:{self.name}"

    @property
    def specification(self) -> str:
        """The docstring."""
        return inspect.cleandoc(self.reference.__doc__ or "")

    @property
    def signature(self) -> str:
        """`name(argument: type, …) -> type` as the source has it."""
        function = _function(_tree(self.reference.__module__), self.name)
        returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
        return f"{self.name}({ast.unparse(function.args)}){returns}"

    @property
    def source(self) -> str:
        """A module with the reference and all it needs; what the oracle writes and bugs are planted in."""
        return standalone(self.reference.__module__, [self.name])

    def expected(self, args: Args) -> Any:
        """What the reference answers; computed here, never in a sandbox."""
        return self.reference(*copy.deepcopy(args))

    def hidden(self, seed: int) -> list[Args]:
        """Arguments of the hidden tests: the edges, then as many drawn ones as are missing, at least ten; none twice, none visible.

        No answer stands for more than half of them where the draws give others.
        """
        rng = random.Random(f"{self.path}/{seed}")
        found = list(self.edges)
        seen = {written(args) for args in (*self.examples, *self.edges)}
        wanted = max(HIDDEN, len(found) + 10)
        answers = Counter(written(self.expected(args)) for args in found)
        common: list[Args] = []
        for _ in range(40 * wanted):
            if len(found) >= wanted:
                break
            args = self.draw(rng)
            if (key := written(args)) in seen:
                continue
            seen.add(key)
            answer = written(self.expected(args))
            if answers[answer] >= wanted // 2:
                common.append(args)
            else:
                answers[answer] += 1
                found.append(args)
        return found + common[: wanted - len(found)]


def problem(
    *,
    examples: Sequence[Args],
    draw: Callable[[random.Random], Args],
    edges: Sequence[Args] = (),
    bugs: Sequence[Bug] = (),
    tolerance: float | None = None,
) -> Callable[[Callable[..., Any]], Problem]:
    """Make the decorated function the reference of a Problem; see there for the arguments."""
    return lambda reference: Problem(reference, tuple(examples), tuple(edges), draw, tuple(bugs), tolerance)


def find(path: str) -> Any:
    """The object at a dotted path `module:name`.

    Raises:
        EnvError: There is none.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"nothing is at {path!r}: {error}. A code task names its problem as `module:name`."
        raise EnvError(msg) from error


def problems_of(module: str) -> list[Problem]:
    """All problems a module defines, in their order."""
    found = vars(importlib.import_module(module)).values()
    return [item for item in found if isinstance(item, Problem) and item.reference.__module__ == module]


@functools.cache
def _text(module: str) -> str:
    return inspect.getsource(sys.modules[module])


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_text(module))


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)


def standalone(module: str, names: Sequence[str]) -> str:
    """The source of some functions of a module with the imports, constants and helpers they use, and nothing else.

    Args:
        module: An imported module.
        names: Functions of it.
    """
    tree, text = _tree(module), _text(module)
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        for node in (node for node in tree.body if name in _binds(node)):
            uses = {part.id for part in ast.walk(_bare(node)) if isinstance(part, ast.Name)}
            waiting += uses - needed
    imports, rest = [], []
    for node in tree.body:
        if not needed & _binds(node):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(ast.unparse(_only(node, needed)))
        else:
            rest.append(textwrap.dedent(ast.get_source_segment(text, node) or ""))
    head = "\n".join(imports)
    return "\n\n\n".join([*([head] if head else []), *rest]) + "\n"


def _bare(node: ast.stmt) -> ast.AST:
    """The statement without its decorators, which belong to the task and not to the solution."""
    if isinstance(node, ast.FunctionDef):
        return ast.Module(body=[ast.Expr(node.args), *([ast.Expr(node.returns)] if node.returns else []), *node.body], type_ignores=[])  # type: ignore[arg-type]
    return node


def _binds(node: ast.stmt) -> set[str]:
    """Names a statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _only(node: ast.Import | ast.ImportFrom, needed: set[str]) -> ast.Import | ast.ImportFrom:
    names = [alias for alias in node.names if (alias.asname or alias.name).partition(".")[0] in needed]
    return ast.Import(names) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, names, node.level)
