"""Training samples for the embedded policy: a scripted teacher plays, its actions, notes and readings become (prompt, answer) pairs.

Lessons in context are true, missing, irrelevant, wrong and denying, so that the policy uses memory without being its slave.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from reflectory.agents.view import Turn
from reflectory.agents.views.tracked import TrackedView
from reflectory.envs.household.game import Game
from reflectory.envs.household.lessons import kind_of, learned, read_lesson
from reflectory.envs.household.planner import read_goal
from reflectory.envs.household.quirks import open_house
from reflectory.envs.household.search import Priors, SearchPolicy
from reflectory.envs.household.tracker import HouseholdTracker
from reflectory.learning.tokenizer import most_pieces
from reflectory.records import Observation, Task

_SKIP = ("help", "inventory", "look")


class Sample(NamedTuple):
    """One supervised pair, or a whole attempt, where `rest` goes on with text and answer in turn; `kind` is act, reflect, read or play."""

    kind: str
    prompt: str
    answer: str
    rest: tuple[str, ...] = ()


class Played(NamedTuple):
    """One decision of a teacher: what the pupil is shown, what the teacher says, what was done (it may go astray), what came of it."""

    prompt: str
    label: str
    command: str
    text: str


@dataclass(frozen=True)
class Attempt:
    """What a teacher's attempt leaves: the opening, the lessons told, the decisions, the tracked state at the end."""

    opening: str
    lessons: tuple[str, ...]
    played: tuple[Played, ...]
    work: dict[str, Any]
    won: bool


@dataclass(frozen=True)
class Teaching:
    """How the teacher plays.

    Attributes:
        blind: Search in a random order (for the novice).
        wrong: Share of episodes with wrong or denying lessons among the true ones; 0 makes a trusting policy.
        noise: Chances of a random action per step, drawn per episode.
        trials: Attempts per game; the lessons of one are in the context of the next.
        renumber: Share of attempts whose samples count furniture from a higher number, so that rare numbers are learned too.
    """

    blind: bool = False
    wrong: float = 0.4
    noise: tuple[float, ...] = (0.0, 0.0, 0.1, 0.3)
    trials: int = 3
    renumber: float = 0.3


def count_priors(games: Iterable[Game], *, weight: float = 20.0) -> Priors:
    """Where things stand at the start of a set of games.

    Args:
        games: Plain games with templated goals.
        weight: Pieces of furniture by which the counts of one goal kind are drawn towards those of all games.

    Returns:
        For every thing type, and for every "KIND THING" that is a goal: furniture type → share of its pieces that hold such a thing.
    """
    held: dict[str, Counter[str]] = defaultdict(Counter)
    pieces: dict[str, Counter[str]] = defaultdict(Counter)
    for game in games:
        goal = read_goal(game.task)
        where: dict[str, set[str]] = defaultdict(set)
        for thing, place in game.facts.get("inreceptacle", ()):
            where[kind_of(game.names[thing])].add(place)
        furniture = Counter(kind_of(game.names[place]) for place in game.tables.places)
        for thing, places in where.items():
            for key in (thing, f"{goal.kind} {thing}") if goal and goal.obj == thing else (thing,):
                held[key].update(kind_of(game.names[place]) for place in places)
                pieces[key].update(furniture)
    plain = {key: {of: held[key][of] / count for of, count in pieces[key].items()} for key in held if " " not in key}
    drawn = {
        key: {of: (held[key][of] + weight * plain[key.split()[1]][of]) / (count + weight) for of, count in pieces[key].items()}
        for key in held
        if " " in key
    }
    return {**plain, **drawn}


