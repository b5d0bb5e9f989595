"""Processes of their own that say by lines what they have done, and may be killed."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable

#: Seconds of computing, and seconds in all, after which a process counts as hung and is killed.
HUNG, WAITED = 120, 600


def start(work: Callable[[int], None]) -> tuple[int, int]:
    """Run a function in a forked process.

    Args:
        work: Gets a descriptor to write lines to. When it returns the process ends as it stands, nothing is closed. An exception
            becomes a line that begins with "!".

    Returns:
        Process id, and the descriptor to read from.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child uses nothing that a thread of the parent could hold
        child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    try:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (HUNG, HUNG))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(WAITED)
        work(writer)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writer, f"!{type(error).__name__}: {error}".replace("\n", " ").encode(errors="replace") + b"\n")
    finally:
        os._exit(0)


def spawn(work: Callable[[int], None], kill_after: float | None = None) -> tuple[list[str], int]:
    """Run a function in a process of its own and collect its lines.

    Args:
        work: See `start`.
        kill_after: Seconds from its first line to SIGKILL; None lets it end.

    Returns:
        Its lines without "ready", and its exit status, the negated signal when it was killed.
    """
    child, reader = start(work)
    with os.fdopen(reader, "rb") as pipe:
        lines = []
        if kill_after is not None:
            lines = [pipe.readline()]
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        lines += pipe.readlines()
    said = [line.decode().rstrip("\n") for line in lines if line != b"ready\n"]
    return [line for line in said if line], os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
