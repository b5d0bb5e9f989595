"""Opening a memory for a command: the file of a folder, the embedder that made its vectors, and the order it has learned."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reflectory.memory import JournalMemory
    from reflectory.protocols import Embedder


@contextmanager
def opened(folder: str, *, write: bool = False, create: bool = False) -> Iterator[JournalMemory]:
    """The memory of a folder.

    Args:
        folder: As given on the command line.
        write: Open it for writing.
        create: Make it when there is none.

    Raises:
        MissingDependency: There is no memory.
        MemoryFault: It cannot be opened.
    """
    from reflectory.memory import open_memory

    with open_memory(memory_of(folder, create=create), read_only=not write) as memory:
        yield memory


@contextmanager
def ranked(folder: str) -> Iterator[JournalMemory]:
    """The memory of a folder, read-only, ranking as a dialogue does: by what was learned under the name "ranker", where there is any.

    Args:
        folder: As given on the command line.

    Raises:
        MissingDependency: There is no memory.
        MemoryFault: It cannot be opened.
    """
    from reflectory.errors import ConfigError
    from reflectory.memory import Retrospective, open_memory

    file = memory_of(folder)
    with open_memory(file, embedder=embedder_of(file), read_only=True) as memory:
        ranker = Retrospective()
        try:
            if memory.learned(ranker.name) is not None:
                ranker.attach(memory)
                memory.ranker = ranker
        except ConfigError as error:
            print(f"ranking without what was learned: {error}", file=sys.stderr)
        yield memory


def memory_of(folder: str, *, create: bool = False) -> Path:
    """The journal file of a folder; with `create` the one to make where there is none.

    Raises:
        MissingDependency: There is none.
    """
    from reflectory.errors import MissingDependency
    from reflectory.runs.build import memory_file

    file = next((file for file in (memory_file(folder), memory_file(Path(folder) / "memory")) if file.exists()), None)
    if file is None and not create:
        msg = f"there is no memory in {folder}: no {memory_file(folder).name}."
        raise MissingDependency(msg)
    return memory_file(folder) if file is None else file


def embedder_of(file: Path) -> Embedder | None:
    """The registered embedder that made a journal's newest vector; None is the default one, with a word on stderr when it is not the same.

    Raises:
        MemoryFault: The file cannot be read.
    """
    from contextlib import closing

    from reflectory.errors import ReflectoryError
    from reflectory.memory import Journal
    from reflectory.registry import lookup, names
    from reflectory.retrieval import HashingEmbedder

    with closing(Journal(file, read_only=True)) as journal:
        wanted = journal.newest_embedder()
    if wanted in ("", HashingEmbedder().id):
        return None
    why = "which is not registered"
    for name in names("embedder"):
        try:
            made: Embedder = lookup("embedder", name)()
        except ReflectoryError as error:
            why = f"which no installed embedder is ({name}: {error})"
            continue
        if made.id == wanted:
            return made
    print(f"the vectors of this memory were made by {wanted}, {why}: comparing with the hashing embedder instead.", file=sys.stderr)
    return None


def position(text: str | None) -> int | str | None:
    """A journal position, or the name of a snapshot; None is the newest."""
    return int(text) if text is not None and re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text
