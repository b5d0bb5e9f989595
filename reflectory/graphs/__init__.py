"""Wirings: who speaks when. Each one becomes a LangGraph graph or is driven by a bare loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.graphs.builder import StateGraph
    from reflectory.graphs.context import RunContext
    from reflectory.graphs.state import State
    from reflectory.graphs.wiring import END, Choose, Wiring

__all__ = ["END", "Choose", "RunContext", "State", "StateGraph", "Wiring"]

__getattr__ = lazy(
    __name__,
    {
        "END": "reflectory.graphs.wiring",
        "Choose": "reflectory.graphs.wiring",
        "RunContext": "reflectory.graphs.context",
        "State": "reflectory.graphs.state",
        "StateGraph": "reflectory.graphs.builder",
        "Wiring": "reflectory.graphs.wiring",
    },
)
