"""Prepares the box and takes rights away from a process for good."""

from __future__ import annotations

import contextlib
import os
import resource

from . import kernel, rules
from .processes import threads_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: How many processes more than the limit the kernel lets through: the agent, what holds it, a relay, and one above the limit, so that the
#: look at them finds that the limit was passed and says so, instead of leaving a program to struggle.
MARGIN = 4
#: Files of /proc that tell of the whole machine.
MASKED = (
    *("kcore", "keys", "key-users", "kallsyms", "kmsg", "kpagecount", "kpageflags", "kpagecgroup", "slabinfo", "timer_list", "vmallocinfo"),
    *("config.gz", "cmdline", "iomem", "ioports", "sched_debug", "partitions", "diskstats", "modules", "swaps"),
)
#: A namespace's own folders, which lie together in one memory file system and share its limits.
FOLDERS = {"work": "/work", "tmp": "/tmp", "shm": "/dev/shm"}


def prepare(spec: dict[str, Any]) -> None:
    """Make what needs rights that are about to be given up.

    Raises:
        OSError: The kernel refused something.
    """
    if spec.get("private"):
        _own_mounts(spec)
    os.makedirs(spec["work"], exist_ok=True)
    if "rules" in spec:
        spec["ruleset"] = rules.make(spec["rules"])
    if spec.get("user") is not None:
        os.setgroups([])
        # What the agent reads and writes for the host, it does with no more right than programs.
        kernel.act_on_files_as(spec["user"], keep=tuple(spec.get("capabilities", ())))


def _own_mounts(spec: dict[str, Any]) -> None:
    """One memory file system for all that programs write, limited in bytes and in files, and a narrower /proc."""
    limits = spec["limits"]
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWCGROUP)
    shown = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in spec.get("shown", ())}
    options = f"size={limits['disk_mb']}m,nr_inodes={limits['files'] + len(FOLDERS) + 1},mode=0755"
    kernel.mount("tmpfs", "/tmp", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
    for name in FOLDERS:
        os.mkdir(f"/tmp/{name}")
    for name in ("work", "shm", "tmp"):  # the last covers the folder that holds them
        kernel.mount(f"/tmp/{name}", FOLDERS[name], "", kernel.MS_BIND)
    for path, fd in shown.items():
        _stand_in(path, folder=os.path.isdir(f"/proc/self/fd/{fd}"))
        kernel.mount(f"/proc/self/fd/{fd}", path, "", kernel.MS_BIND | kernel.MS_REC)
        os.close(fd)
    for name in MASKED:
        with contextlib.suppress(OSError):
            kernel.mount("/dev/null", f"/proc/{name}", "", kernel.MS_BIND)
    # To the files of /proc/sys root is root even without a capability, and one of them names a program that the kernel starts.
    kernel.mount(
        "", "/proc", "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    )


def _stand_in(path: str, *, folder: bool) -> None:
    """An empty file or folder to mount on."""
    os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
    if not folder:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def confine(spec: dict[str, Any], seccomp: bytes) -> None:
    """Confine this process and all it will start.

    Raises:
        OSError: The kernel refused something.
    """
    _limit(spec)
    if "ruleset" in spec:
        kernel.landlock_restrict(spec["ruleset"])
    if spec.get("user") is not None:
        kernel.become(spec["user"], keep=tuple(spec.get("capabilities", ())))
    elif spec.get("private"):
        kernel.set_capabilities()
    os.umask(0o022)
    if seccomp:
        kernel.filter_calls(seccomp)


def _limit(spec: dict[str, Any]) -> None:
    limits = spec["limits"]
    wanted = {
        resource.RLIMIT_AS: (2 * limits["memory_mb"] + 512) * 2**20,
        resource.RLIMIT_FSIZE: limits["disk_mb"] * 2**20,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
    }
    if spec.get("count") == "own":  # this user, or this user in this namespace, has no other processes
        wanted[resource.RLIMIT_NPROC] = limits["processes"] + MARGIN
    elif spec.get("count") == "shared":
        wanted[resource.RLIMIT_NPROC] = threads_of(os.getuid()) + limits["processes"] + MARGIN
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def facts() -> dict[str, Any]:
    """What the kernel says of this process: user, capabilities, filters."""
    with open("/proc/self/status", "rb") as file:
        lines = dict(line.split(":\t", 1) for line in file.read().decode("utf-8", "replace").splitlines() if ":\t" in line)
    return {name: lines.get(name, "") for name in ("Uid", "CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")}
