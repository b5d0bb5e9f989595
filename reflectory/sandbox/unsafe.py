"""The tier that is no sandbox: limits alone. Refused unless asked for by name."""

from __future__ import annotations

import functools
import subprocess
import tempfile

from reflectory.execution import SandboxReport
from reflectory.sandbox.launch import Launch, Settings, base_spec, boot


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
        """How to start a box: a working folder in the temporary folder, nothing else."""
        work = tempfile.mkdtemp(prefix="reflectory-box-")
        return Launch(
            argv=boot(settings),
            spec={**base_spec(settings, work), "watch_files": True, "confine": "children"},
            cleanup=functools.partial(remove, work),
        )


def remove(folder: str) -> None:
    """Delete a working folder, whatever a program has made of it (too deep for Python's own recursion, folders nobody may enter)."""
    for command in (["rm", "-rf", "--", folder], ["chmod", "-R", "u+rwx", "--", folder], ["rm", "-rf", "--", folder]):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
