"""Looks at what a box uses and says which limit is passed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from .files import usage
from .processes import descendants, measure, reap, resident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Seconds between two looks.
LOOK = 0.02
#: A look at the files costs more than one at the processes.
LOOK_FILES = 0.2


class Watch:
    """Keeps the limits that hold for all processes of a box together.

    Args:
        spec: `limits`, and where programs write to the disk: `watch_files` and `watched`.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._limits = spec["limits"]
        self._folder = spec.get("watched", spec["work"]) if spec["watch_files"] else ""
        self.next = self._next_files = 0.0

    def look(self, keep: Collection[int]) -> str:
        """Which limit is passed, or ""; looks no more often than every `LOOK` seconds.

        Args:
            keep: Children whose exit status somebody else waits for; all others that are dead are taken off the list.
        """
        now = time.monotonic()
        if now < self.next:
            return ""
        reap(keep)
        pids = descendants(os.getpid())
        memory, threads = measure(pids)
        self.next = time.monotonic() + LOOK
        if threads > self._limits["processes"]:
            return "processes"
        # What is quickly found counts shared pages in each process; the kill goes by what is found with care.
        if memory > (most := self._limits["memory_mb"] * 2**20) and resident(pids) > most:
            return "memory"
        if self._folder and now >= self._next_files:
            size, entries = usage(self._folder)
            self._next_files = time.monotonic() + LOOK_FILES
            return "files" if entries > self._limits["files"] else "disk" if size > self._limits["disk_mb"] * 2**20 else ""
        return ""
