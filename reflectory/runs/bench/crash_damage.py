"""What else happens to files: several writers and kills, damage, a full disk."""

from __future__ import annotations

import os
import random
import resource
import selectors
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reflectory.errors import MemoryFault
from reflectory.memory import JournalMemory, open_memory
from reflectory.records import Origin, Query, Record
from reflectory.runs.bench.crash_model import CHANGES, Model, perform
from reflectory.runs.bench.crash_process import spawn, start

PAGE = 4096
#: Damaged files per reading process; writers that are killed.
BATCH, KILLED = 25, 2
DAMAGES = ("flip", "flips", "truncate", "zero", "swap", "garbage", "header", "append", "log_flip", "log_cut", "log_gone", "both_gone")


def many_writers(folder: Path, writers: int, writes: int, seed: int) -> dict[str, Any]:
    """Several processes write one memory at the same time; some are killed, and others go on with what was not acknowledged.

    Returns:
        writers, writes (of each), killed, acked, lost (acknowledged and not there), duplicated (there more than once, or more than was
        written).
    """
    folder.mkdir(parents=True)
    path, rng = folder / "journal.sqlite", random.Random(f"{seed}/writers")
    acked = dict.fromkeys(range(writers), 0)
    fatal = {writer: rng.randrange(writes // 5, max(1, 4 * writes // 5) + 1) for writer in range(min(KILLED, writers))}
    killed = 0
    with selectors.DefaultSelector() as selector:

        def go(writer: int) -> None:
            child, reader = start(lambda fd: _write(path, f"writer{writer}", range(acked[writer], writes), fd))
            selector.register(os.fdopen(reader, "rb"), selectors.EVENT_READ, (writer, child))

        for writer in range(writers):
            go(writer)
        while selector.get_map():
            for key, _ in selector.select():
                pipe: Any = key.fileobj
                writer, child = key.data
                if line := pipe.readline():
                    if line.strip().isdigit():
                        acked[writer] = int(line) + 1
                    if writer in fatal and acked[writer] >= fatal[writer]:
                        del fatal[writer]
                        os.kill(child, signal.SIGKILL)
                        killed += 1
                    continue
                selector.unregister(pipe)
                pipe.close()
                if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) < 0:
                    go(writer)
    with open_memory(path) as memory:
        bodies = Counter(record.body for record in memory.records())
    wanted = {f"writer{writer} line {number}" for writer, count in acked.items() for number in range(count)}
    shutil.rmtree(folder, ignore_errors=True)
    twice = sum(count - 1 for count in bodies.values()) + len(set(bodies) - wanted)
    counts = {"acked": sum(acked.values()), "lost": len(wanted - set(bodies)), "duplicated": twice}
    return {"writers": writers, "writes": writes, "killed": killed, **counts}


def damaged_files(folder: Path, files: int, seed: int) -> dict[str, Any]:
    """Read damaged copies of a memory, each kind of damage in turn.

    Returns:
        files; of these: detected (a MemoryFault), harmless (all was served as it should be), earlier (the memory as it truly was at an
        earlier position: what happens when the write-ahead log of a killed process is taken away), wrong, untyped (another exception),
        crashed (the process died); kinds: the same by kind of damage.
    """
    folder.mkdir(parents=True)
    path, rng = folder / "journal.sqlite", random.Random(f"{seed}/damage")
    spawn(lambda fd: _story(path, rng, 60, fd))  # ends as if killed: the newest events are in the log only
    live = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal", "-shm")}
    with open_memory(path) as memory:
        known = [_reading(memory, seq) for seq in range(memory.seq + 1)]
    clean = {"": path.read_bytes()}
    found: dict[str, Counter[str]] = {kind: Counter() for kind in DAMAGES}
    for first in range(0, files, BATCH):
        batch: dict[Path, str] = {}
        for number in range(first, min(first + BATCH, files)):
            kind = DAMAGES[number % len(DAMAGES)]
            place = folder / f"{number}" / "journal.sqlite"
            place.parent.mkdir()
            for suffix, data in _damage(kind, live if kind in DAMAGES[-4:] else clean, rng).items():
                Path(f"{place}{suffix}").write_bytes(data)
            batch[place] = kind
        _read_batch(batch, known, found)
        for place in batch:
            shutil.rmtree(place.parent)
    shutil.rmtree(folder, ignore_errors=True)
    names = ("detected", "harmless", "earlier", "wrong", "untyped", "crashed")
    totals = {name: sum(counts[name] for counts in found.values()) for name in names}
    return {"files": files, **totals, "kinds": {kind: dict(counts) for kind, counts in found.items()}}


def full_disk(folder: Path, size: int) -> dict[str, Any]:
    """Write until the disk is full; then read, and go on when there is room.

    A small file system in memory is used where it may be mounted, else the largest file size a process may write.

    Returns:
        how ("tmpfs" or "rlimit"), acked, typed_error, lost (acknowledged and not there afterwards), readable_when_full (by the process
        itself and by another one), writable_after.
    """
    folder.mkdir(parents=True)
    path = folder / "journal.sqlite"
    with _small(folder, size) as grow:
        limit = size // 2 if grow is None else None
        said, _ = spawn(lambda fd: _fill(path, limit, fd))
        acked = {int(line) for line in said if line.isdigit()}
        seen, _ = spawn(lambda fd: _count(path, fd))
        if grow is not None:
            grow()
        after, _ = spawn(lambda fd: _write(path, "after", range(1), fd))
        last, _ = spawn(lambda fd: _count(path, fd))
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "how": "rlimit" if grow is None else "tmpfs",
        "acked": len(acked),
        "typed_error": "fault" in said,
        "lost": len(acked - {int(line) for line in last if line.isdigit()}),
        "readable_when_full": f"read {len(acked)}" in said and acked <= {int(line) for line in seen if line.isdigit()},
        "writable_after": after == ["0"],
    }


