"""The household world as an Env: observations with choices, effects, snapshots, a tracker and an oracle for tests."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from reflectory.envs.household.engine import NOTHING, House
from reflectory.envs.household.game import Game, load_game
from reflectory.envs.household.generator import generated_game
from reflectory.envs.household.planner import MARK, plan, read_goal
from reflectory.envs.household.quirks import open_house
from reflectory.envs.household.tracker import HouseholdTracker
from reflectory.errors import EnvError
from reflectory.records import Effect, Observation, StepResult, Task

_OLD_PUT = re.compile(r"put (.+?) (?:in/on|in|on) (.+)")
_LOOKS = ("look", "inventory", "help", "examine ")


def to_engine(action: str) -> str:
    """The older `put X in/on Y` of the literature in today's words, `move X to Y`; other commands as they are."""
    return _OLD_PUT.sub(r"move \1 to \2", action.strip()) if action.lstrip().startswith("put ") else action


@functools.lru_cache(maxsize=512)
def _load(path: str) -> Game:
    return load_game(Path(path))


def task_game(task: Task) -> Game:
    """The game a Task plays.

    Raises:
        EnvError: The task's inputs name no game.
        GameFileError: The file is malformed.
    """
    inputs = task.inputs
    if "path" in inputs:
        return _load(str(inputs["path"]))
    if "split" in inputs:
        return generated_game(inputs["split"], inputs["house"], inputs["number"], quirky=inputs.get("quirky", False))
    msg = f"task {task.key} names no household game; make tasks with household_tasks('generated:dev') or household_tasks(PATH)"
    raise EnvError(msg)


class HouseholdEnv:
    """ALFWorld-format games; never waits, so the Runner calls it directly.

    `step` takes any string. Reward is 1 exactly when the goal is reached, which ends the episode.
    """

    blocking = False

    def __init__(self) -> None:
        self._house: House | None = None
        self._sentence = ""
        self._last = ""

    def reset(self, task: Task, *, seed: int) -> Observation:
        """Start the game of the task; the seed plays no part, the world is deterministic.

        Raises:
            EnvError: The task names no game.
            GameFileError: Its file is malformed.
        """
        self._house = open_house(task_game(task))
        self._sentence = str(task.inputs.get("sentence", ""))
        self._last = self._house.intro()
        if self._sentence:
            self._last = self._last.rpartition(MARK)[0] + MARK + self._sentence
        return self._observe()

    def _observe(self) -> Observation:
        return Observation(self._last, choices=tuple(self.house.admissible()))

    @property
    def house(self) -> House:
        """The playthrough.

        Raises:
            EnvError: Not reset yet.
        """
        if self._house is None:
            msg = "the household world was not reset; call reset(task, seed=…) first"
            raise EnvError(msg)
        return self._house

    def step(self, action: str) -> StepResult:
        """Apply one command; refusals and unknown commands change nothing and say so in the effect."""
        command = to_engine(action).strip()
        before = self.house.won
        self._last, reward, done = self.house.step(command)
        refused = self._last == NOTHING or self._last.endswith((" does not start.", " is jammed.", " is stuck."))
        changed = False if refused else None if command.startswith(_LOOKS) else True
        detail = "" if changed is None or changed else self._last
        return StepResult(
            observation=self._observe(), reward=float(reward and not before), terminated=done, effect=Effect(changed=changed, detail=detail)
        )

    def close(self) -> None:
        """Nothing to let go of."""
        self._house = None

    def tracker(self) -> HouseholdTracker:
        """A fresh tracker of this world's observations."""
        return HouseholdTracker()

    def snapshot(self) -> str:
        """The world as a JSON token."""
        return json.dumps({"state": self.house.snapshot(), "last": self._last})

    def restore(self, token: str) -> Observation:
        """Go back to a snapshot of the same task."""
        saved = json.loads(token)
        self.house.restore(saved["state"])
        self._last = saved["last"]
        return self._observe()

    def oracle(self) -> str:
        """The next command of a proved plan. For tests and upper bounds; uses what no agent may see.

        Raises:
            EnvError: From here no plan wins.
        """
        goal = read_goal(self.house.game.task)
        commands = plan(self.house, goal) if goal else None
        if commands is None and self.house.snapshot() == open_house(self.house.game).snapshot():
            commands = list(self.house.game.walkthrough)
        if not commands:
            msg = f"{self.house.game.where}: no plan wins from here"
            raise EnvError(msg)
        return commands[0]
