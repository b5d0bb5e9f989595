"""Files into the working folder and out of it, never through a link."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: More entries than any limit.
HIDDEN = 2**62
#: Characters of all names that `get` sends; they travel in one header.
MOST_NAMES = 2**19
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


def put(root: str, names: list[tuple[str, int]], payload: bytes) -> None:
    """Write files below a folder.

    Args:
        root: The folder.
        names: (relative path, size) in the order of the payload.
        payload: All contents, one after the other.

    Raises:
        OSError: One cannot be written; links on the way are refused.
    """
    start = 0
    for path, size in names:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            *above, name = path.split("/")
            for part in above:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=folder)
                os.close(folder)
                folder = inner
            with contextlib.suppress(FileNotFoundError):  # what stands there, a link or a pipe too, makes way
                os.unlink(name, dir_fd=folder)
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644, dir_fd=folder)
            with os.fdopen(file, "wb") as out:
                out.write(payload[start : start + size])
        finally:
            os.close(folder)
        start += size


def get(root: str, patterns: list[str], *, most_bytes: int, most_files: int) -> tuple[dict[str, Any], bytes]:
    """Read regular files below a folder.

    Args:
        root: The folder.
        patterns: Glob patterns on the relative path; empty for all.
        most_bytes: Bytes in all; what exceeds it is named in `left_out`.
        most_files: Files in all.

    Returns:
        {"files": [[path, size] …], "left_out": number of files}, and the contents one after the other.
    """
    files: list[list[Any]] = []
    parts: list[bytes] = []
    total = left_out = names = 0
    for folder, relative, name in _walk(root):
        path = f"{relative}{name}"
        if patterns and not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns):
            continue
        try:
            file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS, dir_fd=folder)
        except OSError:
            left_out += 1
            continue
        with os.fdopen(file, "rb") as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                continue
            room = most_bytes - total
            names += len(path)
            content = source.read(room + 1) if len(files) < most_files and names < MOST_NAMES else None
        if content is None or len(content) > room:
            left_out += 1
            continue
        files.append([path, len(content)])
        parts.append(content)
        total += len(content)
    return {"files": files, "left_out": left_out}, b"".join(parts)


def usage(root: str) -> tuple[int, int]:
    """(Bytes on disk, entries) below a folder; links are not followed."""
    total = entries = 0
    waiting = [root]
    while waiting:
        try:
            found = list(os.scandir(waiting.pop()))
        except PermissionError:  # a folder that hides what is in it counts as one that is too full
            return total, HIDDEN
        except OSError:
            continue
        for entry in found:
            entries += 1
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return total, entries


def _walk(root: str) -> Iterator[tuple[int, str, str]]:
    """(Descriptor of the folder, its relative path with a slash at the end, file name), in order of names; depth first."""
    with contextlib.suppress(OSError):
        yield from _below(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), "")


def _below(folder: int, relative: str, depth: int = 0) -> Iterator[tuple[int, str, str]]:
    try:
        for name in sorted(os.listdir(folder)):
            mode = 0
            with contextlib.suppress(OSError):
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISREG(mode):
                yield folder, relative, name
            elif stat.S_ISDIR(mode) and depth < 64:
                with contextlib.suppress(OSError):
                    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=folder)
                    yield from _below(inner, f"{relative}{name}/", depth + 1)
    finally:
        os.close(folder)
