"""One call in flight: reads what it writes, watches its limits, says why it had to be ended."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Collection
from typing import Any

from .capture import Capture
from .files import usage
from .processes import descendants, measure

#: Seconds between two looks at the limits.
LOOK = 0.02
#: A look at the files costs more than one at the processes.
LOOK_FILES = 0.2


class HostGone(Exception):
    """The host closed the connection: there is nobody to answer."""


class Call:
    """One call.

    Args:
        spec: What the box may use, and how.
        streams: Descriptors of its stdout and stderr, non-blocking.
        seconds: How long it may take.
        control: Descriptor of the host; that it becomes readable during a call means that the host is gone.
    """

    def __init__(self, spec: dict[str, Any], streams: tuple[int, int], seconds: float, control: int) -> None:
        limits = spec["limits"]
        self._spec, self._streams, self._control = spec, streams, control
        self.began = time.monotonic()
        self._deadline = self.began + seconds
        self._captures = [Capture(limits["output_kb"] * 1024) for _ in streams]
        self._most = limits["output_most_mb"] * 2**20
        self._open = set(streams)
        self._next_look = self.began + LOOK
        self._next_files = self.began + LOOK_FILES

    def wait(self, ready: int, watched: Callable[[], Collection[int]] | None = None) -> str:
        """Go on until `ready` becomes readable or a limit is reached.

        Args:
            ready: A descriptor.
            watched: Processes to be measured; None means all below this one.

        Returns:
            "" when it is ready, else which limit was reached.

        Raises:
            HostGone: The host closed the connection.
        """
        poll = select.poll()
        for fd in (ready, self._control, *self._open):
            poll.register(fd, select.POLLIN)
        while True:
            now = time.monotonic()
            for fd, _ in poll.poll(max(0.0, min(self._next_look, self._deadline) - now) * 1000):
                if fd == ready:
                    self.drain()
                    return ""
                if fd == self._control:
                    raise HostGone
                if not self._read(fd):
                    poll.unregister(fd)
            if broken := self._look(watched):
                return broken

    def extend(self, seconds: float) -> None:
        """Give it so many seconds from now on."""
        self._deadline = time.monotonic() + seconds

    def drain(self) -> None:
        """Read what is there, without waiting for more."""
        for fd in list(self._open):
            for _ in range(4096):  # an endless writer is not followed for ever
                before = self._captures[self._streams.index(fd)].bytes
                if not self._read(fd) or self._captures[self._streams.index(fd)].bytes == before:
                    break

    def answer(self, facts: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The reply: `facts` and what was written."""
        out, err = (capture.result() for capture in self._captures)
        seconds = time.monotonic() - self.began
        return {**facts, "seconds": seconds, "stdout": out[0], "stderr": err[0]}, out[1] + err[1]

    def _read(self, fd: int) -> bool:
        """Take in what is there; False at the end of the stream."""
        data = None
        with contextlib.suppress(BlockingIOError):
            data = os.read(fd, 2**16)
        if data:
            self._captures[self._streams.index(fd)].add(data)
        elif data is not None:
            self._open.discard(fd)
        return data != b""

    def _look(self, watched: Callable[[], Collection[int]] | None) -> str:
        """Which limit is broken, or ""."""
        now, limits = time.monotonic(), self._spec["limits"]
        if now >= self._deadline:
            return "time"
        if any(capture.bytes > self._most for capture in self._captures):
            return "output"
        if now < self._next_look:
            return ""
        self._next_look = now + LOOK
        resident, threads = measure(descendants(os.getpid()) if watched is None else watched())
        if threads > limits["processes"]:
            return "processes"
        if resident > limits["memory_mb"] * 2**20:
            return "memory"
        if self._spec["watch_files"] and now >= self._next_files:
            self._next_files = now + LOOK_FILES
            size, entries = usage(self._spec["work"])
            return "files" if entries > limits["files"] else "disk" if size > limits["disk_mb"] * 2**20 else ""
        return ""
