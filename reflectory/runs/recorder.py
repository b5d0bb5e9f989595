"""Keeps the Steps of one episode until its attempts are written; with a path, also on disk as they come."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from reflectory.records import Step, Task, Trajectory, Usage
from reflectory.runs.files import append_line, read_lines


class StepRecorder:
    """Takes Steps; one with an id already taken replaces the earlier one, so a repeated node never doubles.

    Args:
        task: The task of the episode.
        path: A file that gets every Step as it comes, for runs that may continue in the middle of an attempt; what it already
            holds is read back. None keeps Steps in memory only, for trials that start again after a kill.
    """

    def __init__(self, task: Task, path: Path | None = None) -> None:
        self._task = task
        self._path = path
        self._steps: dict[tuple[int, str, int], Step] = {}
        self.counters: Counter[str] = Counter()
        if path is not None:
            for item in read_lines(path):
                step = Step.model_validate(item)
                self._steps[step.attempt, step.lane, step.n] = step

    def put(self, step: Step) -> None:
        """Keep a step."""
        self._steps[step.attempt, step.lane, step.n] = step
        if self._path is not None:
            append_line(self._path, step_json(step))

    def get(self, attempt: int, lane: str, n: int) -> Step | None:
        """The step with this id, or None."""
        return self._steps.get((attempt, lane, n))

    def count(self, what: str, by: int = 1) -> None:
        """Add to a named counter."""
        if by:
            self.counters[what] += by

    def attempts(self) -> list[int]:
        """The attempts that have steps, in order."""
        return sorted({attempt for attempt, _, _ in self._steps})

    def trajectory(self, attempt: int, outcome: str | None) -> Trajectory:
        """One attempt as a Trajectory, its steps in order of lane and number."""
        steps = [step for key, step in sorted(self._steps.items()) if key[0] == attempt]
        return Trajectory(
            task=self._task,
            attempt=attempt,
            steps=tuple(steps),
            outcome=outcome,
            reward=sum(step.reward or 0.0 for step in steps),
            usage=sum((step.usage for step in steps), Usage()),
        )


def step_json(step: Step) -> str:
    """A Step as one line of JSON, without the fields that hold their default."""
    return step.model_dump_json(exclude_defaults=True)
