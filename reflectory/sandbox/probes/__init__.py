"""Attacks on a sandbox, tried for real on canaries: what is judged is what happened outside, wherever there is an outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.sandbox.probes.probe import Probe, all_probes
    from reflectory.sandbox.probes.report import ProbeReport, ProbeResult
    from reflectory.sandbox.probes.run import SMALL, run_probes

__all__ = ["SMALL", "Probe", "ProbeReport", "ProbeResult", "all_probes", "run_probes"]

__getattr__ = lazy(
    __name__,
    {
        "SMALL": "reflectory.sandbox.probes.run",
        "Probe": "reflectory.sandbox.probes.probe",
        "ProbeReport": "reflectory.sandbox.probes.report",
        "ProbeResult": "reflectory.sandbox.probes.report",
        "all_probes": "reflectory.sandbox.probes.probe",
        "run_probes": "reflectory.sandbox.probes.run",
    },
)
