"""Pins: a tool whose name, description, effect or arguments have changed since it was approved is blocked until it is approved again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from reflectory.errors import ConfigError, ToolError, did_you_mean
from reflectory.execution import ToolResult
from reflectory.protocols import Tool
from reflectory.tools.prepared import Prepared, Stateful, Wrapped, is_stateful, refused


def pin(tool: Tool) -> str:
    """A hash of all that a model and an approval rule are told of a tool: name, description, effect, schema of the arguments."""
    told = [tool.name, tool.description, tool.effect, tool.parameters]
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=True, default=dict).encode()).hexdigest()


class Pinned(Sequence[Tool]):
    """A list of tools that stay as they were approved.

    A tool is approved as it is when it is first listed. From then on its pin is compared at every call, and with the file at every start:
    a server that changes a tool's description after it was approved (a rug pull) gets it blocked, its new words unread by the model.

    Args:
        tools: The tools.
        file: JSON file of name → pin, made where there is none; None remembers within this process.

    Raises:
        ConfigError: The file cannot be read or written.
        ToolError: Two tools have one name.
    """

    def __init__(self, tools: Iterable[Tool], file: str | Path | None = None) -> None:
        self._file = None if file is None else Path(file)
        self._pins = self._read()
        given = list(tools)
        self._tools = {tool.name: tool for tool in given}
        if len(self._tools) < len(given):
            msg = f"two tools have one name: {', '.join(sorted(tool.name for tool in given))}."
            raise ToolError(msg)
        new = {name: pin(tool) for name, tool in self._tools.items() if name not in self._pins}
        if new:
            self._keep(new, approved=False)

    @overload
    def __getitem__(self, index: int) -> Tool: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tool]: ...
    def __getitem__(self, index: int | slice) -> Tool | list[Tool]:
        guarded: list[Tool] = [_Guarded(name, tool, self).around(tool) for name, tool in self._tools.items()]
        return guarded[index]

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self[:])

    @property
    def changed(self) -> list[str]:
        """Names of the tools that are blocked, sorted."""
        return sorted(name for name, tool in self._tools.items() if not self.holds(name, tool))

    def holds(self, name: str, tool: Tool) -> bool:
        """Whether a tool is still what was approved under this name."""
        return self._pins.get(name) == pin(tool)

    def approve(self, name: str) -> None:
        """Approve a tool as it is now.

        Args:
            name: The name it was listed under.

        Raises:
            ToolError: There is no such tool.
        """
        if name not in self._tools:
            msg = f"there is no tool {name!r}. {did_you_mean(name, self._tools)}"
            raise ToolError(msg)
        self._keep({name: pin(self._tools[name])}, approved=True)

    def _read(self) -> dict[str, str]:
        if self._file is None or not self._file.exists():
            return {}
        try:
            pins = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"cannot read the pins {self._file}: {error}. Mend it; deleting it approves all tools as they are."
            raise ConfigError(msg) from error
        if not isinstance(pins, dict) or not all(isinstance(value, str) for value in pins.values()):
            msg = f"{self._file} must hold name → pin. Mend it; deleting it approves all tools as they are."
            raise ConfigError(msg)
        return pins

    def _keep(self, new: Mapping[str, str], *, approved: bool) -> None:
        """Add pins to those that the file has by now: other processes write there, too.

        Args:
            new: Name → pin.
            approved: Whether they stand in for what the file says; else they are only added where it says nothing.
        """
        if self._file is None:
            self._pins |= new
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._file.with_name(f"{self._file.name}.lock")):
                there = self._read()
                self._pins = {**there, **new} if approved else {**new, **there}
                draft = self._file.with_name(f"{self._file.name}.{os.getpid()}.new")
                draft.write_text(json.dumps(self._pins, indent=1, sort_keys=True) + "\n", encoding="utf-8")
                draft.replace(self._file)
        except OSError as error:
            msg = f"cannot write the pins {self._file}: {error.strerror or error}."
            raise ConfigError(msg) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the file stays, because a lock on a deleted file keeps nobody out."""
    import fcntl

    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Guarded(Wrapped):
    """A tool that answers, and shows its words, only while it is what was approved."""

    def __init__(self, name: str, tool: Tool, pins: Pinned) -> None:
        super().__init__(tool)
        self._name, self._pins = name, pins

    @property
    def name(self) -> str:
        return self._name

    @property
    def description(self) -> str:
        return super().description if self._holds else "(Blocked: it has changed since it was approved.)"

    @property
    def parameters(self) -> Mapping[str, Any]:
        return super().parameters if self._holds else {"type": "object", "properties": {}}

    @property
    def _holds(self) -> bool:
        return self._pins.holds(self._name, self._tool)

    def prepare(self, arguments: Mapping[str, Any]) -> Prepared:
        ready = super().prepare(arguments) if self._holds else Prepared(refusal=self._blocked())
        return ready if ready.refusal is not None else Prepared(ready.arguments, act=lambda: self._act(ready))

    async def _act(self, ready: Prepared) -> ToolResult:
        return await ready.call() if self._holds else self._blocked()  # it may have changed while a person was asked

    def _blocked(self) -> ToolResult:
        text = f"The tool {self._name} was not called: its name, description, effect or arguments have changed since it was approved."
        return refused(text, "blocked")

    def around(self, tool: Tool) -> Wrapped:
        return (_GuardedState if is_stateful(tool) else _Guarded)(self._name, tool, self._pins)


class _GuardedState(_Guarded, Stateful):
    """The same around a tool that keeps something from call to call."""
