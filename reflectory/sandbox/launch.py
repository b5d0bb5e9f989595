"""From settings to a process: what a tier has to say so that a box can be started in it."""

from __future__ import annotations

import compileall
import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from reflectory.execution import Limits, SandboxReport

GUEST = Path(__file__).parent / "guest"
#: What programs in a box find in their environment, beside what the settings add.
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TERM": "dumb",
    "TZ": "UTC",
}


@dataclass(frozen=True)
class Settings:
    """What a box is to be.

    Attributes:
        limits: What it may use.
        environment: Variables beside `ENVIRONMENT`; nothing is taken over from this process.
        read_only: Files and folders of this machine that it may read, at the same paths.
        packages: Whether the interpreter finds the packages installed beside this one.
        proxy: Path of the Unix socket of an egress proxy; None for no network at all.
        user: Numeric user the box's processes run as, where this process may choose; None keeps the own one.
        python: The interpreter; None means the one that runs this.
    """

    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)
    read_only: tuple[Path, ...] = ()
    packages: bool = False
    proxy: Path | None = None
    user: int | None = None
    python: Path | None = None

    @property
    def interpreter(self) -> Path:
        """The interpreter's own file, links followed."""
        return Path(os.path.realpath(self.python or sys.executable))

    @property
    def package_folders(self) -> tuple[Path, ...]:
        """Where the interpreter finds installed packages; empty without `packages`."""
        if not self.packages:
            return ()
        return tuple(Path(part) for part in sys.path if Path(part).name in {"site-packages", "dist-packages"} and Path(part).is_dir())


@dataclass(frozen=True)
class Launch:
    """A process to be started.

    Attributes:
        argv: Its command line; speaks frames on stdin and stdout.
        spec: What the agent in it is told first: `work`, `environment`, `limits`, `paths`, `watch_files`, `confine`, and more by tier.
        seccomp: Filter program the agent installs; empty for none.
        environment: Of the process itself.
        user: Numeric user it is started as; None for the own one.
        kill_at_once: Whether killing it ends everything in the box.
        started: Called with its process id before anything runs in the box (to put it into a cgroup).
        cleanup: Called when it is gone.
    """

    argv: tuple[str, ...]
    spec: Mapping[str, Any]
    seccomp: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    kill_at_once: bool = False
    started: Callable[[int], None] = lambda pid: None
    cleanup: Callable[[], None] = lambda: None


class Tier(Protocol):
    """A way to keep a box apart from the rest of the machine."""

    name: str

    def report(self) -> SandboxReport:
        """Whether it works here and what it keeps in; tried once per process."""
        ...

    def launch(self, settings: Settings) -> Launch:
        """How to start a box.

        Raises:
            SandboxError: The tier cannot do what the settings ask.
        """
        ...


def base_spec(settings: Settings, work: str) -> dict[str, Any]:
    """What every tier tells the agent.

    Args:
        settings: What the box is to be.
        work: Path of the working folder as the box sees it.
    """
    environment = {**ENVIRONMENT, "HOME": work, "TMPDIR": "/tmp", **settings.environment}
    environment["PATH"] = f"{settings.interpreter.parent}:{environment['PATH']}"
    if settings.packages:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, settings.package_folders))
    return {
        "work": work,
        "environment": environment,
        "limits": settings.limits.model_dump(mode="json"),
        "paths": [str(folder) for folder in settings.package_folders],
        "watch_files": False,
        "confine": "self",
    }


def boot(settings: Settings, folder: str = str(GUEST.parent)) -> tuple[str, ...]:
    """Command line of the agent.

    Args:
        settings: Names the interpreter.
        folder: What holds the folder `guest`, as the box sees it.
    """
    _compiled()
    code = f"import sys; sys.path.insert(0, {folder!r}); from guest.agent import main; main()"
    return str(settings.interpreter), "-I", "-S", "-B", "-c", code


@functools.cache
def _compiled() -> None:
    """Bytecode for the guest, which cannot write its own; without it every start takes some milliseconds more."""
    compileall.compile_dir(str(GUEST), quiet=2)
