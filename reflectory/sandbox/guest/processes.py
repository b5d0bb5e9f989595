"""Finding, measuring and ending everything that descends from this process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator

PAGE = os.sysconf("SC_PAGE_SIZE")
#: Descriptors a process may have open.
MOST_OPEN = 256
#: So few open descriptors are taken for sockets without a look.
FEW = 8
#: So often new processes are looked for while all are to be stopped.
PASSES = 8


def children(pid: int) -> list[int]:
    """Direct children of a process, those adopted by a subreaper included."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


def descendants(pid: int, *, without: Collection[int] = ()) -> list[int]:
    """All processes below `pid`, parents before children; what is in `without` is left out with all below it."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = [child for child in children(waiting.pop()) if child not in without]
        found += below
        waiting += below
    return found


def measure(pids: Collection[int]) -> tuple[int, int]:
    """(Resident bytes, threads) of some processes; shared pages count in each."""
    resident = threads = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            threads += int(fields[17])
            resident += int(fields[21]) * PAGE
    return resident, threads


def resident(pids: Collection[int]) -> int:
    """Bytes that processes hold in memory, a shared page divided by those who share it, and without files that are only read."""
    total = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            try:
                with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                    lines = [line.split() for line in file]
                total += sum(int(line[1]) * 1024 for line in lines if line[0] in (b"Pss_Anon:", b"Pss_Shmem:"))
            except PermissionError:  # it hides itself: all that it has counts
                total += measure([pid])[0]
    return total


def sockets(pids: Collection[int]) -> int:
    """Open sockets of some processes; of one that hides itself, all that it has open, or may have where the kernel does not tell."""
    total = 0
    for pid in pids:
        folder, most = f"/proc/{pid}/fd", 0
        try:
            # What is open at most costs one call to find out (Linux 6.2 and newer); to look at each one costs many.
            if 0 < (most := os.stat(folder).st_size) <= FEW:
                total += most
                continue
            names = os.listdir(folder)
        except PermissionError:
            total += most or MOST_OPEN
            continue
        except OSError:
            continue
        for name in names:
            with contextlib.suppress(OSError):
                total += os.readlink(f"{folder}/{name}").startswith("socket:")
    return total


def threads_of(user: int) -> int:
    """Threads of all processes of a user."""
    total = 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdecimal() and os.stat(f"/proc/{name}").st_uid == user:
                total += len(os.listdir(f"/proc/{name}/task"))
    return total


def end_below(pid: int, *, without: Collection[int] = (), seconds: float = 1.0) -> bool:
    """Kill everything below a process and reap what became this process's child.

    All are stopped before any is killed, so that nothing that breeds can outrun the killing.

    Args:
        pid: Whose descendants.
        without: Left alone, with all below them.
        seconds: How long to go on.

    Returns:
        Whether nothing is left.
    """
    deadline = time.monotonic() + seconds
    stopped: set[int] = set()
    while True:
        alive = [child for child in descendants(pid, without=without) if not gone(child)]
        if not alive:
            reap(without)
            return True
        fresh = [child for child in alive if child not in stopped]
        if fresh and time.monotonic() < deadline - seconds / 2:
            for child in fresh:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGSTOP)
            stopped.update(fresh)
            continue
        for child in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        reap(without)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)


@contextlib.contextmanager
def paused(pid: int, *, without: Collection[int] = ()) -> Iterator[None]:
    """Stop everything below a process for a while.

    Args:
        pid: Whose descendants.
        without: Left alone, with all below them.
    """
    stopped: list[int] = []
    try:
        for _ in range(PASSES):
            fresh = [child for child in descendants(pid, without=without) if child not in stopped and _state(child) not in b"TZXt"]
            if not fresh:
                break
            for child in fresh:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGSTOP)
            stopped += fresh
        yield
    finally:
        for child in stopped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGCONT)


def gone(pid: int) -> bool:
    """Whether a process is no more, or dead and not yet reaped."""
    return _state(pid) in (b"Z", b"X")


def reap(without: Collection[int] = ()) -> None:
    """Take the exit status of dead children, orphans adopted from others included."""
    for pid in children(os.getpid()):
        if pid not in without:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _state(pid: int) -> bytes:
    """A letter; X also for a process that is no more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0]
    except OSError:
        return b"X"
