"""What came of the probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ProbeResult:
    """What came of one probe.

    Attributes:
        name: Of the probe.
        group: Of the probe.
        escaped: Whether it did what a sandbox must prevent.
        why: What happened.
        seconds: Wall time, opening and closing of the box included.
        declared: The sentence of the sandbox's report that admits it; "" for none.
        skipped: Whether it could not be tried here; then `escaped` is False.
        threads: Most threads its processes had at once, where that was looked at.
    """

    name: str
    group: str
    escaped: bool
    why: str
    seconds: float = 0.0
    declared: str = ""
    skipped: bool = False
    threads: int = 0


@dataclass
class ProbeReport:
    """What came of all.

    Attributes:
        tier: What was probed.
        results: By name, in the order they were tried.
    """

    tier: str
    results: dict[str, ProbeResult] = field(default_factory=dict)

    @property
    def tried(self) -> list[str]:
        """Names of the probes that ran."""
        return [result.name for result in self.results.values() if not result.skipped]

    @property
    def escaped(self) -> list[str]:
        """Names of those that escaped where the report does not admit it."""
        return [result.name for result in self.results.values() if result.escaped and not result.declared]

    @property
    def declared(self) -> list[str]:
        """Names of those that escaped as the report says they can."""
        return [result.name for result in self.results.values() if result.escaped and result.declared]

    @property
    def skipped(self) -> dict[str, str]:
        """Name → why it could not be tried."""
        return {result.name: result.why for result in self.results.values() if result.skipped}

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Plain data: {name: {"escaped", "why", "seconds", …}}."""
        return {name: {key: value for key, value in vars(result).items() if key != "name"} for name, result in self.results.items()}
