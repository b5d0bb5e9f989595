"""A chore in a folder of files: a tree to begin with, commands that do it, and what must stand there in the end."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from reflectory.envs.code.values import plain_json

Files = dict[str, str]
#: Path → text that must stand there (compared as JSON where the name ends so), or None for what must be gone.
Wanted = dict[str, str | None]
#: Archive → (member → text) that must be in it; "" is the member of what gzip alone compressed.
Archives = Mapping[str, Mapping[str, str]]
#: White space at the end of a text does not count, up to so many bytes.
_SLACK = 1024
#: JSON beyond this is not read, in bytes and in nesting.
_MOST_JSON, _DEEPEST_JSON = 256 * 1024, 50


@dataclass(frozen=True)
class Tree:
    """A folder of files at one moment.

    Attributes:
        files: Regular files, path → content.
        states: All that stands there but the folder itself, path → type, permissions and target of a link, for example "f644:".
    """

    files: Mapping[str, bytes]
    states: Mapping[str, str]


@dataclass(frozen=True)
class Chore:
    """Something to be done with files.

    What `wanted`, `modes` and `archives` do not name must be as it was, to the byte, with the same permissions; and nothing else may be
    there in the end but the folders that lead to what they name.

    Attributes:
        wanted: Files at first → what must stand there; its docstring is the goal.
        tree: Draws the files.
        solution: Shell commands that do it.
        setup: Shell commands that finish the tree.
        modes: Files at first → permissions that must hold, path → octal; None where they do not matter.
        archives: Files at first → archives that must be there (`.tar`, `.tar.gz`, `.zip`, `.gz`) and all their members.
    """

    wanted: Callable[[Files], Wanted]
    tree: Callable[[random.Random], Files]
    solution: str
    setup: str = ""
    modes: Callable[[Files], Mapping[str, str]] | None = None
    archives: Callable[[Files], Archives] | None = None

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

    def packed(self, seed: int) -> Archives:
        """Archives that must be there, with their members."""
        return self.archives(self.texts(seed)) if self.archives is not None else {}

    def right(self, seed: int, before: Tree, after: Tree, members: Mapping[str, Mapping[str, bytes] | None]) -> bool:
        """Whether what came out is right.

        Args:
            seed: Of the tree.
            before: The folder before anything was done.
            after: The folder that came out.
            members: Archive → what is in it, for each of `packed`.
        """
        texts, packed = self.texts(seed), self.packed(seed)
        wanted = self.wanted(dict(texts))
        modes = self.modes(dict(texts)) if self.modes is not None else {}
        if not _untouched(before, after, {**wanted, **dict.fromkeys(packed, "")}, modes):
            return False
        for path, text in wanted.items():
            if path in after.states if text is None else not _equal(path, text, after.files.get(path)):
                return False
        return all(members.get(path) == {name: text.encode() for name, text in inside.items()} for path, inside in packed.items())


def chore(
    *,
    tree: Callable[[random.Random], Files],
    solution: str,
    setup: str = "",
    modes: Callable[[Files], Mapping[str, str]] | None = None,
    archives: Callable[[Files], Archives] | None = None,
) -> Callable[[Callable[[Files], Wanted]], Chore]:
    """Make the decorated function the end state of a Chore; see there for the arguments."""
    return lambda wanted: Chore(wanted, tree, inspect.cleandoc(solution), setup, modes, archives)


def chores_of(module: str) -> list[Chore]:
    """All chores a module defines, in their order."""
    import importlib

    found = vars(importlib.import_module(module)).values()
    return [item for item in found if isinstance(item, Chore) and item.wanted.__module__ == module]


def _untouched(before: Tree, after: Tree, named: Wanted, modes: Mapping[str, str]) -> bool:
    """Whether all is as it was but for what is named, and what `modes` names has those permissions.

    Args:
        before: Then.
        after: Now.
        named: Files that may differ; where the value is not None they, and the folders above them, may be new.
        modes: Path → permissions that must hold, in octal.
    """
    folders = {str(parent) for path, text in named.items() if text is not None for parent in PurePosixPath(path).parents}
    for path in {*before.states, *after.states} - set(named):
        old, new = before.states.get(path), after.states.get(path)
        if path in modes and new is not None:
            right = new[1:] == f"{modes[path]}:" and (old is None or old[0] == new[0])
        else:
            right = old == new or (old is None and path in folders and new is not None and new.startswith("d"))
        if not right or before.files.get(path) != after.files.get(path):
            return False
    return all(after.states.get(path, "")[1:] == f"{mode}:" for path, mode in modes.items())


def _equal(path: str, text: str, found: bytes | None) -> bool:
    """The same text but for white space at the end of the file; or the same JSON value. None is no file."""
    if found is None:
        return False
    try:
        if path.endswith(".json"):
            return _typed(plain_json(found, most=_MOST_JSON, deepest=_DEEPEST_JSON)) == _typed(json.loads(text))
        return len(found) <= len(text.encode()) + _SLACK and found.decode().rstrip() == text.rstrip()
    except ValueError:
        return False


def _typed(value: object) -> str:
    """A JSON value as text in which 1, 1.0 and true differ, and the order of keys does not matter."""
    return json.dumps(value, sort_keys=True)
