"""Worker processes: each with its own copy of models and worlds, fed by the lease queue in the run directory."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from reflectory.config import load
from reflectory.errors import ReflectoryError, RunError
from reflectory.runs.build import Setup, build, make_memory, writes_memory
from reflectory.runs.directory import RunDirectory
from reflectory.runs.sqlite import LeaseQueue
from reflectory.runs.trial import LEDGER, Player, crew

#: Called after every finished trial: won or not.
Done = Callable[[bool], None]


class WorkerFailed(RunError):
    """A worker met an error that every other one would meet too; `exit_status` is the original error's."""


class Workers:
    """Worker processes of one run.

    Args:
        setup: The run, all by names.
        path: The run directory.
        count: Number of processes.

    Raises:
        ConfigError: The setup holds objects.
    """

    def __init__(self, setup: Setup, path: Path, count: int) -> None:
        self._portable = setup.portable()
        self._path, self._count = path, count
        self._queue = LeaseQueue(path / LEDGER)
        self._alive: dict[str, tuple[Any, Any]] = {}
        self._stop = threading.Event()

    def start(self) -> None:
        """Start the processes (spawned, so that nothing alive is shared)."""
        context = multiprocessing.get_context("spawn")
        for number in range(self._count):
            ours, theirs = context.Pipe()
            name = f"worker{number}"
            arguments = (theirs, self._portable, str(self._path), name, self._count)
            process = context.Process(target=work, args=arguments, name=name, daemon=True)
            process.start()
            theirs.close()
            self._alive[name] = (process, ours)

    async def play(self, trial: int, as_of: int | None, tasks: Sequence[int], done: Done) -> None:
        """Play one trial of all given task numbers.

        Raises:
            WorkerFailed: A worker met an error that is no outcome.
            RunError: No worker is left.
        """
        self._queue.fill(tasks)
        await asyncio.to_thread(self._watch, ("play", trial, as_of), done)

    def close(self) -> None:
        """End the processes."""
        self._stop.set()
        for process, pipe in self._alive.values():
            pipe.close()
            process.terminate()
            process.join(timeout=10)
        self._alive = {}
        self._queue.close()

    def _watch(self, order: tuple[str, int, int | None], done: Done) -> None:
        busy = self._send(order)
        while not self._stop.is_set():
            pipes = {pipe: name for name, (_, pipe) in self._alive.items()}
            for pipe in wait(list(pipes), timeout=0.2):
                busy -= self._hear(pipes[pipe], pipe, done)  # type: ignore[arg-type]
            if busy & self._alive.keys():
                continue
            if not self._queue.left():
                return
            if not self._alive:
                msg = f"all workers of {self._path} died. Start the same command again: finished trials are kept."
                raise RunError(msg)
            busy = self._send(order)  # what a dead worker had leased is left

    def _send(self, order: tuple[str, int, int | None]) -> set[str]:
        for name, (_, pipe) in list(self._alive.items()):
            try:
                pipe.send(order)
            except OSError:
                self._bury(name)
        return set(self._alive)

    def _hear(self, name: str, pipe: Connection[Any, Any], done: Done) -> set[str]:
        """Take one message; returns the worker's name when it has nothing left to do."""
        try:
            kind, *rest = pipe.recv()
        except (EOFError, OSError):
            self._bury(name)
            return {name}
        if kind == "done":
            done(rest[0])
            return set()
        if kind == "failed":
            failure = WorkerFailed(rest[0])
            failure.exit_status = rest[1]
            raise failure
        return {name}

    def _bury(self, name: str) -> None:
        process, pipe = self._alive.pop(name)
        pipe.close()
        process.join(timeout=10)
        self._queue.release(name)


def work(pipe: Connection[Any, Any], portable: Mapping[str, Any], path: str, name: str, count: int) -> None:
    """Main function of a worker process.

    Args:
        pipe: To the coordinator; its end is the worker's end.
        portable: `Setup.portable()`.
        path: The run directory.
        name: The worker's name.
        count: How many workers share the machine.
    """
    # Ctrl-C reaches the whole process group; only the coordinator decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // count)))
    try:
        asyncio.run(_serve(pipe, portable, Path(path), name))
    except ReflectoryError as error:
        pipe.send(("failed", str(error), error.exit_status))


async def _serve(pipe: Connection[Any, Any], portable: Mapping[str, Any], path: Path, name: str) -> None:
    config = load(portable["config"])
    setup = Setup(graph=portable["graph"], model=portable["models"], memory=portable["memory"], config=config)
    parts = build(setup)
    memory = make_memory(setup, path / "memory", writes=writes_memory(parts.graph), read_only=True)
    directory = RunDirectory.open(path)
    tasks = directory.tasks()
    queue = LeaseQueue(path / LEDGER)
    player = Player(parts, memory, directory, name)
    parent = multiprocessing.parent_process()

    def take() -> int | None:
        # An orphan must not go on beside the workers of a resumed run.
        return queue.lease(name) if parent is None or parent.is_alive() else None

    while True:
        try:
            _, trial, as_of = await asyncio.to_thread(pipe.recv)
        except (EOFError, OSError):
            break

        async def do(number: int, trial: int = trial, as_of: int | None = as_of) -> None:
            won = await player.trial(tasks[number], trial, as_of)
            queue.done(number)
            pipe.send(("done", won))

        await crew(config.concurrency, take, do)
        pipe.send(("idle",))
    await parts.close()
