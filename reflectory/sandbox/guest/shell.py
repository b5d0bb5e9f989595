"""The shell of a box: bash (or sh) that runs commands from a pipe, so that folder, variables and functions stay."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: Commands come NUL-ended on descriptor 8, "status NUL folder NUL" goes back on 9; neither is open in what a command starts.
BASH = r"""
while IFS= read -r -d '' __reflectory_command <&8; do
  eval "$__reflectory_command" 8<&- 9>&-
  printf '%d\0%s\0' "$?" "$PWD" >&9
done
"""
IN, OUT = 8, 9
SHELLS = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash")


def find_shell() -> str | None:
    """Path of bash, or None."""
    return next((path for path in SHELLS if os.access(path, os.X_OK)), None)


def become(read_end: int, write_end: int, environment: dict[str, str]) -> NoReturn:
    """Turn this process into the shell.

    Args:
        read_end: Where commands come from.
        write_end: Where statuses go.
        environment: Its variables.
    """
    path = find_shell()
    if path is None:
        os._exit(127)
    # Through high numbers first: an end may already stand on 8 or 9.
    high = [os.dup2(fd, number) for fd, number in ((read_end, 100), (write_end, 101))]
    os.dup2(high[0], IN)
    os.dup2(high[1], OUT)
    os.closerange(OUT + 1, 128)
    os.execve(path, ["bash", "--noprofile", "--norc", "-c", BASH], environment)
