"""Plans with full knowledge of the house: proof that a game can be won, and the oracle of tests. Never shown to an agent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reflectory.envs.household.engine import House
from reflectory.envs.household.quirks import QuirkyHouse, open_house

_PATTERNS = (
    ("look", r"(?:examine the|look at) (?P<obj>\w+) (?:with|under) the (?P<dest>\w+)\.?"),
    ("two", r"(?:put two|find two) (?P<obj>\w+) (?:and put them )?in (?P<dest>\w+)\.?"),
    ("clean", r"put a clean (?P<obj>\w+) in (?P<dest>\w+)\.?"),
    ("heat", r"put a hot (?P<obj>\w+) in (?P<dest>\w+)\.?"),
    ("cool", r"put a cool (?P<obj>\w+) in (?P<dest>\w+)\.?"),
    ("clean", r"clean some (?P<obj>\w+) and put it in (?P<dest>\w+)\.?"),
    ("heat", r"heat some (?P<obj>\w+) and put it in (?P<dest>\w+)\.?"),
    ("cool", r"cool some (?P<obj>\w+) and put it in (?P<dest>\w+)\.?"),
    ("pick", r"put (?:a|some) (?P<obj>\w+) (?:in|on) (?P<dest>\w+)\.?"),
)
_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)
_FLAGS = {"clean": "isclean", "heat": "ishot", "cool": "iscool"}
MARK = "Your task is to: "


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal in the terms of the six task types: kind is pick, look, clean, heat, cool or two."""

    kind: str
    obj: str
    dest: str


def read_goal(sentence: str) -> Goal | None:
    """Understand one of the templated task sentences; None for anything else.

    Args:
        sentence: With or without the leading "Your task is to: ".
    """
    sentence = sentence.rpartition(MARK)[2].strip()
    for kind, pattern in _COMPILED:
        match = pattern.fullmatch(sentence)
        if match:
            return Goal(kind, match["obj"], match["dest"])
    return None


def plan(house: House, goal: Goal, *, limit: int = 400) -> list[str] | None:
    """The shortest winning plan among the sensible ones from where the house is now, each proved by playing it.

    Args:
        house: Any state; left as it is.
        goal: What to reach.
        limit: At most so many candidate plans are played.

    Returns:
        Commands that win, or None when no candidate does.
    """
    saved, copy = house.snapshot(), open_house(house.game)
    best: list[str] | None = None
    for number, candidate in enumerate(_candidates(house, goal)):
        if number >= limit:
            break
        if best is not None and len(candidate) > len(best) + 2:
            continue
        copy.restore(saved)
        played = _winning_part(copy, candidate)
        if played is not None and (best is None or len(played) < len(best)):
            best = played
    return best


def _winning_part(house: House, commands: list[str]) -> list[str] | None:
    """The commands up to the win; things that stand in two receptacles at once can win early."""
    if house.won:
        return []
    for number, command in enumerate(commands):
        if command not in house.admissible():
            return None
        if house.step(command)[2]:
            return commands[: number + 1]
    return None


class _Script:
    """Writes commands while keeping track of where the plan stands and what it opened."""

    def __init__(self, house: House) -> None:
        self.house, self.here, self.opened, self.commands = house, house.here, set(house.opened), list[str]()

    def visit(self, receptacle: str, *, inside: bool) -> None:
        """Go there; open it when the plan needs its inside."""
        t, name = self.house.t, self.house.game.names[receptacle]
        if self.here not in t.places[receptacle]:
            self.commands.append(f"go to {name}")
            self.here = t.places[receptacle][0]
        if inside and receptacle in t.openable and receptacle not in self.opened:
            pulls = 1
            if isinstance(self.house, QuirkyHouse) and receptacle in self.house.jammed:
                pulls = self.house.jammed[receptacle] - self.house.pulls[receptacle]
            self.commands.extend([f"open {name}"] * max(pulls, 1))
            self.opened.add(receptacle)


def _candidates(house: House, goal: Goal) -> Iterator[list[str]]:
    t, names = house.t, house.game.names
    things = [
        (thing, r)
        for r, inside in sorted(house.contents.items())
        for thing in inside
        if _is(names[thing], goal.obj) and thing in t.pickupable
    ]
    held = [(thing, "") for thing in house.held if _is(names[thing], goal.obj)]
    if goal.kind == "look":
        lamps = [
            (lamp, r)
            for r, inside in sorted(house.contents.items())
            for lamp in inside
            if _is(names[lamp], goal.dest) and lamp in t.toggleable
        ]
        for lamp, place in lamps:
            for thing, source in [*held, *things]:
                yield _light(house, thing, source, lamp, place)
        return
    goals = [receptacle for receptacle in sorted(t.places) if _is(names[receptacle], goal.dest)]
    machines = {"clean": t.sinks, "heat": t.microwaves, "cool": t.fridges}.get(goal.kind)
    for dest in goals:
        sources = [(thing, source) for thing, source in [*held, *things] if thing in t.takes[dest]]
        if goal.kind == "two":
            inside = [thing for thing, source in sources if source == dest]
            outside = [pair for pair in sources if pair[1] != dest]
            yield from (
                _carry(house, [first, second], dest) for i, first in enumerate(outside) for second in outside[i + 1 :] if len(inside) == 0
            )
            yield from (_carry(house, [pair], dest) for pair in outside if inside)
        else:
            for pair in sources:
                if machines is None or pair[0] in house.flags[_FLAGS[goal.kind]]:
                    yield _carry(house, [pair], dest)
                else:
                    yield from (_carry(house, [pair], dest, goal.kind, machine) for machine in sorted(machines))


def _is(name: str, kind: str) -> bool:
    return name.rpartition(" ")[0] == kind


def _carry(house: House, pairs: list[tuple[str, str]], dest: str, treatment: str = "", machine: str = "") -> list[str]:
    names, script = house.game.names, _Script(house)
    for thing, source in pairs:
        if source:
            script.visit(source, inside=True)
            script.commands.append(f"take {names[thing]} from {names[source]}")
        if machine:
            needs_open = isinstance(house, QuirkyHouse) and machine in house.needs_open
            script.visit(machine, inside=needs_open)
            script.commands.append(f"{treatment} {names[thing]} with {names[machine]}")
        script.visit(dest, inside=True)
        script.commands.append(f"move {names[thing]} to {names[dest]}")
    return script.commands


def _light(house: House, thing: str, source: str, lamp: str, place: str) -> list[str]:
    names, script = house.game.names, _Script(house)
    if source:
        script.visit(source, inside=True)
        script.commands.append(f"take {names[thing]} from {names[source]}")
    script.visit(place, inside=False)
    script.commands.append(f"use {names[lamp]}")
    if source and house.t.places[source] == house.t.places[place]:  # in one place: light first, as good
        script.commands.sort(key=lambda command: not command.startswith(("go ", "open ")))
    return script.commands
