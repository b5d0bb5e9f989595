"""Attacks on rarely used parts of the kernel; every call is made so that it does nothing even where it works."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
from typing import Any

from reflectory.sandbox.probes.inside import Told, escaped, in_child, libc, reached
from reflectory.sandbox.probes.probe import attack


@attack(control="user")
def weaken_personality(told: Told) -> dict[str, Any]:
    """Switches off address randomisation for what it starts."""
    return reached("personality", 0x0040000)


@attack(control="user")
def kernel_keys(told: Told) -> dict[str, Any]:
    """Asks for the session's keyring, which no namespace holds."""
    return reached("keyctl", 0, -3, 0)


@attack(control="user")
def add_kernel_key(told: Told) -> dict[str, Any]:
    """Adds a key to the process's keyring."""
    return reached("add_key", b"user", b"reflectory", b"x", 1, -2)


@attack(control="root")
def bpf(told: Told) -> dict[str, Any]:
    """Makes a BPF map."""
    return reached("bpf", 0, struct.pack("5I", 2, 4, 4, 1, 0) + bytes(100), 120)


@attack(control="root")
def performance_events(told: Told) -> dict[str, Any]:
    """Counts events of the whole kernel."""
    return reached("perf_event_open", struct.pack("IIQ", 1, 112, 0) + bytes(96), -1, 0, -1, 0)


@attack(control="root")
def userfaultfd(told: Told) -> dict[str, Any]:
    """Takes over page faults, the kernel's own among them; a help to many exploits."""
    return reached("userfaultfd", os.O_CLOEXEC)


@attack(control="user")
def io_uring(told: Told) -> dict[str, Any]:
    """Sets up io_uring, past which no system call filter sees."""
    return reached("io_uring_setup", 4, ctypes.create_string_buffer(120))


@attack(control="root")
def watch_all_files(told: Told) -> dict[str, Any]:
    """Asks to be told of, and to decide on, every opened file (fanotify)."""
    return reached("fanotify_init", 4, 0)


@attack(control="root")
def kexec(told: Told) -> dict[str, Any]:
    """Loads another kernel; the flags are invalid, so nothing is loaded."""
    return reached("kexec_load", 0, 0, None, 0xFFFF)


@attack(control="root")
def load_module(told: Told) -> dict[str, Any]:
    """Loads a kernel module of no bytes."""
    return reached("init_module", b"", 0, b"")


@attack(control="root")
def unload_module(told: Told) -> dict[str, Any]:
    """Unloads a kernel module that does not exist."""
    return reached("delete_module", b"reflectory_none", os.O_NONBLOCK)


@attack(control="root")
def reboot(told: Told) -> dict[str, Any]:
    """Restarts the machine; the magic numbers are wrong, so nothing happens."""
    return reached("reboot", 0, 0, 0, None)


@attack(control="root")
def swap_on(told: Told) -> dict[str, Any]:
    """Switches on a swap file that does not exist."""
    return reached("swapon", b"/reflectory-none", 0)


@attack(control="root")
def set_clock(told: Told) -> dict[str, Any]:
    """Sets the clock, to no time."""
    return reached("settimeofday", None, None)


@attack(control="root")
def set_host_name(told: Told) -> dict[str, Any]:
    """Sets the machine's name, to one that is too long."""
    return reached("sethostname", b"x" * 300, 300)


@attack(control="root")
def hang_up(told: Told) -> dict[str, Any]:
    """Hangs up the controlling terminal, which it does not have."""
    return reached("vhangup")


@attack(control="root")
def read_kernel_log(told: Told) -> dict[str, Any]:
    """Asks for the size of the kernel's log."""
    return reached("syslog", 10, None, 0)


@attack(control="root")
def account(told: Told) -> dict[str, Any]:
    """Has all processes written down in a file that does not exist."""
    return reached("acct", b"/reflectory-none")


@attack(control="user")
def quotas(told: Told) -> dict[str, Any]:
    """Syncs the disk quotas of all file systems."""
    return reached("quotactl", 0x800001 << 8, None, 0, None)


@attack(control="root")
def hardware_port(told: Told) -> dict[str, Any]:
    """Asks for the right to use one hardware port; it is not used."""
    return reached("ioperm", 0x80, 1, 1)


@attack(control="root")
def hardware_ports(told: Told) -> dict[str, Any]:
    """Asks for the right to use all hardware ports; none is used."""
    return reached("iopl", 3)


@attack(control="user")
def segment_table(told: Told) -> dict[str, Any]:
    """Reads the processor's segment table, a source of many kernel bugs."""
    return reached("modify_ldt", 0, ctypes.create_string_buffer(64), 64)


@attack(control="user")
def system_call_32(told: Told) -> dict[str, Any]:
    """Makes a system call of 32-bit programs (int 0x80), whose numbers a 64-bit filter misreads."""
    if platform.machine() != "x86_64":
        return {"contained": "not on this processor", "missing": "not on this processor"}

    def work() -> None:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
        answer = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        os._exit(42 if answer == os.getpid() else 41)

    code = in_child(work)
    if code == 139:
        return {"contained": "the kernel runs no 32-bit calls", "missing": "the kernel runs no 32-bit calls"}
    return escaped("int 0x80 was answered") if code == 42 else {"contained": f"it ended with {code}"}


@attack(control="user")
def system_call_x32(told: Told) -> dict[str, Any]:
    """Makes a system call of the x32 kind, whose numbers a filter may not know."""
    if platform.machine() != "x86_64":
        return {"contained": "not on this processor", "missing": "not on this processor"}
    answer = libc.syscall(ctypes.c_long(0x40000000 + 39))
    if answer == os.getpid():
        return escaped("an x32 system call was answered")
    return {"contained": f"errno {ctypes.get_errno()}", "missing": "the kernel has no x32 calls"}
