"""Filters of system calls as classic BPF, put together by hand: what programs in a box do not need is refused by the kernel.

Source: Linux `Documentation/userspace-api/seccomp_filter.rst`, `include/uapi/linux/{bpf_common,filter,seccomp,audit}.h`.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from reflectory.errors import SandboxError
from reflectory.sandbox.syscalls import ARM64, HIGHEST, X86_64

#: The kernel's name of an architecture → AUDIT_ARCH value and table.
ARCHITECTURES: Mapping[str, tuple[int, Mapping[str, int]]] = {"x86_64": (0xC000003E, X86_64), "aarch64": (0xC00000B7, ARM64)}

KILL, ALLOW = 0x80000000, 0x7FFF0000
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_NR, _ARCH = 0, 4

#: Refused with EPERM whatever the arguments.
DENIED: Mapping[str, str] = {
    "mounts": "mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr statmount "
    "listmount",
    "namespaces": "unshare setns",
    "other processes": "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd",
    "keys": "keyctl add_key request_key",
    "kernel interfaces": "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register memfd_secret vmsplice "
    "map_shadow_stack uretprobe uprobe",
    "the kernel itself": "kexec_load kexec_file_load init_module finit_module delete_module create_module query_module get_kernel_syms "
    "reboot swapon swapoff acct quotactl quotactl_fd syslog vhangup iopl ioperm modify_ldt uselib sysfs ustat _sysctl lookup_dcookie",
    "names and clocks": "sethostname setdomainname settimeofday clock_settime adjtimex clock_adjtime",
    "files by handle": "name_to_handle_at open_by_handle_at fanotify_init fanotify_mark",
    "memory placement": "mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages",
    "security modules": "lsm_set_self_attr",
    "long gone": "nfsservctl getpmsg putpmsg afs_syscall tuxcall security vserver epoll_ctl_old epoll_wait_old",
}
#: What a ruleset of Landlock does not cover: files' metadata by path, watching files, and System V's and POSIX's shared objects.
METADATA = (
    "chmod fchmodat fchmodat2 chown lchown fchownat utime utimes futimesat setxattr lsetxattr setxattrat removexattr "
    "lremovexattr removexattrat file_setattr truncate"
)
SHARED = "shmget shmat shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink inotify_add_watch"
SIGNALS = "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal"

CLONE_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
#: TIOCSTI types into a terminal, TIOCLINUX pastes into a console.
IOCTLS = (0x5412, 0x541C)
#: Ask (all ones), and the default.
PERSONALITIES = (0xFFFFFFFF, 0)
S_IFMT, DEVICES = 0xF000, (0x2000, 0x6000)
#: fcntl: F_SETOWN, F_SETOWN_EX, F_SETSIG; ioctl: FIOSETOWN, SIOCSPGRP. With them the kernel sends signals in a program's name.
OWNERS, OWNER_IOCTLS = (8, 15, 10), (0x8901, 0x8902)


@dataclass(frozen=True)
class Filter:
    """What a filter refuses beside `DENIED`.

    Attributes:
        sockets: `inet` allows Unix and internet sockets; `pairs` no socket but pairs of connected ones.
        shared: Whether to refuse `SHARED`, for boxes without a namespace of their own for it, or without a limit on it.
        unmapped: Whether to refuse files in memory, which are found by no look at processes.
        metadata: Whether to refuse `METADATA`.
        signals: Whether programs may send signals.
    """

    sockets: Literal["inet", "pairs"] = "inet"
    shared: bool = False
    unmapped: bool = False
    metadata: bool = False
    signals: bool = True


def program(wanted: Filter | None = None, *, architecture: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`.

    Args:
        wanted: What it refuses.
        architecture: `x86_64` or `aarch64`; None for this machine's.

    Raises:
        SandboxError: There is no table for this architecture.
    """
    wanted, name = wanted or Filter(), architecture or platform.machine()
    if name not in ARCHITECTURES:
        msg = f"there is no system call filter for {name!r}; it is written for {' and '.join(ARCHITECTURES)}"
        raise SandboxError(msg)
    audit, numbers = ARCHITECTURES[name]
    code = [_step(_LOAD, _ARCH), _step(_EQUAL, audit, 1, 0), _verdict(KILL), _step(_LOAD, _NR)]
    # Numbers of x32 and of calls that are younger than the table: as if this kernel had none.
    code += [_step(_GREATER, HIGHEST, 0, 1), _verdict(errno.ENOSYS)]
    for call in _names(wanted):
        if call in numbers:
            code += [_step(_EQUAL, numbers[call], 0, 1), _verdict(errno.EPERM)]
    for call, block in _by_argument(wanted):
        if call in numbers:
            code += [_step(_EQUAL, numbers[call], 0, len(block)), *block]
    code.append(_verdict(ALLOW))
    return b"".join(code)


