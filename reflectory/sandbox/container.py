"""The tier of a container engine: Docker or Podman, where one answers and has an image with Python. Nothing is pulled.

Source: the manuals of `docker run` and `podman run`.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from itertools import chain

from reflectory.errors import SandboxError, SandboxMissing
from reflectory.execution import SandboxReport
from reflectory.sandbox import seccomp
from reflectory.sandbox.cgroups import room_mb
from reflectory.sandbox.guest.confine import MARGIN
from reflectory.sandbox.launch import ENVIRONMENT, FLAGS, GUEST, INSIDE, PROXY, SAME, Launch, Settings, agent_code, base_spec, check
from reflectory.sandbox.tried import tried

ENGINES = ("docker", "podman")
#: What an engine gets to answer a question, in seconds.
PATIENCE = 5.0
#: The one folder that can be written, its size and number of files limited; the working folder lies in it.
WRITABLE, WORK = "/tmp", "/tmp/work"


class Container:
    """Boxes in containers of Docker or Podman, without network, with a read-only root."""

    name = "container"

    @functools.cache  # noqa: B019 - one object per process
    def report(self) -> SandboxReport:
        """What a box of this tier was found to be; opened once per process, with the default image."""
        try:
            program = engine()
            missing_image(program, Settings().image)
        except SandboxMissing as error:
            return self._report(str(error))
        facts, why = tried(self.launch)
        return self._report(why).model_copy(update={"details": {"engine": program, "image": Settings().image, **facts}})

    def launch(self, settings: Settings) -> Launch:
        """How to start a box.

        Raises:
            SandboxMissing: No engine answers, or it has no such image.
            SandboxError: The settings ask for this machine's packages, interpreter or users, which a container does not have.
        """
        if settings.packages or settings.python is not None:
            msg = "a container has its image's interpreter and packages, not this machine's. Choose another `image` instead."
            raise SandboxError(msg)
        check(settings)
        program = engine()
        missing_image(program, settings.image)
        name = f"reflectory-{os.getpid()}-{secrets.token_hex(6)}"
        spec = base_spec(settings, WORK)
        spec["environment"] |= {"PATH": ENVIRONMENT["PATH"], **settings.environment}
        spec["held"] = True
        if settings.proxy is not None:
            spec["proxy"] = str(PROXY)
        return Launch(
            argv=(program, *_arguments(settings, name)),
            spec=spec,
            seccomp=seccomp.program(),
            environment=dict(os.environ),  # the engine's client reads its own settings there; nothing of it gets into the container
            cleanup=functools.partial(_remove, program, name),
        )

    def _report(self, why: str) -> SandboxReport:
        return SandboxReport(
            tier=self.name,
            level="container",
            available=not why,
            why=why,
            contains={
                "files": "the image, read-only; /tmp in memory, limited in bytes and files",
                "network": "own network namespace without a way out",
                "processes": "own process namespace; their number held by the engine",
                "memory": "held by the engine",
                "kernel": "system calls filtered twice, by the engine and by the agent; no capabilities",
                "environment": "cleared",
            },
            leaks=(
                "kernel: it is shared; a bug in an allowed system call is a way out",
                "engine: whoever takes over its daemon is root of the machine",
                "files: /proc tells the machine's load, memory and processors",
                "side channels: time and load of the processors and their caches",
            ),
        )


def engine() -> str:
    """Path of the first engine that answers.

    Raises:
        SandboxMissing: None does.
    """
    found = [program for name in ENGINES if (program := shutil.which(name))]
    for program in found:
        if _asked(program, "info"):
            return program
    names = " and ".join(os.path.basename(program) for program in found)  # noqa: PTH119 - a name for the eye
    what = f"{names} {'is' if len(found) == 1 else 'are'} installed, but no engine answers. Start it" if found else "neither is installed"
    msg = f"a container needs Docker or Podman: {what}"
    raise SandboxMissing(msg)


def missing_image(program: str, image: str) -> None:
    """Make sure that the engine has an image.

    Raises:
        SandboxMissing: It has not; the message says how to get it.
    """
    if not _asked(program, "image", "inspect", image):
        msg = f"the engine has no image {image!r}, and none is pulled unasked. Type: {os.path.basename(program)} pull {image}"  # noqa: PTH119
        raise SandboxMissing(msg)


def _arguments(settings: Settings, name: str) -> Iterator[str]:
    limits = settings.limits
    memory = f"{room_mb(limits)}m"
    yield from ("run", "--rm", "--interactive", "--name", name, "--hostname", "box", "--pull", "never", "--network", "none")
    yield from ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "65534:65534")
    yield from ("--pids-limit", str(limits.processes + MARGIN), "--memory", memory, "--memory-swap", memory, "--shm-size", "16m")
    yield from ("--tmpfs", f"{WRITABLE}:rw,exec,nosuid,nodev,mode=1777,size={limits.disk_mb}m,nr_inodes={limits.files + 2}")
    yield from ("--workdir", WRITABLE, "--volume", f"{GUEST}:{INSIDE / 'guest'}:ro")
    for path in settings.read_only:
        yield from ("--volume", f"{path}:{path}:ro")
    if settings.proxy is not None:
        yield from ("--volume", f"{settings.proxy}:{PROXY}:ro")
    yield from chain.from_iterable(("--env", f"{name}={value}") for name, value in SAME.items())
    yield from ("--entrypoint", "python3", settings.image, *FLAGS, agent_code(str(INSIDE)))


def _asked(program: str, *question: str) -> bool:
    """Whether an engine answers a question with yes."""
    null = subprocess.DEVNULL
    try:
        return subprocess.run([program, *question], stdin=null, stdout=null, stderr=null, timeout=PATIENCE, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _remove(program: str, name: str) -> None:
    """Kill a container by its name, if it is still there."""
    _asked(program, "rm", "--force", name)
