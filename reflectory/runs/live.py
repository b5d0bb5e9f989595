"""What a dialogue is made of while it lives: an open session, and what comes of a turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from reflectory.errors import ConfigError, RunError
from reflectory.graphs.context import RunContext
from reflectory.graphs.wiring import Wiring
from reflectory.records import Frozen, Hit, Observation, Record, Span, StepResult, Task, Usage
from reflectory.runs.meter import BudgetMeter, MeterCallback
from reflectory.runs.recorder import StepRecorder

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


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
    """A session that is open: its task, State, live context and when it was last used (seconds since 1970).

    Attributes:
        thread: Name of its thread.
        failed: How often it could not be ended.
    """

    task: Task
    thread: str
    state: dict[str, Any]
    context: RunContext
    recorder: StepRecorder
    meter: BudgetMeter
    used: float
    failed: int = 0


class Locks:
    """One message of a user at a time, one opening or closing at a time, in one event loop at a time.

    Attributes:
        gate: Held while everything is opened or closed.
        users: The locks somebody holds or waits for; the others are forgotten.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self.gate = asyncio.Lock()
        self.users: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def here(self) -> bool:
        """Refuse two event loops at once; a loop that has ended is forgotten, its locks with it.

        Returns:
            Whether this loop is a new one.

        Raises:
            RunError: Another loop is using the dialogue.
        """
        loop, before = asyncio.get_running_loop(), self._loop
        if loop is before:
            return False
        if before is not None and before.is_running():
            msg = "this Runner's dialogue runs in another event loop. Use either send or asend, and one event loop."
            raise RunError(msg)
        self._loop, self.gate = loop, asyncio.Lock()
        self.users.clear()
        return True

    def leave(self) -> None:
        """Let the next loop be another one."""
        self._loop = None

    def user(self, name: str) -> asyncio.Lock:
        """The lock of a user."""
        return self.users.setdefault(name, asyncio.Lock())


async def drive(graph: object, live: Live) -> None:
    """Send a session's State through its graph once.

    Args:
        graph: A wiring, or a compiled graph.
        live: The session.
    """
    from langchain_core.runnables.config import var_child_runnable_config

    config: RunnableConfig = {"callbacks": [MeterCallback(live.meter)]}
    if not isinstance(graph, Wiring):
        compiled: Any = graph
        live.state.update(await compiled.ainvoke(live.state, config, context=live.context))
        return
    token = var_child_runnable_config.set(config)
    try:
        await graph.drive(live.state, live.context)
    finally:
        var_child_runnable_config.reset(token)


def heard(text: str | Observation, thread: str, user: str) -> Observation:
    """A message as it is taken in.

    Raises:
        ConfigError: It is empty, or holds what is no text.
    """
    observation = text if isinstance(text, Observation) else Observation(spans=(Span(text=text, origin="user"),))
    if not user or not thread or not observation.text.strip():
        msg = "a message needs a text, a thread and a user, none of them empty."
        raise ConfigError(msg)
    for name, part in (("text", observation.text), ("url", observation.url or ""), ("thread", thread), ("user", user)):
        try:
            part.encode("utf-8")
        except UnicodeEncodeError as error:
            msg = (
                f"the message's {name} holds {part[error.start]!a} at position {error.start}, which is no character and cannot be "
                "written as UTF-8. Decode what you read with its own encoding, or with errors='replace'."
            )
            raise ConfigError(msg) from None
    return observation


def difference(after: Usage, before: Usage) -> Usage:
    """What was used between two readings of a meter."""
    old = before.model_dump()
    return Usage.model_validate({name: value - old[name] for name, value in after.model_dump().items()})
