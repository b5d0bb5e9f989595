"""Memory and processes of a box held by the kernel, where this process may write control groups (version 1 or 2).

Source: Linux `Documentation/admin-guide/cgroup-v1/{memory,pids}.rst` and `cgroup-v2.rst`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reflectory.execution import Killed, Limits
from reflectory.sandbox.guest.confine import MARGIN
from reflectory.sandbox.guest.processes import descendants

#: Room for the agent itself, in MiB. It moves files piece by piece; what it holds as a whole is bounded by `box.MOST_INPUT`.
AGENT_MB = 32
CONTROLLERS = ("memory", "pids")
_NAME = re.compile(r"reflectory-(\d+)-(\d+)-(\d+)-\d+")
_numbers = itertools.count()


@dataclass(frozen=True)
class Place:
    """Where groups for boxes are made.

    Attributes:
        folder: The group that holds them.
        version: 1 or 2 of the interface.
        controllers: What is limited there.
    """

    folder: Path
    version: int
    controllers: tuple[str, ...]

    def settings(self, limits: Limits) -> dict[str, str]:
        """File name → content."""
        memory = str(room_mb(limits) * 2**20)
        files: dict[str, str] = {}
        if "memory" in self.controllers:
            files |= {"memory.limit_in_bytes": memory} if self.version == 1 else {"memory.max": memory, "memory.swap.max": "0"}
        if "pids" in self.controllers:
            files["pids.max"] = str(limits.processes + MARGIN)
        return files


def room_mb(limits: Limits) -> int:
    """Memory of a box in all, in MiB: programs, files (which lie in memory), the agent."""
    return limits.memory_mb + limits.disk_mb + AGENT_MB


class Group:
    """The control groups of one box; without a writable place it does nothing.

    Args:
        limits: What the box may use.
        found: Where groups are made; None means where this process may.
    """

    def __init__(self, limits: Limits, found: tuple[Place, ...] | None = None) -> None:
        self._limits, self._places = limits, places() if found is None else found
        self._groups: list[tuple[Place, Path]] = []
        self._seen = self._killed = 0

    def take(self, pid: int) -> None:
        """Make the groups and put a process with all below it into them; nothing of it may fork meanwhile.

        Raises:
            OSError: The kernel refused.
        """
        name = f"reflectory-{_namespace()}-{os.getpid()}-{_started(os.getpid())}-{next(_numbers)}"
        pids = [pid, *descendants(pid)]
        for place in self._places:
            group = place.folder / name
            group.mkdir()
            self._groups.append((place, group))
            for file, content in place.settings(self._limits).items():
                with contextlib.suppress(FileNotFoundError):  # no swap accounting in this kernel
                    (group / file).write_text(content, encoding="ascii")
            for process in pids:
                (group / "cgroup.procs").write_text(str(process), encoding="ascii")

    def overrun(self) -> Killed:
        """`memory` if the kernel ended a process of the box for it since the last time this was asked."""
        self._count()
        before, self._seen = self._seen, self._killed
        return "memory" if self._killed > before else ""

    def close(self) -> None:
        """End what is left in the groups and remove them."""
        self._count()
        for _, group in self._groups:
            remove(group)
        self._groups.clear()

    def _count(self) -> None:
        self._killed = max(self._killed, sum(_killed(place, group) for place, group in self._groups))


def controllers() -> tuple[str, ...]:
    """What can be limited here; empty where no control group can be written."""
    return tuple(sorted({name for place in places() for name in place.controllers}))


def held() -> str:
    """Who keeps memory and processes of a box within limits, for a report."""
    return "cgroup" if controllers() == CONTROLLERS else "looked at every 20 ms"


def leaks() -> Iterator[str]:
    """What gets out of the limits on memory and processes, for a report."""
    missing = [name for name in CONTROLLERS if name not in controllers()]
    if "memory" in missing:
        yield "memory: without a cgroup it is looked at every 20 ms, and shared memory that a program hides counts for each process alone"
    if "pids" in missing and os.geteuid() == 0:
        yield "processes: without a cgroup their number is looked at every 20 ms"


@functools.cache
def places() -> tuple[Place, ...]:
    """Where this process may make groups; tried once, and freed of what killed processes left there."""
    mounts, own = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")
    try:
        found = find(mounts.read_text(encoding="utf-8", errors="replace"), own.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ()
    for place in found:
        sweep(place.folder)
    return found


def find(mountinfo: str, own: str) -> tuple[Place, ...]:
    """Places where groups with limits can be made, from the texts of /proc/self/mountinfo and /proc/self/cgroup."""
    hierarchies = dict(_hierarchies(mountinfo))
    left: list[str] = list(CONTROLLERS)
    found: list[Place] = []
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        for name in [name for name in names.split(",") if name in left and name in hierarchies]:
            folder = _below(hierarchies[name], path)
            if _writable(folder, ("memory.limit_in_bytes" if name == "memory" else "pids.max",)):
                found.append(Place(folder, 1, (name,)))
                left.remove(name)
        if not names and "" in hierarchies and left:
            folder = _below(hierarchies[""], path)
            for candidate in (folder, folder.parent):  # a group with processes has no groups with limits below it; its sibling may
                given = tuple(name for name in left if name in _words(candidate / "cgroup.subtree_control"))
                if given and _writable(candidate, tuple("memory.max" if name == "memory" else "pids.max" for name in given)):
                    found.append(Place(candidate, 2, given))
                    left = [name for name in left if name not in given]
    return tuple(found)


def sweep(folder: Path) -> None:
    """Remove groups whose owner, a process of this process namespace, is no more, with all that is left in them."""
    for group in folder.glob("reflectory-*"):
        parts = _NAME.fullmatch(group.name)
        if parts and parts[1] == _namespace() and _started(int(parts[2])) != parts[3]:
            remove(group)


def remove(group: Path) -> None:
    """Kill what is in a group until it is empty, and remove it."""
    deadline = time.monotonic() + 2.0
    while group.is_dir():
        try:
            group.rmdir()
        except OSError:  # busy: something lives there, or is being taken down
            for word in _words(group / "cgroup.procs"):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(word), signal.SIGKILL)
            if time.monotonic() > deadline:
                return  # the next process sweeps it
            time.sleep(0.001)


def _hierarchies(mountinfo: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Controller ("" for version 2) → (mount point, the group that is mounted there)."""
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(), tail.split()
        if kind[:1] == ["cgroup2"]:
            yield "", (fields[4], fields[3])
        elif kind[:1] == ["cgroup"]:
            for name in kind[2].split(","):
                yield name, (fields[4], fields[3])


def _below(mounted: tuple[str, str], path: str) -> Path:
    """Where a group's folder lies, when a part of the hierarchy is mounted."""
    point, root = mounted
    return Path(point, os.path.relpath(path, root) if root != "/" else path.lstrip("/"))


def _writable(folder: Path, files: tuple[str, ...]) -> bool:
    """Whether a group can be made here that has these files, writable; found out by making one."""
    group = folder / f"reflectory-{_namespace()}-{os.getpid()}-{_started(os.getpid())}-{next(_numbers)}"
    try:
        group.mkdir()
    except OSError:
        return False
    try:
        return all(os.access(group / name, os.W_OK) for name in (*files, "cgroup.procs"))
    finally:
        group.rmdir()


def _killed(place: Place, group: Path) -> int:
    if "memory" not in place.controllers:
        return 0
    words = _words(group / ("memory.oom_control" if place.version == 1 else "memory.events"))
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []


def _namespace() -> str:
    """Number of this process namespace, so that nobody removes what belongs to a process it cannot see."""
    return re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; "" for none. With the number it names a process for good."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""
