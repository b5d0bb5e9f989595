"""What a dialogue is made of while it lives: an open session, and what comes of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reflectory.errors import ConfigError
from reflectory.graphs.context import RunContext
from reflectory.records import Frozen, Hit, Observation, Record, StepResult, Task, Usage
from reflectory.runs.meter import BudgetMeter
from reflectory.runs.recorder import StepRecorder


class Answer(Frozen):
    """What the agent said in a turn.

    Attributes:
        text: The answer, without citations.
        cited: The memories it cites.
        shown: The memories it was shown, best first.
        session: Id of the session; its Steps stand in the run directory under this name.
        usage: Cost of the turn's model calls.
        seconds: Wall time of the turn.
    """

    text: str
    cited: tuple[Record, ...] = ()
    shown: tuple[Hit, ...] = ()
    session: str
    usage: Usage = Usage()
    seconds: float = 0.0

    def __str__(self) -> str:
        return self.text


class NoWorld:
    """The environment of a dialogue: there is none."""

    blocking = False

    def reset(self, task: Task, *, seed: int) -> Observation:
        """Refuse.

        Raises:
            ConfigError: Always.
        """
        msg = "a dialogue plays in no environment. Use a graph such as `act` with Runner.run."
        raise ConfigError(msg)

    def step(self, action: str) -> StepResult:
        """Refuse, as `reset` does."""
        return StepResult(observation=self.reset(Task(goal=""), seed=0))

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Live:
    """A session that is open: its task, State, live context and when it was last used (seconds since 1970)."""

    task: Task
    state: dict[str, Any]
    context: RunContext
    recorder: StepRecorder
    meter: BudgetMeter
    used: float

    @property
    def thread(self) -> str:
        """Name of its thread."""
        return str(self.task.inputs["thread"])


def difference(after: Usage, before: Usage) -> Usage:
    """What was used between two readings of a meter."""
    old = before.model_dump()
    return Usage.model_validate({name: value - old[name] for name, value in after.model_dump().items()})
