"""What every sandbox must keep to: nothing gets out of it, and its limits hold."""

from __future__ import annotations

from collections.abc import Callable, Collection

from reflectory.protocols import Sandbox
from reflectory.runs.runner import synchronous
from reflectory.sandbox.probes import run_probes


def check_sandbox(
    sandbox: Sandbox, *, only: Collection[str] | None = None, say: Callable[[str], None] | None = None, user: int | None = None
) -> list[str]:
    """Attack a sandbox with every probe, each in a box of its own; takes a minute or two.

    Make the sandbox with small limits (`reflectory.sandbox.probes.SMALL`): above the default limits the probes of files, memory and
    processes are left out, since what did not hold would harm this machine.

    Args:
        sandbox: What is attacked.
        only: Names or groups of probes; None for all.
        say: Called with one line per probe, also for those that were held or left out.
        user: Numeric user as which the sandbox runs programs, if not as the own one.

    Returns:
        One sentence per escape that the sandbox's own report does not admit in `leaks`; empty when everything is held.

    Raises:
        ConfigError: There is no such probe.
        SandboxError: The sandbox does not open.
    """
    report = synchronous(run_probes(sandbox, only=only, say=say, user=user))
    results = (report.results[name] for name in report.escaped)
    return [f"{result.group}/{result.name}: {result.why}" for result in results]
