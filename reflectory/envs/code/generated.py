"""Endless functions to write: pipelines of parts whose words make the specification and whose code makes the reference."""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from dataclasses import dataclass
from typing import Any

from reflectory.envs.code.bank import steps as bank
from reflectory.envs.code.parts import Constants, Part
from reflectory.envs.code.problems import Args, Problem, standalone
from reflectory.errors import EnvError, did_you_mean

SPLITS = ("train", "dev", "test")
#: Types a generated function may take.
TAKES = ("list[int]", "list[str]", "str")
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fern", "grove", "heath", "iris", "jade", "kelp", "oak", "12", "21", "121")
_SHORTEST, _LONGEST = 3, 5
Step = tuple[Part, Constants]


@dataclass(frozen=True)
class Pipeline(Problem):
    """A Problem that was put together.

    Attributes:
        steps: The parts with their constants, in order.
    """

    steps: tuple[Step, ...] = ()

    @property
    def name(self) -> str:
        """Always `solve`."""
        return "solve"

    @property
    def path(self) -> str:
        """What tells it from all others; seeds its hidden inputs."""
        return _written(self.steps)

    @property
    def signature(self) -> str:
        """With the types of the first and the last step."""
        return f"solve(data: {self.steps[0][0].takes}) -> {self.steps[-1][0].gives}"

    @property
    def specification(self) -> str:
        """The steps in words."""
        said = [f"{number}. {part.said(constants)}" for number, (part, constants) in enumerate(self.steps, 1)]
        return "\n".join(["Do these steps with the data, one after the other, and return what comes out:", *said])

    @property
    def source(self) -> str:
        """The parts used, and a function that calls them."""
        names = list(dict.fromkeys(part.name for part, _ in self.steps))
        body = [f"    data = {part.name}({', '.join(['data', *map(repr, constants)])})" for part, constants in self.steps]
        head = f"def solve(data: {self.steps[0][0].takes}) -> {self.steps[-1][0].gives}:"
        return "\n".join([standalone(bank.__name__, names), "", head, *body, "    return data", ""])


def _written(steps: tuple[Step, ...]) -> str:
    return " | ".join(" ".join([part.name, *map(repr, constants)]) for part, constants in steps)


@functools.lru_cache(maxsize=4096)
def generated_problem(split: str, number: int) -> Pipeline:
    """The pipeline of a number; a pipeline belongs to one split alone, by the hash of what it does.

    Raises:
        EnvError: There is no such split.
    """
    if split not in SPLITS:
        msg = f"there is no split {split!r}. {did_you_mean(split, SPLITS)}"
        raise EnvError(msg)
    rng = random.Random(f"code/{split}/{number}")
    while True:
        steps = _draw(rng)
        if split_of(steps) == split and _matters(steps):
            return Pipeline(
                reference=functools.partial(_run, steps),
                examples=tuple(_chosen(steps)),
                edges=(("",) if steps[0][0].takes == "str" else ([],),),
                draw=functools.partial(_data, steps[0][0].takes),
                steps=steps,
            )


def split_of(steps: tuple[Step, ...]) -> str:
    """The split a pipeline belongs to: eight of ten to train, one each to dev and test."""
    place = int.from_bytes(hashlib.sha256(_written(steps).encode()).digest()[:4], "big") % 10
    return ("dev", "test")[place] if place < 2 else "train"


@functools.cache
def all_parts() -> tuple[Part, ...]:
    """All parts, in the order of their module."""
    return tuple(item for item in vars(bank).values() if isinstance(item, Part))


def _draw(rng: random.Random) -> tuple[Step, ...]:
    """Some steps that fit together, none twice in a row."""
    kind = rng.choice(TAKES)
    steps: list[Step] = []
    for _ in range(rng.randint(_SHORTEST, _LONGEST)):
        before = steps[-1][0] if steps else None
        fitting = [part for part in all_parts() if part.takes == kind and part is not before]
        chosen = rng.choice(fitting)
        steps.append((chosen, chosen.constants(rng)))
        kind = chosen.gives
    return tuple(steps)


def _run(steps: tuple[Step, ...], data: Any) -> Any:
    for part, constants in steps:
        data = part.function(data, *constants)
    return data


def _data(kind: str, rng: random.Random) -> Args:
    """One input of a type."""
    if kind == "list[int]":
        return ([rng.randint(-9, 30) for _ in range(rng.randint(1, 9))],)
    words = [rng.choice(_WORDS) for _ in range(rng.randint(1, 7))]
    return (words,) if kind == "list[str]" else (" ".join(words),)


def _samples(steps: tuple[Step, ...]) -> list[Args]:
    rng = random.Random(f"samples/{_written(steps)}")
    return [_data(steps[0][0].takes, rng) for _ in range(24)]


def _matters(steps: tuple[Step, ...]) -> bool:
    """Whether most inputs have results of their own, and steps that could be left out, one or several in a row, change some of them."""
    samples = _samples(steps)
    results = [_run(steps, args[0]) for args in samples]
    if len({repr(result) for result in results}) < len(samples) * 2 // 3 or max(len(repr(result)) for result in results) > 200:
        return False
    for first, last in itertools.combinations(range(len(steps) + 1), 2):
        shorter = steps[:first] + steps[last:]
        if steps[first][0].takes == steps[last - 1][0].gives and [_run(shorter, args[0]) for args in samples] == results:
            return False
    return True


def _chosen(steps: tuple[Step, ...]) -> list[Args]:
    """Three inputs to show: those with the most telling results, the longest first."""
    ranked = sorted(_samples(steps), key=lambda args: (-len(repr(_run(steps, args[0]))), repr(args)))
    return list({repr(args): args for args in ranked}.values())[:3]
