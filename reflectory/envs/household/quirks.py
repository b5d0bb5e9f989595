"""Quirky houses, an extension of ours (off by default): knowing the house, and knowing how, pays.

A game file may carry `"quirks"`: `broken` appliances never work; `needs_open` ones work only with the door open, and refuse in the same
words; `jammed` doors open at the n-th pull (0: never); `stuck` things do not come loose. Odd places need no extension: the generator just
puts things there.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from reflectory.envs.household.engine import House
from reflectory.envs.household.game import Game


class QuirkyHouse(House):
    """A House whose actions may fail although they are on offer.

    Args:
        game: A game whose `quirks` are set; without them it behaves exactly like House.
    """

    def __init__(self, game: Game) -> None:
        super().__init__(game)
        none: frozenset[str] = frozenset()
        self.broken = game.quirks.get("broken", none)
        self.needs_open = game.quirks.get("needs_open", none)
        self.stuck = game.quirks.get("stuck", none)
        self.jammed: dict[str, int] = game.quirks.get("jammed", {})
        self.pulls: Counter[str] = Counter()

    def step(self, command: str) -> tuple[str, int, bool]:
        """Apply a command; see House.step. A refusal changes nothing but the count of pulls."""
        command = command.strip()
        if command in self.admissible():
            refusal = self._refusal(command)
            if refusal:
                return refusal, int(self.won), self.won
        return super().step(command)

    def _refusal(self, command: str) -> str:
        verb, _, rest = command.partition(" ")
        if verb == "open":
            receptacle = self.t.named[rest]
            if receptacle in self.jammed:
                self.pulls[receptacle] += 1
                if self.pulls[receptacle] != self.jammed[receptacle]:
                    return f"The {rest} is jammed."
                self.pulls[receptacle] = self.jammed[receptacle] - 1  # once loosened, every further pull opens it
        elif verb == "take":
            thing = rest.rpartition(" from ")[0]
            if self._thing(thing) in self.stuck:
                return f"The {thing} is stuck."
        elif verb in ("heat", "cool", "clean"):
            appliance = rest.rpartition(" with ")[2]
            receptacle = self.t.named[appliance]
            if receptacle in self.broken or (receptacle in self.needs_open and receptacle not in self.opened):
                return f"The {appliance} does not start."
        elif verb == "use" and self._thing(rest) in self.broken:
            return f"The {rest} does not start."
        return ""

    def _thing(self, name: str) -> str:
        near = self.t.at.get(self.here, ())
        return next((thing for r in near for thing in self.contents.get(r, ()) if self.game.names[thing] == name), "")

    def snapshot(self) -> dict[str, Any]:
        """The whole changing state as JSON values."""
        return super().snapshot() | {"pulls": dict(self.pulls)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a snapshot of the same game."""
        super().restore(saved)
        self.pulls = Counter(saved["pulls"])


def open_house(game: Game) -> House:
    """The playthrough a game file asks for: quirky when it carries quirks."""
    return QuirkyHouse(game) if game.quirks else House(game)