def _write(path: Path, name: str, numbers: Iterable[int], fd: int) -> None:
    """Write lines, each acknowledged after its call has returned."""
    memory = open_memory(path)
    for number in numbers:
        memory.record([_line(name, number)])
        os.write(fd, b"%d\n" % number)


def _line(name: str, number: int) -> Record:
    return Record(id="", namespace=(name,), kind="fact", body=f"{name} line {number}", origin=Origin(kind="world", source=name))


def _fill(path: Path, limit: int | None, fd: int) -> None:
    """Write until it is refused, then read."""
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    memory = open_memory(path)
    try:
        for number in range(1_000_000):
            memory.record([_line("full", number)])
            os.write(fd, b"%d\n" % number)
    except MemoryFault:
        os.write(fd, b"fault\n")
    hits = memory.recall(Query(text="line", k=0))
    os.write(fd, b"read %d\n" % len(hits))


def _count(path: Path, fd: int) -> None:
    """Say which lines can be read."""
    with open_memory(path, read_only=True) as memory:
        numbers = [hit.record.body.rsplit(" ", 1)[1] for hit in memory.recall(Query(text="line", namespace=("full",), k=0))]
    os.write(fd, "".join(f"{number}\n" for number in numbers).encode())


@contextmanager
def _small(folder: Path, size: int) -> Iterator[Callable[[], None] | None]:
    """A small file system in memory on a folder, and how to make it larger; None where none can be mounted."""
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if mount is None or os.geteuid() or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield lambda: (subprocess.run([mount, "-o", f"remount,size={64 * size}", str(folder)], check=True), None)[1]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _story(path: Path, rng: random.Random, events: int, fd: int) -> None:
    """A memory with events of all kinds."""
    memory, model = open_memory(path), Model()
    for number in range(events):
        operation = model.choose("record" if number < 9 else CHANGES[number % len(CHANGES)], number, rng)
        perform(memory, operation)
        model.apply(operation)
        if number == events // 2:
            memory.close()
            memory = open_memory(path)
    os.write(fd, b"done\n")


def _reading(memory: JournalMemory, seq: int | None) -> str:
    """All that a reader gets at a position, as a text that can be compared."""
    hits = memory.recall(Query(text="apple mug 7", k=0, as_of=seq))
    return f"{memory.content_digest(seq)} {[(hit.record.id, hit.record.body, hit.score) for hit in hits]}"


def _damage(kind: str, files: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """A damaged copy of a memory's files."""
    damaged = dict(files)
    suffix = "-wal" if kind.startswith("log") else ""
    data = bytearray(damaged[suffix])
    pages = max(1, len(data) // PAGE)
    page, other = rng.randrange(pages) * PAGE, rng.randrange(pages) * PAGE
    if kind in ("flip", "flips", "log_flip"):
        for _ in range(1 if kind == "flip" else rng.randint(1, 64)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind in ("truncate", "log_cut"):
        del data[rng.randrange(len(data)) :]
    elif kind == "zero":
        data[page : page + PAGE] = bytes(PAGE)
    elif kind == "swap":
        data[page : page + PAGE], data[other : other + PAGE] = data[other : other + PAGE], data[page : page + PAGE]
    elif kind in ("garbage", "header"):
        at, size = (page, PAGE) if kind == "garbage" else (rng.randrange(100), 16)
        data[at : at + size] = rng.randbytes(size)
    elif kind == "append":
        data += rng.randbytes(rng.randint(1, 2 * PAGE))
    damaged[suffix] = bytes(data)
    if kind in ("log_gone", "both_gone"):
        damaged = {name: content for name, content in damaged.items() if name == "" or (name == "-shm" and kind == "log_gone")}
    return damaged


def _read_batch(batch: dict[Path, str], known: Sequence[str], found: dict[str, Counter[str]]) -> None:
    """Read damaged files in a process; when it dies, that file crashed it, and another process goes on behind it."""
    waiting = list(batch)
    while waiting:
        said, status = spawn(lambda fd: _read_all(list(waiting), known, fd))
        for line in said:
            found[batch[waiting.pop(0)]][line] += 1
        if waiting and (status < 0 or not said):
            found[batch[waiting.pop(0)]]["crashed"] += 1


def _read_all(paths: Sequence[Path], known: Sequence[str], fd: int) -> None:
    for number, path in enumerate(paths):
        os.write(fd, f"{_judge(path, known, read_only=number % 2 == 0)}\n".encode())


def _judge(path: Path, known: Sequence[str], *, read_only: bool) -> str:
    try:
        with open_memory(path, read_only=read_only) as memory:
            reading = _reading(memory, None)
            for record in memory.records():
                memory.audit(record.id)
            if reading == known[-1]:
                return "harmless"
            return "earlier" if reading == known[memory.seq] else "wrong"
    except MemoryFault:
        return "detected"
    except Exception:
        return "untyped"