def _names(wanted: Filter) -> list[str]:
    names = " ".join(DENIED.values()).split()
    names += SHARED.split() if wanted.shared else []
    names += ["memfd_create"] if wanted.unmapped else []
    names += METADATA.split() if wanted.metadata else []
    names += [] if wanted.signals else SIGNALS.split()
    return names + (["socket"] if wanted.sockets == "pairs" else [])


def _by_argument(wanted: Filter) -> Iterable[tuple[str, list[bytes]]]:
    """Calls that are judged by an argument: each block ends in a verdict."""
    refused, allowed = _verdict(errno.EPERM), _verdict(ALLOW)
    # The kernel reads these arguments as 32 bits wide, so the upper half, which a program may fill as it likes, is not looked at.
    yield "clone", [_argument(0), _step(_ANY_BIT, CLONE_NEW, 0, 1), refused, allowed]
    yield "clone3", [_verdict(errno.ENOSYS)]  # its flags lie in memory, out of a filter's reach; libc falls back on clone
    yield "ioctl", _unless_among(1, IOCTLS + (() if wanted.signals else OWNER_IOCTLS))
    yield "personality", _if_among(0, PERSONALITIES, errno.EPERM)
    yield "socketpair", _if_among(0, (AF_UNIX,), errno.EAFNOSUPPORT)
    yield "socket", _if_among(0, (AF_UNIX, AF_INET, AF_INET6), errno.EAFNOSUPPORT)
    yield "mknod", _unless_among(1, DEVICES, mask=S_IFMT)
    yield "mknodat", _unless_among(2, DEVICES, mask=S_IFMT)
    yield "prlimit64", _if_among(0, (0,), errno.EPERM)  # only of the caller itself
    if wanted.metadata:  # without a path, which is a pointer of 64 bits, it is about an open file
        by_path = [_step(_LOAD, 16 + 8), _step(_EQUAL, 0, 1, 0), refused, _step(_LOAD, 16 + 8 + 4), _step(_EQUAL, 0, 0, 1)]
        yield "utimensat", [*by_path, allowed, refused]
    if not wanted.signals:
        yield "fcntl", _unless_among(1, OWNERS)


def _unless_among(argument: int, values: tuple[int, ...], *, mask: int = 0) -> list[bytes]:
    """EPERM for these values, all others allowed."""
    block = [_argument(argument)] + ([_step(_AND, mask)] if mask else [])
    for value in values:
        block += [_step(_EQUAL, value, 0, 1), _verdict(errno.EPERM)]
    return [*block, _verdict(ALLOW)]


def _if_among(argument: int, values: tuple[int, ...], error: int) -> list[bytes]:
    """These values allowed, an error for all others."""
    block = [_argument(argument)]
    for value in values:
        block += [_step(_EQUAL, value, 0, 1), _verdict(ALLOW)]
    return [*block, _verdict(error)]


def _argument(number: int) -> bytes:
    """Load the lower half of an argument (little endian)."""
    return _step(_LOAD, 16 + 8 * number)


def _verdict(verdict: int) -> bytes:
    """Return a verdict; small numbers are errors."""
    return _step(_RETURN, verdict if verdict >= ALLOW else 0x00050000 | verdict)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
