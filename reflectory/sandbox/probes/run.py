"""Runs the probes: a new box for each, and a look at everything outside before and after."""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from reflectory.errors import ConfigError, SandboxError, did_you_mean
from reflectory.execution import Executed, Limits
from reflectory.protocols import Box, Sandbox
from reflectory.sandbox.guest.processes import descendants, measure, resident
from reflectory.sandbox.probes.canaries import Canaries
from reflectory.sandbox.probes.judge import Seen, missing, verdict
from reflectory.sandbox.probes.orphans import adopting, left_running
from reflectory.sandbox.probes.probe import Probe, all_probes
from reflectory.sandbox.probes.report import ProbeReport, ProbeResult

#: Limits that fit the probes: small enough to be strained within seconds, and without harm where they do not hold.
SMALL = Limits(seconds=3.0, memory_mb=128, processes=24, disk_mb=8, files=300, output_kb=16, output_most_mb=4)
#: Larger limits are not strained: what if they did not hold?
MOST = Limits(seconds=60.0, memory_mb=512, processes=64, disk_mb=64, files=4096, output_kb=1024, output_most_mb=64)
#: What says that the kernel itself refused a process.
REFUSED = "BlockingIOError"
#: Seconds that fetching or writing files may take beyond a call's own limit.
FILES = 20.0
SYS_ADMIN = 1 << 21


async def run_probes(
    sandbox: Sandbox, *, only: Collection[str] | None = None, say: Callable[[str], None] | None = None, user: int | None = None
) -> ProbeReport:
    """Attack a sandbox, with one box for each probe, and see what gets out.

    A sandbox of level "none" gets the probes that are harmless on canaries, and each of them must escape: this shows that they work.
    Give the sandbox small limits, such as `SMALL`: limits above the defaults are not strained.

    Args:
        sandbox: What is attacked.
        only: Names or groups of probes; None for all.
        say: Called with one line per probe.
        user: Numeric user as which the sandbox runs programs, if not as the own one; the canaries are made his.

    Raises:
        ConfigError: There is no such probe.
        SandboxError: No canaries can be made here, or the sandbox does not open.
    """
    report = ProbeReport(sandbox.report.tier)
    secret = secrets.token_hex(16)
    with adopting(), _secret_in_environment(secret), contextlib.ExitStack() as stack:
        canaries = stack.enter_context(Canaries(user))
        for probe in _chosen(sandbox, only):
            why_not = _unsafe(probe, sandbox, report)
            if why_not:
                result = ProbeResult(probe.name, probe.group, False, why_not, skipped=True)
            else:
                canaries.secrets[secret] = "the environment of this process"
                result, changed = await _try(probe, sandbox, canaries)
                if changed:
                    stack.close()
                    canaries = stack.enter_context(Canaries(user))
            report.results[probe.name] = result
            if say:
                word = "skipped" if result.skipped else "declared" if result.declared else "ESCAPED" if result.escaped else "held"
                say(f"{report.tier} {probe.group}/{probe.name}: {word}: {result.why} ({result.seconds:.2f} s)")
    return report


def _chosen(sandbox: Sandbox, only: Collection[str] | None) -> list[Probe]:
    probes = all_probes()
    groups = {probe.group for probe in probes.values()}
    for name in only or ():
        if name not in probes and name not in groups:
            msg = f"there is no probe {name!r}. {did_you_mean(name, [*groups, *probes])}"
            raise ConfigError(msg)
    chosen = [probe for probe in probes.values() if only is None or probe.name in only or probe.group in only]
    strained = {probe.limit for probe in chosen if probe.limit}
    chosen = [probe for probe in probes.values() if probe in chosen or (probe.mild and probe.limit in strained)]
    if sandbox.report.level == "none":
        able = _able()
        return [probe for probe in chosen if probe.control == "user" or (probe.control == "root" and able)]
    return chosen


def _able() -> bool:
    """Whether this process has root's rights on this machine, rather than in a container."""
    held = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return bool(int(held["CapEff"], 16) & SYS_ADMIN) and held.get("Seccomp", "0").strip() == "0"


def _unsafe(probe: Probe, sandbox: Sandbox, report: ProbeReport) -> str:
    """Why a probe that strains a limit must not run; "" for none."""
    if not probe.limit:
        return ""
    too_large = [name for name, most in MOST.model_dump().items() if getattr(sandbox.limits, name) > most]
    if too_large:
        return f"the limits {', '.join(too_large)} are too large to be strained; give reflectory.sandbox.probes.SMALL"
    mild = [result for result in report.results.values() if all_probes()[result.name].mild and _same_limit(result, probe)]
    if probe.mild or not mild:
        return ""
    if escaped := [result.name for result in mild if result.escaped]:
        return f"the limit did not even hold {escaped[0]}"
    if probe.name.startswith("fork_bomb") and not any(REFUSED in result.why for result in mild):
        return "the kernel was not seen to refuse processes here, so no bomb is set off"
    return ""


