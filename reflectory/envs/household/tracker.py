"""Typed working state, built by parsing observations: where things were seen, what was opened, held, done, refused.

Sees only what the agent sees. The state is JSON values and the same for the same observations.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from reflectory.envs.household.catalog import MARKS
from reflectory.envs.household.planner import MARK, read_goal
from reflectory.records import Observation

_ARTICLE = re.compile(r"\b(?:a|an) ([a-z]\w* \d+)")
_ROOM = re.compile(r"Looking quickly around you, you see (.*?)\.", re.DOTALL)
_ON = re.compile(r"On the (\w+ \d+), you see ([^.]*)\.")
_OPEN = re.compile(r"The (\w+ \d+) is open\. In it, you see ([^.]*)\.")
_CLOSED = re.compile(r"The (\w+ \d+) is closed\.")
_TREATED = re.compile(r"You (clean|heat|cool) the (\w+ \d+) using the (\w+ \d+)\.")
_TAKEN = re.compile(r"You pick up the (\w+ \d+) from the (\w+ \d+)\.")
_MOVED = re.compile(r"You move the (\w+ \d+) to the (\w+ \d+)\.")
_LIT = re.compile(r"You turn on the (\w+ \d+)\.")
_REFUSED = re.compile(r"The (\w+ \d+) (does not start|is jammed|is stuck)\.")


class HouseholdTracker:
    """Keeps what observations told.

    The state of `work()`:
        world: "household". sentence: the task sentence. goal: {kind, obj, dest} where the sentence is a template, else None.
        places: all furniture, in the order it was listed. seen: place → things, for places looked into.
        shut / open: doors known closed / open. at: where the agent stands. near: places that share this spot.
        held: thing in hand. done: thing → treatments. lit: lamps switched on. first: thing → where it was first seen.
        jammed: door → failed pulls. pulled: door → pulls it took to open. stuck: things that would not come loose.
        refused / ran: machine → "shut" or "open", the state of its door when it failed / worked ("open" wins for refused).
    """

    def __init__(self) -> None:
        self.sentence = ""
        self.goal: dict[str, str] | None = None
        self.places: list[str] = []
        self.seen: dict[str, list[str]] = {}
        self.doors: dict[str, bool] = {}  # place → is it open
        self.at = self.held = ""
        self.near: list[str] = []
        self.done: dict[str, list[str]] = {}
        self.lit: list[str] = []
        self.first: dict[str, str] = {}
        self.jammed: dict[str, int] = {}
        self.pulled: dict[str, int] = {}
        self.stuck: list[str] = []
        self.refused: dict[str, str] = {}
        self.ran: dict[str, str] = {}

    def observe(self, action: str | None, observation: Observation) -> None:
        """Take in one observation and the action before it (None at reset)."""
        text = observation.text
        if action is None:
            self._begin(text)
        else:
            self._act(action.strip(), text)
        for place, listed in (*_ON.findall(text), *_OPEN.findall(text)):
            self._see(place, _ARTICLE.findall(listed))
        for place, _ in _OPEN.findall(text):
            self.doors[place] = True
        for place in _CLOSED.findall(text):
            self.doors[place] = False
        if observation.choices is not None:
            self.near = [place for place in self._within_reach(observation.choices) if place != self.at]

    def _begin(self, text: str) -> None:
        room = _ROOM.search(text)
        self.places = _ARTICLE.findall(room.group(1)) if room else []
        self.sentence = text.rpartition(MARK)[2].strip() if MARK in text else ""
        goal = read_goal(self.sentence)
        self.goal = asdict(goal) if goal else None

    def _see(self, place: str, things: list[str]) -> None:
        self.seen[place] = things
        for thing in things:
            self.first.setdefault(thing, place)

    def _within_reach(self, choices: tuple[str, ...]) -> list[str]:
        known = set(self.places)
        named = (choice.partition(" ")[2] for choice in choices if choice.startswith(("examine ", "open ", "close ")))
        return sorted({place for place in named if place in known})

    def _act(self, action: str, text: str) -> None:
        refused = _REFUSED.match(text)
        if refused:
            self._refuse(action, refused.group(1), refused.group(2))
        elif action.startswith("go to ") and text.startswith("You arrive at "):
            self.at = action.removeprefix("go to ")
        elif taken := _TAKEN.match(text):
            self.held = taken.group(1)
            self._drop_from(taken.group(2), self.held)
        elif moved := _MOVED.match(text):
            self.held = ""
            thing, place = moved.groups()
            self.seen.setdefault(place, []).append(thing)
        elif treated := _TREATED.match(text):
            verb, thing, machine = treated.groups()
            marks = [mark for mark in self.done.get(thing, []) if verb == "clean" or mark == "clean"]
            self.done[thing] = [*marks, MARKS[verb]]
            self.ran[machine] = self._door(machine)
        elif lit := _LIT.match(text):
            self.lit.append(lit.group(1))
            self.ran[lit.group(1)] = "shut"
        elif action.startswith("open ") and text.startswith("You open "):
            place = action.removeprefix("open ")
            self.pulled[place] = self.jammed.pop(place, 0) + 1
        elif action.startswith("close ") and text.startswith("You close "):
            self.doors[action.removeprefix("close ")] = False

    def _refuse(self, action: str, what: str, how: str) -> None:
        if how == "is jammed":
            self.jammed[what] = self.jammed.get(what, 0) + 1
        elif how == "is stuck":
            self.stuck.append(what)
        elif self.refused.get(what) != "open":
            self.refused[what] = self._door(what)

    def _door(self, machine: str) -> str:
        """A machine without a door counts as open: nothing is left to try with it."""
        return "open" if self.doors.get(machine, True) else "shut"

    def _drop_from(self, place: str, thing: str) -> None:
        if thing in self.seen.get(place, ()):
            self.seen[place] = [other for other in self.seen[place] if other != thing]

    def work(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "world": "household", "sentence": self.sentence, "goal": self.goal, "places": self.places, "seen": dict(self.seen),
            "shut": [place for place, is_open in self.doors.items() if not is_open],
            "open": [place for place, is_open in self.doors.items() if is_open],
            "at": self.at, "near": self.near, "held": self.held, "done": dict(self.done), "lit": list(self.lit), "first": dict(self.first),
            "jammed": dict(self.jammed), "pulled": dict(self.pulled), "stuck": list(self.stuck), "refused": dict(self.refused),
            "ran": dict(self.ran),
        }  # fmt: skip
