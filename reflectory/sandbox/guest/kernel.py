"""Calls into the kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import os
import struct

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 8, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
CLONE_NEWNS, CLONE_NEWCGROUP = 0x00020000, 0x02000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
LAST_CAPABILITY = 63
_SECCOMP_MODE_FILTER, _CAPABILITY_VERSION = 2, 0x20080522
_AMBIENT_RAISE, _AMBIENT_CLEAR = 2, 4
#: The same on x86-64 and arm64.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CAPGET, _CAPSET = {"x86_64": 125, "aarch64": 90}, {"x86_64": 126, "aarch64": 91}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def prctl(option: int, *arguments: int) -> int:
    """`prctl(2)`.

    Raises:
        OSError: It failed.
    """
    return _done(_libc.prctl(option, *arguments, *[0] * (4 - len(arguments))), f"prctl {option}")


def unshare(flags: int) -> None:
    """`unshare(2)`.

    Raises:
        OSError: It failed.
    """
    _done(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """`mount(2)`.

    Raises:
        OSError: It failed.
    """
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, options.encode() or None)
    _done(_libc.mount(*arguments), f"mount {kind or source} on {target}")


def set_capabilities(keep: tuple[int, ...] = ()) -> None:
    """Give up every capability but these, in every set; those kept pass on to programs.

    Raises:
        OSError: It failed.
    """
    prctl(PR_CAP_AMBIENT, _AMBIENT_CLEAR)
    for capability in range(LAST_CAPABILITY + 1):
        # The bounding set is out of reach without CAP_SETPCAP; the other sets, and no_new_privs, do not depend on it.
        if capability not in keep and _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            break
    mask = sum(1 << capability for capability in keep)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("=6I", low, low, low, high, high, high)
    _done(_libc.syscall(_CAPSET[os.uname().machine], struct.pack("=Ii", _CAPABILITY_VERSION, 0), data), "capset")
    for capability in keep:
        prctl(PR_CAP_AMBIENT, _AMBIENT_RAISE, capability)


def become(user: int, *, keep: tuple[int, ...] = ()) -> None:
    """Turn into a user, of a group with the same number and no other, for good.

    Args:
        user: Number of the user.
        keep: Capabilities that stay.

    Raises:
        OSError: This process may not.
    """
    if keep:
        prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    set_capabilities(keep)
    prctl(PR_SET_PDEATHSIG, 9)  # a change of user forgets it


def act_on_files_as(user: int, *, keep: tuple[int, ...] = ()) -> None:
    """Let the kernel judge this process's access to files as if it were another user; all else stays.

    Args:
        user: Number of the user.
        keep: Capabilities over files that stay.

    Raises:
        OSError: This process does not have them.
    """
    _libc.setfsgid(user)
    _libc.setfsuid(user)
    head, data = struct.pack("=Ii", _CAPABILITY_VERSION, 0), ctypes.create_string_buffer(24)
    _done(_libc.syscall(_CAPGET[os.uname().machine], head, data), "capget")
    sets = list(struct.unpack("=6I", data.raw))  # effective, permitted, inheritable; then their upper halves
    for capability in keep:
        sets[capability // 32 * 3] |= 1 << capability % 32
    _done(_libc.syscall(_CAPSET[os.uname().machine], head, struct.pack("=6I", *sets)), "capset")


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter on this thread and all that comes of it; also sets no_new_privs.

    Args:
        program: Array of `struct sock_filter`, 8 bytes each.

    Raises:
        OSError: It failed.
    """
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    steps = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(steps)))
    prctl(PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(head))


def landlock_abi() -> int:
    """Version of Landlock's interface; 0 where the kernel has none or has it switched off."""
    version: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(0, version)


def landlock_ruleset(files: int, network: int, scoped: int) -> int:
    """A new ruleset.

    Args:
        files: Kinds of access to files that it handles (bits of LANDLOCK_ACCESS_FS_*).
        network: The same of LANDLOCK_ACCESS_NET_*.
        scoped: Bits of LANDLOCK_SCOPE_*.

    Returns:
        Its descriptor.

    Raises:
        OSError: It failed.
    """
    attributes = struct.pack("=QQQ", files, network, scoped)
    return _done(
        _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)), "landlock_create_ruleset"
    )


def landlock_allow(ruleset: int, path: str, access: int) -> None:
    """Allow kinds of access to a file, or below a folder.

    Raises:
        OSError: It failed, for example since there is no such path.
    """
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _done(_libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", access, fd), ctypes.c_uint32(0)), f"landlock_add_rule {path}")
    finally:
        os.close(fd)


def landlock_restrict(ruleset: int) -> None:
    """Hold this thread, and all that comes of it, to a ruleset; also sets no_new_privs.

    Raises:
        OSError: It failed.
    """
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    _done(_libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)), "landlock_restrict_self")


def _done(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
