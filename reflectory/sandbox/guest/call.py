"""One call in flight: writes what it reads, reads what it writes, says why it had to be ended."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Collection

from .capture import Capture
from .frames import BrokenFrame
from .watch import LOOK, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HostGone(Exception):
    """The host closed the connection: there is nobody to answer."""


class Call:
    """One call.

    Args:
        limits: Of the box.
        streams: Descriptors of its stdout and stderr, non-blocking.
        seconds: How long it may take.
        control: Descriptor of the host; that it becomes readable during a call means that the host is gone.
        watch: Looks at what the box uses.
    """

    def __init__(self, limits: dict[str, Any], streams: tuple[int, int], seconds: float, control: int, watch: Watch) -> None:
        self._streams, self._control, self._watch = streams, control, watch
        self.began = time.monotonic()
        self._deadline = self.began + seconds
        self._captures = dict(zip(streams, (Capture(limits["output_kb"] * 1024) for _ in streams), strict=True))
        self._most = limits["output_most_mb"] * 2**20
        self._open = set(streams)
        self._input = memoryview(b"")
        self._answer = bytearray()
        self._into = -1
        self._closing = False

    def feed(self, fd: int, data: bytes, *, close: bool = False) -> None:
        """Write data to a non-blocking descriptor as it takes it, and then close it if wanted."""
        self._into, self._input, self._closing = fd, memoryview(data), close
        self._write()

    def wait(self, ready: int, keep: Collection[int], *, watched: bool = True) -> str:
        """Go on until `ready` becomes readable or a limit is reached.

        Args:
            ready: A descriptor.
            keep: Children whose exit status is not to be taken.
            watched: Whether to look at other limits than time.

        Returns:
            "" when it is ready, else which limit was reached.

        Raises:
            HostGone: The host closed the connection.
        """
        poll = select.poll()
        for fd in (ready, self._control, *self._open):
            poll.register(fd, select.POLLIN)
        if self._into >= 0:
            poll.register(self._into, select.POLLOUT | (select.POLLIN if self._into == ready else 0))
        while True:
            pause = min(self._deadline, self._watch.next if watched else self._deadline) - time.monotonic()
            for fd, events in poll.poll(max(0.0, min(pause, LOOK)) * 1000):
                if fd == self._into and events & ~select.POLLIN:
                    if self._write():
                        poll.unregister(fd)
                        if fd == ready:
                            poll.register(fd, select.POLLIN)
                elif fd == ready:
                    return ""
                elif fd == self._control:
                    raise HostGone
                elif fd in self._open and not self._read(fd):
                    poll.unregister(fd)
            if time.monotonic() >= self._deadline:
                return "time"
            if any(capture.bytes > self._most for capture in self._captures.values()):
                return "output"
            if watched and (broken := self._watch.look(keep)):
                return broken

    def collect(
        self, fd: int, complete: Callable[[bytes | bytearray], bool], keep: Collection[int], *, watched: bool = True
    ) -> tuple[str, bytes]:
        """Read from a non-blocking descriptor until what came is complete, or a limit is reached.

        Args:
            fd: The descriptor.
            complete: Whether this is all; may raise `BrokenFrame`.
            keep: As for `wait`.
            watched: As for `wait`.

        Returns:
            Which limit was reached ("" for none), and what came in this call.

        Raises:
            BrokenFrame: It ended before, or more than one answer came.
            HostGone: The host closed the connection.
        """
        while not complete(self._answer):
            if broken := self.wait(fd, keep, watched=watched):
                return broken, b""
            with contextlib.suppress(BlockingIOError):
                part = os.read(fd, 2**16)
                if not part:
                    msg = "it ended"
                    raise BrokenFrame(msg)
                self._answer += part
        return "", bytes(self._answer)

    def extend(self, seconds: float) -> None:
        """Give it so many seconds from now on."""
        self._deadline = time.monotonic() + seconds

    def drain(self) -> None:
        """Read what is there, without waiting for more; an endless writer is not followed for ever."""
        for fd in list(self._open):
            capture = self._captures[fd]
            while capture.bytes <= self._most:
                before = capture.bytes
                if not self._read(fd) or capture.bytes == before:
                    break

    def end(self) -> None:
        """Let go of what it was still to read."""
        if self._into >= 0 and self._closing:
            os.close(self._into)
        self._into = -1

    def answer(self, facts: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The reply: `facts` and what was written."""
        out, err = (self._captures[fd].result() for fd in self._streams)
        seconds = time.monotonic() - self.began
        return {**facts, "seconds": seconds, "stdout": out[0], "stderr": err[0]}, out[1] + err[1]

    def _write(self) -> bool:
        """Write what is taken; True when no more is to be written."""
        try:
            while self._input:
                self._input = self._input[os.write(self._into, self._input[: 2**16]) :]
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionError):
            pass  # it does not want it
        self._input = memoryview(b"")
        self.end()
        return True

    def _read(self, fd: int) -> bool:
        """Take in what is there; False at the end of the stream."""
        data = None
        with contextlib.suppress(BlockingIOError):
            data = os.read(fd, 2**16)
        if data:
            self._captures[fd].add(data)
        elif data is not None:
            self._open.discard(fd)
        return data != b""
