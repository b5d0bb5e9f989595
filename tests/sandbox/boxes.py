"""What the tests of the tiers share: boxes of each tier, and who is alive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from reflectory.execution import Limits
from reflectory.sandbox.local import TIERS, LocalSandbox, Settings

ISOLATED = ("bubblewrap", "landlock")
#: Small, so that they are passed quickly.
SMALL = Limits(seconds=5.0, memory_mb=96, processes=16, disk_mb=4, files=128, output_kb=4, output_most_mb=1)


def local(tier: str, *, limits: Limits = SMALL, **settings: Any) -> LocalSandbox:
    """A sandbox of this tier; skips the test, with the tier's own reason, where it does not work."""
    report = TIERS[tier].report()
    if not report.available:
        pytest.skip(report.why)
    return LocalSandbox(tier, allow_unsafe=True, settings=Settings(limits=limits, **settings))


def started(pid: int) -> str:
    """When a process started; with its number it is named for good. "" when it is gone or dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def below(pid: int) -> dict[int, str]:
    """All living processes below one, found by the parents that all processes name: number → when it started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            continue
    found, waiting = {}, [pid]
    while waiting:
        above = waiting.pop()
        children = [child for child, parent in parents.items() if parent == above]
        waiting += children
        found |= {child: when for child in children if (when := started(child))}
    return found


def left(processes: Collection[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those that still live."""
    return [(pid, when) for pid, when in processes if started(pid) == when]


def until(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something becomes true within a time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def own() -> set[tuple[int, str]]:
    """The processes below this one."""
    return set(below(os.getpid()).items())
