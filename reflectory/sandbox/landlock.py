"""The reduced tier, without any package: Landlock, seccomp and limits. It shuts files, sockets and signals off; it hides nothing.

Source: Linux `Documentation/userspace-api/landlock.rst`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reflectory.errors import SandboxError
from reflectory.execution import SandboxReport
from reflectory.sandbox import cgroups, seccomp
from reflectory.sandbox.guest.kernel import landlock_abi
from reflectory.sandbox.launch import Launch, Settings, base_spec, boot, check, out_of_reach
from reflectory.sandbox.tried import tried
from reflectory.sandbox.unsafe import remove

#: What programs may read and execute, beside `Settings.folders`; no user's files, and nothing of /proc that tells of other processes.
SYSTEM: tuple[str, ...] = (
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/sbin",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/nsswitch.conf",
)
SYSTEM += ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version", "/sys/devices/system/cpu")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
#: Lets a program read what any user may read below the folders it is allowed, and no other.
CAP_DAC_READ_SEARCH = 2
#: Version of the interface from which on signals and abstract sockets are held back.
SCOPES = 6


class Landlock:
    """Boxes behind a ruleset of the kernel; works for root and for an ordinary user."""

    name = "landlock"

    @functools.cache  # noqa: B019 - one object per process
    def report(self) -> SandboxReport:
        """What a box of this tier was found to be; opened once per process."""
        abi = landlock_abi()
        if not abi:
            why = "this kernel has no Landlock, or it is switched off. It needs Linux 5.13 and `landlock` in the list of lsm= at boot"
            return self._report(why, 0)
        facts, why = tried(self.launch)
        report = self._report(why, abi)
        return report.model_copy(update={"details": {"abi": abi, "cgroups": list(cgroups.controllers()), **facts}})

    def launch(self, settings: Settings) -> Launch:
        """How to start a box.

        Raises:
            SandboxError: The settings ask for a network, which this tier cannot limit, or for a user that this process may not become.
        """
        if settings.proxy is not None:
            msg = "the tier `landlock` cannot let a box reach a proxy and nothing else. Use bubblewrap, or no network."
            raise SandboxError(msg)
        check(settings)
        user = _user(settings)
        folder = tempfile.mkdtemp(prefix="reflectory-box-")
        work, temporary = f"{folder}/work", f"{folder}/tmp"
        for path in (work, temporary):
            Path(path).mkdir()
        if user is not None:
            for path in (folder, work, temporary):
                os.chown(path, user, user)
        group = cgroups.Group(settings.limits)
        spec = base_spec(settings, work)
        spec["environment"] |= {"TMPDIR": temporary, **settings.environment}
        spec |= {
            "watch_files": True,
            "held": "memory" in cgroups.controllers(),
            "watched": folder,
            "remove": folder,
            "confine": "children",
            "count": "shared" if user is None else "own",
            "user": user,
        }
        spec["rules"] = {"read": [*SYSTEM, *map(str, settings.folders)], "write": [work, temporary], "devices": DEVICES}
        if user is not None and any(out_of_reach(path, user) for path in (settings.interpreter, *settings.folders, Path(work))):
            spec["capabilities"] = [CAP_DAC_READ_SEARCH]

        def cleanup() -> None:
            group.close()
            if user is not None and settings.user is None:
                _end_all_of(user)
            remove(folder)

        return Launch(
            argv=boot(settings),
            spec=spec,
            seccomp=seccomp.program(_filter(user)),
            started=group.take,
            overrun=group.overrun,
            cleanup=cleanup,
        )

    def _report(self, why: str, abi: int) -> SandboxReport:
        return SandboxReport(
            tier=self.name,
            level="landlock",
            available=not why,
            why=why,
            contains={
                "files": "content outside the working folder cannot be written, and outside the system's folders not be read",
                "network": "no socket can be made",
                "processes": "no tracing, no signals outside" + ("" if os.geteuid() == 0 or abi >= SCOPES else ", nor inside"),
                "kernel": "system calls filtered, no capabilities" if os.geteuid() else "system calls filtered, a user of its own",
                "memory and processes": cgroups.held(),
                "environment": "cleared",
            },
            leaks=tuple(_leaks(abi)),
        )


def _filter(user: int | None) -> seccomp.Filter:
    """As a user of its own a program can change nothing outside by path, and signal nobody; else the filter must see to it."""
    alone = user is not None
    held = "memory" in cgroups.controllers()
    return seccomp.Filter("pairs", shared=True, unmapped=not held, metadata=not alone, signals=alone or landlock_abi() >= SCOPES)


def _leaks(abi: int) -> Iterator[str]:
    yield "kernel: it is shared; a bug in an allowed system call is a way out"
    yield "files: names, sizes, times and targets of links that this user could see are seen with stat and readlink, though nothing is read"
    yield "files: /usr and the interpreter can be read"
    yield "disk: bytes and files in all are looked at every 200 ms, not held by the kernel; deleted files that stay open are not counted"
    yield "processes: numbers of other processes can be found out by probing; the box has no process list of its own, and no /proc"
    yield "side channels: time and load of the processors and their caches"
    yield from cgroups.leaks()
    if os.geteuid():
        yield (
            "processes: the kernel counts all of this user's together, so what other boxes and programs of this user start after a box's "
            "interpreter or shell can leave it none"
        )
        yield "user: programs run as this user; other programs of this user are kept off by Landlock and the filter alone"
        yield "priorities: programs can lower the priority of other processes of this user"
    else:
        yield "metadata: times and attributes of files that everybody may write can be changed, though not what is in them"
    if os.geteuid() == 0 and out_of_reach(Settings().interpreter, _free_user()):
        yield "rights: the interpreter lies where root alone may read, so programs may read all files below the folders they are allowed"


def _user(settings: Settings) -> int | None:
    """The user that programs run as; None for the own one."""
    if os.geteuid() == 0:
        return _free_user() if settings.user is None else settings.user
    return None


def _end_all_of(user: int) -> None:
    """Kill what is left of a box's own user: what an agent that was killed itself could not end."""
    for _ in range(20):
        found = [folder for folder in Path("/proc").glob("[0-9]*") if _owner(folder) == user]
        if not found:
            return
        for folder in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(folder.name), signal.SIGKILL)
        time.sleep(0.002)


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return -1


def _free_user() -> int:
    """A number that no user has, drawn anew for each box, so that boxes cannot reach each other either."""
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()]
    first, _, count = max(ranges, key=lambda entry: entry[2])
    # Below 2**31: some programs take the number for a signed one. A container maps some 65,000; its upper end is seldom given away.
    end = min(first + count, 2**31 - 2)
    return random.SystemRandom().randrange(end - min(2**30, count // 16), end)
