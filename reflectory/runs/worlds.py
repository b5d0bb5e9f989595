"""Environments from names, with what their makers ask for: a sandbox, tools; and the view that fits each."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reflectory.agents.view import View
from reflectory.config import RunConfig
from reflectory.execution import SandboxReport
from reflectory.protocols import Env, Sandbox, Tool
from reflectory.records import Task
from reflectory.registry import lookup, names

#: The world that stands in for a task without one, when there are tools.
TOOLBOX = "toolbox"
_log = logging.getLogger(__name__)


def make_sandbox(config: RunConfig) -> Sandbox:
    """The sandbox that the settings ask for.

    Raises:
        SandboxMissing: None of the wanted kind works here.
        ConfigError: It cannot be held to the hosts that are named.
    """
    from reflectory.sandbox import LocalSandbox, NetworkPolicy, Settings

    wanted = config.sandbox
    settings = Settings(limits=wanted.limits, packages=wanted.packages)
    network = NetworkPolicy(allow=wanted.network) if wanted.network else None
    return LocalSandbox(wanted.tier, settings=settings, network=network, allow_unsafe=wanted.allow_unsafe)


def sandbox_of(config: RunConfig, tasks: Iterable[Task], tools: Sequence[Any] = ()) -> SandboxReport | None:
    """What keeps the code of these tasks in; None when none of their worlds runs code.

    Raises:
        SandboxMissing: A world needs a sandbox and none works here.
    """
    envs = sorted({task.env for task in tasks if task.env is not None})
    if not any(_runs_code(name, lookup("env", name), tools) for name in envs):
        return None
    report = make_sandbox(config).report
    if report.level == "none":
        _log.warning(unsafe(report))
    return report


def placed(task: Task, tools: Sequence[Any]) -> Task:
    """The task with a world: one that names none plays with the tools, where there are any."""
    return task.model_copy(update={"env": TOOLBOX}) if task.env is None and tools else task


def unsafe(report: SandboxReport) -> str:
    """The sentence that every run without isolation shows."""
    return f"NO SANDBOX: code of the agent runs with your rights, as allow_unsafe says ({'; '.join(report.leaks)})."


def kept_in(tier: str | None) -> str:
    """How a summary of a run names its sandbox; nothing where there was no code to keep in."""
    return "" if tier is None else ", NO SANDBOX" if tier == "none" else f", sandbox {tier}"


class Worlds:
    """Makes the environments and views of a run.

    Args:
        config: The settings.
        tools: What can be called in a toolbox.
    """

    def __init__(self, config: RunConfig, tools: Sequence[Any] = ()) -> None:
        self._config, self._tools = config, tools
        self._as_tools: list[Tool] | None = None
        self._sandbox: Sandbox | None = None
        self._views: dict[str, View] = {}

    def maker(self, name: str) -> Callable[[], Env]:
        """What makes an environment of this name.

        Raises:
            UnknownName: There is none.
            SandboxMissing: It needs a sandbox, and none works here.
        """
        factory = lookup("env", name)
        takes = _takes(factory)
        given: dict[str, Any] = {}
        if "tools" in takes:
            given["tools"] = self._made()
        if _runs_code(name, factory, self._tools):
            self._sandbox = self._sandbox or make_sandbox(self._config)
            given["sandbox"] = self._sandbox
        return functools.partial(factory, **given)

    def _made(self) -> list[Tool]:
        """The tools, whatever they were given as, each made once."""
        if self._as_tools is None:
            from reflectory.tools import as_tool

            self._as_tools = [as_tool(given) for given in self._tools]
        return self._as_tools

    def view(self, env: str | None) -> View:
        """How a world is shown: as the settings say, else as is made for it, else its raw transcript."""
        wanted = self._config.prompt
        key = env or "" if wanted == "auto" else wanted
        if key not in self._views:
            own = wanted == "auto" and key in names("view")
            self._views[key] = lookup("view", key)() if own else lookup("prompt", "raw" if wanted == "auto" else wanted)()
        return self._views[key]


def _runs_code(name: str, factory: Any, tools: Sequence[Any]) -> bool:
    """Whether a world runs code that an agent wrote: one that asks for a sandbox, but a toolbox only for tools that need one."""
    return "sandbox" in _takes(factory) and (name != TOOLBOX or any(getattr(tool, "needs_sandbox", False) for tool in tools))


def _takes(factory: Any) -> frozenset[str]:
    """Names of the parameters of what makes an environment."""
    try:
        return frozenset(inspect.signature(factory).parameters)
    except (TypeError, ValueError):
        return frozenset()