class Teacher:
    """Plays games and writes samples.

    Args:
        teaching: How.
        priors: Where things usually are; None uses common sense.
    """

    def __init__(self, teaching: Teaching, priors: Priors | None = None) -> None:
        self.teaching, self.view = teaching, TrackedView()
        self.policy = SearchPolicy(priors, blind=teaching.blind)

    def samples(self, game: Game, rng: random.Random, *, before: Sequence[str] = ()) -> Iterator[Sample]:
        """Samples of a few attempts at one game.

        Args:
            game: The game.
            rng: Source of all chance.
            before: Lessons from another task in the same house.
        """
        lessons = list(before)
        for trial in range(self.teaching.trials):
            told = self._tell(lessons, game, rng)
            last = trial == self.teaching.trials - 1
            attempt = self._attempt(game, told, rng, steps=40 if last else rng.choice((6, 10, 15, 25, 40)))
            work = yield from renumbered(attempt, game, rng) if rng.random() < self.teaching.renumber else attempt
            lessons = list(dict.fromkeys(lessons + learned(work, work["goal"])))
            if trial and rng.random() < 0.3:
                return

    def _attempt(self, game: Game, lessons: Sequence[str], rng: random.Random, *, steps: int) -> Generator[Sample, None, dict[str, Any]]:
        house, tracker = open_house(game), HouseholdTracker()
        order, noise = rng.randrange(1 << 30), rng.choice(self.teaching.noise)
        opening = house.intro()
        tracker.observe(None, _observe(opening, house.admissible()))
        wander = rng.randrange(8) if rng.random() < 0.15 else 0
        played: list[Played] = []
        for number in range(steps):
            work = tracker.work()
            prompt = self.prompt(work, lessons)
            choices = [choice for choice in house.admissible() if choice not in _SKIP]
            label = self.policy.choose(work, choices, seed=order)
            astray = number < wander or rng.random() < noise
            command = rng.choice(choices) if astray else label
            text, _, done = house.step(command)
            played.append(Played(prompt, label, command, text))
            tracker.observe(command, _observe(text, house.admissible()))
            if done:
                break
        work = tracker.work()
        yield from self.written(Attempt(opening, tuple(lessons), tuple(played), work, won=house.won))
        return work

    def prompt(self, work: dict[str, Any], lessons: Sequence[str]) -> str:
        """What the pupil is shown at a decision; the usable lessons go into the work."""
        return self.view.compact(work, [(str(number), body) for number, body in enumerate(lessons)])[0]

    def written(self, attempt: Attempt) -> Iterator[Sample]:
        """An attempt as samples: every decision, and the notes."""
        for turn in attempt.played:
            yield Sample("act", turn.prompt, turn.label)
        work = attempt.work
        request = self.view.reflect(Turn(task=Task(goal=""), observation=Observation(""), work=work), won=attempt.won)
        if request is not None:
            yield Sample("reflect", request.messages[0].content, " . ".join([*learned(work, work["goal"]), ""]).strip())

    def _tell(self, lessons: Sequence[str], game: Game, rng: random.Random) -> list[str]:
        """What is recalled: some of what was learned, in any order, spoiled in a share of the episodes."""
        told = [body for body in lessons if rng.random() < 0.93]
        if rng.random() < self.teaching.wrong:
            told = spoil(told, game, rng)
        rng.shuffle(told)
        return told


def renumbered(samples: Generator[Sample, None, dict[str, Any]], game: Game, rng: random.Random) -> Generator[Sample, None, dict[str, Any]]:
    """The same samples with the furniture of each type counted from a higher number; the order of the pieces stays."""
    highest: Counter[str] = Counter()
    for place in game.tables.places:
        kind, _, number = game.names[place].rpartition(" ")
        highest[kind] = max(highest[kind], int(number))
    shift = {kind: rng.randint(0, max(0, most_pieces(kind) - last)) for kind, last in sorted(highest.items())}
    names = re.compile(rf"\b({'|'.join(map(re.escape, sorted(shift, key=len, reverse=True)))}) (\d+)\b")

    def other(text: str) -> str:
        return names.sub(lambda found: f"{found[1]} {int(found[2]) + shift[found[1]]}", text)

    try:
        while True:
            kind, prompt, answer, rest = next(samples)
            yield Sample(kind, other(prompt), other(answer), tuple(map(other, rest)))
    except StopIteration as end:
        work: dict[str, Any] = end.value
        return work


def spoil(lessons: Sequence[str], game: Game, rng: random.Random) -> list[str]:
    """Make some lessons wrong: other places, denials of the true place, machines slandered or praised."""
    names = sorted(game.names[place] for place in game.tables.places)
    things = sorted({kind_of(game.names[thing]) for thing in game.tables.otypes})
    goal = next((word for word in game.task.split() if word.strip(".") in things), "").strip(".")
    out = []
    for body in lessons:
        lesson = read_lesson(body)
        if lesson is None or rng.random() < 0.5:
            out.append(body)
        elif lesson[0] == "place":
            out.append(rng.choice((f"no {lesson[1]} in {lesson[2]}", f"{lesson[1]} in {rng.choice(names)}")))
        elif lesson[0] in ("broken", "works", "open_first"):
            out.append(rng.choice((f"{lesson[1]} works", f"{lesson[1]} broken")))
        elif lesson[0] == "stuck":
            out.append(f"{kind_of(lesson[1])} {rng.randint(1, 3)} stuck")
    if goal:
        out += [f"{goal} in {rng.choice(names)}" for _ in range(rng.randint(0, 2))]
        out += [f"no {goal} in {place}" for place in rng.sample(names, k=min(len(names), rng.choice((0, 0, 1, 6))))]
    return out


def _observe(text: str, admissible: Sequence[str]) -> Observation:
    return Observation(text, choices=tuple(admissible))


def reading_samples(goals: Mapping[str, Any], split: str) -> Iterator[Sample]:
    """(sentence → known goal) pairs from people's sentences.

    Args:
        goals: Content of `human_goals.json`: "split/game" → task_type, pddl_params, human_goals.
        split: Only games of this split ("train").
    """
    from reflectory.agents.views.readings import goal_prompt
    from reflectory.envs.household.catalog import TYPE_NAMES

    kinds = {name: kind for kind, name in TYPE_NAMES.items()}
    for key, entry in goals.items():
        if not key.startswith(f"{split}/") or entry["task_type"] not in kinds:
            continue
        params = entry["pddl_params"]
        dest = (params["toggle_target"] or params["parent_target"]).lower()
        answer = f"{kinds[entry['task_type']]} {params['object_target'].lower()} {dest}"
        for sentence in entry["human_goals"]:
            yield Sample("read", goal_prompt(sentence), answer)
