"""What attacks find inside the box: sent there as text in front of each, so it stands on the standard library alone."""

# Attacks name the system calls they make; what they use is imported here.
# ruff: noqa: F401
from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What an attack is told about the canaries.
Told = dict[str, Any]
#: In front of what an attack has to say.
MARK = "reflectory-probe:"
#: Numbers of system calls on x86-64 and on arm64; -1 where there is none.
NUMBERS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "capget": (125, 90),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_setup": (425, 425),
    "ioperm": (173, -1),
    "iopl": (172, -1),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "modify_ldt": (154, -1),
    "mount": (165, 40),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "rt_sigqueueinfo": (129, 138),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmat": (30, 196),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
#: Answers that say that something was forbidden.
FORBIDDEN = {errno.EPERM, errno.EACCES}
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def system(name: str, *arguments: Any) -> tuple[int, int]:
    """Make a system call: (result, errno); errno is 0 where it worked."""
    number = NUMBERS[name][platform.machine() in {"aarch64", "arm64"}]
    if number < 0:
        return -1, errno.ENOSYS
    ctypes.set_errno(0)
    wide = [ctypes.c_long(part) if isinstance(part, int) else part for part in arguments]
    result = libc.syscall(ctypes.c_long(number), *wide)
    return result, ctypes.get_errno() if result == -1 else 0


def escaped(why: str) -> dict[str, Any]:
    """The attack saw that it got through."""
    return {"escaped": why}


def reached(name: str, *arguments: Any) -> dict[str, Any]:
    """Make a system call that ought to be refused whatever its arguments; an answer other than a refusal says it was let in."""
    result, error = system(name, *arguments)
    if error in FORBIDDEN:
        return {"contained": f"{name}: {errno.errorcode[error]}"}
    if error == errno.ENOSYS:
        return {"contained": f"{name}: ENOSYS", "missing": f"the kernel has no {name}"}
    return escaped(f"{name} answered {errno.errorcode[error] if error else result}")


def opened(paths: list[str], flags: int) -> dict[str, Any]:
    """Open each of some special files, without touching what is in them; one that opens is an escape."""
    there = [path for path in paths if os.path.exists(path)]
    for path in there:
        with contextlib.suppress(OSError):
            fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
            device = os.fstat(fd).st_rdev
            os.close(fd)
            if device != os.makedev(1, 3):  # covered with /dev/null
                return escaped(f"opened {path}")
    said = f"{len(there)} of {len(paths)} are there, none opens"
    return {"contained": said, "missing": said}


def read(path: str, folder: int | None = None) -> str:
    """Content of a file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(fd, 65536).decode("utf-8", "replace")
    finally:
        os.close(fd)


def identity(path: str, fd: int) -> dict[str, Any]:
    """Which file an open descriptor is; the host compares with its own."""
    facts = os.fstat(fd)
    return {"file": [path, facts.st_dev, facts.st_ino]}


def vector(address: int, size: int) -> Any:
    """A `struct iovec` as bytes the kernel can read."""
    return ctypes.create_string_buffer(struct.pack("QQ", address, size), 16)


def status(pid: int | str, key: str) -> str:
    """One line of a process's status, such as CapEff."""
    with open(f"/proc/{pid}/status") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith(f"{key}:")), "")


def in_child(work: Callable[[], None]) -> int:
    """Run something in a forked child; its exit status as a shell counts it."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def detach(work: Callable[[], None]) -> None:
    """Run something in a daemon: a new session, forked twice, no standard streams, deaf to polite signals."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        work()
    finally:
        os._exit(0)


def channels() -> list[int]:
    """Descriptors through which the agent or the host may be spoken to: its own, and those of the agent it can get at."""
    found = []
    for fd in range(3, 256):
        with contextlib.suppress(OSError):
            if stat.S_IFMT(os.fstat(fd).st_mode) in {stat.S_IFSOCK, stat.S_IFIFO}:
                found.append(fd)
    with contextlib.suppress(OSError):
        agent = os.pidfd_open(os.getppid())
        for number in range(32):
            fd, error = system("pidfd_getfd", agent, number, 0)
            if not error:
                found.append(fd)
    for number in range(32):
        with contextlib.suppress(OSError):
            found.append(os.open(f"/proc/{os.getppid()}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK))
    return found


def say_on_channels(data: bytes) -> dict[str, Any]:
    """Write bytes on every channel."""
    said = []
    for fd in channels():
        with contextlib.suppress(OSError):
            os.set_blocking(fd, False)
            said.append(os.write(fd, data))
    return {"contained": f"wrote {said}"}


def writable() -> list[str]:
    """Folders it may write to, each on what may be a file system of its own."""
    tried = [".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/run/lock", "/dev", "/dev/mqueue", "/mnt", "/home", "/"]
    return [path for path in tried if os.access(path, os.W_OK)]


def main(work: Callable[[Told], Any], told: Told) -> Any:
    """Run an attack and say what it brought back; what it calls `value` becomes the value of the cell."""
    try:
        answer = work(told)
    except (OSError, ValueError, MemoryError, RuntimeError, StopIteration) as error:
        answer = {"failed": f"{type(error).__name__}: {error}"}
    value = answer.pop("value", None) if isinstance(answer, dict) else None
    sys.stdout.flush()
    print(f"\n{MARK}{json.dumps(answer, default=str)}", flush=True)
    return value
