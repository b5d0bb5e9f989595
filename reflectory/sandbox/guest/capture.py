"""Keeps the beginning and the end of a stream, counts and hashes all of it, in bounded memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What a pipe can hold: the kernel's bound for one that a program has enlarged, and what it holds otherwise.
MOST_PIPE = 2**20 + 2**16


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


class Streams:
    """The stdout and stderr of a program, as far as they were read.

    Args:
        fds: Their descriptors, non-blocking.
        limits: Of the box.
    """

    def __init__(self, fds: tuple[int, int], limits: dict[str, Any]) -> None:
        self.fds, self._keep, self._most = fds, limits["output_kb"] * 1024, limits["output_most_mb"] * 2**20
        self._captures: dict[int, Capture] = {}
        #: Those that are not at their end.
        self.open = set(fds)
        self.reset()

    def reset(self) -> None:
        """Forget what was read."""
        self._captures = {fd: Capture(self._keep) for fd in self.fds}

    @property
    def over(self) -> bool:
        """Whether one holds more than is allowed."""
        return any(capture.bytes > self._most for capture in self._captures.values())

    def read(self, fd: int) -> int:
        """Take in what is there; how much it was, 0 also at the end of the stream."""
        data = None
        with contextlib.suppress(BlockingIOError):
            data = os.read(fd, 2**16)
        if data:
            self._captures[fd].add(data)
        elif data is not None:
            self.open.discard(fd)
        return len(data or b"")

    def drain(self) -> None:
        """Read what is there, without waiting for more; an endless writer is not followed for ever."""
        for fd in list(self.open):
            left = MOST_PIPE
            while left > 0 and (count := self.read(fd)):
                left -= count

    def result(self) -> tuple[dict[str, Any], bytes]:
        """`stdout` and `stderr` for the header, and what was kept of both."""
        out, err = (self._captures[fd].result() for fd in self.fds)
        return {"stdout": out[0], "stderr": err[0]}, out[1] + err[1]
