"""Houses and goals as ALFWorld-format game files that other engines load too."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from reflectory.envs.household import catalog
from reflectory.envs.household.planner import Goal


@dataclass
class Layout:
    """A furnished house: instances with their places, things with where they stand, quirks. Ids are as in game files."""

    name: str
    room: str
    furniture: dict[str, str] = field(default_factory=dict)  # id → type
    location: dict[str, str] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    things: dict[str, tuple[str, str]] = field(default_factory=dict)  # id → (type, receptacle id)
    quirks: dict[str, Any] = field(default_factory=dict)


def furniture_id(kind: str, number: int) -> str:
    """The id of the number-th piece: sinks and bathtubs are named by their basin, as in the data."""
    base = kind.removesuffix("Basin")
    return f"{base}_bar_{number:02d}_bar_{kind}" if base != kind else f"{kind}_bar_{number:02d}"


@functools.lru_cache(maxsize=2)
def _asset(name: str) -> str:
    return (files("reflectory.envs.household") / name).read_text(encoding="utf-8")


def write_game(house: Layout, goal: Goal, *, sentence: int = 0) -> dict[str, Any]:
    """The house and a goal as game file content, without a walkthrough.

    Args:
        house: A furnished house.
        goal: Types as in the catalog ("Mug", "CoffeeMachine").
        sentence: Which of the two task sentences.
    """
    text = catalog.SENTENCES[goal.kind][sentence].format(obj=goal.obj.lower(), dest=goal.dest.lower())
    quirks = {"quirks": house.quirks} if house.quirks else {}
    return {
        "pddl_domain": _asset("domain.pddl"),
        "grammar": _asset("grammar.twl2").replace("UNKNOWN GOAL", text),
        "pddl_problem": _problem(house, goal),
        "solvable": True,
        **quirks,
    }


def _problem(house: Layout, goal: Goal) -> str:
    kinds = sorted({kind for kind, _ in house.things.values()} | set(catalog.USUAL))
    rooms = sorted(set(house.furniture.values()))
    places = sorted(set(house.location.values()) | {"loc_bar_start"})
    objects = ["agent1 - agent", *(f"{t} - object" for t in sorted(house.things)), *(f"{f} - receptacle" for f in sorted(house.furniture))]
    objects += [f"{place} - location" for place in places]
    objects += [f"{kind}Type - otype" for kind in kinds]  # the catalog's too: the domain itself names the knives
    objects += [f"{kind}Type - rtype" for kind in sorted({*rooms, "SinkBasin", "Microwave", "Fridge"})]
    facts = ["(atLocation agent1 loc_bar_start)", *_furniture_facts(house), *_thing_facts(house)]
    facts += [f"(canContain {place}Type {kind}Type)" for kind in kinds for place in rooms if place in catalog.USUAL.get(kind, ())]
    nl = "\n  "
    return (
        f"(define (problem {house.name})\n (:domain alfred)\n (:objects\n  {nl.join(objects)})\n"
        f" (:init\n  {nl.join(facts)})\n (:goal\n  {_goal(goal)}))\n"
    )


def _furniture_facts(house: Layout) -> list[str]:
    facts = []
    for entity, kind in sorted(house.furniture.items()):
        facts += [f"(receptacleType {entity} {kind}Type)", f"(receptacleAtLocation {entity} {house.location[entity]})"]
        if kind in catalog.OPENABLE:
            facts.append(f"(openable {entity})")
        if entity in house.opened:
            facts.append(f"(opened {entity})")
    return facts


def _thing_facts(house: Layout) -> list[str]:
    facts = []
    able = (("cleanable", catalog.CLEANABLE), ("heatable", catalog.HEATABLE), ("coolable", catalog.COOLABLE))
    marks = (*able, ("sliceable", catalog.SLICEABLE), ("isReceptacleObject", catalog.CONTAINERS), ("toggleable", frozenset({"DeskLamp"})))
    for thing, (kind, place) in sorted(house.things.items()):
        facts += [
            f"(objectType {thing} {kind}Type)",
            f"(inReceptacle {thing} {place})",
            f"(objectAtLocation {thing} {house.location[place]})",
        ]
        if kind in catalog.USUAL:
            facts.append(f"(pickupable {thing})")
        facts += [f"({mark} {thing})" for mark, kinds in marks if kind in kinds]
    return facts


def _goal(goal: Goal) -> str:
    thing, place = f"(objectType ?o {goal.obj}Type)", f"(receptacleType ?r {goal.dest}Type)"
    if goal.kind == "look":
        lamp = f"(objectType ?t {goal.dest}Type) (toggleable ?t) (isToggled ?t) (receptacleAtLocation ?r ?l)"
        lamp += " (atLocation ?a ?l) (inReceptacle ?t ?r)"
        held = f"(exists (?o - object ?a - agent) (and {thing} (holds ?a ?o)))"
        return f"(and (exists (?t - object ?r - receptacle ?a - agent ?l - location) (and {lamp})) {held})"
    if goal.kind == "two":
        second = f"(exists (?p - object) (and (not (= ?o ?p)) (objectType ?p {goal.obj}Type) (inReceptacle ?p ?r)))"
        return f"(and (exists (?r - receptacle) (exists (?o - object) (and {thing} {place} (inReceptacle ?o ?r) {second}))))"
    extra = {"clean": "(cleanable ?o) (isClean ?o)", "heat": "(heatable ?o) (isHot ?o)", "cool": "(coolable ?o) (isCool ?o)"}.get(
        goal.kind, ""
    )
    return f"(and (exists (?r - receptacle) (exists (?o - object) (and {extra} {thing} {place} (inReceptacle ?o ?r)))))"
