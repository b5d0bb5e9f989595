"""Crashes: processes killed at every step of every write, torn writes, damaged files, a full disk; what the memory serves afterwards.

Each point is a process of its own: it opens the memory, does an operation, says so through a pipe after the call has returned, and is
killed at a named step (`reflectory.memory.steps`), at a byte of a file (the write that would cross it kills the process) or at a random
moment. Another process opens what is left; what it finds must be what a plain dictionary says, with the last operation done or not.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reflectory.memory import JournalMemory, open_memory, steps
from reflectory.runs.bench.crash_check import observe, verdict
from reflectory.runs.bench.crash_damage import damaged_files, full_disk, many_writers
from reflectory.runs.bench.crash_model import CHANGES, UPKEEP, Model, Operation, perform
from reflectory.runs.bench.crash_process import spawn

#: Kills per file, and bytes between two kill points in a file.
PER_FILE, STRIDE = 60, 257
#: Share of the points that go to a memory with a Chroma index: one of them costs as much as several without.
CHROMA = 0.05


@dataclass(frozen=True)
class Target:
    """What is killed.

    Attributes:
        open: Opens the memory of a folder, made when absent.
        hooks: (module or object, name of its attribute): where the steps are announced; each takes a function of a step's name.
        operations: What is gone through; empty is everything.
    """

    open: Callable[[Path], JournalMemory] = lambda folder: open_memory(folder / "journal.sqlite")
    hooks: Sequence[tuple[Any, str]] = ((steps, "STEP"),)
    operations: Sequence[str] = ()


def chroma_target() -> Target:
    """A memory with a Chroma index beside its journal, which serves however small the memory is. Imports Chroma and opens nothing.

    Processes are forked from this one: with Chroma imported before, a point costs no import, and with nothing opened there is no thread
    of Chroma's that a fork would leave behind.
    """
    import_module("chromadb")
    from reflectory.memory import nearest
    from reflectory.retrieval import chroma_client

    def opener(folder: Path) -> JournalMemory:
        nearest.EXACT, nearest.TAIL = 0, 2  # in a forked process
        return open_memory(folder / "journal.sqlite", index="chroma")

    return Target(opener, ((chroma_client, "STEP"),), ("puts", "rebuild", "close", "migrate", "drop"))


@dataclass
class Tally:
    """The counts of a run."""

    killed: int = 0
    acked: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Sizes:
    """How much is done beside the points: 0 leaves a part out, and its figures are None.

    Attributes:
        writers: Processes that write one memory at the same time, two of them killed in between.
        writes: Records each of them writes.
        damaged: Damaged files that are read.
        disk: Bytes of the disk that gets full.
    """

    writers: int = 4
    writes: int = 1000
    damaged: int = 1000
    disk: int = 1 << 20


def bench_crash(out: Path, *, points: int, seed: int = 0, target: Target | None = None, sizes: Sizes | None = None) -> dict[str, Any]:
    """Kill processes until there were so many kills, and count what went wrong; then many writers, damaged files and a full disk.

    Args:
        out: Folder for the memories; what went wrong stays there, the rest is removed. A folder in memory is as good as one on a disk
            and faster: a killed process takes none of the kernel's pages with it.
        points: Number of kills; four in ten at named steps, four at bytes of the files, two at random moments.
        seed: Seeds texts, operations and moments.
        target: What is killed; None is a memory with its journal alone and, for `CHROMA` of the points, one with a Chroma index, where
            Chroma is installed and this process has not imported it yet.
        sizes: Of the other parts.

    Returns:
        points, killed, acked (operations whose call returned), lost, duplicated, stale_index, wrong (anything else that is not what
        was written), reader_refused (read-only opening that asked for a writer first; no loss), steps (kills by name), faults (the
        first ten, with folders), seconds, ms_per_point, chroma_killed (kills of memories with a Chroma index); `processes`, `damaged`
        and `full_disk`, see `reflectory.runs.bench.crash_damage`.
    """
    out.mkdir(parents=True, exist_ok=True)
    sizes = sizes or Sizes()
    # Where Chroma was imported before, something may have been opened: its threads do not survive a fork, and what they held stays held.
    share = int(points * CHROMA) if target is None and "chromadb" not in sys.modules and find_spec("chromadb") is not None else 0
    began, tally = time.perf_counter(), Tally()
    _kill(out, points - share, seed, target or Target(), tally)
    journal_alone = tally.killed
    if share:
        _kill(out / "chroma", points, seed, chroma_target(), tally)
        with contextlib.suppress(OSError):  # what went wrong stays
            (out / "chroma").rmdir()
    result = _summary(points, tally, time.perf_counter() - began) | {"chroma_killed": tally.killed - journal_alone}
    result["processes"] = many_writers(out / "writers", sizes.writers, sizes.writes, seed) if sizes.writes else None
    result["damaged"] = damaged_files(out / "damaged", sizes.damaged, seed) if sizes.damaged else None
    result["full_disk"] = full_disk(out / "full", sizes.disk) if sizes.disk else None
    return result


def _kill(out: Path, until: int, seed: int, target: Target, tally: Tally) -> None:
    """Kill until so many are killed."""
    campaign = None
    for number in itertools.count():
        if tally.killed >= until or len(tally.faults) >= 10:
            break
        if campaign is None or campaign.done:
            campaign = Campaign(out / f"memory-{number}", random.Random(f"{seed}/{number}"), target, tally, campaign)
        campaign.point(("step", "byte", "step", "byte", "time")[number % 5])
        if tally.killed % max(1, until // 10) == 0:
            print(f"{tally.killed}/{until} kills, {len(tally.faults)} faults", file=sys.stderr, flush=True)
    if campaign is not None:
        campaign.leave()


def _summary(points: int, tally: Tally, seconds: float) -> dict[str, Any]:
    names = ("lost", "duplicated", "stale_index", "wrong", "reader_refused")
    return {
        "points": points,
        "killed": tally.killed,
        "acked": tally.acked,
        **{name: tally.counts[name] for name in names},
        "steps": dict(sorted(tally.steps.items())),
        "faults": tally.faults,
        "seconds": seconds,
        "ms_per_point": 1000 * seconds / max(1, tally.killed),
    }


class Campaign:
    """Points on one memory.

    Args:
        folder: Where it is.
        rng: Chooses.
        target: What is killed.
        tally: Takes the counts.
        before: The campaign before, whose enumeration goes on.
    """

    def __init__(self, folder: Path, rng: random.Random, target: Target, tally: Tally, before: Campaign | None) -> None:
        if before is not None:
            before.leave()
        self.folder, self.target, self.done = folder, target, False
        self._rng, self._tally, self._model, self._points = rng, tally, Model(), 0
        self._turns: dict[str, Iterator[str]] = {} if before is None else before._turns
        self._places: dict[tuple[str, str], int] = {} if before is None else before._places
        self._numbers = itertools.count()
        self._retry: list[Operation] = []
        folder.mkdir(parents=True)

    def point(self, mode: str) -> None:
        """One process, killed; then one that looks."""
        self._points += 1
        operations = self._retry + self._plan(mode)
        first = len(self._retry)
        place = self._places.get((mode, operations[-1][0]), 0)
        if operations[-1][0] == "migrate":
            _as_version_one(self.folder)
        delay = self._rng.uniform(0.0, 0.008) if mode == "time" else None
        said, status = spawn(lambda fd: self._victim(fd, mode, operations, first, place), delay)
        acked = sum(line.isdigit() for line in said)
        self._tally.acked += acked
        if status < 0:
            self._tally.killed += 1
            self._tally.steps.update([line[1:] for line in said if line.startswith("@")] or [mode])
        self._places[mode, operations[-1][0]] = place + 1 if status < 0 else 0
        errors = [line for line in said if line.startswith("!")]
        for operation in operations[:acked]:
            self._model.apply(operation)
        self._look(operations[acked:], errors)

    def leave(self) -> None:
        """Remove the memory, unless something went wrong in it."""
        if not any(fault["folder"] == str(self.folder) for fault in self._tally.faults):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _plan(self, mode: str) -> list[Operation]:
        kinds = self._turns.setdefault(mode, itertools.cycle(self.target.operations or (*CHANGES, *UPKEEP)))
        model, operations = self._model, []
        for operation in self._retry:
            model = model.after(operation)
        for _ in range(8 if mode == "time" else 1):
            kind = next(kinds) if self._points > 1 else "record"  # the first one also makes the file
            while mode == "time" and kind in UPKEEP:
                kind = next(kinds)
            operations.append(model.choose(kind, next(self._numbers), self._rng))
            model = model.after(operations[-1])
        return operations

    def _victim(self, fd: int, mode: str, operations: Sequence[Operation], first: int, place: int) -> None:
        """What the process does that is killed."""
        opens = self._points == 1 or operations[-1][0] == "migrate"  # opening is what is killed
        if mode == "step" and opens:
            self._arm(fd, place)
        memory = self.target.open(self.folder)
        os.write(fd, b"ready\n")
        for number, operation in enumerate(operations):
            if number == first and mode == "step" and not opens:
                self._arm(fd, place)
            if number == first and mode == "byte":
                _limit(self.folder, operation[0], place * STRIDE)
            perform(memory, operation)
            os.write(fd, b"%d\n" % number)

    def _arm(self, fd: int, place: int) -> None:
        reached = itertools.count()

        def kill(name: str) -> None:
            if next(reached) == place:
                os.write(fd, f"@{name}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)

        for owner, attribute in self.target.hooks:
            setattr(owner, attribute, kill)

    def _look(self, open_operations: Sequence[Operation], errors: Sequence[str]) -> None:
        """Open what is left in a process of its own, and compare."""
        how = {"read_only": self._points % 4 == 0, "close": self._rng.random() < 0.3}
        found = observe(self.target.open, self.folder, how)
        possible = [self._model]
        if open_operations:
            possible.append(self._model.after(open_operations[0]))
        self._tally.counts["reader_refused"] += bool(found.pop("refused", False))
        wrong = Counter({"wrong": 1}) if errors else verdict(found, [model.seen() for model in possible])
        if wrong:
            self._tally.counts.update(wrong)
            fault = {"folder": str(self.folder), "counts": dict(wrong), "operations": list(open_operations), "errors": list(errors)}
            self._tally.faults.append({**fault, "error": found.get("error")})
            self.done = True
            return
        *others, self._model = [model for model in possible if all(found[key] == value for key, value in model.seen().items())]
        if others:  # the operation changes nothing to be seen, so which event is the newest is not known
            self._model.before = None
        # Whoever got no answer asks again: writing a record twice must be the same as once.
        self._retry = [operation for operation in open_operations[:1] if operation[0] in ("record", "batch")]
        self.done = self._points >= PER_FILE


def _limit(folder: Path, operation: str, distance: int) -> None:
    """Let the process be killed by the write that goes further than this into the file that grows: a torn write at a chosen byte."""
    journal = folder / "journal.sqlite"
    grows = journal if operation == "close" else Path(f"{journal}-wal")
    start = 0 if operation == "close" else grows.stat().st_size if grows.exists() else 0
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (start + distance, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _as_version_one(folder: Path) -> None:
    """Make the file what an older version would have left, so that opening it migrates it."""
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 1")
