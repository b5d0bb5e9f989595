"""`@tool`: a typed function becomes a Tool."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, overload

from reflectory.errors import ToolError
from reflectory.execution import EffectKind, Limits, ToolResult
from reflectory.records import OriginKind
from reflectory.tools import inline
from reflectory.tools.isolated import check_reachable, in_child
from reflectory.tools.prepared import Prepared
from reflectory.tools.schema import Arguments, Read, Reader
from reflectory.tools.text import answer

#: Calls of one tool that may hang in the background; beyond, it is refused until one of them comes back.
MOST_HANGING = 8
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Options:
    """How a function is a tool.

    Attributes:
        name: What the model calls it; "" is the function's own name.
        description: What the model is told; "" is the docstring up to its first section.
        effect: What it can do to the world.
        origin: Who could have written what it returns.
        limits: In this process `seconds` and `output_kb` hold; isolated, all of them do.
        isolated: Whether it runs in a process of its own.
    """

    name: str = ""
    description: str = ""
    effect: EffectKind = "write"
    origin: OriginKind = "content"
    limits: Limits = field(default_factory=Limits)
    isolated: bool = False


class FunctionTool:
    """A function as a Tool. It may still be called as the function it is.

    Args:
        function: Sync or async, with typed parameters.
        options: How it is a tool.
        arguments: Describes and reads its arguments; None goes by its signature.

    Raises:
        ToolError: It cannot be described, or cannot run isolated; the message says why.
    """

    def __init__(self, function: Callable[..., Any], options: Options | None = None, arguments: Reader | None = None) -> None:
        self.options = options or Options()
        self.function = function
        self._arguments = arguments or Arguments(function)
        self._name = self.options.name or getattr(function, "__name__", "")
        if not NAME.fullmatch(self._name):
            msg = f"{self._name or type(function).__name__!r} is no name for a tool: letters, digits, `_` and `-`. Write it as a `def`."
            raise ToolError(msg)
        if self.options.isolated:
            check_reachable(function)
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
        self._left = inline.Left()
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, unchecked and without limits."""
        return self.function(*args, **kwargs)

    @property
    def name(self) -> str:
        """A plain identifier."""
        return self._name

    @property
    def description(self) -> str:
        """What it does, for the model."""
        return self.options.description or self._arguments.description

    @property
    def effect(self) -> EffectKind:
        """What it can do to the world."""
        return self.options.effect

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of its arguments."""
        return self._arguments.schema

    def prepare(self, arguments: Mapping[str, Any]) -> Prepared:
        """Read arguments; never raises.

        Args:
            arguments: JSON values by name.
        """
        read = self._read(arguments)
        return Prepared(refusal=read) if isinstance(read, ToolResult) else Prepared(read.arguments, act=lambda: self._call(read))

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Check the arguments, then call the function within its limits.

        Args:
            arguments: JSON values by name.

        Returns:
            Its result as text, or what went wrong: `arguments`, `raised`, `time`, `form`, `blocked`; isolated also `memory`, `processes`,
            `disk`, `files`, `output` and `sandbox`.

        Raises:
            ToolError: An isolated tool is called while its own process loads the program it is written in.
        """
        read = self._read(arguments)
        return read if isinstance(read, ToolResult) else await self._call(read)

    def _read(self, arguments: Mapping[str, Any]) -> Read | ToolResult:
        try:
            return self._arguments.read(arguments)
        except BaseException as error:  # what does not fit; a type's own validators are the user's code, too
            return self.finish(inline.misfit_of(error), time.monotonic())

    async def _call(self, read: Read) -> ToolResult:
        began = time.monotonic()
        if self.options.isolated:
            made = await in_child(self.function, read.given, self.options.limits, self.options.origin)
            took = {"seconds": time.monotonic() - began}
            return made.model_copy(update=took) if isinstance(made, ToolResult) else self.finish(made, began)
        return self.finish(await self._run(read.values), began)

    def finish(self, outcome: inline.Outcome, began: float) -> ToolResult:
        """An outcome as the answer: cut, with the origin of what it says.

        Args:
            outcome: What came of a call.
            began: `time.monotonic()` when it began.
        """
        most, made = self.options.limits.output_kb * 1024, outcome.result
        if made is not None:
            return answer(made.text, most=most, began=began, error=made.error, origin=made.origin).model_copy(update={"ok": made.ok})
        # What this package itself says is not what a third party could have written.
        origin = "world" if outcome.error not in {"", "raised", "form"} else self.options.origin
        return answer(outcome.text, most=most, began=began, error=outcome.error, origin=origin)

    async def _run(self, values: dict[str, Any]) -> inline.Outcome:
        if (hanging := len(self._left)) >= MOST_HANGING:
            return inline.Outcome(f"{hanging} earlier calls of this tool still hang, so it is not called again.", "blocked")
        run = inline.in_loop if self._is_async else inline.on_thread
        return await run(lambda: self.function(**values), self.options.limits.seconds, self._left)

    def here(self, arguments: Mapping[str, Any]) -> inline.Outcome:
        """Check the arguments and call the function, without a limit: what the child process of an isolated tool does."""
        try:
            values = self._arguments.read(arguments).values
        except BaseException as error:
            return inline.misfit_of(error)
        return inline.run(lambda: asyncio.run(self.function(**values)) if self._is_async else self.function(**values))


@overload
def tool(function: Callable[..., Any], /) -> FunctionTool: ...
@overload
def tool(
    *, effect: EffectKind = ..., origin: OriginKind = ..., seconds: float | None = ..., limits: Limits | None = ..., isolated: bool = ...
) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: EffectKind = "write",
    origin: OriginKind = "content",
    seconds: float | None = None,
    limits: Limits | None = None,
    isolated: bool = False,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Make a tool of a typed function; `@tool` and `@tool(effect="read")` both work.

    Args:
        function: Sync or async. Its name, docstring and types are what the model is told; Google-style `Args:` describe the arguments.
        effect: What it can do to the world: none, read, write, execute, network.
        origin: Who could have written what it returns; `world` only for what your own code computed.
        seconds: Wall time of one call; None is that of `limits`.
        limits: What one call may use. In this process only its time and its output are limited.
        isolated: Run it in a process of its own, where all limits hold and a crash ends nothing else. It must be found by name in its
            module; arguments and result travel as JSON; its working folder is an empty one.

    Raises:
        ToolError: The function cannot be a tool; the message says why.
    """
    bounds = limits or Limits()
    options = Options(
        effect=effect,
        origin=origin,
        limits=bounds if seconds is None else bounds.model_copy(update={"seconds": seconds}),
        isolated=isolated,
    )
    if function is None:
        return lambda wrapped: FunctionTool(wrapped, options)
    return FunctionTool(function, options)
