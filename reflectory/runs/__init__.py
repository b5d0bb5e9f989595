"""Running: the Runner owns what is alive, the run directory is the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.runs.directory import RunDirectory
    from reflectory.runs.metrics import Metrics, paired_bootstrap, wilson
    from reflectory.runs.runner import Run, Runner, resume, run

__all__ = ["Metrics", "Run", "RunDirectory", "Runner", "paired_bootstrap", "resume", "run", "wilson"]

__getattr__ = lazy(
    __name__,
    {
        "Metrics": "reflectory.runs.metrics",
        "Run": "reflectory.runs.runner",
        "RunDirectory": "reflectory.runs.directory",
        "Runner": "reflectory.runs.runner",
        "paired_bootstrap": "reflectory.runs.metrics",
        "resume": "reflectory.runs.runner",
        "run": "reflectory.runs.runner",
        "wilson": "reflectory.runs.metrics",
    },
)