def _same_limit(result: ProbeResult, probe: Probe) -> bool:
    return all_probes()[result.name].limit == probe.limit


async def _try(probe: Probe, sandbox: Sandbox, canaries: Canaries) -> tuple[ProbeResult, bool]:
    """One probe; also whether the canaries have to be made anew."""
    began = time.monotonic()
    before, known, size = canaries.state(), set(descendants(os.getpid())), _resident_mb()
    seen = Seen()
    peak = _Peak(known, of_all=bool(probe.limit))
    box = await sandbox.open()
    try:
        with peak:
            await _attack(probe, box, {**canaries.told, "limits": sandbox.limits.model_dump()}, seen)
    except SandboxError as error:
        seen.errors.append(str(error))
    finally:
        await box.close()
    seen.grown_mb, seen.peak = max(0.0, _resident_mb() - size), (peak.threads, peak.megabytes)
    seen.left = await left_running(known)
    after = canaries.state()
    seen.changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    got_out, why = verdict(probe, seen, sandbox.limits, canaries.secrets)
    control = sandbox.report.level == "none"
    not_tried = missing(seen) if control else why if seen.executed is None else ""
    if not_tried and not got_out:
        return ProbeResult(probe.name, probe.group, False, not_tried, time.monotonic() - began, skipped=True), bool(seen.changed)
    declared = _declared(probe, sandbox) if got_out and not control else ""
    took = time.monotonic() - began
    return ProbeResult(probe.name, probe.group, got_out, why, took, declared, threads=peak.threads), bool(seen.changed)


def _declared(probe: Probe, sandbox: Sandbox) -> str:
    """The sentence of the report that admits what the probe does; "" for none."""
    if not probe.leak:
        return ""
    return next((leak for leak in sandbox.report.leaks if all(word in leak for word in probe.leak)), "")


async def _attack(probe: Probe, box: Box, told: dict[str, object], seen: Seen) -> None:
    async def timed(work: object, beyond: float = 0.0) -> object:
        began = time.monotonic()
        try:
            return await work  # type: ignore[misc]
        finally:
            seen.took.append(time.monotonic() - began - beyond)

    filled = {key: str(value) for key, value in told.items()}
    if probe.argv:
        done = await timed(box.run([part.format_map(filled) for part in probe.argv]))
    elif probe.command:
        done = await timed(box.shell(_fill(probe.command, filled)))
    else:
        done = await timed(box.python(probe.source(told)))
    assert isinstance(done, Executed)
    seen.executed = done
    if probe.then == "get":
        end = time.monotonic() + (1.0 if probe.name.startswith("swapped") else 0.0)
        while True:
            seen.fetched.append(await timed(box.get(), FILES))  # type: ignore[arg-type]
            if time.monotonic() > end:
                break
    elif probe.then == "put":
        for name in ("folder/planted", "file"):
            try:
                await timed(box.put({name: b"planted"}), FILES)
            except SandboxError as error:
                seen.errors.append(str(error))


def _fill(command: str, told: dict[str, str]) -> str:
    """Shell commands have braces of their own, so only known names are filled in."""
    for key, value in told.items():
        command = command.replace("{" + key + "}", value)
    return command


class _Peak:
    """Looks every 20 ms how many threads and how much memory the box's processes have, while the context lasts."""

    def __init__(self, known: Collection[int], *, of_all: bool) -> None:
        self._known, self._of_all = known, of_all
        self.threads, self.megabytes = 0, 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="reflectory-probe", daemon=True)

    def _look(self) -> None:
        while not self._end.wait(0.02):
            below = descendants(os.getpid(), without=self._known)
            self.threads = max(self.threads, measure(below)[1])
            self.megabytes = max(self.megabytes, resident(below) / 2**20)

    def __enter__(self) -> _Peak:
        if self._of_all:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._of_all:
            self._thread.join()


def _resident_mb() -> float:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def _secret_in_environment(secret: str) -> Iterator[None]:
    os.environ["REFLECTORY_PROBE"] = secret
    try:
        yield
    finally:
        del os.environ["REFLECTORY_PROBE"]
