"""The tier that is no sandbox: limits alone. Refused unless asked for by name."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile

from reflectory.execution import SandboxReport
from reflectory.sandbox.launch import ENVIRONMENT, GUEST, Launch, Settings, base_spec, boot, check, check_reach


class Unsafe:
    """Runs programs with the rights of this process; only time, memory, processes, files and output are limited."""

    name = "none"

    def report(self) -> SandboxReport:
        """Always available, and never a sandbox."""
        return SandboxReport(
            tier=self.name,
            level="none",
            available=True,
            contains={"limits": "looked at every 20 ms", "environment": "cleared"},
            leaks=(
                "files: everything this user may read or write",
                "network: everything this machine reaches",
                "processes: signals to every process of this user",
                "kernel: no system call is filtered",
            ),
        )

    def launch(self, settings: Settings) -> Launch:
        """How to start a box: a working folder in the temporary folder, nothing else.

        Raises:
            SandboxError: The settings name a user that this process may not choose, or who cannot read the interpreter.
        """
        check(settings)
        if settings.user is not None:
            check_reach(settings, settings.user, (GUEST, *settings.folders))
        work = tempfile.mkdtemp(prefix="reflectory-box-")
        if settings.user is not None:
            os.chown(work, settings.user, settings.user)
        return Launch(
            argv=boot(settings),
            spec={**base_spec(settings, work), "watch_files": True, "remove": work, "confine": "children"},
            user=settings.user,
            cleanup=functools.partial(remove, work),
        )


def remove(folder: str) -> None:
    """Delete a working folder, whatever a program has made of it (too deep for Python's own recursion, folders nobody may enter)."""
    search = {"PATH": os.pathsep.join((os.environ.get("PATH", ""), ENVIRONMENT["PATH"]))}
    null = subprocess.DEVNULL
    for command in (["rm", "-rf", "--", folder], ["chmod", "-R", "u+rwx", "--", folder], ["rm", "-rf", "--", folder]):
        subprocess.run(command, stdin=null, stdout=null, stderr=null, env=search, check=False)
