"""The world itself: 13 actions, admissible commands and texts, byte for byte those of the reference engine.

Source: ALFWorld (Shridhar et al. 2021), games of the 0.4 generation (`move X to Y`).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from typing import Any

from reflectory.envs.household.game import Game
from reflectory.envs.household.goal import Fact
from reflectory.envs.household.texts import describe, describe_thing, look, series

NOTHING = "Nothing happens."
_FLAGS = ("isclean", "ishot", "iscool", "istoggled", "ison", "issliced")
_ONLY_LOOKS = frozenset({"checked"})
_HANDS = frozenset({"inreceptacle", "holds", "holdsany", "objectatlocation"})
#: Verb → predicates it may change: the goal is checked again only when it looks at one of them.
_TOUCHES = {
    "go": frozenset({"atlocation"}), "open": frozenset({"opened", "checked"}), "close": frozenset({"opened"}),
    "take": _HANDS, "move": _HANDS, "clean": frozenset({"isclean"}), "heat": frozenset({"ishot", "iscool"}),
    "cool": frozenset({"ishot", "iscool"}), "use": frozenset({"ison", "istoggled"}), "slice": frozenset({"issliced"}),
    "examine": _ONLY_LOOKS, "look": _ONLY_LOOKS, "inventory": _ONLY_LOOKS, "help": _ONLY_LOOKS,
}  # fmt: skip


class House:
    """One playthrough of a game.

    Deterministic; no clock, no randomness. `step` takes any string; what is not admissible answers "Nothing happens.".

    Args:
        game: The parsed game; shared, never changed.
    """

    def __init__(self, game: Game) -> None:
        self.game, self.t = game, game.tables
        facts = game.facts
        self.here = self.t.start
        self.held: list[str] = sorted(fact[1] for fact in facts.get("holds", ()))
        self.hands_full = bool(facts.get("holdsany"))
        self.opened = {fact[0] for fact in facts.get("opened", ())}
        self.contents: dict[str, list[str]] = {}
        for thing, receptacle in facts.get("inreceptacle", ()):
            self.contents.setdefault(receptacle, []).append(thing)
        for things in self.contents.values():
            things.sort()
        self.floor = set(facts.get("objectatlocation", ()))
        self.taken_from: set[Fact] = set()  # explicit negative facts, the only ones the reference's `look` can see
        self.flags = {flag: {fact[0] for fact in facts.get(flag, ())} for flag in _FLAGS}
        self.checked = {fact[0] for fact in facts.get("checked", ())}
        self._admissible: list[str] | None = None
        self.won = self._goal()

    # ----------------------------------------------------------------- what the world says

    def intro(self) -> str:
        """The first observation."""
        return f"-= Welcome to TextWorld, ALFRED! =-\n\n{look(self, first=True)}\n\n{self.game.task}"

    def admissible(self) -> list[str]:
        """All commands that do something now, sorted; do not change the list."""
        if self._admissible is None:
            self._admissible = self._commands()
        return self._admissible

    def _commands(self) -> list[str]:
        t, name = self.t, self.game.names
        out = {verb: list[str]() for verb in ("clean", "close", "cool", "examine", "heat", "move", "open", "slice", "take", "use")}
        near = t.at.get(self.here, ())
        for receptacle in near:
            r = name[receptacle]
            out["examine"].append(f"examine {r}")
            closed = receptacle in t.openable and receptacle not in self.opened
            if receptacle in t.openable:
                out["open" if closed else "close"].append(f"open {r}" if closed else f"close {r}")
            for thing in self.contents.get(receptacle, ()):
                if not closed and not self.hands_full and thing in t.pickupable:
                    out["take"].append(f"take {name[thing]} from {r}")
                if thing in t.toggleable:
                    out["use"].append(f"use {name[thing]}")
            for thing in self.held:
                self._with_held(out, thing, receptacle, closed)
        for thing in self.held:
            out["examine"].append(f"examine {name[thing]}")
            if thing in t.knives:
                food = (other for other, place in self.floor if place == self.here and other in t.sliceable)
                out["slice"].extend(f"slice {name[other]} with {name[thing]}" for other in food)
        groups = [out[verb] if len(out[verb]) < 2 else sorted(set(out[verb])) for verb in out]
        clean, close, cool, examine, heat, move, open_, slice_, take, use = groups
        return [
            *clean,
            *close,
            *cool,
            *examine,
            *t.goto(self.here),
            *heat,
            "help",
            "inventory",
            "look",
            *move,
            *open_,
            *slice_,
            *take,
            *use,
        ]

    def _with_held(self, out: dict[str, list[str]], thing: str, receptacle: str, closed: bool) -> None:
        t, o, r = self.t, self.game.names[thing], self.game.names[receptacle]
        if not closed and thing in t.takes[receptacle]:
            out["move"].append(f"move {o} to {r}")
        if receptacle in t.sinks and thing in t.cleanable:
            out["clean"].append(f"clean {o} with {r}")
        if receptacle in t.microwaves and thing in t.heatable:
            out["heat"].append(f"heat {o} with {r}")
        if receptacle in t.fridges and thing in t.coolable:
            out["cool"].append(f"cool {o} with {r}")

    # ----------------------------------------------------------------- what the world does

    def step(self, command: str) -> tuple[str, int, bool]:
        """Apply a command.

        Args:
            command: Any text; blanks around it do not count.

        Returns:
            (text, reward, done): reward is 1 while the goal holds, else 0.
        """
        command = command.strip()
        if command not in self.admissible():
            return NOTHING, int(self.won), self.won
        verb, _, rest = command.partition(" ")
        text = self._ACTIONS[verb](self, rest)
        touched = _TOUCHES[verb]
        if touched is not _ONLY_LOOKS:
            self._admissible = None
        if touched & self.game.watched:
            self.won = self._goal()
        return text, int(self.won), self.won

    def _near(self, name: str) -> str:
        """The receptacle of that name; commands on offer name only those that stand here."""
        return self.t.named[name]

    def _in_hand(self, name: str) -> str:
        return next(thing for thing in self.held if self.game.names[thing] == name)

    def _go(self, rest: str) -> str:
        name = rest.removeprefix("to ")
        receptacle = self.t.named[name]
        self.here = next(place for place in self.t.places[receptacle] if place != self.here)
        return f"You arrive at {name}. {describe(self, receptacle)}"

    def _open(self, rest: str) -> str:
        receptacle = self._near(rest)
        self.opened.add(receptacle)
        self.checked.add(receptacle)
        return f"You open the {rest}. {describe(self, receptacle)}"

    def _close(self, rest: str) -> str:
        self.opened.discard(self._near(rest))
        return f"You close the {rest}."

    def _take(self, rest: str) -> str:
        o, _, r = rest.rpartition(" from ")
        receptacle = self._near(r)
        thing = next(thing for thing in self.contents[receptacle] if self.game.names[thing] == o)
        self.contents[receptacle].remove(thing)
        self.taken_from.add((thing, receptacle))
        self.floor.discard((thing, self.here))
        self.held = sorted([*self.held, thing])
        self.hands_full = True
        return f"You pick up the {o} from the {r}."

    def _move(self, rest: str) -> str:
        o, _, r = rest.rpartition(" to ")
        receptacle, thing = self._near(r), self._in_hand(o)
        self.held.remove(thing)
        self.hands_full = False
        if thing not in self.contents.setdefault(receptacle, []):
            insort(self.contents[receptacle], thing)
        self.taken_from.discard((thing, receptacle))
        self.floor.add((thing, self.here))
        return f"You move the {o} to the {r}."

    def _clean(self, rest: str) -> str:
        o, _, r = rest.rpartition(" with ")
        self.flags["isclean"].add(self._in_hand(o))
        return f"You clean the {o} using the {r}."

    def _heat(self, rest: str) -> str:
        o, _, r = rest.rpartition(" with ")
        self.flags["ishot"].add(self._in_hand(o))
        self.flags["iscool"].discard(self._in_hand(o))
        return f"You heat the {o} using the {r}."

    def _cool(self, rest: str) -> str:
        o, _, r = rest.rpartition(" with ")
        self.flags["iscool"].add(self._in_hand(o))
        self.flags["ishot"].discard(self._in_hand(o))
        return f"You cool the {o} using the {r}."

    def _use(self, rest: str) -> str:
        near = self.t.at.get(self.here, ())
        thing = next(
            thing for r in near for thing in self.contents.get(r, ()) if self.game.names[thing] == rest and thing in self.t.toggleable
        )
        self.flags["ison"] ^= {thing}
        self.flags["istoggled"].add(thing)
        return f"You turn on the {rest}."

    def _slice(self, rest: str) -> str:
        o, _, knife = rest.rpartition(" with ")
        thing = next(thing for thing, place in self.floor if place == self.here and self.game.names[thing] == o)
        self.flags["issliced"].add(thing)
        return f"You sliced the {o} with the {knife}."

    def _examine(self, rest: str) -> str:
        receptacle = self.t.named.get(rest)
        if receptacle is not None:  # commands on offer name only receptacles that stand here
            self.checked.add(receptacle)
            return describe(self, receptacle)
        thing = self._in_hand(rest)
        self.checked.add(thing)
        return describe_thing(self, thing)

    def _look_action(self, _rest: str) -> str:
        self.checked.add(self.here)
        return look(self)

    def _inventory(self, _rest: str) -> str:
        self.checked.add(self.t.agent)
        things = series([f"a {self.game.names[thing]}" for thing in self.held])
        return f"You are carrying: {things}." if self.hands_full else "You are not carrying anything."

    def _help(self, _rest: str) -> str:
        self.checked.add(self.t.agent)
        return self.game.help

    _ACTIONS: dict[str, Callable[[House, str], str]] = {  # noqa: RUF012 - a constant table of functions
        "go": _go, "open": _open, "close": _close, "take": _take, "move": _move, "clean": _clean, "heat": _heat, "cool": _cool,
        "use": _use, "slice": _slice, "examine": _examine, "look": _look_action, "inventory": _inventory, "help": _help,
    }  # fmt: skip

    # ----------------------------------------------------------------- the goal, and saving

    def _goal(self) -> bool:
        return self.game.checker.holds(self._extent)

    def _extent(self, predicate: str) -> Iterable[Fact]:
        """All true facts of a predicate now."""
        if predicate == "inreceptacle":
            return [(thing, receptacle) for receptacle, things in self.contents.items() for thing in things]
        if predicate == "objectatlocation":
            return self.floor
        if predicate == "atlocation":
            return [(self.t.agent, self.here)]
        if predicate == "holds":
            return [(self.t.agent, thing) for thing in self.held]
        if predicate == "holdsany":
            return [(self.t.agent,)] if self.hands_full else []
        if predicate in self.flags:
            return [(thing,) for thing in self.flags[predicate]]
        if predicate in ("opened", "checked"):
            return [(entity,) for entity in (self.opened if predicate == "opened" else self.checked)]
        return self.game.facts.get(predicate, ())

    def snapshot(self) -> dict[str, Any]:
        """The whole changing state as JSON values."""
        return {
            "here": self.here, "held": list(self.held), "hands_full": self.hands_full, "opened": sorted(self.opened),
            "contents": {key: list(value) for key, value in sorted(self.contents.items())},
            "floor": sorted(map(list, self.floor)), "taken_from": sorted(map(list, self.taken_from)),
            "flags": {key: sorted(value) for key, value in self.flags.items()}, "checked": sorted(self.checked),
        }  # fmt: skip

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a snapshot of the same game."""
        self.here, self.held, self.hands_full = saved["here"], list(saved["held"]), saved["hands_full"]
        self.opened, self.checked = set(saved["opened"]), set(saved["checked"])
        self.contents = {key: list(value) for key, value in saved["contents"].items()}
        self.floor = {(thing, place) for thing, place in saved["floor"]}
        self.taken_from = {(thing, receptacle) for thing, receptacle in saved["taken_from"]}
        self.flags = {key: set(value) for key, value in saved["flags"].items()}
        self._admissible = None
        self.won = self._goal()
