"""What stands between a world and a prompt: a View turns typed state into messages and answers into data.

Envs own text and tracker, agents own prompts. A role is generic; the View knows how one kind of world is shown to a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from reflectory.records import Frozen, Hit, Message, Observation, RecordKind, Request, Task


class Turn(Frozen):
    """All a role may look at when it speaks.

    Attributes:
        task: What to do; for human-phrased goals `task.goal` is the human sentence.
        observation: The last thing the world showed.
        history: (action, observation text) pairs of this attempt without the failed ones, oldest first; the first is ("", the opening).
        work: The tracker's typed state; None where the world has no tracker.
        hits: What memory recalled for this attempt.
        reading: Interpretations of a free-text goal, best first; empty when it needed none.
        attempt: 1 for the first trial.
    """

    task: Task
    observation: Observation
    history: tuple[tuple[str, str], ...] = ()
    work: dict[str, Any] | None = None
    hits: tuple[Hit, ...] = ()
    reading: tuple[str, ...] = ()
    attempt: int = 1


class Prompt(Frozen):
    """Messages, the choices on offer, and the ids of the memory records that are actually shown."""

    messages: tuple[Message, ...]
    choices: tuple[str, ...] | None = None
    shown: tuple[str, ...] = ()
    work: dict[str, Any] | None = None


class Lesson(Frozen):
    """A candidate record read from a reflector's answer."""

    body: str
    when_to_use: str = ""
    kind: RecordKind = "lesson"
    supported: bool = True
    """False when the attempt's own observations contradict it: such a lesson is counted and dropped."""


@runtime_checkable
class View(Protocol):
    """How one kind of world is shown to a model."""

    def query(self, task: Task, work: dict[str, Any] | None) -> str:
        """The words to recall memory by at the start of an attempt."""
        ...

    def read_goal(self, turn: Turn) -> Request | None:
        """A request that turns a free-text goal into known ones (choices), or None when the goal needs no reading."""
        ...

    def solve(self, turn: Turn) -> Prompt:
        """The solver's prompt and exactly the actions it is offered."""
        ...

    def reflect(self, turn: Turn, *, won: bool) -> Request | None:
        """What to ask after an attempt, or None when there is nothing to learn."""
        ...

    def lessons(self, text: str, turn: Turn, *, won: bool) -> Sequence[Lesson]:
        """Parse the reflector's answer; text that does not parse gives no lesson, never an error."""
        ...

    def cited(self, action: str, prompt: Prompt, hits: Sequence[Hit]) -> tuple[str, ...]:
        """Ids of shown records that the chosen action used (a recalled place that is visited, a procedure that is followed)."""
        ...


@runtime_checkable
class Situated(Protocol):
    """A View that tells when the agent is in the same situation again, where nothing it does would come out differently."""

    def situation(self, turn: Turn) -> str:
        """A key, equal for equal situations of one attempt."""
        ...
