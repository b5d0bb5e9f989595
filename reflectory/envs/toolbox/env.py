"""An environment whose actions are tool calls."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Hashable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from reflectory.envs.toolbox.actions import FORM, Answer, ToolCall, read_action
from reflectory.envs.toolbox.texts import listing, returned
from reflectory.errors import ConfigError, EnvError, ParseError, did_you_mean
from reflectory.execution import EffectKind, ToolResult
from reflectory.protocols import Sandbox, Tool
from reflectory.records import Effect, Observation, Span, StepResult, Task

#: Errors after which it is certain that nothing was done.
_NOTHING_DONE = frozenset({"arguments", "denied", "blocked", "sandbox"})


@runtime_checkable
class Stateful(Protocol):
    """A tool that keeps something from call to call: each episode gets its own."""

    def session(self, sandbox: Sandbox | None, shared: MutableMapping[Hashable, Any]) -> Tool:
        """The same tool with a state of its own.

        Args:
            sandbox: Used where the tool was given none.
            shared: Where the tools of one episode find what they share.
        """
        ...

    def lose(self) -> None:
        """Have the next call say that what earlier calls left is gone."""
        ...

    async def close(self) -> None:
        """Let go of the state; may be called twice."""
        ...


class Ready(Protocol):
    """A call whose arguments were read."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What the tool is given, as JSON values by name: what approval judges."""
        ...

    @property
    def refusal(self) -> ToolResult | None:
        """Why it cannot be made; None where it can."""
        ...

    async def call(self) -> ToolResult:
        """Make the call, or say why not."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A tool that reads arguments apart from calling, so that what is approved is what it gets."""

    def prepare(self, arguments: Mapping[str, Any]) -> Ready:
        """Read arguments; never raises."""
        ...


@dataclass(frozen=True)
class _AsGiven:
    """A call of a tool that reads its arguments itself."""

    tool: Tool
    arguments: Mapping[str, Any]
    refusal: ToolResult | None = None

    async def call(self) -> ToolResult:
        return await self.tool.call(self.arguments)


