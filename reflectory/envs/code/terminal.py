"""A chore in a folder of files: a tree to begin with, commands that do it, and what must stand there in the end."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Files = dict[str, str]
#: Path → text that must stand there (compared as JSON where the name ends so), or None for what must be gone.
Wanted = dict[str, str | None]
#: (files at first, files that came out) → whether what cannot be said as text is right.
More = Callable[[Files, Mapping[str, bytes]], bool]


@dataclass(frozen=True)
class Chore:
    """Something to be done with files.

    What `wanted` does not name must be as it was; other new files do no harm.

    Attributes:
        wanted: Files at first → what must stand there; its docstring is the goal.
        tree: Draws the files.
        solution: Shell commands that do it.
        setup: Shell commands that finish the tree.
        modes: Files at first → permissions that must hold, path → octal; None where they do not matter.
        more: A further check, for archives and the like.
    """

    wanted: Callable[[Files], Wanted]
    tree: Callable[[random.Random], Files]
    solution: str
    setup: str = ""
    modes: Callable[[Files], Mapping[str, str]] | None = None
    more: More | None = None

    @property
    def name(self) -> str:
        """Of the chore."""
        return self.wanted.__name__

    @property
    def path(self) -> str:
        """Dotted path `module:name`, by which a task finds it again."""
        return f"{self.wanted.__module__}:{self.name}"

    @property
    def goal(self) -> str:
        """What is to be done."""
        return inspect.cleandoc(self.wanted.__doc__ or "")

    def texts(self, seed: int) -> Files:
        """The tree of a seed."""
        return self.tree(random.Random(f"{self.path}/{seed}"))

    def files(self, seed: int) -> dict[str, bytes]:
        """The tree of a seed as bytes."""
        return {path: text.encode() for path, text in self.texts(seed).items()}

    def right(self, seed: int, found: Mapping[str, bytes], modes: Mapping[str, str]) -> bool:
        """Whether what came out is right.

        Args:
            seed: Of the tree.
            found: Regular files that stand there.
            modes: Permissions; read only where the chore is about them.
        """
        before = self.texts(seed)
        wanted = {**before, **self.wanted(dict(before))}
        for path, text in wanted.items():
            if (text is None) != (path not in found) or (text is not None and not _equal(path, text, found[path])):
                return False
        if self.modes is not None and any(modes.get(path) != mode for path, mode in self.modes(before).items()):
            return False
        return self.more is None or self.more(before, found)


def chore(
    *,
    tree: Callable[[random.Random], Files],
    solution: str,
    setup: str = "",
    modes: Callable[[Files], Mapping[str, str]] | None = None,
    more: More | None = None,
) -> Callable[[Callable[[Files], Wanted]], Chore]:
    """Make the decorated function the end state of a Chore; see there for the arguments."""
    return lambda wanted: Chore(wanted, tree, inspect.cleandoc(solution), setup, modes, more)


def chores_of(module: str) -> list[Chore]:
    """All chores a module defines, in their order."""
    import importlib

    found = vars(importlib.import_module(module)).values()
    return [item for item in found if isinstance(item, Chore) and item.wanted.__module__ == module]


def _equal(path: str, text: str, found: bytes) -> bool:
    """The same text but for white space at the end of the file; or the same JSON value."""
    try:
        got = found.decode()
        if path.endswith(".json"):
            return _typed(json.loads(got)) == _typed(json.loads(text))
    except (ValueError, RecursionError):
        return False
    return got.rstrip() == text.rstrip()


def _typed(value: object) -> str:
    """A JSON value as text in which 1, 1.0 and true differ, and the order of keys does not matter."""
    return json.dumps(value, sort_keys=True)
