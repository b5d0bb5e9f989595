"""A call whose arguments were read: approval judges these very values, and the tool gets them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

from reflectory.execution import EffectKind, ToolResult
from reflectory.protocols import Sandbox, Tool
from reflectory.tools.checks import WrongArguments, checked, json_object, report_unchecked
from reflectory.tools.text import said


@dataclass(frozen=True)
class Prepared:
    """A call that may be made, or is refused already.

    Attributes:
        arguments: What the tool is given, as JSON values by name, defaults included.
        refusal: Why it cannot be made; None where it can.
        act: Makes it.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    refusal: ToolResult | None = None
    act: Callable[[], Awaitable[Any]] | None = None

    async def call(self) -> ToolResult:
        """Make the call; whatever the tool raises, or returns in place of an answer, is an answer that says so."""
        if self.refusal is not None or self.act is None:
            return self.refusal or refused("There is nothing to call.")
        try:
            made = await self.act()
        except Exception as error:
            return ToolResult(text=said(error), ok=False, error="raised")
        if isinstance(made, ToolResult):
            return made
        text = f"The tool was called, but it returned a {type(made).__name__}, which is no ToolResult."
        return ToolResult(text=text, ok=False, error="form", origin="world")


@runtime_checkable
class Preparing(Protocol):
    """A tool that reads arguments apart from calling."""

    def prepare(self, arguments: Mapping[str, Any]) -> Prepared:
        """Read arguments; never raises."""
        ...


def refused(text: str, error: str = "arguments") -> ToolResult:
    """The answer in place of a call that was not made."""
    return ToolResult(text=text, ok=False, error=error, origin="world")


def prepare(tool: Tool, arguments: Mapping[str, Any]) -> Prepared:
    """Read a call's arguments: the tool does so itself, or they are checked against its schema."""
    if isinstance(tool, Preparing):
        return tool.prepare(arguments)
    try:
        read = checked(tool.parameters, json_object(arguments)[0])
    except WrongArguments as error:
        return Prepared(refusal=refused(str(error)))
    return Prepared(read, act=lambda: tool.call(read))


class Wrapped:
    """A tool around a tool; this one checks arguments against the schema that the model is shown.

    Args:
        tool: The tool inside.
    """

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    @property
    def name(self) -> str:
        """A plain identifier."""
        return self._tool.name

    @property
    def description(self) -> str:
        """What it does, for the model."""
        return self._tool.description

    @property
    def effect(self) -> EffectKind:
        """What it can do to the world."""
        return self._tool.effect

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of its arguments."""
        return self._tool.parameters

    @property
    def needs_sandbox(self) -> bool:
        """Whether the world of tools must bring a sandbox."""
        return bool(getattr(self._tool, "needs_sandbox", False))

    def prepare(self, arguments: Mapping[str, Any]) -> Prepared:
        """Read arguments; never raises."""
        return prepare(self._tool, arguments)

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Check the arguments, then call."""
        return await self.prepare(arguments).call()

    def around(self, tool: Tool) -> Wrapped:
        """The same around another tool; with the methods of a state only where that one has them."""
        return Stateful(tool) if is_stateful(tool) else Wrapped(tool)


class Stateful(Wrapped):
    """A tool around one that keeps something from call to call: each episode gets its own."""

    def session(self, sandbox: Sandbox | None, shared: MutableMapping[Hashable, Any]) -> Tool:
        """The same around the tool's own session."""
        return self.around(cast("Any", self._tool).session(sandbox, shared))

    def lose(self) -> None:
        """Have the next call say that what earlier calls left is gone."""
        cast("Any", self._tool).lose()

    async def close(self) -> None:
        """Let go of the state."""
        await cast("Any", self._tool).close()


def is_stateful(tool: Any) -> bool:
    """Whether a tool has sessions, which is what makes its `close` an episode's to call."""
    return all(callable(getattr(tool, name, None)) for name in ("session", "lose", "close"))


def wrap(tool: Tool) -> Tool:
    """A tool that checks its arguments: itself, where it does."""
    if isinstance(tool, Preparing):
        return tool
    report_unchecked(tool.name, tool.parameters)
    return Wrapped(tool).around(tool)
