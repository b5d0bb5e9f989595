"""One call in flight: writes what it reads, reads what it writes, says why it had to be ended."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Collection

from .capture import Streams
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
        streams: Its stdout and stderr.
        seconds: How long it may take.
        control: Descriptor of the host; that it becomes readable during a call means that the host is gone.
        watch: Looks at what the box uses.
    """

    def __init__(self, streams: Streams, seconds: float, control: int, watch: Watch) -> None:
        self._streams, self._control, self._watch = streams, control, watch
        self.began = time.monotonic()
        self._deadline = self.began + seconds
        self._input = memoryview(b"")
        #: What came in answer to it so far.
        self.answered = bytearray()
        self._into = -1
        self._closing = False

    def feed(self, fd: int, data: bytes | bytearray, *, close: bool = False) -> None:
        """Write data to a non-blocking descriptor as it takes it, and then close it if wanted."""
        self._into, self._input, self._closing = fd, memoryview(data), close
        self._write()

    def wait(self, ready: Collection[int], keep: Collection[int], *, watched: bool = True) -> str:
        """Go on until one of `ready` becomes readable or a limit is reached.

        Args:
            ready: Descriptors.
            keep: Children whose exit status is not to be taken.
            watched: Whether to look at other limits than time.

        Returns:
            "" when one is ready, else which limit was reached.

        Raises:
            HostGone: The host closed the connection.
        """
        poll = select.poll()
        for fd in (*ready, self._control, *self._streams.open):
            poll.register(fd, select.POLLIN)
        if self._into >= 0:
            poll.register(self._into, select.POLLOUT | (select.POLLIN if self._into in ready else 0))
        while True:
            pause = min(self._deadline, self._watch.next if watched else self._deadline) - time.monotonic()
            for fd, events in poll.poll(max(0.0, min(pause, LOOK)) * 1000):
                if fd == self._into and events & ~select.POLLIN:
                    if self._write():
                        poll.unregister(fd)
                        if fd in ready:
                            poll.register(fd, select.POLLIN)
                elif fd in ready:
                    return ""
                elif fd == self._control:
                    raise HostGone
                elif not self._streams.read(fd) and fd not in self._streams.open:
                    poll.unregister(fd)
            if time.monotonic() >= self._deadline:
                return "time"
            if self._streams.over:
                return "output"
            if watched and (broken := self._watch.look(keep)):
                return broken

    def collect(
        self,
        fds: tuple[int, int],
        complete: Callable[[bytes | bytearray], bool],
        keep: Collection[int],
        *,
        watched: bool = True,
    ) -> tuple[str, bytes]:
        """Read from a non-blocking descriptor until what came is complete, or a limit is reached.

        Args:
            fds: The descriptor, and one that becomes readable when nobody can write to the first any more, although a child of who did
                may hold it open. While only the first is at its end, what replaced the writer still runs, and is waited for.
            complete: Whether this is all; may raise `BrokenFrame`.
            keep: As for `wait`.
            watched: As for `wait`.

        Returns:
            Which limit was reached ("" for none), and what came in this call.

        Raises:
            BrokenFrame: It ended before, or more than one answer came.
            HostGone: The host closed the connection.
        """
        reply, ended = fds
        wanted: tuple[int, ...] = fds
        while not complete(self.answered):
            if broken := self.wait(wanted, keep, watched=watched):
                return broken, b""
            over = readable(ended, 0)  # looked at first: what was written before the end is there by now
            part = None
            with contextlib.suppress(BlockingIOError):
                part = os.read(reply, 2**16)
            if part:
                self.answered += part
            elif over:
                msg = "it ended"
                raise BrokenFrame(msg)
            elif part is not None:
                wanted = (ended,)
        return "", bytes(self.answered)

    def extend(self, seconds: float) -> None:
        """Give it so many seconds from now on."""
        self._deadline = time.monotonic() + seconds

    def end(self) -> None:
        """Let go of what it was still to read."""
        if self._into >= 0 and self._closing:
            os.close(self._into)
        self._into = -1

    def answer(self, facts: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The reply: `facts` and what was written until now."""
        self._streams.drain()
        written, kept = self._streams.result()
        self._streams.reset()
        return {**facts, "seconds": time.monotonic() - self.began, **written}, kept

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


def readable(fd: int, seconds: float) -> bool:
    """Whether a descriptor becomes readable within a time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
