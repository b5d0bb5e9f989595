"""Training samples for a policy that reads raw transcripts: no tracker, no typed state, whole attempts as one sequence."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from reflectory.agents.view import Turn
from reflectory.agents.views.raw import RawView
from reflectory.envs.household.game import Game
from reflectory.envs.household.lessons import learned, read_lesson
from reflectory.envs.household.planner import read_goal
from reflectory.learning.household_data import Attempt, Sample, Teacher
from reflectory.records import Observation, Task

#: What the household world and the lessons begin with: the prompts this model reads.
OPENINGS = ("-= Welcome to TextWorld, ALFRED! =-", "What earlier attempts noted")
#: A raw reflection is written word by word; more notes than these would be cut by the limit on tokens.
MAX_NOTES = 12


class RawTeacher(Teacher):
    """The same teacher, written down as what `RawView` shows. The teacher knows the typed state; its pupil sees the transcript alone."""

    raw = RawView()

    def _tell(self, lessons: Sequence[str], game: Game, rng: random.Random) -> list[str]:
        """In the order recall would give them, about the goal's thing first, and as many as the view shows."""
        goal = read_goal(game.task)
        wanted = {goal.obj, goal.dest} if goal else set[str]()
        told = sorted(super()._tell(lessons, game, rng), key=lambda body: not wanted & set((read_lesson(body) or ("", ""))[1:2]))
        return told[: self.raw.most]

    def prompt(self, work: dict[str, Any], lessons: Sequence[str]) -> str:
        """Nothing of its own: decisions are read from the whole transcript."""
        work["lessons"] = list(lessons)
        return ""

    def written(self, attempt: Attempt) -> Iterator[Sample]:
        """The attempt as one sequence that carries the loss on the teacher's own commands, and its notes."""
        turns = (("", attempt.opening), *((turn.command, turn.text) for turn in attempt.played))
        parts = self.raw.script(attempt.lessons, turns)
        blank = Turn(task=Task(goal=""), observation=Observation(""))
        system = self.raw.solve(blank).messages[0].content
        text, rows = f"{system}\n{parts[0]}", list[str]()
        for turn, action, after in zip(attempt.played, parts[1::2], parts[2::2], strict=True):
            if turn.command == turn.label:
                rows += [text, action]
                text = after
            else:  # a step astray is context, not an example
                text += action + after
        if rows:
            yield Sample("play", rows[0], rows[1], tuple(rows[2:]))
        request = self.raw.reflect(Turn(task=Task(goal=""), observation=Observation(turns[-1][1]), history=turns), won=attempt.won)
        notes = learned(attempt.work, attempt.work["goal"])[:MAX_NOTES]
        if request is not None and notes:
            yield Sample("reflect", "\n".join(message.content for message in request.messages) + "\n", "\n".join(notes))
