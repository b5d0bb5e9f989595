"""What a role gets to work with: the live context a Runner makes, as Protocols, and the way from State to a Turn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from reflectory.agents.view import Turn, View
from reflectory.config import RunConfig
from reflectory.protocols import Memory, Model
from reflectory.records import Hit, Observation, Reply, Request, Span, Step, StepResult, Task

State = Mapping[str, Any]
Decoded = TypeVar("Decoded")


class Session(Protocol):
    """One live world with its tracker; numbers the actions, so that a repeated node never acts twice."""

    @property
    def observation(self) -> Observation:
        """The last thing the world showed."""
        ...

    async def reset(self) -> Observation:
        """Start the task from its beginning."""
        ...

    async def step(self, number: int, action: str) -> StepResult:
        """Apply action `number` (0-based); a number already applied returns the recorded result.

        Raises:
            EnvError: The world broke, or the number was applied with another action.
        """
        ...

    def work(self) -> dict[str, Any] | None:
        """The tracker's typed state; None where the world has no tracker."""
        ...

    def ref(self) -> dict[str, Any]:
        """What is needed to come back to this point, as JSON values."""
        ...

    async def attach(self, ref: Mapping[str, Any]) -> None:
        """Come back to where `ref` was taken.

        Raises:
            EnvLost: The world then shows something else than it did.
        """
        ...


class Recorder(Protocol):
    """Takes the Steps of a run; a Step with an id already taken replaces the earlier one."""

    def put(self, step: Step) -> None:
        """Keep a step."""
        ...

    def get(self, attempt: int, lane: str, n: int) -> Step | None:
        """The step with this id, or None."""
        ...

    def count(self, what: str, by: int = 1) -> None:
        """Add to a named counter of the run (`unsupported_lessons`, `off_choice` …)."""
        ...


class Context(Protocol):
    """The part of `reflectory.graphs.RunContext` that roles use; `run` is "RUN/TASK", unique to the episode."""

    run: str
    lane: str
    task: Task
    config: RunConfig
    view: View

    @property
    def env(self) -> Session:
        """The world session of this lane."""
        ...

    @property
    def memory(self) -> Memory | None:
        """The memory, or None."""
        ...

    @property
    def recorder(self) -> Recorder:
        """Where Steps go."""
        ...

    def model(self, role: str) -> Model:
        """The model that plays a role, behind the budget meter."""
        ...

    def reflection(self) -> None:
        """Count one reflection.

        Raises:
            LimitReached: The budget of reflections is spent.
        """
        ...

    def memo(self, key: str, raw: object, value: Decoded | None = None) -> Decoded | None:
        """Remember what the JSON object `raw` decodes to, for as long as State holds this very object."""
        ...


class Runtime(Protocol):
    """The part of LangGraph's Runtime that roles use."""

    @property
    def context(self) -> Context:
        """The live context."""
        ...


def request_seed(context: Context, attempt: int, n: int) -> int:
    """The seed of one request: a hash of run seed, task, attempt, lane and step number, below 2**63.

    It depends on nothing else, so an answer does not change with batch mates, workers or the order of episodes.
    """
    text = f"{context.config.seed}|{context.task.key}|{attempt}|{context.lane}|{n}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def observation_json(observation: Observation) -> dict[str, Any]:
    """An observation as JSON values for State."""
    if observation.elements is not None or observation.image is not None or observation.url is not None:
        return observation.model_dump(mode="json")
    return {
        "spans": [{"text": span.text, "origin": span.origin} for span in observation.spans],
        "choices": None if observation.choices is None else list(observation.choices),
    }


def load_observation(data: Mapping[str, Any]) -> Observation:
    """The observation that `observation_json` wrote."""
    if "elements" in data:
        return Observation.model_validate(data)
    choices = data["choices"]
    return Observation(
        spans=tuple(Span(**span) for span in data["spans"]),
        choices=None if choices is None else tuple(choices),
    )


def load_hits(context: Context, raw: Sequence[Mapping[str, Any]]) -> tuple[Hit, ...]:
    """The recalled records of State, decoded once per attempt."""
    hits: tuple[Hit, ...] | None = context.memo("recalled", raw)
    if hits is None:
        hits = tuple(Hit.model_validate(item) for item in raw)
        context.memo("recalled", raw, hits)
    return hits


def make_turn(state: State, context: Context) -> Turn:
    """All a role may look at now, read from State (and the task, which is live)."""
    return Turn(
        task=context.task,
        observation=load_observation(state["observation"]),
        history=tuple((action, text) for action, text in state["history"]),
        work=state.get("work"),
        hits=load_hits(context, state.get("recalled") or []),
        reading=tuple(state.get("reading") or ()),
        attempt=state["attempt"],
    )


def judge_id(context: Context, attempt: int) -> str:
    """Id of the verdict on an attempt, unique in its episode."""
    return f"{context.lane}/{attempt}/judge"


def call_step(context: Context, policy: str, request: Request, reply: Reply, where: tuple[int, int]) -> Step:
    """The Step of a model call that acts on no world.

    Args:
        context: The live context.
        policy: Name of the model that answered.
        request: What was asked.
        reply: What it answered.
        where: (attempt, step number).
    """
    return Step(
        run=context.run,
        attempt=where[0],
        lane=context.lane,
        n=where[1],
        role=request.role,
        prompt=request.messages,
        prompt_ids=reply.prompt_ids,
        output=reply.text,
        output_ids=reply.output_ids,
        logprobs=reply.logprobs,
        entropy=reply.entropy,
        usage=reply.usage,
        policy=policy,
    )
