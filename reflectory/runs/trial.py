"""One trial of an evaluation: play an episode, write what came of it. The same in the coordinator and in a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from reflectory.protocols import Memory
from reflectory.records import Task
from reflectory.runs.build import Parts
from reflectory.runs.directory import Result, RunDirectory
from reflectory.runs.episode import Episode, Job, play
from reflectory.runs.memory import Operation, StagedMemory

Item = TypeVar("Item")
LEDGER = "run.sqlite"


class Player:
    """Plays trials of one run in this process.

    Args:
        parts: What is alive.
        memory: What the agents read, or None; writes are staged.
        directory: Where results go.
        worker: Names this process's trajectory file.
    """

    def __init__(self, parts: Parts, memory: Memory | None, directory: RunDirectory, worker: str) -> None:
        self._parts, self._memory, self._directory, self._worker = parts, memory, directory, worker

    async def trial(self, task: Task, trial: int, as_of: int | None) -> bool:
        """Play one trial and return, when its result is on disk, whether it was won.

        Args:
            task: What to play.
            trial: Its number, from 1.
            as_of: Journal position to read memory at.
        """
        staged = None if self._memory is None else StagedMemory(self._memory)
        job = Job(
            task=task,
            run=self._directory.id,
            attempt=trial,
            last_attempt=trial,
            memory=staged,
            as_of=as_of,
            effects=self._directory.path / LEDGER,
        )
        episode = await play(self._parts, job)
        result = result_line(task, trial, episode, [] if staged is None else staged.operations)
        # On a thread: a sync to disk costs milliseconds, in which the other episodes go on.
        await asyncio.to_thread(self._directory.add, result, episode.attempts, self._worker)
        return bool(result["won"])


def result_line(task: Task, trial: int, episode: Episode, operations: list[Operation]) -> Result:
    """A finished trial as JSON values; `steps` counts actions, `seconds` is wall time."""
    usage: dict[str, Any] = episode.usage.model_dump(mode="json")
    return {
        "task": task.key,
        "trial": trial,
        "outcome": episode.outcome,
        "won": episode.outcome == "solved",
        "steps": episode.steps,
        "reward": episode.state.get("reward", 0.0),
        "usage": usage,
        "seconds": episode.seconds,
        "counters": episode.counters,
        "memory": operations,
        "error": episode.error,
    }


async def crew(width: int, take: Callable[[], Item | None], do: Callable[[Item], Awaitable[None]]) -> None:
    """Do items `width` at a time until `take` gives None; the first error ends all.

    Args:
        width: Items in flight.
        take: The next item, or None.
        do: What to do with it.
    """

    async def hand() -> None:
        while (item := take()) is not None:
            await do(item)

    hands = [asyncio.create_task(hand()) for _ in range(width)]
    try:
        await asyncio.gather(*hands)
    finally:
        for one in hands:
            one.cancel()
        await asyncio.gather(*hands, return_exceptions=True)
