"""`python` and `shell`: code that a model wrote, run in a box that keeps its state from call to call."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, MutableMapping
from typing import Any

from reflectory.errors import SandboxError, SandboxMissing
from reflectory.execution import EffectKind, Executed, Limits, ToolResult
from reflectory.protocols import Box, Sandbox
from reflectory.tools.checks import WrongArguments
from reflectory.tools.isolated import ended_for
from reflectory.tools.prepared import Prepared, refused
from reflectory.tools.schema import Arguments
from reflectory.tools.text import answer, said

Act = Callable[[Box], Awaitable[Executed]]


class Workplace:
    """A box that is opened when it is first needed and opened anew when it was lost. Tools that share one share files and limits.

    Args:
        sandbox: Makes the box; None means the one a world of tools brings, or else the strongest of this machine.

    Raises:
        SandboxMissing: The sandbox does not work here; the message says why and what to install.
    """

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        if sandbox is not None and not sandbox.report.available:
            msg = f"the sandbox {sandbox.report.tier} does not work here, so code is not run: {sandbox.report.why}"
            raise SandboxMissing(msg)
        self.sandbox = sandbox
        self._box: Box | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._lost = False

    @property
    def limits(self) -> Limits:
        """What the box may use."""
        return Limits() if self.sandbox is None else self.sandbox.limits

    def lose(self) -> None:
        """Have the next call say that what earlier calls left is gone."""
        self._lost = True

    async def do(self, act: Act) -> tuple[Executed, bool]:
        """Do something in the box, in a new one if the old one is gone.

        Args:
            act: What to do.

        Returns:
            What came of it, and whether what earlier calls left was gone before it began.

        Raises:
            SandboxError: There is no box to be had, or it refused.
        """
        if self._loop is not asyncio.get_running_loop():  # a box, and a lock, live and die with their event loop
            self._lost = self._lost or self._box is not None
            self._box, self._loop, self._lock = None, asyncio.get_running_loop(), asyncio.Lock()
        async with self._lock:
            if self._box is not None and not getattr(self._box, "alive", True):
                self._lost = True
                await self._drop()
            box = self._box or await self._open()
            lost, self._lost = self._lost, False
            try:
                executed = await act(box)
            except SandboxError:
                if getattr(box, "alive", False):
                    raise
                await self._drop()  # it died unnoticed since the last call
                return await act(await self._open()), True
            if executed.killed == "box" or not getattr(box, "alive", True):
                await self._drop()
            return executed, lost

    async def close(self) -> None:
        """End everything in the box; may be called twice, and the next call opens a new one."""
        box, self._box = self._box, None
        if box is not None and self._loop is asyncio.get_running_loop():
            await box.close()

    async def _open(self) -> Box:
        if self.sandbox is None:
            from reflectory.sandbox import LocalSandbox

            self.sandbox = LocalSandbox()
        self._box = await self.sandbox.open()
        return self._box

    async def _drop(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            with contextlib.suppress(SandboxError):
                await box.close()


class CodeTool:
    """What `PythonTool` and `ShellTool` share.

    Args:
        place: A sandbox, or a Workplace that several tools share; None takes the sandbox of the world of tools it is used in.

    Raises:
        SandboxMissing: The sandbox does not work here.
    """

    name: str
    effect: EffectKind = "execute"
    #: What a call leaves behind, and may lose.
    _state: str

    def __init__(self, place: Sandbox | Workplace | None = None) -> None:
        self._own = not isinstance(place, Workplace)
        self.workplace = place if isinstance(place, Workplace) else Workplace(place)
        self._arguments = Arguments(self._act)

    @property
    def description(self) -> str:
        """What it does, for the model."""
        return self._arguments.description

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of its arguments."""
        return self._arguments.schema

    @property
    def needs_sandbox(self) -> bool:
        """Whether it was given no sandbox, so that the world of tools must bring one."""
        return self.workplace.sandbox is None

    def _act(self, *, code: str) -> Act:
        raise NotImplementedError

    def session(self, sandbox: Sandbox | None, shared: MutableMapping[Hashable, Any]) -> CodeTool:
        """The same tool with a box of its own, for one episode.

        Args:
            sandbox: Used where this tool was given none.
            shared: Where the tools of one episode find what they share: tools that share a box here share one there.
        """
        key = "box" if self.workplace.sandbox is None else id(self.workplace)
        if key not in shared:
            shared[key] = Workplace(self.workplace.sandbox or sandbox)
        return type(self)(shared[key])

    def lose(self) -> None:
        """Have the next call say that what earlier calls left is gone."""
        self.workplace.lose()

    def prepare(self, arguments: Mapping[str, Any]) -> Prepared:
        """Read arguments; never raises."""
        try:
            read = self._arguments.read(arguments)
        except WrongArguments as error:
            return Prepared(refusal=refused(str(error)))
        return Prepared(read.arguments, act=lambda: self._do(self._act(**read.values)))

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Run code.

        Returns:
            What it printed, its value, and why it was ended if it was; `error` is `raised` for an exception, a kind of limit, `arguments`,
            or `sandbox`.
        """
        return await self.prepare(arguments).call()

    async def _do(self, act: Act) -> ToolResult:
        began, most = time.monotonic(), 4 * self.workplace.limits.output_kb * 1024
        try:
            executed, fresh = await self.workplace.do(act)
        except SandboxError as error:
            return answer(f"The code was not run: {error}", most=most, began=began, error="sandbox", origin="world")
        except Exception as error:  # a sandbox of somebody else's making
            return answer(f"The code was not run: {said(error)}", most=most, began=began, error="sandbox", origin="world")
        gone = f"A new sandbox was started before this call: the {self._state} of earlier calls are gone.\n" if fresh else ""
        made = answer(gone + self._show(executed), most=most, began=began, error=executed.killed or ("raised" if executed.error else ""))
        cut = executed.stdout.truncated or executed.stderr.truncated
        return made.model_copy(update={"truncated": made.truncated or cut})

    async def close(self) -> None:
        """End the box, if it is this tool's own; may be called twice."""
        if self._own:
            await self.workplace.close()

    def _show(self, executed: Executed) -> str:
        """Output, errors and value, then how it ended."""
        parts = [executed.stdout.text, executed.stderr.text]
        if executed.value:
            parts.append(f"value: {executed.value}")
        if executed.killed:
            kept = f"Its {self._state} are gone." if executed.lost else f"Its {self._state} are kept."
            parts.append(f"It was ended: {ended_for(executed, self.workplace.limits)}. {kept}")
        elif executed.lost:
            status = "" if executed.exit_code is None else f" with exit status {executed.exit_code}"
            parts.append(f"It ended itself{status}. Its {self._state} are gone.")
        elif executed.exit_code:
            parts.append(f"exit status {executed.exit_code}")
        shown = "\n".join(part.rstrip("\n") for part in parts if part)
        return shown or "(no output)"


class PythonTool(CodeTool):
    """A Python interpreter whose names stay from call to call, in a sandbox.

    Args:
        place: A sandbox, or a Workplace shared with other tools; None takes the sandbox of the world of tools it is used in.

    Raises:
        SandboxMissing: The sandbox does not work here; the message says why and what to install.
    """

    name = "python"
    _state = "variables"

    def _act(self, *, code: str) -> Act:
        """Run Python code. Names stay from call to call; the value of a last expression is shown.

        Args:
            code: The code.
        """
        return lambda box: box.python(code)


class ShellTool(CodeTool):
    """A bash whose folder, variables and functions stay from call to call, in a sandbox.

    Args:
        place: A sandbox, or a Workplace shared with other tools; None takes the sandbox of the world of tools it is used in.

    Raises:
        SandboxMissing: The sandbox does not work here; the message says why and what to install.
    """

    name = "shell"
    _state = "folder and variables"

    def _act(self, *, command: str) -> Act:  # type: ignore[override]
        """Run a command in bash. Folder, variables and functions stay from call to call.

        Args:
            command: The command.
        """
        return lambda box: box.shell(command)