class ToolboxEnv:
    """Tools as a world. An action is `{"tool": NAME, "arguments": {…}}` or `{"answer": TEXT}`, which ends the episode.

    The reward is 1 for an answer that equals `task.inputs["expected"]` (white space around it aside), else 0; a task's own check judges
    whatever else counts. A snapshot holds what was last shown: after a restart no tool is called again.

    Args:
        tools: What can be called; tools that keep a state (an interpreter) are made anew for every episode. Arguments of an object of
            your own are checked against its schema when it went through `reflectory.tools.as_tool`, as it does in a run.
        sandbox: For tools that run code and were given no sandbox of their own.

    Raises:
        ConfigError: Two tools have one name, or something is no tool.
    """

    blocking = False

    def __init__(self, tools: Iterable[Tool] = (), sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox
        self._given: dict[str, Tool] = {}
        for tool in tools:
            if not isinstance(tool, Tool):
                msg = f"a {type(tool).__name__} is no tool. Make it one with reflectory.tools.as_tool."
                raise ConfigError(msg)
            if tool.name in self._given:
                msg = f"two tools are called {tool.name!r}; rename one."
                raise ConfigError(msg)
            self._given[tool.name] = tool
        self._tools: dict[str, Tool] = {}
        self._shared: dict[Hashable, Any] = {}
        self._task: Task | None = None
        self._last = Observation("")
        self._ready: tuple[str, Ready] | None = None

    async def reset(self, task: Task, *, seed: int) -> Observation:
        """Show the goal and the tools. The seed plays no part: what tools do is not this world's to repeat."""
        await self._start(task)
        tools = f"Tools:\n{listing(self._tools.values())}" if self._tools else "There are no tools."
        self._last = Observation(f"{task.goal}\n\n{tools}\n\n{FORM}")
        return self._last

    def called(self, action: str) -> tuple[str, EffectKind, Mapping[str, Any]] | None:
        """(Tool, effect, arguments) of an action, for approval before it is done; None where it calls no tool.

        The arguments are those that the tool will get when `step` is given the same action next: converted, with defaults.
        """
        self._ready = None
        with contextlib.suppress(ParseError):
            read = self._read(action)
            if isinstance(read, ToolCall) and read.tool in self._tools:
                tool = self._tools[read.tool]
                ready = _prepare(tool, read.arguments)
                self._ready = action, ready
                return None if ready.refusal is not None else (read.tool, tool.effect, ready.arguments)
        return None

    async def step(self, action: str) -> StepResult:
        """Call a tool, or answer. What cannot be read, and what is refused, changes nothing and says so.

        Raises:
            EnvError: Not reset yet.
        """
        if self._task is None:
            msg = "the world of tools was not reset; call reset(task, seed=…) first"
            raise EnvError(msg)
        try:
            read = self._read(action)
        except ParseError as error:
            return self._refuse(str(error))
        if isinstance(read, Answer):
            expected = self._task.inputs.get("expected")
            won = expected is not None and read.text.strip() == str(expected).strip()
            self._last = Observation("The answer was given.")
            return StepResult(observation=self._last, reward=float(won), terminated=True, effect=Effect(changed=True))
        tool = self._tools.get(read.tool)
        if tool is None:
            return self._refuse(f"There is no tool {read.tool!r}. {did_you_mean(read.tool, self._tools)} {FORM}")
        kept, self._ready = self._ready, None
        ready = kept[1] if kept is not None and kept[0] == action else _prepare(tool, read.arguments)
        result = await _call(ready)
        self._last = Observation(spans=returned(tool.name, result.text, result.origin))
        return StepResult(observation=self._last, effect=_effect(tool.effect, result))

    async def close(self) -> None:
        """Let go of what the tools of this episode keep; the tools that were given belong to their owner."""
        for tool in self._tools.values():
            if isinstance(tool, Stateful):
                await tool.close()
        for place in self._shared.values():
            await place.close()
        self._tools, self._shared, self._task, self._ready = {}, {}, None, None

    def snapshot(self) -> str:
        """What was last shown, as a JSON token."""
        return self._last.model_dump_json()

    def restore(self, token: str) -> Observation:
        """Show what was shown when the token was taken, and have tools that keep a state say at their next call that it is gone."""
        self._last = Observation(**json.loads(token))
        for tool in self._tools.values():
            if isinstance(tool, Stateful):
                tool.lose()
        return self._last

    async def _start(self, task: Task) -> None:
        await self.close()
        self._task = task
        for name, tool in self._given.items():
            self._tools[name] = tool.session(self._sandbox, self._shared) if isinstance(tool, Stateful) else tool

    def _read(self, action: str) -> ToolCall | Answer:
        return read_action(action, {name: list(tool.parameters.get("properties", {})) for name, tool in self._tools.items()})

    def _refuse(self, text: str) -> StepResult:
        self._last = Observation(spans=(Span(text=text),))
        return StepResult(observation=self._last, effect=Effect(changed=False, detail=text))


def _prepare(tool: Tool, arguments: Mapping[str, Any]) -> Ready:
    return tool.prepare(arguments) if isinstance(tool, Preparing) else _AsGiven(tool, arguments)


async def _call(ready: Ready) -> ToolResult:
    """Make a call, of a tool that raises or returns no answer although none may included."""
    try:
        result: Any = await ready.call()
    except Exception as error:
        return ToolResult(text=f"{type(error).__name__}: {error}", ok=False, error="raised")
    if isinstance(result, ToolResult):
        return result
    text = f"The tool was called, but it returned a {type(result).__name__}, which is no ToolResult."
    return ToolResult(text=text, ok=False, error="form", origin="world")


def _effect(effect: EffectKind, result: ToolResult) -> Effect:
    """Whether a call changed anything. A call that failed, or is no longer waited for, may have: nobody can tell."""
    harmless = effect in {"none", "read"}
    if result.ok:
        return Effect(changed=None if harmless else True)
    return Effect(changed=False if harmless or result.error in _NOTHING_DONE else None, detail=result.error or "failed")
