"""Finds and ends what a closed box left running."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterator

from reflectory.sandbox.guest.processes import descendants, gone

#: How long processes of a closed box may take to die, in seconds.
DYING = 1.0


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Orphans of boxes become children of this process, so that none is overlooked."""
    libc = ctypes.CDLL(None)
    before = ctypes.c_int()
    libc.prctl(37, ctypes.byref(before), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
    libc.prctl(36, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(36, before.value, 0, 0, 0)


async def left_running(known: Collection[int]) -> list[int]:
    """What closed boxes left running; it is ended here.

    Args:
        known: Processes below this one that were there before.

    Returns:
        Process ids of what still ran a second after; to be called within `adopting`.
    """
    deadline = time.monotonic() + DYING
    while left := [pid for pid in descendants(os.getpid(), without=known) if not gone(pid)]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.02)
    for _ in range(200):
        alive = [pid for pid in descendants(os.getpid(), without=known) if not gone(pid)]
        if not alive:
            break
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.01)
    for _ in range(2):  # asyncio takes the exit status of its own children; what stays dead was adopted
        if not descendants(os.getpid(), without=known):
            break
        await asyncio.sleep(0.02)
    for pid in descendants(os.getpid(), without=known):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return left
