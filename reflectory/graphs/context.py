"""What is alive during a run, handed to every node as LangGraph's `context=`; never stored, rebuilt at resume."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from reflectory.agents.role import Recorder, Session
from reflectory.agents.view import View
from reflectory.config import RunConfig
from reflectory.errors import UnknownName, did_you_mean
from reflectory.execution import EffectKind, ToolResult
from reflectory.protocols import Memory, Model
from reflectory.records import Budget, Task, Usage, Verdict
from reflectory.tools.approval import Decision, Human, Policy, call_approved
from reflectory.tools.convert import as_tool
from reflectory.tools.rules import Call

Decoded = TypeVar("Decoded")


class Meter(Protocol):
    """Counts what an attempt costs and refuses what would exceed its Budget."""

    @property
    def budget(self) -> Budget:
        """The limits."""
        ...

    @property
    def usage(self) -> Usage:
        """What the episode cost so far, all attempts together."""
        ...

    def start_attempt(self) -> None:
        """Begin a new attempt: its limits count from here."""
        ...

    def take_reflection(self) -> None:
        """Count one reflection.

        Raises:
            LimitReached: The budget of reflections is spent.
        """
        ...


@runtime_checkable
class Calling(Protocol):
    """A world whose actions are calls of tools: approval goes by the tool, not by the world."""

    def called(self, action: str) -> tuple[str, EffectKind, Mapping[str, Any]] | None:
        """(Tool, effect, arguments as the tool will get them) of an action; None where it calls nothing."""
        ...


@dataclass
class RunContext:
    """The live side of one episode.

    Attributes:
        run: "RUN/TASK": the episode's identity, the first part of every Step id.
        task: What to do.
        config: The settings.
        view: How the world is shown to the models.
        env: The world session of this lane.
        models: Role → model, each behind the meter; the solver's plays the roles that are not named.
        recorder: Where Steps go.
        budget: The meter.
        memory: What stays between runs, or None.
        as_of: Journal position to read memory at; None reads the newest.
        last_attempt: The attempt after which the episode ends, won or not.
        tools: What can be called.
        check: The task's own checker, (task, state) → won or a Verdict; None leaves the verdict to the environment.
        approve: Asked before an action is done, with its text; False refuses it. A `Policy` is asked for more than the text, see `decide`.
        rng: The episode's own random generator, for a user's nodes.
        effects: Key → result store behind `once`.
        lane: Name of the branch that acts.
    """

    run: str
    task: Task
    config: RunConfig
    view: View
    env: Session
    models: Mapping[str, Model]
    recorder: Recorder
    budget: Meter
    memory: Memory | None = None
    as_of: int | None = None
    last_attempt: int = 1
    tools: Sequence[Any] = ()
    check: Callable[[Task, Mapping[str, Any]], bool | Verdict | Awaitable[bool | Verdict]] | None = None
    approve: Callable[[str], Awaitable[bool]] = field(default_factory=Policy)
    rng: random.Random = field(default_factory=random.Random)
    effects: Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]] | None = None
    lane: str = "main"
    _memos: dict[str, tuple[object, object]] = field(default_factory=dict)

    def model(self, role: str) -> Model:
        """The model that plays a role.

        Raises:
            UnknownName: Neither the role nor `solver` has a model.
        """
        found = self.models.get(role) or self.models.get("solver")
        if found is None:
            msg = f"no model plays the role {role!r}. {did_you_mean(role, self.models)} Name one, or one for `solver`, which stands in."
            raise UnknownName(msg)
        return found

    def reflection(self) -> None:
        """Count one reflection against the budget.

        Raises:
            LimitReached: The budget of reflections is spent.
        """
        self.budget.take_reflection()

    async def decide(self, action: str) -> Decision:
        """Whether an action may be done in this lane's world, and who says so. Asked before it is done."""
        if not isinstance(self.approve, Policy):
            return Decision(await self.approve(action), "whoever was asked decided")
        world = getattr(self.env, "world", None)
        if not isinstance(world, Calling):
            return await self.approve.decide(Call(self.task.env or "world", "write", {"action": action}, action))
        called = world.called(action)
        return Decision(True, "it calls nothing") if called is None else await self.approve.decide(Call(*called))

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call one of `tools`, when that is approved: for a user's nodes.

        Args:
            name: Name of the tool.
            arguments: JSON values by name.

        Returns:
            Its answer; errors are answers too: `denied`, `arguments`, `raised` …

        Raises:
            UnknownName: There is no such tool.
            ToolError: One of `tools` is no tool.
        """
        tools = self.memo("tools", self.tools) or self.memo("tools", self.tools, {tool.name: tool for tool in map(as_tool, self.tools)})
        if not tools or name not in tools:
            msg = f"there is no tool {name!r}. {did_you_mean(name, tools or ())} Pass it to the Runner as `tools=[…]`."
            raise UnknownName(msg)
        policy = self.approve if isinstance(self.approve, Policy) else Human(self.approve)
        return await call_approved(tools[name], arguments, policy)

    async def once(self, key: str, act: Callable[[], Awaitable[Any]]) -> Any:
        """Do a side effect at most once per run and key, also after a kill and a resume.

        The result (JSON values) is stored when the effect is done; a kill between the two repeats it: at-least-once is the truth.

        Args:
            key: Names the effect within this episode.
            act: Does it.
        """
        return await act() if self.effects is None else await self.effects(f"{self.run}/{key}", act)

    def memo(self, key: str, raw: object, value: Decoded | None = None) -> Decoded | None:
        """Remember what the JSON object `raw` decodes to, for as long as State holds this very object.

        Args:
            key: Name of the State key.
            raw: The object in State.
            value: What it decodes to; None only asks.

        Returns:
            The value kept for this very object, or None.
        """
        if value is not None:
            self._memos[key] = (raw, value)
            return value
        kept = self._memos.get(key)
        return kept[1] if kept is not None and kept[0] is raw else None  # type: ignore[return-value]
