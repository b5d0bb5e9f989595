"""Tools that misbehave, one function or piece of code each, and the error that the model is to read of it."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

#: Who is to bear it: this process, a process of the tool's own, or an interpreter or shell in a sandbox.
Bearer = Literal["inside", "isolated", "python", "shell"]


@dataclass(frozen=True)
class Kind:
    """One way to misbehave.

    Attributes:
        name: What it does.
        bearer: Who is to bear it.
        what: The function, or the code.
        error: Kinds of error that are right; "" where the result itself is odd and must still become text.
    """

    name: str
    bearer: Bearer
    what: Any
    error: tuple[str, ...]


class Mute(Exception):
    """An exception that cannot print itself."""

    def __str__(self) -> str:
        raise RuntimeError


class Rogue(BaseException):
    """What a plain `except Exception` lets pass."""


def raising(error: Callable[[], BaseException]) -> Callable[[], None]:
    """A tool that raises what `error` makes."""

    def tool() -> None:
        raise error()

    return tool


def recurse() -> Any:
    """Without end."""
    return recurse()


def too_much_memory() -> bytes:
    """More than there is address space for."""
    return bytes(2**60)


def sleep() -> None:
    """For longer than anybody waits, though not for ever: nothing ends a thread."""
    time.sleep(20)


async def sleep_async() -> None:
    """In the event loop."""
    await asyncio.sleep(20)


async def never_cancelled() -> None:
    """Goes on when it is cancelled."""
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            continue


async def exit_async() -> NoReturn:
    """Would end the event loop."""
    raise SystemExit(3)


def endless() -> Iterator[int]:
    """A generator without end."""
    while True:
        yield 0


def unawaited() -> Any:
    """A coroutine nobody awaited."""
    work = asyncio.sleep(0)
    return _closed(work)


def circular() -> list[Any]:
    """A list that holds itself."""
    held: list[Any] = []
    held.append(held)
    return held


def deep() -> list[Any]:
    """A list in a list, and so on."""
    held: list[Any] = []
    for _ in range(100_000):
        held = [held]
    return held


def exit_at_once() -> None:
    """No cleanup, no answer."""
    os._exit(7)


def crash() -> None:
    """Reads address 0."""
    ctypes.string_at(0)


def kill_itself() -> None:
    """By a signal that cannot be caught."""
    os.kill(os.getpid(), signal.SIGKILL)


def hang_in_c() -> bool:
    """A regular expression that takes for ever and never lets go of the interpreter."""
    return re.match(r"(a+)+$", "a" * 64 + "b") is not None


def ignore_signals() -> None:
    """And hang."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)


def print_much() -> str:
    """100 MB on stdout."""
    for _ in range(1600):
        sys.stdout.write("x" * 65_536)
    return "done"


def print_for_ever() -> None:
    """On stderr."""
    while True:
        os.write(2, b"x" * 65_536)


def return_much() -> str:
    """100 MB of text."""
    return "x" * 100_000_000


def leak() -> None:
    """Memory, page by page."""
    held = []
    while True:
        held.append(bytearray(2**20))


def leave_thread() -> str:
    """A thread that never ends and keeps a program from ending."""
    threading.Thread(target=time.sleep, args=(60,)).start()
    return "answered"


