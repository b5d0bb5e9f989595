"""The shell of a box: bash (or sh) that runs commands from a pipe, so that folder, variables and functions stay."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: Bash reads its script from its input, line by line; the input of commands is empty. Each command is one `eval`, between two reports
#: on this descriptor, which is not open in what a command starts. There is no loop, so nothing is there for `break` to confuse.
OUT = 250
#: That the command was taken; after it the status and the options that are set. `set -x` shows nothing of this,
#: and the empty line is for the parser, which knows no `{` right after an error.
TAKEN = f"builtin printf + >&{OUT}\n".encode()
REPORT = f'\n{{ builtin printf \'%s\\0%s\\0\' "$?" "$-" >&{OUT}; builtin set +x; }} 2>/dev/null\n'.encode()
SHELLS = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash")


def find_shell() -> str | None:
    """Path of bash, or None."""
    return next((path for path in SHELLS if os.access(path, os.X_OK)), None)


def script(command: bytes, status: int, *, traced: bool) -> bytes:
    """What bash reads to run a command.

    Args:
        command: As it was given.
        status: Of the command before, which `$?` is to give.
        traced: Whether `set -x` holds.
    """
    # A list whose first part fails sets `$?` without ending a shell that has `set -e`, and without setting off a trap.
    before = [b"builtin set -x"] * traced + [b"(builtin exit %d) && builtin :" % status] * bool(status)
    if before:
        command = b"{ " + b"; ".join(before) + b"; } 2>/dev/null\n" + command
    quoted = command.replace(b"'", b"'\\''")
    return TAKEN + b"builtin eval -- '" + quoted + b"' " + f"</dev/null {OUT}>&-\n".encode() + REPORT


def become(read_end: int, write_end: int, environment: dict[str, str]) -> NoReturn:
    """Turn this process into the shell.

    Args:
        read_end: Where its script comes from.
        write_end: Where it reports to.
        environment: Its variables.
    """
    path = find_shell()
    if path is None:
        os._exit(127)
    os.dup2(write_end, OUT)
    os.dup2(read_end, 0)
    os.closerange(3, OUT)
    os.execve(path, ["bash", "--noprofile", "--norc", "-s"], environment)
