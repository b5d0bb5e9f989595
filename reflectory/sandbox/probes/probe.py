"""What a probe is, and the list of all of them."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

#: Who can do it where nothing forbids it: anybody, root alone, or nobody (it is dangerous, or meaningless, outside a sandbox).
Control = Literal["user", "root", ""]
Then = Literal["", "get", "put"]
GROUPS = ("files", "writes", "processes", "network", "privileges", "kernel", "terminal", "storage", "resources", "lies")
_Attack = TypeVar("_Attack", bound=Callable[..., Any])
_MADE: dict[str, Probe] = {}


@dataclass(frozen=True)
class Probe:
    """One attack.

    Attributes:
        name: Unique; for example "read_absolute".
        group: One of `GROUPS`.
        tries: What it does, in one line.
        code: Python for the box's interpreter; empty where it is a program or a shell command.
        argv: Program and arguments, with `{secret}` and the like filled in from the canaries.
        command: For the box's shell, filled in likewise.
        control: Who must succeed with it without any sandbox, on canaries; this shows that the probe works. "" for none.
        then: What the host does after it: fetch all files, or write through what the attack left.
        limit: Which limit it strains, for the groups `storage` and `resources`; it only runs where the mild attack on that limit was held.
        mild: Whether it is the mild attack itself.
        leak: Words that a sandbox's report must hold, all in one sentence of `leaks`, to have declared this.
    """

    name: str
    group: str
    tries: str
    code: str = ""
    argv: tuple[str, ...] = ()
    command: str = ""
    control: Control = ""
    then: Then = ""
    limit: str = ""
    mild: bool = False
    leak: tuple[str, ...] = ()

    @property
    def harmless(self) -> bool:
        """Whether it may also run without a sandbox, on canaries made for it."""
        return bool(self.control)

    def source(self, told: Mapping[str, Any]) -> str:
        """Everything the box's interpreter runs.

        Args:
            told: What the attack is told about the canaries; plain JSON.
        """
        return f"{inside_source()}\n{self.code}\nmain({self.name}, json.loads({json.dumps(told)!r}))\n"


@functools.cache
def inside_source() -> str:
    """The helpers of attacks as text; they run in boxes that do not have this package."""
    return Path(__file__).with_name("inside.py").read_text(encoding="utf-8")


def attack(**facts: Any) -> Callable[[_Attack], _Attack]:
    """Make a probe of a function that runs inside the box; its name and docstring are the probe's, its module the group.

    The function is sent as source: it sees the names of `inside.py` alone.

    Args:
        **facts: Further fields of `Probe`.
    """

    def made(function: _Attack) -> _Attack:
        source = inspect.getsource(function)
        code = source[re.search(r"^def ", source, re.MULTILINE).start() :]  # type: ignore[union-attr]
        tries = (inspect.getdoc(function) or "").rstrip(".")
        add(Probe(name=function.__name__, group=function.__module__.rpartition(".")[2], tries=tries, code=code, **facts))
        return function

    return made


def add(probe: Probe) -> None:
    """Put a probe into the list.

    Raises:
        ValueError: There is one of this name.
    """
    if _MADE.get(probe.name, probe) != probe:
        msg = f"there are two probes {probe.name!r}"
        raise ValueError(msg)
    _MADE[probe.name] = probe


def all_probes() -> dict[str, Probe]:
    """Every probe by its name; those that strain a limit mildly stand before those that strain it hard."""
    for group in GROUPS:
        importlib.import_module(f"reflectory.sandbox.probes.{group}")
    return dict(sorted(_MADE.items(), key=lambda item: (GROUPS.index(item[1].group), not item[1].mild, item[0])))
