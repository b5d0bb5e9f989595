"""Attacks on privileges and namespaces; every call is made so that it does nothing even where it works."""

# Attacks name the system calls they make.
from __future__ import annotations

import ctypes
import os
import platform
import stat
import struct
from typing import Any

from reflectory.sandbox.probes.inside import Told, escaped, libc, reached, status
from reflectory.sandbox.probes.probe import attack


@attack(control="user")
def unshare_user(told: Told) -> dict[str, Any]:
    """Makes a user namespace, in which it would have all rights."""
    return reached("unshare", 0x10000000)


@attack(control="user")
def unshare_user_and_mounts(told: Told) -> dict[str, Any]:
    """Makes a user and a mount namespace together."""
    return reached("unshare", 0x10020000)


@attack(control="root")
def unshare_mounts(told: Told) -> dict[str, Any]:
    """Makes a mount namespace."""
    return reached("unshare", 0x20000)


@attack(control="root")
def unshare_network(told: Told) -> dict[str, Any]:
    """Makes a network namespace."""
    return reached("unshare", 0x40000000)


@attack(control="user")
def clone_user(told: Told) -> dict[str, Any]:
    """Starts a process in a user namespace of its own with clone."""
    number = 220 if platform.machine() == "aarch64" else 56
    pid = libc.syscall(ctypes.c_long(number), ctypes.c_long(0x10000000 | 17), None, None, None, None)
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(pid, 0)
    return escaped("clone with CLONE_NEWUSER was allowed")


@attack(control="user")
def clone3_user(told: Told) -> dict[str, Any]:
    """Starts a process in a user namespace of its own with clone3, whose flags no filter can read."""
    number = 435
    arguments = ctypes.create_string_buffer(struct.pack("8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64)
    pid = libc.syscall(ctypes.c_long(number), arguments, ctypes.c_long(64))
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    os.waitpid(pid, 0)
    return escaped("clone3 with CLONE_NEWUSER was allowed")


@attack(control="root")
def enter_namespaces(told: Told) -> list[dict[str, Any]] | dict[str, Any]:
    """Enters namespaces of a process outside."""
    for name, flag in (("net", 0x40000000), ("uts", 0x4000000), ("ipc", 0x8000000), ("mnt", 0x20000)):
        answer = reached("setns", os.open(f"/proc/{told['pid']}/ns/{name}", os.O_RDONLY), flag)
        if "escaped" in answer:
            return answer
    return answer


@attack(control="root")
def enter_process_namespaces(told: Told) -> dict[str, Any]:
    """Enters namespaces of a process outside by a process descriptor."""
    return reached("setns", os.pidfd_open(told["pid"]), 0x40000000)


@attack(control="root")
def mount(told: Told) -> dict[str, Any]:
    """Mounts a file system; the kind does not exist, so nothing is mounted."""
    return reached("mount", b"none", b".", b"reflectory", 0, None)


@attack(control="root")
def unmount(told: Told) -> dict[str, Any]:
    """Unmounts a folder that is no mount."""
    return reached("umount2", b".", 0)


@attack(control="root")
def mount_by_descriptor(told: Told) -> dict[str, Any]:
    """Opens a file system with the newer mount calls, attached nowhere."""
    return reached("fsopen", b"tmpfs", 0)


@attack(control="root")
def pivot_root(told: Told) -> dict[str, Any]:
    """Changes the root of the mount namespace; the folders do not exist."""
    return reached("pivot_root", b"/reflectory-none", b"/reflectory-none")


@attack(control="root")
def change_root(told: Told) -> dict[str, Any]:
    """Changes its own root folder."""
    return reached("chroot", b".")


@attack(control="root")
def capabilities(told: Told) -> dict[str, Any]:
    """Looks whether it has, or can take, any capability."""
    held = {key: status("self", key) for key in ("CapEff", "CapPrm", "CapAmb", "CapInh")}
    if any(int(value, 16) for value in held.values()):
        return escaped(f"it has capabilities: {held}")
    return reached("capset", struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0xFFFFFFFF] * 6))


@attack(control="root")
def become_root(told: Told) -> dict[str, Any]:
    """Becomes root by setuid, and has root's rights afterwards."""
    os.setuid(0)
    held = status("self", "CapEff")
    return escaped(f"setuid(0) gave {held}") if int(held, 16) else {"contained": "root in name, without any capability"}


@attack(control="user")
def setuid_program(told: Told) -> dict[str, Any]:
    """Starts programs that run with root's rights."""
    if libc.prctl(39, 0, 0, 0, 0) == 1:  # PR_GET_NO_NEW_PRIVS
        return {"contained": "no_new_privs is set"}
    for path in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/newgrp", "/bin/su"):
        if os.access(path, os.X_OK) and os.stat(path).st_mode & stat.S_ISUID:
            return escaped(f"{path} may be started and no_new_privs is not set")
    return {"contained": "there is none", "missing": "there is none"}


@attack(control="root")
def make_device_file(told: Told) -> dict[str, Any]:
    """Makes a device file in the working folder."""
    os.mknod("device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    return escaped("mknod of a character device was allowed")
