"""An evaluation: every task in every trial, one trial at a time, with the same result for any number of workers and after any kill."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reflectory.errors import ConfigError
from reflectory.protocols import Memory
from reflectory.records import Task
from reflectory.runs.build import Setup, build, close_memory, make_graph, make_memory, writes_memory
from reflectory.runs.directory import Result, RunDirectory, lock
from reflectory.runs.files import replace_file
from reflectory.runs.memory import commit
from reflectory.runs.metrics import Metrics, summarize
from reflectory.runs.trial import LEDGER, Player, crew
from reflectory.runs.workers import Done, Workers

#: Told about progress: (trial, finished, tasks, solved), the last three within the trial.
Watch = Callable[[int, int, int, int], None]
#: Plays task numbers of a trial: (trial, as_of, numbers, done).
Play = Callable[[int, int | None, Sequence[int], Done], Awaitable[None]]


class Evaluation:
    """One evaluation in one run directory.

    Memory is read as of the start of the trial; what a trial teaches is kept in its result line and written, in the order of the tasks,
    when the trial is over. So neither workers nor kills change what a later trial can see.

    Args:
        setup: What is run; `config.out` names the run directory.
        tasks: Every task has its own key.
        watch: Told about progress.

    Raises:
        ConfigError: Two tasks share a key, there are none, or the settings ask for checkpoints.
    """

    def __init__(self, setup: Setup, tasks: Sequence[Task], watch: Watch | None = None) -> None:
        twice = [key for key, count in Counter(task.key for task in tasks).items() if count > 1]
        if twice or not tasks:
            msg = f"the tasks {', '.join(twice[:3])} are there twice; give each an id." if twice else "there are no tasks to play."
            raise ConfigError(msg)
        if setup.config.checkpoint != "none":
            msg = "checkpoint: sqlite is for single runs; an evaluation continues at the last finished trial. Leave it out."
            raise ConfigError(msg)
        if setup.config.workers > 1:
            setup.portable()
        self._setup, self._tasks, self._watch = setup, list(tasks), watch
        self._path = Path(str(setup.config.out))
        self._began = time.monotonic()
        self._writes = writes_memory(make_graph(setup.graph, setup.config))

    async def run(self) -> Metrics:
        """Play what is not finished yet.

        Raises:
            RunError: The directory holds another run, or is being run.
            ReflectoryError: Something every trial would meet: a wrong name, a missing model.
        """
        with lock(self._path), self._memory() as (directory, memory):
            self._began = time.monotonic() - float(directory.manifest["wall_s"])
            directory.save(status="running")
            status = "interrupted"
            try:
                await self._trials(directory, memory)
                status = "done"
            finally:
                directory.save(status=status, wall_s=time.monotonic() - self._began)
            if memory is not None:
                _export(memory, directory.path / "memory" / "after.jsonl")
            return self._metrics(directory)

    async def _trials(self, directory: RunDirectory, memory: Memory | None) -> None:
        open_trials = [n for n in range(1, self._setup.config.trials + 1) if not _entry(directory, n).get("committed")]
        if not open_trials:
            return
        if self._setup.config.workers > 1:
            workers = Workers(self._setup, self._path, self._setup.config.workers)
            try:
                workers.start()
                for trial in open_trials:
                    await self._trial(directory, memory, trial, workers.play)
            finally:
                workers.close()
            return
        parts = build(self._setup)
        player = Player(parts, memory, directory, "main")

        async def play(trial: int, as_of: int | None, numbers: Sequence[int], done: Done) -> None:
            async def do(number: int) -> None:
                done(await player.trial(self._tasks[number], trial, as_of))

            waiting = iter(numbers)
            await crew(self._setup.config.concurrency, lambda: next(waiting, None), do)

        try:
            for trial in open_trials:
                await self._trial(directory, memory, trial, play)
        finally:
            await parts.close()

    async def _trial(self, directory: RunDirectory, memory: Memory | None, trial: int, play: Play) -> None:
        """Play what is missing of one trial, then write what it taught."""
        entry = _entry(directory, trial)
        if not entry:
            entry = {"trial": trial, "as_of": getattr(memory, "seq", None), "committed": False}
            directory.save(trials=[*directory.manifest["trials"], entry])
        finished = {task: line for (number, task), line in directory.results().items() if number == trial and _counts(line)}
        missing = [number for number, task in enumerate(self._tasks) if task.key not in finished]
        tally = [len(finished), sum(1 for line in finished.values() if line["won"])]

        def done(won: bool) -> None:
            tally[0] += 1
            tally[1] += won
            if self._watch is not None:
                self._watch(trial, tally[0], len(self._tasks), tally[1])

        if missing:
            await play(trial, entry["as_of"], missing, done)
        if memory is not None:
            results = directory.results()
            staged = [(f"{directory.id}/{task.key}/{trial}", results[trial, task.key]["memory"]) for task in self._tasks]
            commit(memory, staged, directory.path / LEDGER)
        entry["committed"] = True
        directory.save(wall_s=time.monotonic() - self._began)

    @contextmanager
    def _memory(self) -> Iterator[tuple[RunDirectory, Memory | None]]:
        """The run directory and the memory, which is opened before the directory is claimed unless it lies inside."""
        setup, own = self._setup, self._setup.memory is None
        memory = None if own else make_memory(setup, None, writes=self._writes)
        digest = getattr(memory, "content_digest", None)
        directory = RunDirectory.claim(self._path, setup, self._tasks, kind="eval", memory_digest=digest() if digest is not None else "")
        if own:
            memory = make_memory(setup, self._path / "memory", writes=self._writes)
        before = directory.path / "memory" / "before.jsonl"
        if memory is not None and not before.exists():
            _export(memory, before)
        try:
            yield directory, memory
        finally:
            close_memory(setup, memory)

    def _metrics(self, directory: RunDirectory) -> Metrics:
        metrics = summarize(
            directory.results().values(),
            tasks=len(self._tasks),
            trials=self._setup.config.trials,
            wall_s=float(directory.manifest["wall_s"]),
            run_dir=str(directory.path),
        )
        return metrics.model_copy(update={"sandbox": directory.sandbox})


def _entry(directory: RunDirectory, trial: int) -> dict[str, Any]:
    return next((entry for entry in directory.manifest["trials"] if entry["trial"] == trial), {})


def _counts(line: Result) -> bool:
    """Whether a result stands: an infrastructure failure is tried again when the trial is resumed."""
    return not str(line["outcome"]).startswith("infra:")


def _export(memory: Memory, path: Path) -> None:
    export = getattr(memory, "export_jsonl", None)
    if export is not None:
        replace_file(path, "".join(f"{line}\n" for line in export()))
