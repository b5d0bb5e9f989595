"""A Landlock ruleset: which files programs may read and write; all else that Landlock knows of is refused.

Source: Linux `Documentation/userspace-api/landlock.rst`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence

from . import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
#: Rights that make sense for what is no folder.
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
#: Making sockets and devices is for nobody.
MAKE_CHAR, MAKE_SOCK, MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
BIND_TCP, CONNECT_TCP = 1, 2
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2


def handled(abi: int) -> tuple[int, int, int]:
    """(Kinds of access to files, to the network, scopes) that a version of the interface knows."""
    files = (1 << 13) - 1
    for version, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        files |= right if abi >= version else 0
    return files, BIND_TCP | CONNECT_TCP if abi >= 4 else 0, SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if abi >= 6 else 0


def make(paths: Mapping[str, Sequence[str]]) -> int:
    """A ruleset.

    Args:
        paths: `read` (and execute), `write` (all rights below folders), `devices` (read and write); what does not exist is left out.

    Returns:
        Its descriptor.

    Raises:
        OSError: The kernel has no Landlock, or refused a rule.
    """
    files, network, scoped = handled(kernel.landlock_abi())
    rights = {
        "read": EXECUTE | READ_FILE | READ_DIR,
        "write": files & ~(MAKE_CHAR | MAKE_SOCK | MAKE_BLOCK | IOCTL_DEV),
        "devices": READ_FILE | WRITE_FILE,
    }
    ruleset = kernel.landlock_ruleset(files, network, scoped)
    for kind, names in paths.items():
        for name in names:
            try:
                mode = os.stat(name).st_mode
            except FileNotFoundError:
                continue
            kernel.landlock_allow(ruleset, name, rights[kind] & (files if stat.S_ISDIR(mode) else OF_FILES))
    return ruleset
