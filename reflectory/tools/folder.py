"""Reading the regular files of a folder that somebody else may change at the same time; links are not followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

#: Folders below folders; each holds a descriptor while it is read.
MOST_DEPTH = 64
# What was a file or folder a moment ago may be a link now (not followed) or a pipe (opened without a wait, then seen to be none).
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Entry(NamedTuple):
    """A regular file.

    Attributes:
        name: POSIX path below the folder.
        stamp: What its folder says of it, size in bytes first: another one means that it may have changed.
        folder: Descriptor of the folder it is in, open until the next entry is asked for.
    """

    name: str
    stamp: tuple[int, ...]
    folder: int

    def read(self, most: int) -> bytes:
        """Its content.

        Args:
            most: Bytes; what comes after is left out.

        Raises:
            OSError: It cannot be read, or is no regular file any more.
        """
        with os.fdopen(os.open(self.name.rpartition("/")[2], _OPEN, dir_fd=self.folder), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                msg = f"{self.name} is no regular file any more"
                raise OSError(msg)
            return file.read(most)


def files(folder: Path) -> Generator[Entry, None, None]:
    """The regular files below a folder, those of a folder before those of folders in it, by name.

    Hidden ones, those more than `MOST_DEPTH` folders deep and those of folders that cannot be opened are left out.

    Raises:
        OSError: The folder itself cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _below(descriptor, "", MOST_DEPTH)
    finally:
        os.close(descriptor)


def _below(folder: int, prefix: str, depth: int) -> Generator[Entry, None, None]:
    folders: list[str] = []
    for name in sorted(name for name in os.listdir(folder) if not name.startswith(".")):
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:  # it is gone
            continue
        if stat.S_ISDIR(facts.st_mode):
            folders.append(name)
        elif stat.S_ISREG(facts.st_mode):
            yield Entry(prefix + name, (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino), folder)
    for name in folders if depth > 1 else ():
        try:
            inner = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=folder)
        except OSError:  # gone, closed to this user, or a link by now
            continue
        try:
            yield from _below(inner, f"{prefix}{name}/", depth - 1)
        finally:
            os.close(inner)
