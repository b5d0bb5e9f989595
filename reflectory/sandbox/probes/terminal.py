"""Attacks on the terminal of whoever started the sandbox; what counts is what arrived there."""

from __future__ import annotations

import fcntl
import os
import termios
from typing import Any

from reflectory.sandbox.probes.inside import Told, escaped, opened
from reflectory.sandbox.probes.probe import Probe, add, attack

add(
    Probe("write_terminal_by_shell", "terminal", "The shell writes to a terminal of the host", command="echo x >{terminal}", control="user")
)


@attack(control="root")
def type_into_terminal(told: Told) -> None:
    """Types into a terminal of the host with TIOCSTI, as if its user did."""
    fcntl.ioctl(os.open(told["terminal"], os.O_RDWR | os.O_NOCTTY), termios.TIOCSTI, b"x")


@attack(control="user")
def write_terminal(told: Told) -> None:
    """Writes to a terminal of the host: escape sequences can do more than show text."""
    os.write(os.open(told["terminal"], os.O_WRONLY | os.O_NOCTTY), b"\x1b]0;planted\x07")


@attack()
def type_into_controlling_terminal(told: Told) -> dict[str, Any]:
    """Types into the terminal it was started from, if it still has one."""
    fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), termios.TIOCSTI, b" ")
    return escaped("typed into the controlling terminal")


@attack()
def type_into_own_streams(told: Told) -> dict[str, Any]:
    """Looks for a terminal among its own descriptors and types into it."""
    for fd in range(256):
        if os.isatty(fd):
            fcntl.ioctl(fd, termios.TIOCSTI, b" ")
            return escaped(f"typed into descriptor {fd}")
    return {"contained": "no descriptor is a terminal"}


@attack(control="root")
def open_console(told: Told) -> dict[str, Any]:
    """Opens the machine's console or a virtual terminal (TIOCLINUX pastes there)."""
    return opened(["/dev/console", "/dev/tty0", "/dev/tty1", "/dev/vcs", "/dev/vcsa"], os.O_WRONLY | os.O_NOCTTY)
