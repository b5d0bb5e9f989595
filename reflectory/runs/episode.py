"""One episode: one graph on one task, from the first reset to an outcome."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflectory.errors import ConfigError, LimitReached, ReflectoryError
from reflectory.graphs.context import RunContext
from reflectory.graphs.state import initial
from reflectory.graphs.wiring import Wiring
from reflectory.protocols import Memory, Model
from reflectory.records import Budget, Task, Trajectory, Usage
from reflectory.runs.build import Parts
from reflectory.runs.memory import Effects
from reflectory.runs.meter import BudgetMeter, MeterCallback, Metered
from reflectory.runs.recorder import StepRecorder
from reflectory.runs.session import EnvSession

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


@dataclass(frozen=True)
class Job:
    """What to play.

    Attributes:
        task: The task.
        run: Id of the run.
        attempt: The first attempt's number.
        last_attempt: The attempt after which the episode ends, won or not.
        memory: What the episode reads and writes.
        as_of: Journal position to read at; None reads the newest.
        effects: SQLite file for side effects; None keeps none.
        steps: File that gets every Step as it comes; None for trials that start again after a kill.
        saver: LangGraph checkpointer; None plays without checkpoints.
    """

    task: Task
    run: str
    attempt: int = 1
    last_attempt: int = 1
    memory: Memory | None = None
    as_of: int | None = None
    effects: Path | None = None
    steps: Path | None = None
    saver: Any = None

    @property
    def identity(self) -> str:
        """RUN/TASK."""
        return f"{self.run}/{self.task.key}"


@dataclass
class Episode:
    """What came of a job.

    Attributes:
        outcome: solved, failed, gave_up, limit:NAME, infra:NAME; None when the graph stopped unfinished (an interrupt).
        attempts: One Trajectory per attempt.
        state: The final State.
        usage: Cost of all model calls.
        seconds: Wall time.
        counters: Named counts (off_choice, unsupported_lessons …).
        error: What broke, for infra outcomes.
    """

    outcome: str | None
    attempts: list[Trajectory]
    state: dict[str, Any]
    usage: Usage
    seconds: float
    counters: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    @property
    def steps(self) -> int:
        """Actions in all attempts."""
        return sum(1 for item in self.attempts for step in item.steps if step.action is not None and step.observation is not None)


async def play(parts: Parts, job: Job) -> Episode:
    """Play one episode.

    A spent budget and broken infrastructure are outcomes. What would break every other episode too (a wrong setting, a missing
    model) and bugs in nodes are raised.

    Raises:
        ReflectoryError: With exit_status 2 or 3: usage, or something missing.
    """
    task, started = job.task, time.monotonic()
    if task.env is None:
        msg = f"task {task.key!r} names no environment, and the graph acts in one. Set Task.env."
        raise ConfigError(msg)
    meter = BudgetMeter(_limits(parts.config.budget, task.limits))
    recorder = StepRecorder(task, job.steps)
    caller = parts.pool.take(task.env)
    session = EnvSession(caller, task, durable=job.saver is not None)
    context = make_context(parts, job, session, (meter, recorder))
    state = initial(_task_state(task), job.attempt)
    outcome, error, healthy = None, None, False
    try:
        await _follow(parts, job, context, state)
        outcome, healthy = state.get("outcome"), True
    except LimitReached as limit:
        outcome, healthy = state.get("outcome") or f"limit:{limit.name}", True
    except ReflectoryError as failure:
        if failure.exit_status != 1:
            raise
        # What came after the verdict (a reflector that fails) does not undo a judged attempt; the error is kept beside it.
        outcome, error = state.get("outcome") or f"infra:{failure.code}", str(failure)
    finally:
        if healthy:
            parts.pool.give(task.env, caller)
        else:
            await caller.abandon()
    attempts = [recorder.trajectory(number, _attempt_outcome(number, state, outcome)) for number in recorder.attempts()]
    return Episode(outcome, attempts, state, meter.usage, time.monotonic() - started, dict(recorder.counters), error)


def make_context(parts: Parts, job: Job, session: EnvSession, live: tuple[BudgetMeter, StepRecorder]) -> RunContext:
    """The live context of an episode; `live` is its meter and its recorder."""
    meter, recorder = live
    return RunContext(
        run=job.identity,
        task=job.task,
        config=parts.config,
        view=parts.worlds.view(job.task.env),
        env=session,
        models={role: Metered(_bound(model, session), meter) for role, model in parts.models.items()},
        recorder=recorder,
        budget=meter,
        memory=job.memory,
        as_of=job.as_of,
        last_attempt=job.last_attempt,
        tools=parts.tools,
        check=parts.check(job.task),
        approve=parts.approve,
        rng=random.Random(f"{parts.config.seed}|{job.task.key}|{job.attempt}"),
        effects=None if job.effects is None else Effects(job.effects),
    )


def _bound(model: Model, session: EnvSession) -> Model:
    """The model itself; a scripted oracle, which asks for the environment, bound to this episode's."""
    bind: Callable[[Any], Model] | None = getattr(model, "bind_env", None)
    return model if bind is None else bind(session.world)


async def _follow(parts: Parts, job: Job, context: RunContext, state: dict[str, Any]) -> None:
    """Run the graph; `state` holds the last known State also when this raises.

    A shipped wiring without checkpointer is driven by the bare loop, everything else by LangGraph.
    """
    graph = parts.graph
    meter = context.budget
    assert isinstance(meter, BudgetMeter)
    if isinstance(graph, Wiring) and job.saver is None:
        from langchain_core.runnables.config import var_child_runnable_config

        # What LangGraph does for its nodes: a chat model that a node calls by itself finds the meter.
        var_child_runnable_config.set({"callbacks": [MeterCallback(meter)]})
        await graph.drive(state, context)
        return
    compiled = graph.compile(checkpointer=job.saver) if isinstance(graph, Wiring) else graph
    config: RunnableConfig = {
        "configurable": {"thread_id": job.identity},
        "callbacks": [MeterCallback(meter)],
        # LangGraph's own limit is 25 supersteps; ours are the budget's.
        "recursion_limit": 1_000_000,
    }
    given: dict[str, Any] | None = state.copy()
    if job.saver is not None:
        known = await compiled.aget_state(config)
        if known.values:
            state.update(known.values)
            if known.values.get("outcome") is not None and not known.next and not known.tasks:
                return
            if "env_ref" in known.values:
                await context.env.attach(known.values["env_ref"])
            given = None
    durability: Any = {"durability": "sync"} if job.saver is not None else {}
    async for values in compiled.astream(given, config, context=context, stream_mode="values", **durability):
        state.update(values)


def _task_state(task: Task) -> dict[str, Any]:
    return {"key": task.key, "goal": task.goal, "env": task.env, "situation": task.situation, "seed": task.seed}


def _limits(general: Budget, own: Budget | None) -> Budget:
    """The settings' limits with the task's own put over them."""
    return general if own is None else general.model_copy(update=own.model_dump(exclude_none=True))


def _attempt_outcome(attempt: int, state: Mapping[str, Any], outcome: str | None) -> str | None:
    """How one attempt ended: by its verdict; the last one, when it was broken off, by the episode's outcome."""
    for verdict in state["verdicts"]:
        if verdict["id"].endswith(f"/{attempt}/judge"):
            reason = str(verdict["reason"])
            return "solved" if verdict["ok"] and verdict["source"] != "model" else reason if reason.startswith("limit:") else "failed"
    return outcome
