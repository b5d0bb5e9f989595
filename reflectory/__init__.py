"""Reflectory: an agent framework with reflective memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.config import RunConfig
    from reflectory.graphs.builder import StateGraph
    from reflectory.graphs.state import State
    from reflectory.memory import open_memory
    from reflectory.records import Budget, Task
    from reflectory.runs.runner import Run, Runner, run

__all__ = ["Budget", "Run", "RunConfig", "Runner", "State", "StateGraph", "Task", "open_memory", "run"]

__getattr__ = lazy(
    __name__,
    {
        "Budget": "reflectory.records",
        "Run": "reflectory.runs.runner",
        "RunConfig": "reflectory.config",
        "Runner": "reflectory.runs.runner",
        "State": "reflectory.graphs.state",
        "StateGraph": "reflectory.graphs.builder",
        "Task": "reflectory.records",
        "open_memory": "reflectory.memory",
        "run": "reflectory.runs.runner",
    },
)
