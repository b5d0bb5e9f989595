"""The strong tier: bubblewrap gives a box namespaces, a read-only system and memory folders of its own; seccomp and limits come on top.

Source: bubblewrap's manual, bwrap(1), 0.8 and newer.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from reflectory.errors import SandboxError, SandboxMissing
from reflectory.execution import SandboxReport
from reflectory.sandbox import cgroups, seccomp
from reflectory.sandbox.launch import GUEST, INSIDE, PROXY, SAME, Launch, Settings, base_spec, boot, check, check_reach
from reflectory.sandbox.tried import tried

#: Number of the user and group inside; `nobody` on most systems.
NOBODY = "65534"
NAMESPACES = ("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--as-pid-1")
#: The agent needs these two for a moment, to mount limited folders and to give everything up; programs start without any.
RIGHTS = ("--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP")
#: This package, which a box does not see.
PACKAGE = GUEST.parents[1]
#: Folders of the machine that a box covers with its own.
COVERED = tuple(map(Path, ("/tmp", "/work")))
REFUSED = tuple(map(Path, ("/proc", "/dev", "/sys", "/etc", "/run")))


class Bubblewrap:
    """Boxes in namespaces of their own; works for root and for an ordinary user."""

    name = "bubblewrap"

    @functools.cache  # noqa: B019 - one object per process
    def report(self) -> SandboxReport:
        """What a box of this tier was found to be; opened once per process."""
        program = shutil.which("bwrap")
        if program is None:
            return self._report("bubblewrap is not installed. Type: sudo apt-get install bubblewrap")
        version = _version(program)
        if version < (0, 8):
            return self._report(f"bubblewrap {'.'.join(map(str, version))} is too old; 0.8 or newer is needed")
        facts, why = tried(self.launch)
        report = self._report(f"{why} {_advice()}".strip() if why else "")
        details = {"version": ".".join(map(str, version)), "cgroups": list(cgroups.controllers()), **facts}
        return report.model_copy(update={"details": details})

    def launch(self, settings: Settings) -> Launch:
        """How to start a box.

        Raises:
            SandboxMissing: bubblewrap is not installed.
            SandboxError: The settings ask for what the box's user cannot read, or for a folder that a box has itself.
        """
        program = shutil.which("bwrap")
        if program is None:
            msg = "bubblewrap is not installed. Type: sudo apt-get install bubblewrap"
            raise SandboxMissing(msg)
        check(settings)
        if settings.user is not None:
            check_reach(settings, settings.user, (GUEST, *settings.folders))
        shown = [path for path in settings.folders if any(path.is_relative_to(folder) for folder in COVERED)]
        spec = {**base_spec(settings, "/work"), "private": True, "shown": [str(path) for path in shown], "count": "own"}
        spec["held"] = "memory" in cgroups.controllers()
        if settings.proxy is not None:
            spec["proxy"] = str(PROXY)
        group = cgroups.Group(settings.limits)
        return Launch(
            argv=(program, *_arguments(settings), "--", *boot(settings, str(INSIDE))),
            spec=spec,
            seccomp=seccomp.program(seccomp.Filter(shared=not spec["held"], unmapped=not spec["held"])),
            user=settings.user,
            kill_at_once=True,
            started=group.take,
            overrun=group.overrun,
            cleanup=group.close,
        )

    def _report(self, why: str) -> SandboxReport:
        return SandboxReport(
            tier=self.name,
            level="namespace",
            available=not why,
            why=why,
            contains={
                "files": "own root: the system read-only, /work and /tmp in memory, limited in bytes and files",
                "network": "own network namespace without a way out",
                "processes": "own process namespace; signals and tracing end there",
                "kernel": "system calls filtered, no capabilities, no further namespaces",
                "memory and processes": cgroups.held(),
                "environment": "cleared",
            },
            leaks=tuple(_leaks()),
        )


def _leaks() -> Iterator[str]:
    yield "kernel: it is shared; a bug in an allowed system call is a way out"
    yield "files: /usr and the interpreter can be read, and /proc tells the machine's load, memory, processors and names of mounts"
    yield "side channels: time and load of the processors and their caches"
    if os.geteuid() == 0:
        yield "user: outside its namespace the box is root without capabilities, so it reads what root alone may read below /usr"
    yield from cgroups.leaks()


def _arguments(settings: Settings) -> Iterator[str]:
    yield from (*NAMESPACES, "--clearenv", *(word for pair in SAME.items() for word in ("--setenv", *pair)))
    yield from ("--uid", NOBODY, "--gid", NOBODY, "--hostname", "box", *RIGHTS)
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "lib", "lib32", "lib64", "libx32", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for name in ("passwd", "group", "hosts", "nsswitch.conf"):
        yield from ("--ro-bind", str(GUEST / "etc" / name), f"/etc/{name}")
    for name in ("ld.so.cache", "alternatives"):
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--dir", "/tmp", "--dir", "/work")
    yield from ("--ro-bind", str(GUEST), str(INSIDE / "guest"))
    if settings.proxy is not None:
        yield from ("--bind", str(settings.proxy), str(PROXY))
        yield from ("--ro-bind-try", "/etc/ssl/certs", "/etc/ssl/certs", "--ro-bind-try", "/etc/ssl/openssl.cnf", "/etc/ssl/openssl.cnf")
    for path in settings.folders:
        if any(_belongs_to_the_box(one) for one in (path, path.resolve())):
            msg = f"{path} cannot be shown in a box, which has its own. Copy it elsewhere, or put it into the box with `put`."
            raise SandboxError(msg)
        yield from ("--ro-bind", str(path), str(path))
    if any(PACKAGE.is_relative_to(folder) for folder in (Path("/usr"), *settings.folders)):
        # What decides over an agent, such as the solutions of its tasks, is not for its eyes.
        yield from ("--tmpfs", str(PACKAGE), "--remount-ro", str(PACKAGE))
    yield from ("--remount-ro", "/", "--chdir", "/work")


def _belongs_to_the_box(path: Path) -> bool:
    return path in COVERED or any(path.is_relative_to(folder) or folder.is_relative_to(path) for folder in REFUSED)


@functools.cache
def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10, stdin=subprocess.DEVNULL).stdout
    return tuple(int(part) for part in said.split()[-1].split(".")[:2] if part.isdecimal()) if said.split() else ()


def _advice() -> str:
    """What to type, from the switches of the kernel that are known to be in the way."""

    def switch(path: str) -> str:
        try:
            return Path("/proc/sys", path).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    if switch("kernel/unprivileged_userns_clone") == "0":
        return "This kernel keeps user namespaces from ordinary users. Type: sudo sysctl kernel.unprivileged_userns_clone=1"
    if switch("user/max_user_namespaces") == "0":
        return "User namespaces are switched off. Type: sudo sysctl user.max_user_namespaces=10000"
    if switch("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor keeps user namespaces from programs without a profile. Type: "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0 (or install a profile for /usr/bin/bwrap)"
        )
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "This is a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined to allow namespaces."
        )
    return ""
