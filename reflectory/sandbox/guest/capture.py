"""Keeps the beginning and the end of a stream, counts and hashes all of it, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Capture:
    """What a program wrote to one stream.

    Args:
        keep: Bytes kept, half of them from the beginning and half from the end.
    """

    def __init__(self, keep: int) -> None:
        self._half = max(1, keep // 2)
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._kept = 0
        self._hash = hashlib.sha256()
        self.bytes = 0

    def add(self, data: bytes) -> None:
        """Take in the next bytes."""
        self.bytes += len(data)
        self._hash.update(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data[-self._half :])
            self._kept += len(self._tail[-1])
            while self._kept - len(self._tail[0]) >= self._half:
                self._kept -= len(self._tail.popleft())

    def result(self) -> tuple[dict[str, Any], bytes]:
        """Counts for the header, and the kept bytes: the beginning, then the end."""
        tail = b"".join(self._tail)[-self._half :]
        facts = {"bytes": self.bytes, "sha256": self._hash.hexdigest(), "head": len(self._head), "tail": len(tail)}
        return facts, self._head + tail
