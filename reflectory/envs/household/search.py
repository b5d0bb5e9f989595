"""A scripted searcher: a pure function of the tracked state and the lessons shown. Baseline, teacher, and `scripted:search`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reflectory.envs.household import catalog
from reflectory.envs.household.lessons import denied, kind_of, learned, sort_lessons

OPENABLE = frozenset(kind.lower() for kind in catalog.OPENABLE)
_USUAL = {kind.lower(): {place.lower(): float(w) for place, w in places.items()} for kind, places in catalog.USUAL.items()}
_LAMPS = {place.lower(): float(w) for place, w in catalog.LAMP_PLACES.items()}
#: Pulls after which a jammed door counts as jammed for good.
MAX_PULLS = 3

#: Thing type, or "GOAL-KIND THING", → furniture type → chance that one piece of it holds such a thing.
Priors = Mapping[str, Mapping[str, float]]


def common_sense() -> Priors:
    """Priors from the catalog: how usual a place is, spread over the pieces of that furniture a room has on average."""
    pieces: dict[str, float] = {}
    for room in catalog.ROOMS.values():
        for kind, (_, low, high) in room.items():
            pieces[kind.lower()] = max(pieces.get(kind.lower(), 1.0), (low + high) / 2)
    return {
        thing: {place: w / pieces[place] / 10 for place, w in places.items()} for thing, places in {**_USUAL, "desklamp": _LAMPS}.items()
    }


def gathering_place(goal: Mapping[str, str], seen: Mapping[str, Sequence[str]]) -> str:
    """For two things: the destination that already has most of them, "" while none has one."""
    if goal["kind"] != "two":
        return ""
    count = {
        place: sum(kind_of(thing) == goal["obj"] for thing in things) for place, things in seen.items() if kind_of(place) == goal["dest"]
    }
    best = max(count, key=lambda place: (count[place], place), default="")
    return best if best and count[best] else ""


def last_resorts(work: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]], kind: str) -> set[str]:
    """Places to look for a type of thing only when nothing else is left: lessons speak against them, or the task itself does.

    "Put a mug in cabinet" would be done already if a cabinet held a mug.

    Args:
        work: The tracked state with its goal.
        told: What `sort_lessons` gave.
        kind: The type that is looked for.
    """
    goal = work["goal"]
    idle = goal["kind"] == "pick" and kind == goal["obj"]
    return denied(told, kind) | {place for place in work["places"] if idle and kind_of(place) == goal["dest"]}


class SearchPolicy:
    """Looks where things usually are, does what the goal says, and heeds lessons.

    Args:
        priors: Where things usually are; None uses common sense.
        blind: Know nothing of houses: search in an order drawn from the seed.
    """

    def __init__(self, priors: Priors | None = None, *, blind: bool = False) -> None:
        self.priors: Priors | None = None if blind else (priors or common_sense())

    def choose(self, work: Mapping[str, Any], choices: Sequence[str], *, seed: int = 0) -> str:
        """The next command.

        Args:
            work: `HouseholdTracker.work()`, with `goal` filled in and `lessons` (a list of sentences) where there are any.
            choices: Commands on offer; the answer is one of them.
            seed: Seeds the search order of a policy without priors.

        Raises:
            ValueError: No choices.
        """
        if not choices:
            msg = "the search policy needs at least one command to choose from"
            raise ValueError(msg)
        offered = set(choices)
        if work.get("goal"):
            for command in _Turn(work, self.priors, seed).commands():
                if command in offered:
                    return command
        return next((choice for choice in choices if choice.startswith("go to ")), choices[0])

    def reflect(self, work: Mapping[str, Any]) -> str:
        """What an attempt taught, as the sentences of `lessons`, each ended by " ."."""
        return " ".join(f"{body} ." for body in learned(work, work.get("goal")))


class _Turn:
    """One decision."""

    def __init__(self, work: Mapping[str, Any], priors: Priors | None, seed: int) -> None:
        self.w, self.priors, self.seed = work, priors, seed
        self.lessons = sort_lessons(work.get("lessons", ()))
        self._against: dict[str, set[str]] = {}
        self.goal = work["goal"]
        self.obj, self.dest, self.kind = self.goal["obj"], self.goal["dest"], self.goal["kind"]
        self.reach = {work["at"], *work["near"]} - {""}
        self.stuck = {*work["stuck"], *self.lessons["stuck"]}

    def commands(self) -> Iterator[str]:
        """Commands in the order of preference."""
        held = self.w["held"]
        if not held:
            yield from self._fetch()
        elif kind_of(held) != self.obj:
            yield from self._put_down(held)
        elif self.kind == "look":
            yield from self._light(held)
        elif self.kind in catalog.MACHINES and catalog.MARKS[self.kind] not in self.w["done"].get(held, ()):
            yield from self._treat(held)
        else:
            yield from self._deliver(held)
        yield from self._pull_harder()

    # ---------------------------------------------------------------- getting hold of things

    def _fetch(self) -> Iterator[str]:
        sources = self._sources()
        known = sorted(sources, key=lambda pair: (pair[1] not in self.reach, self._trouble(pair[1]), pair[1], pair[0]))
        for thing, place in known:
            if place in self.reach:
                if place in self.w["shut"]:
                    yield f"open {place}"
                yield f"take {thing} from {place}"
            else:
                yield f"go to {place}"
        yield from self._explore(self.obj)

    def _sources(self) -> list[tuple[str, str]]:
        target = gathering_place(self.goal, self.w["seen"])
        out = []
        for place, things in self.w["seen"].items():
            for thing in things:
                if kind_of(thing) != self.obj or thing in self.stuck:
                    continue
                finished = self.kind == "pick" and kind_of(place) == self.dest
                treated = (
                    self.kind in catalog.MACHINES
                    and kind_of(place) == self.dest
                    and catalog.MARKS[self.kind] in self.w["done"].get(thing, ())
                )
                if not finished and not treated and place != target:
                    out.append((thing, place))
        return out

    def _explore(self, kind: str) -> Iterator[str]:
        unknown = [place for place in self.w["places"] if place not in self.w["seen"]]
        for place in sorted(unknown, key=lambda place: self._interest(kind, place)):
            if place not in self.reach:
                yield f"go to {place}"
            elif place in self.w["shut"] or kind_of(place) in OPENABLE:
                if self.w["jammed"].get(place, 0) < MAX_PULLS:
                    yield f"open {place}"
                yield f"examine {place}"
            else:
                yield f"examine {place}"

    def _interest(self, kind: str, place: str) -> tuple[float, float, str, int]:
        """Sort key: lessons first, then the chance of a find per step, then the name."""
        if place in self.lessons["place"].get(kind, ()):
            rank = 0.0
        elif place in self._denied(kind):
            rank = 2.0
        else:
            rank = 1.0
        rank += self._trouble(place) * 2.0 * (rank > 0)
        of = kind_of(place)
        closed = of in OPENABLE and place not in self.w["open"]
        cost = 1.0 if place in self.reach else 2.0 if closed else 1.0
        if place in self.lessons["pulls"]:
            cost += self.lessons["pulls"][place] - 1
        return (rank, -self._chance(kind, of) / cost, of, int(place.rpartition(" ")[2]))

    def _denied(self, kind: str) -> set[str]:
        if kind not in self._against:
            self._against[kind] = last_resorts(self.w, self.lessons, kind)
        return self._against[kind]

    def _chance(self, kind: str, of: str) -> float:
        if self.priors is None:
            return hashlib.blake2b(f"{self.seed}|{kind}|{of}".encode(), digest_size=2).digest()[0] / 255.0
        told = self.priors.get(f"{self.kind} {kind}") or self.priors.get(kind, {})
        return told.get(of, 0.0) + 0.002

    def _trouble(self, place: str) -> int:
        """1 for a door that jams, unless a lesson tells how often to pull."""
        if place in self.w["seen"] or place in self.lessons["pulls"]:
            return 0
        return int(place in self.w["jammed"] or place in self.lessons["jams"])

    def _pull_harder(self) -> Iterator[str]:
        for place in self.w["jammed"]:
            yield f"open {place}" if place in self.reach else f"go to {place}"

    # ---------------------------------------------------------------- doing what the goal says

    def _treat(self, held: str) -> Iterator[str]:
        machines = [place for place in self.w["places"] if kind_of(place) in catalog.MACHINES[self.kind]]
        for machine in sorted(machines, key=self._doubt):
            if machine not in self.reach:
                yield f"go to {machine}"
                continue
            wants_open = machine in self.lessons["open_first"] or self.w["refused"].get(machine) == "shut"
            if wants_open and machine not in self.w["open"]:
                yield f"open {machine}"
            yield f"{self.kind} {held} with {machine}"

    def _doubt(self, machine: str) -> tuple[int, int, int, int]:
        broken = self.w["refused"].get(machine) == "open" or machine in self.lessons["broken"]
        works = machine in self.w["ran"] or machine in self.lessons["works"] or machine in self.lessons["open_first"]
        return (int(broken), int(not works), int(machine not in self.reach), int(machine.rpartition(" ")[2]))

    def _deliver(self, held: str) -> Iterator[str]:
        gathering = gathering_place(self.goal, self.w["seen"])
        targets = [place for place in self.w["places"] if kind_of(place) == self.dest]
        for place in sorted(targets, key=lambda place: (place != gathering, self._effort(place))):
            if place not in self.reach:
                yield f"go to {place}"
                continue
            if place in self.w["shut"] and self.w["jammed"].get(place, 0) < MAX_PULLS:
                yield f"open {place}"
            yield f"move {held} to {place}"

    def _effort(self, place: str) -> tuple[int, int, int]:
        closed = place in self.w["shut"] or (kind_of(place) in OPENABLE and place not in self.w["open"])
        return (self._trouble(place), int(place not in self.reach) + int(closed), int(place.rpartition(" ")[2]))

    def _light(self, held: str) -> Iterator[str]:
        tried = set(self.w["lit"]) if self.w["at"] else set()
        lamps = [(lamp, place) for place, things in self.w["seen"].items() for lamp in things if kind_of(lamp) == self.dest]
        usable = [(lamp, place) for lamp, place in lamps if self.w["refused"].get(lamp) is None and lamp not in self.lessons["broken"]]
        for lamp, place in sorted(usable, key=lambda pair: (pair[0] in tried and pair[1] in self.reach, pair[1] not in self.reach, pair)):
            if place not in self.reach:
                yield f"go to {place}"
            elif lamp not in tried:
                yield f"use {lamp}"
        yield from self._explore(self.dest)

    def _put_down(self, held: str) -> Iterator[str]:
        home = self.w["first"].get(held, "")
        for place in [*sorted(self.reach), home, *self.w["places"]]:
            if place in self.reach:
                yield f"move {held} to {place}"
        if home and home not in self.reach:
            yield f"go to {home}"
        yield from (f"go to {place}" for place in self.w["places"] if kind_of(place) not in OPENABLE)
