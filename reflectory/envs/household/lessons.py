"""The language of household lessons: short sentences about places and procedures, read and written by rule.

Places: `mug in cabinet 6`, `no mug in drawer 2`, `drawer 3 empty`. Procedures: `open microwave 1 first`, `microwave 1 broken`,
`microwave 1 works`, `drawer 3 opens at pull 2`, `drawer 3 jams`, `mug 2 stuck`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from reflectory.envs.household.catalog import PLACES_OF

_FORMS = (
    ("absent", re.compile(r"no (\w+) in (\w+ \d+)")),
    ("place", re.compile(r"(\w+) in (\w+ \d+)")),
    ("open_first", re.compile(r"open (\w+ \d+) first")),
    ("broken", re.compile(r"(\w+ \d+) broken")),
    ("works", re.compile(r"(\w+ \d+) works")),
    ("pulls", re.compile(r"(\w+ \d+) opens at pull (\d+)")),
    ("jams", re.compile(r"(\w+ \d+) jams")),
    ("stuck", re.compile(r"(\w+ \d+) stuck")),
    ("empty", re.compile(r"(\w+ \d+) empty")),
)
PLACES = frozenset({"place", "absent", "empty"})
#: A reflection tells at most so many places; what the task was about comes first.
MAX_PLACES = 36


@functools.lru_cache(maxsize=65_536)  # read for every lesson at every step
def read_lesson(body: str) -> tuple[str, ...] | None:
    """(form, arguments…) of a lesson sentence, or None when it is none.

    Forms: absent and place (type, receptacle), open_first, broken, works, jams, stuck (entity), pulls (receptacle, number).
    """
    for form, pattern in _FORMS:
        match = pattern.fullmatch(body.strip())
        if match:
            return (form, *match.groups())
    return None


def kind_of(name: str) -> str:
    """Type of a numbered thing: "mug 2" → "mug"."""
    return name.rpartition(" ")[0]


def procedures(work: Mapping[str, Any]) -> list[str]:
    """What the attempt taught about how this house works, in a fixed order."""
    out = []
    for machine, door in work["refused"].items():
        if work["ran"].get(machine) == "open" or (door == "shut" and machine not in work["ran"]):
            out.append(f"open {machine} first")
        elif door == "open":
            out.append(f"{machine} broken")
    out += [f"{machine} works" for machine in work["ran"] if machine not in work["refused"]]
    out += [f"{door} opens at pull {pulls}" for door, pulls in work["pulled"].items() if pulls > 1]
    out += [f"{door} jams" for door in work["jammed"]]
    return out + [f"{thing} stuck" for thing in work["stuck"]]


def places(work: Mapping[str, Any], goal: Mapping[str, str] | None) -> list[str]:
    """Where things were first seen; for goal things that were not found, where they are not."""
    wanted = {goal["obj"], goal["dest"]} if goal else set()
    rows: dict[str, None] = {}
    firsts = sorted(work["first"].items(), key=lambda item: kind_of(item[0]) not in wanted)
    for thing, place in firsts:
        if kind_of(thing) not in PLACES_OF and kind_of(thing) != "desklamp":
            continue  # furniture that nobody can take along
        rows[f"{kind_of(thing)} in {place}"] = None
    found = {kind_of(thing) for thing in work["first"]}
    missing = [goal["obj"]] if goal and goal["obj"] not in found else []
    for kind in missing:
        for place in reversed(work["seen"]):
            rows[f"no {kind} in {place}"] = None
    told = sorted(rows, key=lambda body: not any(word in wanted for word in body.split()[:2]))
    taken = set(work["first"].values())
    return [*told, *(f"{place} empty" for place in work["seen"] if place not in taken)][:MAX_PLACES]


def learned(work: Mapping[str, Any], goal: Mapping[str, str] | None) -> list[str]:
    """All lessons of an attempt, procedures first: what the reflector is trained to write."""
    return procedures(work) + places(work, goal)


def supported(body: str, work: Mapping[str, Any]) -> bool:
    """Do the attempt's own observations bear a lesson out? What they say nothing of is not supported."""
    lesson = read_lesson(body)
    if lesson is None:
        return False
    if lesson[0] == "place":
        return any(kind_of(thing) == lesson[1] and place == lesson[2] for thing, place in work["first"].items())
    if lesson[0] == "absent":
        inside = work["seen"].get(lesson[2])
        return inside is not None and not any(kind_of(thing) == lesson[1] and place == lesson[2] for thing, place in work["first"].items())
    if lesson[0] == "empty":
        return lesson[1] in work["seen"] and lesson[1] not in work["first"].values()
    return body.strip() in procedures(work)


def sort_lessons(bodies: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Lessons by form, for policies: place/absent: type → [receptacles]; pulls: receptacle → n; the others: entity → True."""
    out: dict[str, dict[str, Any]] = {form: {} for form, _ in _FORMS}
    for body in bodies:
        lesson = read_lesson(body)
        if lesson is None:
            continue
        if lesson[0] in ("place", "absent"):
            out[lesson[0]].setdefault(lesson[1], []).append(lesson[2])
        else:
            out[lesson[0]][lesson[1]] = int(lesson[2]) if lesson[0] == "pulls" else True
    return out


def denied(told: Mapping[str, Mapping[str, Any]], kind: str) -> set[str]:
    """Places where lessons speak against finding a type of thing: said so, empty, or looked into and only other things reported.

    Args:
        told: What `sort_lessons` gave.
        kind: The type that is looked for.
    """
    others = {place for other, places in told["place"].items() if other != kind for place in places}
    return ({*told["absent"].get(kind, ()), *told["empty"]} | others) - set(told["place"].get(kind, ()))
