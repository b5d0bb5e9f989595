"""Reading goals in people's words: what is asked, what may be answered, and when an answer has been carried out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from reflectory.envs.household.catalog import MARKS, PLACES_OF, TREATMENTS_OF
from reflectory.envs.household.lessons import kind_of

_WORD = re.compile(r"[a-z]+|\d+")


def goal_prompt(sentence: str) -> str:
    """The reader's prompt for a goal in people's words."""
    return f"goal {' '.join(_WORD.findall(sentence.lower()))} ; read"


def known_goals(dests: Sequence[str]) -> list[str]:
    """All goals a room with these furniture types can have, as "kind thing place", sorted."""
    rows = []
    for obj, fitting in PLACES_OF.items():
        rows += [f"{kind} {obj} {dest}" for dest in dests if dest in fitting for kind in ("pick", "two", *TREATMENTS_OF[obj])]
        rows.append(f"look {obj} desklamp")
    return sorted(rows)


def looks_done(goal: Mapping[str, str], work: Mapping[str, Any]) -> bool:
    """Has this reading been carried out, although the world did not end the task?"""
    mark = MARKS.get(goal["kind"])
    if goal["kind"] == "look":
        return bool(work["lit"]) and kind_of(work["held"]) == goal["obj"]
    count = [
        sum(kind_of(thing) == goal["obj"] and (mark is None or mark in work["done"].get(thing, ())) for thing in things)
        for place, things in work["seen"].items()
        if kind_of(place) == goal["dest"]
    ]
    return max(count, default=0) >= (2 if goal["kind"] == "two" else 1)
