"""Files into the working folder and out of it, never through a link."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from collections.abc import Iterator

from .frames import PIECE, Payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: More entries than any limit.
HIDDEN = 2**62
#: So many folders deep a file may lie below the working folder.
DEPTH = 64
#: Bytes of all names that `get` sends; they travel in one header.
MOST_NAMES = 2**19
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


def put(root: str, names: list[tuple[str, int]], payload: Payload) -> None:
    """Write files below a folder.

    Args:
        root: The folder.
        names: (relative path, size) in the order of the payload.
        payload: All contents, one after the other; what is left of it after an error is still to be read.

    Raises:
        OSError: One cannot be written; links on the way are refused.
        ValueError: One lies deeper than `get` looks, or there are fewer bytes than announced.
    """
    for path, _ in names:
        if path.count("/") > DEPTH:
            msg = f"{path[:80]} … lies more than {DEPTH} folders deep"
            raise ValueError(msg)
    for path, size in names:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            *above, name = path.split("/")
            for step in above:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, dir_fd=folder)
                inner = os.open(step, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=folder)
                os.close(folder)
                folder = inner
            with contextlib.suppress(FileNotFoundError):  # what stands there, a link or a pipe too, makes way
                os.unlink(name, dir_fd=folder)
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o644, dir_fd=folder)
            with os.fdopen(file, "wb") as out:
                for part in payload.parts(size):
                    out.write(part)
        finally:
            os.close(folder)


def find(root: str, patterns: list[str], *, most_bytes: int, most_files: int) -> dict[str, Any]:
    """Which regular files lie below a folder.

    Args:
        root: The folder.
        patterns: Glob patterns on the relative path; empty for all.
        most_bytes: Bytes in all; what exceeds it counts as left out.
        most_files: Files in all.

    Returns:
        {"files": [[path, size] …], "left_out": number of files}.
    """
    files: list[list[Any]] = []
    left_out = names = 0
    room = most_bytes
    for folder, relative, name in _walk(root):
        path = f"{relative}{name}"
        if patterns and not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns):
            continue
        names += len(os.fsencode(path))
        size = _size(folder, name)
        if size is None or size > room or len(files) >= most_files or names >= MOST_NAMES:
            left_out += 1
            continue
        files.append([path, size])
        room -= size
    return {"files": files, "left_out": left_out}


def contents(root: str, files: list[list[Any]]) -> Iterator[bytes]:
    """What is in files, piece by piece, one file after the other.

    Args:
        root: The folder.
        files: As `find` gave them: in the order of the walk. Of each come as many bytes as it had then; one that was cut meanwhile, which
            takes somebody outside the box, ends in zeros.
    """
    walk = _walk(root)
    for path, size in files:
        left = size
        for folder, relative, name in walk:
            if f"{relative}{name}" == path:
                with contextlib.suppress(OSError), open(_open(folder, name), "rb", buffering=0) as source:
                    while left and (part := source.read(min(left, PIECE))):
                        left -= len(part)
                        yield part
                break
        while left:
            part = bytes(min(left, PIECE))
            left -= len(part)
            yield part


def _open(folder: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS, dir_fd=folder)


def _size(folder: int, name: str) -> int | None:
    """Bytes of a file; None if it cannot be read."""
    try:
        file = _open(folder, name)
    except OSError:
        return None
    try:
        return os.fstat(file).st_size
    finally:
        os.close(file)


def usage(root: str) -> tuple[int, int]:
    """(Bytes on disk, entries) below a folder; links are not followed, a file with several names is counted once, mounts are not."""
    total = entries = 0
    waiting, seen = [root], set()
    device = os.stat(root).st_dev
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
                facts = entry.stat(follow_symlinks=False)
                if facts.st_dev != device or facts.st_ino in seen:
                    continue
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(entry.path)
                elif facts.st_nlink > 1:
                    seen.add(facts.st_ino)
                total += facts.st_blocks * 512
    return total, entries


def _walk(root: str) -> Iterator[tuple[int, str, str]]:
    """(Descriptor of the folder, its relative path with a slash at the end, name) of regular files, in order of names; depth first.

    What is mounted below the folder is somebody else's.
    """
    with contextlib.suppress(OSError):
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        yield from _below(folder, "", os.fstat(folder).st_dev)


def _below(folder: int, relative: str, device: int, depth: int = 0) -> Iterator[tuple[int, str, str]]:
    try:
        for name in sorted(os.listdir(folder)):
            try:
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue
            if facts.st_dev != device:
                continue
            if stat.S_ISREG(facts.st_mode):
                yield folder, relative, name
            elif stat.S_ISDIR(facts.st_mode) and depth < DEPTH:
                with contextlib.suppress(OSError):
                    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=folder)
                    yield from _below(inner, f"{relative}{name}/", device, depth + 1)
    finally:
        os.close(folder)