def leave_process() -> str:
    """A process that outlives its parent."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    return "answered"


def close_all() -> str:
    """Every descriptor, that of its own answer too."""
    os.closerange(0, 256)
    return "answered"


def fill_disk() -> None:
    """One file without end."""
    with open("much", "wb") as file:  # noqa: PTH123
        while True:
            file.write(b"x" * 2**20)


def many_files() -> None:
    """Files without end."""
    number = 0
    while True:
        open(str(number), "wb").close()  # noqa: PTH123
        number += 1


def _closed(work: Any) -> Any:
    """The same coroutine, closed: so that Python does not warn that it was never awaited."""
    work.close()
    return work


KINDS: tuple[Kind, ...] = (
    Kind("raise", "inside", raising(lambda: ValueError("no such thing")), ("raised",)),
    Kind("raise a path", "inside", raising(lambda: FileNotFoundError(2, "No such file", "/secret")), ("raised",)),
    Kind("exit", "inside", raising(lambda: SystemExit(3)), ("raised",)),
    Kind("interrupt", "inside", raising(KeyboardInterrupt), ("raised",)),
    Kind("base exception", "inside", raising(Rogue), ("raised",)),
    Kind("mute exception", "inside", raising(Mute), ("raised",)),
    Kind("stop iteration", "inside", raising(StopIteration), ("raised",)),
    Kind("cancel itself", "inside", raising(asyncio.CancelledError), ("raised",)),
    Kind("10 MB of message", "inside", raising(lambda: ValueError("x" * 10_000_000)), ("raised",)),
    Kind("recurse", "inside", recurse, ("raised",)),
    Kind("out of memory", "inside", too_much_memory, ("raised",)),
    Kind("hang", "inside", sleep, ("time",)),
    Kind("hang async", "inside", sleep_async, ("time",)),
    Kind("refuse to be cancelled", "inside", never_cancelled, ("time",)),
    Kind("exit async", "inside", exit_async, ("raised",)),
    Kind("generator", "inside", endless, ("form",)),
    Kind("coroutine", "inside", unawaited, ("form",)),
    Kind("object", "inside", lambda: object(), ("form",)),
    Kind("circular", "inside", circular, ("form",)),
    Kind("100,000 deep", "inside", deep, ("form",)),
    Kind("binary", "inside", lambda: bytes(range(256)) * 40, ("",)),
    Kind("surrogates and NUL", "inside", lambda: "\ud800\udfff\0\x1b[2J", ("",)),
    Kind("not a number", "inside", lambda: [math.nan, math.inf, -0.0], ("",)),
    Kind("10 MB of text", "inside", lambda: "ä" * 5_000_000, ("",)),
    Kind("exit at once", "isolated", exit_at_once, ("raised",)),
    Kind("crash", "isolated", crash, ("raised",)),
    Kind("kill itself", "isolated", kill_itself, ("raised",)),
    Kind("hang in C", "isolated", hang_in_c, ("time",)),
    Kind("ignore signals", "isolated", ignore_signals, ("time",)),
    Kind("print 100 MB", "isolated", print_much, ("output",)),
    Kind("print for ever", "isolated", print_for_ever, ("output",)),
    Kind("return 100 MB", "isolated", return_much, ("",)),
    Kind("leak memory", "isolated", leak, ("memory", "raised")),
    Kind("leave a thread", "isolated", leave_thread, ("",)),
    Kind("leave a process", "isolated", leave_process, ("",)),
    Kind("close all descriptors", "isolated", close_all, ("raised",)),
    Kind("one file without end", "isolated", fill_disk, ("disk", "raised")),
    Kind("files without end", "isolated", many_files, ("files", "time")),
    Kind("fork bomb", "python", "import os\nwhile True: os.fork()", ("processes", "raised", "time", "memory")),
    Kind("swallow the end", "python", "while True:\n try:\n  while True: pass\n except BaseException: pass", ("time",)),
    Kind("leave the interpreter", "python", "import os; os._exit(9)", ("",)),
    Kind("eat memory", "python", "x = []\nwhile True: x.append(bytearray(2**20))", ("memory", "raised")),
    Kind("daemon", "python", "import os\nif os.fork() == 0:\n os.setsid()\n while True: pass", ("", "time")),
    Kind("kill the sandbox", "python", "import os; os.kill(os.getppid(), 9)", ("", "box", "raised")),
    Kind("shell bomb", "shell", ":(){ :|:& };:; sleep 5", ("processes", "time", "raised")),
    Kind("endless shell", "shell", "yes", ("output", "time")),
    Kind("binary shell", "shell", "head -c 300000 /dev/urandom", ("",)),
    Kind("shell kills itself", "shell", "kill -9 $$", ("",)),
)
