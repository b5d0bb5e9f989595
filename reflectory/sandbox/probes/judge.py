"""Says of what came back from a box whether something got out."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reflectory.execution import Artefact, Executed, Limits
from reflectory.sandbox.probes.inside import MARK
from reflectory.sandbox.probes.probe import Probe

#: What a call may take beyond its limit, in seconds.
LATE = 2.0
#: How much a limit may be exceeded by what an attack holds for a second; a look at the limits every so often is not exact.
SLACK = 1.25
#: How much more than the limit may be there for a moment, as seen from outside.
PEAK = 2.0
#: How much the host may grow by talking to a box, in MB.
HOST_MB = 64
_UNITS = {"processes": "processes", "memory": "memory_mb", "disk": "disk_mb", "files": "files"}


@dataclass
class Seen:
    """What one attack brought about.

    Attributes:
        executed: What its call answered.
        fetched: What the host fetched afterwards, each time it did.
        errors: What the host was told instead, as text.
        took: Seconds of each call.
        peak: Most threads and most MB that its processes had, seen from outside.
        grown_mb: How much the host grew.
        left: Processes that outlived the box.
        changed: What is different about the canaries.
    """

    executed: Executed | None = None
    fetched: list[list[Artefact]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    peak: tuple[int, float] = (0, 0.0)
    grown_mb: float = 0.0
    left: Sequence[int] = ()
    changed: Sequence[str] = ()

    @property
    def artefacts(self) -> list[Artefact]:
        """All files the host was handed."""
        return [artefact for batch in self.fetched for artefact in batch]

    @property
    def answer(self) -> dict[str, Any]:
        """What the attack said of itself; empty where it said nothing."""
        text = "" if self.executed is None else self.executed.stdout.text
        _, mark, said = text.rpartition(MARK)
        try:
            found = json.loads(said) if mark else None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {"said": found}


def verdict(probe: Probe, seen: Seen, limits: Limits, secrets: Mapping[str, str]) -> tuple[bool, str]:
    """(Whether it escaped, why)."""
    for why in (*_outside(seen, secrets), *_limits(probe, seen, limits), *_said(seen), *_handed_over(seen, limits), *_unwritable(seen)):
        return True, why
    return False, _held(seen)


def missing(seen: Seen) -> str:
    """Why the attack could not be tried here; "" where it could."""
    return str(seen.answer.get("missing", ""))


def _outside(seen: Seen, secrets: Mapping[str, str]) -> Iterable[str]:
    if seen.changed:
        yield "it changed outside: " + "; ".join(seen.changed)
    texts = list(seen.errors)
    if seen.executed is not None:
        done = seen.executed
        texts += [done.stdout.text, done.stderr.text, done.value, done.error]
    texts += [part for artefact in seen.artefacts for part in (artefact.path, artefact.content.decode("latin-1"))]
    for secret, what in secrets.items():
        if any(secret in text for text in texts):
            yield f"a secret came out: {what}"
    if seen.left:
        yield f"{len(seen.left)} processes outlived the box"
    if seen.grown_mb > HOST_MB:
        yield f"the host grew by {seen.grown_mb:.0f} MB"


def _limits(probe: Probe, seen: Seen, limits: Limits) -> Iterable[str]:
    if seen.took and max(seen.took) > limits.seconds + LATE:
        yield f"a call took {max(seen.took):.1f} s where {limits.seconds:g} s are allowed"
    threads, megabytes = seen.peak
    if threads > PEAK * limits.processes + 8:
        yield f"{threads} processes where {limits.processes} are allowed"
    if megabytes > PEAK * limits.memory_mb + 64:
        yield f"{megabytes:.0f} MB of memory where {limits.memory_mb} are allowed"
    held = seen.answer.get("held")
    if isinstance(held, int | float) and seen.executed is not None and not seen.executed.killed:
        most = getattr(limits, _UNITS[probe.limit]) if probe.limit in _UNITS else 10_000
        if held > SLACK * most:
            yield f"it held {held:g} ({probe.limit}) where {most} are allowed"
    if seen.executed is not None:
        longest = max(len(stream.text) for stream in (seen.executed.stdout, seen.executed.stderr))
        if longest > limits.output_kb * 1024 * 4 + 1000 or len(seen.executed.value) > 10**6:
            yield f"the host was given {longest} characters where {limits.output_kb} KB are allowed"


def _said(seen: Seen) -> Iterable[str]:
    """What only the kernel inside can tell, or what only the host can compare."""
    answer = seen.answer
    said = answer.get("said")
    for part in [answer, *(said if isinstance(said, list) else [])]:
        if isinstance(part, dict) and part.get("escaped"):
            yield str(part["escaped"])
    if "file" in answer:
        path, device, inode = answer["file"]
        facts = Path(path).stat() if Path(path).exists() else None
        if facts is not None and (facts.st_dev, facts.st_ino) == (device, inode):
            yield f"it got at the machine's own {path}"
    if "listing" in answer:
        path, names = answer["listing"]
        if names and sorted(names) == sorted(entry.name for entry in Path(path).iterdir()):
            yield f"it listed the machine's own {path}"
    if "interfaces" in answer:
        common = {name for _, name in socket.if_nameindex()} & set(answer["interfaces"]) - {"lo"}
        if common:
            yield f"it sees the machine's network interfaces {sorted(common)}"


def _handed_over(seen: Seen, limits: Limits) -> Iterable[str]:
    """What the host was handed must be plain files below the working folder, within the limits."""
    for artefact in seen.artefacts:
        parts = artefact.path.split("/")
        if artefact.path.startswith("/") or ".." in parts or "" in parts or "\0" in artefact.path or len(artefact.path) > 4096:
            yield f"the host was handed a file named {artefact.path[:80]!r}"
        if artefact.size != len(artefact.content):
            yield f"the host was handed {len(artefact.content)} bytes as {artefact.size}"
    if max(map(sum, ([len(artefact.content) for artefact in batch] for batch in seen.fetched)), default=0) > (limits.disk_mb + 1) * 2**20:
        yield "the host was handed more bytes than may be written"
    if max(map(len, seen.fetched), default=0) > limits.files:
        yield "the host was handed more files than may be made"


def _unwritable(seen: Seen) -> Iterable[str]:
    """Whatever comes back is written to JSON sooner or later; text with lone surrogates cannot be."""
    try:
        for value in (seen.executed, *seen.artefacts):
            if value is not None:
                value.model_dump_json(exclude={"content"})
    except ValueError as error:
        yield f"the host was handed what cannot be written as JSON: {error}"


def _held(seen: Seen) -> str:
    """In a few words, what kept it."""
    done, answer = seen.executed, seen.answer
    if done is None:
        return (seen.errors or ["no answer"])[0][:200]
    last = (done.stderr.text.strip().splitlines() or [""])[-1][:80]
    if done.killed:
        return f"ended: {done.killed} {last}".strip()[:200]
    for key in ("contained", "failed", "held"):
        if key in answer:
            return f"{key}: {answer[key]}"[:200]
    if done.error or (done.exit_code and done.exit_code > 0):
        return f"ended with {done.error or done.exit_code}: {last}"[:200]
    return "nothing got out"
