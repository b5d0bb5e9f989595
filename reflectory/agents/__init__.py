"""Roles: nodes `State -> update` that ask a model, and the View that shows them a world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.agents.reflector import Reflector
    from reflectory.agents.solver import Solver
    from reflectory.agents.view import Lesson, Prompt, Turn, View

__all__ = ["Lesson", "Prompt", "Reflector", "Solver", "Turn", "View"]

__getattr__ = lazy(
    __name__,
    {
        "Lesson": "reflectory.agents.view",
        "Prompt": "reflectory.agents.view",
        "Reflector": "reflectory.agents.reflector",
        "Solver": "reflectory.agents.solver",
        "Turn": "reflectory.agents.view",
        "View": "reflectory.agents.view",
    },
)
