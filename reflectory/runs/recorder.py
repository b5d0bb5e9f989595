"""Keeps the Steps of one episode until its attempts are written; with a path, also on disk as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reflectory.records import Step, Task, Trajectory, Usage
from reflectory.runs.files import append_line, read_lines


class StepRecorder:
    """Takes Steps; one with an id already taken replaces the earlier one, so a repeated node never doubles.

    Args:
        task: The task of the episode.
        path: A file that gets every Step as it comes, for runs that may continue in the middle of an attempt; what it already
            holds is read back. None keeps Steps in memory only, for trials that start again after a kill.
        clean: Applied to the texts of every Step before it is kept, for example `reflectory.memory.redact.Redactor().text`.
    """

    def __init__(self, task: Task, path: Path | None = None, clean: Callable[[str], str] | None = None) -> None:
        self._task = task
        self._path, self._clean = path, clean
        self._steps: dict[tuple[int, str, int], Step] = {}
        self.counters: Counter[str] = Counter()
        if path is not None:
            for item in read_lines(path):
                step = Step.model_validate(item)
                self._steps[step.attempt, step.lane, step.n] = step

    def put(self, step: Step) -> None:
        """Keep a step; one that cannot be written is not kept.

        Raises:
            OSError: The file cannot be written.
        """
        if self._clean is not None:
            step = cleaned(step, self._clean)
        if self._path is not None:
            append_line(self._path, step_json(step))
        self._steps[step.attempt, step.lane, step.n] = step

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


def cleaned(step: Step, clean: Callable[[str], str]) -> Step:
    """A step whose texts (prompt, output, action, what is observed) went through a function; token ids of a changed text are left out."""
    prompt = tuple(message.model_copy(update={"content": clean(message.content)}) for message in step.prompt)
    action = None if step.action is None else clean(step.action)
    changes: dict[str, Any] = {"prompt": prompt, "output": clean(step.output), "action": action}
    if prompt != step.prompt:
        changes["prompt_ids"] = None
    if changes["output"] != step.output:
        changes |= {"output_ids": None, "logprobs": None, "entropy": None}
    seen = step.observation
    if seen is not None:
        spans = tuple(span.model_copy(update={"text": clean(span.text)}) for span in seen.spans)
        url = None if seen.url is None else clean(seen.url)
        changes["observation"] = seen.model_copy(update={"spans": spans, "url": url})
    return step.model_copy(update=changes)


def step_json(step: Step) -> str:
    """A Step as one line of JSON, without the fields that hold their default."""
    return step.model_dump_json(exclude_defaults=True)
