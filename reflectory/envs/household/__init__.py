"""The household world: ALFWorld-format games on our own engine, a generator of endless houses, quirks, and a tracker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.envs.household.engine import House
    from reflectory.envs.household.env import HouseholdEnv
    from reflectory.envs.household.game import load_game, parse_game
    from reflectory.envs.household.generator import generate
    from reflectory.envs.household.quirks import open_house
    from reflectory.envs.household.search import SearchPolicy
    from reflectory.envs.household.tasks import household_tasks
    from reflectory.envs.household.tracker import HouseholdTracker

__all__ = [
    "House",
    "HouseholdEnv",
    "HouseholdTracker",
    "SearchPolicy",
    "generate",
    "household_tasks",
    "load_game",
    "open_house",
    "parse_game",
]
_ROOM = "reflectory.envs.household"
__getattr__ = lazy(
    __name__,
    {
        "House": f"{_ROOM}.engine",
        "HouseholdEnv": f"{_ROOM}.env",
        "HouseholdTracker": f"{_ROOM}.tracker",
        "SearchPolicy": f"{_ROOM}.search",
        "generate": f"{_ROOM}.generator",
        "household_tasks": f"{_ROOM}.tasks",
        "load_game": f"{_ROOM}.game",
        "open_house": f"{_ROOM}.quirks",
        "parse_game": f"{_ROOM}.game",
    },
)
