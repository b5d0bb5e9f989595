"""Files that survive a kill at any moment: whole lines appended and synced, whole files replaced by rename."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def append_line(path: Path, line: str, *, sync: bool = True) -> int:
    """Append one line; several processes may do so at once.

    A line that a kill cut off before stays alone on its line, where readers skip it.

    Args:
        path: The file; made when absent.
        line: Text without a newline.
        sync: Return only when the line is on disk.

    Returns:
        The position of the line's first byte.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        end = os.lseek(handle, 0, os.SEEK_END)
        torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n"
        data = (b"\n" if torn else b"") + line.encode() + b"\n"
        while data:
            data = data[os.write(handle, data) :]
        if sync:
            os.fsync(handle)
        return end + torn
    finally:
        os.close(handle)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one per line; what a kill cut off is skipped, an absent file is empty."""
    if not path.exists():
        return
    with path.open("rb") as handle:
        for line in handle:
            item = parse(line)
            if item is not None:
                yield item


def read_line_at(path: Path, offset: int) -> dict[str, Any] | None:
    """The JSON object of the line that begins at a byte position, or None."""
    with path.open("rb") as handle:
        handle.seek(offset)
        return parse(handle.readline())


def parse(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, or None where there is none."""
    try:
        item = json.loads(line)
    except ValueError:
        return None
    return item if isinstance(item, dict) else None


def replace_file(path: Path, text: str) -> None:
    """Write a whole file so that a reader, also after a kill, sees the old content or the new one, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
