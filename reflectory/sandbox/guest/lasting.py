"""Processes that serve call after call: the interpreter and the shell of a box."""

from __future__ import annotations

import _socket
import os
from collections.abc import Callable

from . import interpreter, kernel, shell
from .call import readable
from .capture import Streams
from .frames import HEAD, MOST_HEADER, BrokenFrame, lengths, pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: Forks a confined child that runs a function with these descriptors as stdout and stderr.
    Fork = Callable[[Callable[[], object], tuple[int, int]], int]

#: A longer answer of the shell, which is a number and some letters, is none.
MOST_TOLD = 2**10


class Lasting:
    """A process that serves call after call. What it answers begins with one byte: it has taken the request.

    Attributes:
        pid: Its process.
        ask: Where requests go; non-blocking.
        reply: Where answers come from; non-blocking.
        streams: Its stdout and stderr; what it writes between two calls belongs to the next.
        ended: Becomes readable when it is dead.
    """

    def __init__(self, pid: int, ask: int, reply: int, streams: Streams) -> None:
        self.pid, self.ask, self.reply, self.streams = pid, ask, reply, streams
        self.ended = os.pidfd_open(pid)
        for fd in (ask, reply):
            os.set_blocking(fd, False)

    def request(self, text: str) -> bytes:
        """What it is sent to run a text."""
        raise NotImplementedError

    def complete(self, data: bytes | bytearray) -> bool:
        """Whether this is all of an answer.

        Raises:
            BrokenFrame: It is too long, or more than one.
        """
        raise NotImplementedError

    def facts(self, data: bytes) -> dict[str, Any]:
        """What an answer says: `exit_code`, `value`, `error`.

        Raises:
            BrokenFrame: It is none.
        """
        raise NotImplementedError

    @property
    def ahead(self) -> bool:
        """Whether it answered, or ended, before it was asked."""
        return readable(self.reply, 0) or readable(self.ended, 0)

    def status(self, seconds: float) -> int | None:
        """Its exit status, once; None if it does not end by itself within this time."""
        if not readable(self.ended, seconds):
            return None
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            return None

    def close(self) -> None:
        """Let go of its descriptors."""
        for fd in {self.ask, self.reply, self.ended, *self.streams.fds}:
            os.close(fd)


class Interpreter(Lasting):
    """Python that keeps its names."""

    @classmethod
    def begin(cls, spec: dict[str, Any], fork: Fork) -> Interpreter:
        """Start it."""
        ours, theirs = (one.detach() for one in _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM))
        out, err = pipe(), pipe()

        def become() -> None:
            os.dup2(theirs, 3, inheritable=False)
            os.closerange(4, 1024)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # only now: nothing is open any more that programs must not see
            os.environ.clear()
            os.environ.update(spec["environment"])
            interpreter.serve(3, spec["paths"])

        pid = start(fork, become, (out, err), theirs=[theirs], ours=[ours])
        return cls(pid, ours, ours, Streams((out[0], err[0]), spec["limits"]))

    def request(self, text: str) -> bytes:
        """A frame with the code."""
        return pack({"code": text})

    def complete(self, data: bytes | bytearray) -> bool:
        """Whether this is a mark and a frame.

        Raises:
            BrokenFrame: It is too long, or more than one.
        """
        if len(data) < 1 + HEAD.size:
            return False
        header, payload = lengths(bytes(data[1 : 1 + HEAD.size]), most=0)
        return _whole(len(data), 1 + HEAD.size + header + payload)

    def facts(self, data: bytes) -> dict[str, Any]:
        """Value, error and status of a cell.

        Raises:
            BrokenFrame: It is no JSON object.
        """
        answer = unpack(data[1 + HEAD.size :])
        code = answer.get("exit_code")
        return {
            "value": str(answer.get("value", "")),
            "error": str(answer.get("error", "")),
            "exit_code": code if isinstance(code, int) else None,
        }


class Shell(Lasting):
    """A bash that keeps its folder, variables and functions."""

    @classmethod
    def begin(cls, spec: dict[str, Any], fork: Fork) -> Shell:
        """Start it.

        Raises:
            FileNotFoundError: There is no bash.
        """
        if shell.find_shell() is None:
            msg = "there is no bash in this sandbox"
            raise FileNotFoundError(msg)
        ask, reply, out, err = os.pipe2(os.O_CLOEXEC), pipe(), pipe(), pipe()

        def become() -> None:
            shell.become(ask[0], reply[1], spec["environment"])

        pid = start(fork, become, (out, err), theirs=[ask[0], reply[1]], ours=[ask[1], reply[0]])
        return cls(pid, ask[1], reply[0], Streams((out[0], err[0]), spec["limits"]))

    #: What the shell told last.
    _status, _traced = 0, False

    def request(self, text: str) -> bytes:
        """What bash reads to run the command.

        Raises:
            ValueError: It holds a NUL, which no command can.
        """
        if "\0" in text:
            msg = "a command cannot hold a NUL byte"
            raise ValueError(msg)
        return shell.script(os.fsencode(text), self._status, traced=self._traced)

    def complete(self, data: bytes | bytearray) -> bool:
        r"""Whether this is a mark and `status NUL options NUL`.

        Raises:
            BrokenFrame: It is too long, or more than one.
        """
        if data.count(b"\0") < 2:
            _whole(len(data), MOST_TOLD)
            return False
        return _whole(len(data), data.index(b"\0", data.index(b"\0") + 1) + 1)

    def facts(self, data: bytes) -> dict[str, Any]:
        """Status of a command.

        Raises:
            BrokenFrame: It is no number.
        """
        status, options = data[1:].split(b"\0")[:2]
        if not status.isdigit() or len(status) > 3:
            msg = "the shell answered what is no status"
            raise BrokenFrame(msg)
        self._status, self._traced = int(status), b"x" in options
        return {"exit_code": self._status}


def start(
    fork: Fork, become: Callable[[], object], streams: tuple[tuple[int, int], tuple[int, int]], *, theirs: list[int], ours: list[int]
) -> int:
    """Start a child and close its ends of what connects us; if it cannot be started, close both.

    Args:
        fork: Forks a confined child that runs a function with descriptors as stdout and stderr.
        become: The function.
        streams: Pipes for its stdout and stderr.
        theirs: The child's other descriptors.
        ours: The other ends.

    Returns:
        Number of its process.

    Raises:
        OSError: There can be no further process.
    """
    try:
        pid = fork(become, (streams[0][1], streams[1][1]))
    except OSError:
        for fd in (*ours, streams[0][0], streams[1][0]):
            os.close(fd)
        raise
    finally:
        for fd in (*theirs, streams[0][1], streams[1][1]):
            os.close(fd)
    return pid


def pipe() -> tuple[int, int]:
    """A pipe whose reading end does not block."""
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read, False)
    return read, write


def _whole(length: int, expected: int) -> bool:
    if length > expected or length > HEAD.size + MOST_HEADER:
        msg = "it answered more than it was asked"
        raise BrokenFrame(msg)
    return length == expected
