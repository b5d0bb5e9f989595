"""Looks at what a box uses and says which limit is passed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from .files import usage
from .processes import descendants, measure, reap, resident, sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds between two looks.
LOOK = 0.02
#: What the buffers of one socket can hold: the kernel's usual bound, which it doubles for its own books.
SOCKET = 2 * 212_992
#: A look at the files costs more than one at the processes.
LOOK_FILES = 0.2


class Watch:
    """Keeps the limits that hold for all processes of a box together.

    Args:
        spec: `limits`; where programs write to the disk: `watch_files` and `watched`; and `held`, whether the kernel itself holds the
            memory, the buffers of sockets included, which no process is seen to own.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._limits, self._held = spec["limits"], spec.get("held", False)
        self._folder = spec.get("watched", spec["work"]) if spec["watch_files"] else ""
        self.next = self._next_files = 0.0
        #: Processes of the sandbox itself, which count for none.
        self.apart: set[int] = set()

    def look(self, keep: Collection[int]) -> str:
        """Which limit is passed, or ""; looks no more often than every `LOOK` seconds.

        Args:
            keep: Children whose exit status somebody else waits for; all others that are dead are taken off the list.
        """
        now = time.monotonic()
        if now < self.next:
            return ""
        reap(keep)
        pids = descendants(os.getpid(), without=self.apart)
        memory, threads = measure(pids)
        self.next = time.monotonic() + LOOK
        if threads > self._limits["processes"]:
            return "processes"
        # What is quickly found counts shared pages in each process; the kill goes by what is found with care.
        buffers = 0 if self._held else SOCKET * sockets(pids)
        if memory + buffers > (most := self._limits["memory_mb"] * 2**20) and resident(pids) + buffers > most:
            return "memory"
        if self._folder and now >= self._next_files:
            size, entries = usage(self._folder)
            self._next_files = time.monotonic() + LOOK_FILES
            return "files" if entries > self._limits["files"] else "disk" if size > self._limits["disk_mb"] * 2**20 else ""
        return ""
