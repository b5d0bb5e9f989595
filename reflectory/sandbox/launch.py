"""From settings to a process: what a tier has to say so that a box can be started in it."""

from __future__ import annotations

import compileall
import functools
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from reflectory.errors import SandboxError
from reflectory.execution import Killed, Limits, SandboxReport

GUEST = Path(__file__).parent / "guest"
#: Where a box with a root of its own sees what belongs to the sandbox, and an egress proxy's socket.
INSIDE = Path("/run/reflectory")
PROXY = INSIDE / "proxy"
#: Sets are in the same order in every interpreter; the flag `-I` would ignore this. What else `-I` does, `agent_code` and an otherwise
#: empty environment do.
SAME: Mapping[str, str] = {"PYTHONHASHSEED": "0"}
FLAGS = ("-s", "-S", "-B", "-c")
#: What programs in a box find in their environment, beside what the settings add.
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    **SAME,
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
        read_only: Files and folders of this machine that it may read, at the same paths (one with `..` at the path that this means).
        packages: Whether the interpreter finds the packages installed beside this one.
        proxy: Path of the Unix socket of an egress proxy; None for no network at all.
        user: Numeric user the box's processes run as, where this process may choose; None keeps the own one.
        python: The interpreter; None means the one that runs this.
        image: Of a container; must be there already, and have `python3`.
    """

    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)
    read_only: tuple[Path, ...] = ()
    packages: bool = False
    proxy: Path | None = None
    user: int | None = None
    python: Path | None = None
    image: str = "python:3.11-slim"

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

    @property
    def folders(self) -> tuple[Path, ...]:
        """Files and folders beside the system's own that programs in the box may read: the interpreter's, packages, `read_only`."""
        prefix = Path(sys.base_prefix) if self.python is None else self.interpreter.parent.parent
        own = () if prefix in {Path("/usr"), Path("/")} else tuple(prefix / name for name in ("bin", "lib", "lib64"))
        wanted = (
            *(path for path in own if path.exists()),
            *self.package_folders,
            *(path.resolve() if ".." in path.parts else path.absolute() for path in self.read_only),
        )
        return tuple(dict.fromkeys(wanted))


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
        started: Called with its process id when the agent is up and nothing else runs in the box (to put all into a cgroup).
        overrun: Called after each call: the limit that the kernel enforced since the last time, or "".
        cleanup: Called when it is gone.
    """

    argv: tuple[str, ...]
    spec: Mapping[str, Any]
    seccomp: bytes = b""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(SAME))
    user: int | None = None
    kill_at_once: bool = False
    started: Callable[[int], None] = lambda pid: None
    overrun: Callable[[], Killed] = lambda: ""
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
        "held": False,
        "confine": "self",
    }


def boot(settings: Settings, folder: str = str(GUEST.parent)) -> tuple[str, ...]:
    """Command line of the agent.

    Args:
        settings: Names the interpreter.
        folder: What holds the folder `guest`, as the box sees it.
    """
    _compiled()
    return str(settings.interpreter), *FLAGS, agent_code(folder)


def agent_code(folder: str) -> str:
    """What an interpreter runs to become the agent."""
    return f"import sys; sys.path[:] = [{folder!r}, *filter(None, sys.path)]; from guest.agent import main; main()"


def check(settings: Settings) -> None:
    """Make sure that this process can do what the settings ask of every tier.

    Raises:
        SandboxError: It may not choose the user, there is no such interpreter, what a program is to read does not exist, or a variable
            of the environment is none.
    """
    if settings.user not in {None, os.geteuid()} and os.geteuid() != 0:
        msg = f"only root can run a box as the user {settings.user}; leave `user` out"
        raise SandboxError(msg)
    if not _there(settings.interpreter):
        msg = f"there is no interpreter {settings.python or settings.interpreter}. Give another `python`, such as /usr/bin/python3."
        raise SandboxError(msg)
    for path in settings.read_only:
        if not _there(path):
            msg = f"there is no {str(path)!r} that this user can find, which a box is to read"
            raise SandboxError(msg)
    for name, value in settings.environment.items():
        if not _text(name) or not _text(value) or not name or "=" in name:
            msg = f"{name!r}: {value!r} is no variable of an environment. Both must be text without NUL, and the name without `=`."
            raise SandboxError(msg)


def _there(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def _text(value: object) -> bool:
    """Whether the kernel takes this as a part of an environment."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def check_reach(settings: Settings, user: int, paths: Iterable[Path]) -> None:
    """Make sure that another user can read what the box needs.

    Raises:
        SandboxError: It cannot; the message names the folder that is in the way.
    """
    for path in (settings.interpreter, *paths):
        if blocked := out_of_reach(path, user):
            msg = f"the user {user} cannot read {path}: {blocked} is closed to it. Give another `python`, such as /usr/bin/python3."
            raise SandboxError(msg)


def out_of_reach(path: Path, user: int) -> Path | None:
    """The first file or folder on the way to `path`, itself included, that a user (in the group of the same number) may not read."""
    for part in (*reversed(path.parents), path):
        facts = part.stat()
        shift = 6 if facts.st_uid == user else 3 if facts.st_gid == user else 0
        needed = 0o1 if part != path else 0o5 if part.is_dir() else 0o4
        if (facts.st_mode >> shift) & needed != needed:
            return part
    return None


@functools.cache
def _compiled() -> None:
    """Bytecode for the guest, which cannot write its own; without it every start takes some milliseconds more."""
    compileall.compile_dir(str(GUEST), quiet=2)
