"""A small deterministic text world for tests: a coin lies in one of some boxes; opening boxes finds it, taking it wins."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Sequence

from reflectory.agents.view import Lesson, Prompt, Turn
from reflectory.records import Effect, Hit, Message, Observation, Reply, Request, StepResult, Task, Usage

BOXES = 6


def tasks(count: int, boxes: int = BOXES) -> list[Task]:
    """`count` tasks; where the coin lies is a hash of the task's number."""
    made = []
    for number in range(count):
        where = int(hashlib.sha256(f"coin {number}".encode()).hexdigest(), 16) % boxes + 1
        inputs = {"where": where, "boxes": boxes, "situation": f"room{number % 3}"}
        made.append(Task(goal=f"find coin {number}", env="toyworld:ToyEnv", inputs=inputs, id=f"coin/{number}", seed=number))
    return made


class ToyTracker:
    def __init__(self) -> None:
        self.opened: list[int] = []
        self.seen = 0

    def observe(self, action: str | None, observation: Observation) -> None:
        if action and action.startswith("open box "):
            box = int(action.split()[-1])
            self.opened.append(box)
            if "a coin" in observation.text:
                self.seen = box

    def work(self) -> dict:
        return {"opened": list(self.opened), "seen": self.seen}


class ToyEnv:
    blocking = False

    def reset(self, task: Task, *, seed: int) -> Observation:
        self.where, self.boxes = task.inputs["where"], task.inputs["boxes"]
        self.box, self.moves = 0, 0
        return self._observe(f"You stand before {self.boxes} boxes.")

    def _observe(self, text: str) -> Observation:
        choices = ["wait", *(f"open box {box}" for box in range(1, self.boxes + 1) if box != self.box)]
        if self.box == self.where:
            choices.append("take coin")
        return Observation(text, choices=tuple(choices))

    def step(self, action: str) -> StepResult:
        self.moves += 1
        if action not in self._observe("").choices or action == "wait":
            return StepResult(observation=self._observe("Nothing happens."), effect=Effect(changed=False))
        if action == "take coin":
            return StepResult(observation=self._observe("You take the coin."), reward=1.0, terminated=True, effect=Effect(changed=True))
        self.box = int(action.split()[-1])
        content = "a coin" if self.box == self.where else "dust"
        return StepResult(observation=self._observe(f"In box {self.box} you see {content}."), effect=Effect(changed=True))

    def close(self) -> None:
        pass

    def tracker(self) -> ToyTracker:
        return ToyTracker()

    def snapshot(self) -> str:
        return json.dumps([self.where, self.boxes, self.box, self.moves])

    def restore(self, token: str) -> Observation:
        self.where, self.boxes, self.box, self.moves = json.loads(token)
        content = "a coin" if self.box == self.where else "dust"
        return self._observe(f"In box {self.box} you see {content}." if self.box else f"You stand before {self.boxes} boxes.")


class ToyView:
    def query(self, task: Task, work: dict | None) -> str:
        return task.goal

    def read_goal(self, turn: Turn) -> Request | None:
        if not turn.task.goal.startswith("please"):
            return None
        return Request(messages=(Message(role="user", content=turn.task.goal),), choices=("find coin", "find gold"))

    def solve(self, turn: Turn) -> Prompt:
        lines = [
            turn.task.goal,
            *(f"lesson: {hit.record.body}" for hit in turn.hits),
            *(f"{act} -> {text}" for act, text in turn.history if act),
        ]
        text = "\n".join([*lines, turn.observation.text])
        shown = tuple(hit.record.id for hit in turn.hits)
        return Prompt(messages=(Message(role="user", content=text),), choices=turn.observation.choices, shown=shown, work=turn.work)

    def reflect(self, turn: Turn, *, won: bool) -> Request | None:
        work = turn.work or {}
        facts = [f"coin in box {work['seen']}"] if work.get("seen") else [f"box {box} has dust" for box in work.get("opened", ())]
        return Request(messages=(Message(role="user", content="\n".join(facts)),)) if facts else None

    def lessons(self, text: str, turn: Turn, *, won: bool) -> Sequence[Lesson]:
        found = [Lesson(body=line, when_to_use=turn.task.goal) for line in dict.fromkeys(text.split("\n")) if line]
        return [*found, Lesson(body="the coin is on the moon", supported=False)]

    def cited(self, action: str, prompt: Prompt, hits: Sequence[Hit]) -> tuple[str, ...]:
        return tuple(hit.record.id for hit in hits if hit.record.id in prompt.shown and action.removeprefix("open ") in hit.record.body)


class ToyModel:
    """Follows a lesson that names a box, takes a coin it sees, else opens a box by its seed (temperature) or in order."""

    def __init__(self, delay: float = 0.0, suspend: bool = True) -> None:
        self.name = "toy-1"
        self.delay, self.suspend = delay, suspend
        self.requests: list[Request] = []

    async def generate(self, request: Request) -> Reply:
        self.requests.append(request)
        if self.delay:
            time.sleep(self.delay)
        if self.suspend:
            await asyncio.sleep(0)
        usage = Usage(calls=1, prompt_tokens=10, output_tokens=3, seconds=0.001)
        text = request.messages[-1].content
        if request.role == "reflector":
            return Reply(text=text, usage=usage)
        if request.role == "reader":
            return Reply(text=request.choices[0], usage=usage, choice_logprobs=(-2.0, -0.1))
        return Reply(
            text=self._choose(request, text), usage=usage, output_ids=(1, 2, 3), logprobs=(-0.1, -0.2, -0.3), entropy=(0.1, 0.2, 0.3)
        )

    def _choose(self, request: Request, text: str) -> str:
        choices = request.choices or ()
        if "take coin" in choices:
            return "take coin"
        known = [line.split()[-1] for line in text.split("\n") if line.startswith("lesson: coin in box")]
        for box in known:
            if f"open box {box}" in choices:
                return f"open box {box}"
        dull = {f"open box {line.split()[2]}" for line in text.split("\n") if line.startswith("lesson: box")}
        choices = [choice for choice in choices if choice not in dull] or choices
        if request.temperature > 0:
            return random.Random(request.seed).choice(choices)
        return choices[0]


def slow() -> ToyModel:
    """A model that takes 3 ms per answer, so that a kill meets a run in its middle."""
    return ToyModel(delay=0.003)


def plain() -> ToyModel:
    return ToyModel()


def toy_tasks(source: str = "6", *, limit: int | None = None, seed: int = 0) -> list[Task]:
    """A task set for the command line: `source` is the number of boxes."""
    return tasks(20 if limit is None else limit, boxes=int(source))


class OneView:
    """Worlds that are all shown the same way."""

    def __init__(self, view):
        self._view = view

    def view(self, env):
        return self._view
