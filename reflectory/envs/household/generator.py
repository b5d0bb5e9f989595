"""Endless houses and tasks in the ALFWorld file format, from a seed; every game is proved solvable by playing its walkthrough.

A set is `generated:SPLIT` (plain) or `quirky:SPLIT`; SPLIT is train, dev or test and is part of every seed, so the sets are disjoint.
"""

from __future__ import annotations

import functools
import random
from typing import Any

from reflectory.envs.household import catalog
from reflectory.envs.household.game import Game, parse_game, read_task
from reflectory.envs.household.planner import Goal, plan, read_goal
from reflectory.envs.household.quirks import open_house
from reflectory.envs.household.writer import Layout, furniture_id, write_game
from reflectory.errors import ConfigError, EnvError, did_you_mean

SPLITS = ("train", "dev", "test")
TASKS_PER_HOUSE = 8
_APPLIANCES = ("SinkBasin", "Microwave", "Fridge")


def make_house(split: str, number: int, *, quirky: bool = False) -> Layout:
    """Furnish one house.

    Args:
        split: train, dev or test.
        number: Which house of the split, from 0.
        quirky: With broken appliances, jammed doors, decoys and odd places.

    Raises:
        ConfigError: Unknown split.
    """
    if split not in SPLITS:
        msg = f"there is no split {split!r}. {did_you_mean(split, SPLITS)}"
        raise ConfigError(msg)
    name = house_name(split, number, quirky=quirky)
    rng = random.Random(f"house/{name}")
    room = rng.choices(list(catalog.ROOMS), weights=(12, 1, 2, 3) if quirky else (8, 3, 4, 3))[0]
    house = Layout(name, room)
    _furnish(house, rng, quirky=quirky)
    _place_things(house, rng, odd=0.6 if quirky else 0.08)
    if quirky:
        _add_quirks(house, rng)
    return house


def _furnish(house: Layout, rng: random.Random, *, quirky: bool) -> None:
    for kind, (share, low, high) in catalog.ROOMS[house.room].items():
        if rng.random() > share:
            continue
        count = rng.randint(low, high)
        if quirky and kind in _APPLIANCES:
            count = 3  # something to fall back on when one is broken
        elif quirky and high > 3:
            count = max(count, rng.randint(low, high))
        for number in range(1, count + 1):
            entity = furniture_id(kind, number)
            house.furniture[entity] = kind
            shared = kind in ("Drawer", "Cabinet") and number > 1 and rng.random() < 0.12
            house.location[entity] = house.location[furniture_id(kind, number - 1)] if shared else f"loc_bar_{len(house.location):02d}"
            if rng.random() < catalog.MAY_STAND_OPEN.get(kind, 0.0):
                house.opened.add(entity)


def _place_things(house: Layout, rng: random.Random, *, odd: float) -> None:
    here = set(house.furniture.values())
    fitting = {kind: {place: w for place, w in places.items() if place in here} for kind, places in catalog.USUAL.items()}
    kinds = sorted(kind for kind, places in fitting.items() if any(places.values()))
    wanted = rng.sample(kinds, k=min(len(kinds), rng.randint(11, 20)))
    for kind in wanted:
        for number in range(1, rng.choices((1, 2, 3), weights=(5, 4, 2))[0] + 1):
            _put(house, rng, kind, number, fitting[kind], odd)
    for kind, places in catalog.FIXTURES.items():
        found = {place: w for place, w in places.items() if place in here}
        if found and rng.random() < 0.5:
            _put(house, rng, kind, 1, found, 0.0)
    lamps = {place: w for place, w in catalog.LAMP_PLACES.items() if place in here}
    if lamps and house.room in ("bedroom", "living room"):
        for number in range(1, (2 if rng.random() < 0.3 or odd > 0.2 else 1) + 1):
            _put(house, rng, "DeskLamp", number, lamps, 0.0)


def _put(house: Layout, rng: random.Random, kind: str, number: int, places: dict[str, int], odd: float) -> None:
    names = sorted(places)
    weights = [places[name] if rng.random() > odd else 10 - places[name] for name in names]
    if not any(weights):
        weights = [1] * len(names)
    target = rng.choices(names, weights)[0]
    spots = sorted(entity for entity, of in house.furniture.items() if of == target)
    house.things[f"{kind}_bar_{number:02d}"] = (kind, rng.choice(spots))


def _add_quirks(house: Layout, rng: random.Random) -> None:
    broken, needs_open = [], []
    for kind in _APPLIANCES:
        machines = [entity for entity, of in house.furniture.items() if of == kind]
        while len(machines) > 1 and rng.random() < 0.9:
            broken.append(machines.pop(rng.randrange(len(machines))))
        needs_open += [machine for machine in machines if kind in catalog.OPENABLE and machine not in house.opened and rng.random() < 0.7]
    lamps = sorted(thing for thing, (kind, _) in house.things.items() if kind == "DeskLamp")
    if len(lamps) > 1 and rng.random() < 0.7:
        broken.append(rng.choice(lamps))
    doors = [entity for entity, kind in house.furniture.items() if kind in ("Cabinet", "Drawer", "Safe") and entity not in house.opened]
    jammed = {door: rng.choice((2, 3, 3, 0)) for door in doors if rng.random() < 0.4}
    copies: dict[str, list[str]] = {}
    for thing, (kind, _) in sorted(house.things.items()):
        copies.setdefault(kind, []).append(thing)
    stuck = []
    for kind, same in copies.items():
        if kind in catalog.USUAL and rng.random() < 0.7:
            stuck += rng.sample(same, k=len(same) - 1)
    house.quirks = {"broken": broken, "needs_open": needs_open, "jammed": jammed, "stuck": stuck}


def possible_goals(house: Layout) -> list[Goal]:
    """Goals of all six types this house could host, sorted; not all of them are winnable."""
    kinds = sorted({kind for kind, _ in house.things.values() if kind in catalog.USUAL})
    here = sorted(set(house.furniture.values()))
    count = {kind: sum(of == kind for of, _ in house.things.values()) for kind in kinds}
    goals = []
    for obj in kinds:
        lit = obj in catalog.LIGHTABLE and any(of == "DeskLamp" for of, _ in house.things.values())
        if lit:
            goals.append(Goal("look", obj, "DeskLamp"))
        for dest in here:
            if dest not in catalog.USUAL[obj]:
                continue
            goals.append(Goal("pick", obj, dest))
            if count[obj] > 1:
                goals.append(Goal("two", obj, dest))
            for kind, able in (("clean", catalog.CLEANABLE), ("heat", catalog.HEATABLE), ("cool", catalog.COOLABLE)):
                if obj in able and all(machine in here and machine != dest for machine in catalog.APPLIANCE[kind]):
                    goals.append(Goal(kind, obj, dest))
    return goals


@functools.lru_cache(maxsize=512)
def house_games(split: str, number: int, quirky: bool) -> tuple[dict[str, Any], ...]:
    """The tasks of one house: solvable, of mixed types, none won at the start."""
    house = make_house(split, number, quirky=quirky)
    rng = random.Random(f"tasks/{house.name}")
    by_kind: dict[str, list[Goal]] = {}
    for goal in possible_goals(house):
        by_kind.setdefault(goal.kind, []).append(goal)
    for goals in by_kind.values():
        rng.shuffle(goals)
    games: list[dict[str, Any]] = []
    while by_kind and len(games) < TASKS_PER_HOUSE:
        kinds = sorted(by_kind)
        kind = rng.choices(kinds, weights=[4 if quirky and kind in catalog.APPLIANCE else 1 for kind in kinds])[0]
        goal = by_kind[kind].pop()
        if not by_kind[kind]:
            del by_kind[kind]
        data = write_game(house, goal, sentence=rng.randrange(2))
        walkthrough = _prove(data, f"{house.name}/{len(games)}")
        if walkthrough:
            games.append({**data, "walkthrough": walkthrough})
    return tuple(games)


def _prove(data: dict[str, Any], where: str) -> list[str] | None:
    game = parse_game(data, where)
    house, goal = open_house(game), read_goal(game.task)
    return None if goal is None or house.won else plan(house, goal)


def house_tasks(split: str, house: int, *, quirky: bool = False) -> list[str]:
    """The task sentences a house hosts, at most `TASKS_PER_HOUSE`; their order is the task number of `generate`."""
    return [read_task(data["grammar"], house_name(split, house, quirky=quirky)) for data in house_games(split, house, quirky)]


def house_name(split: str, house: int, *, quirky: bool) -> str:
    """For example generated-dev-3."""
    return f"{'quirky' if quirky else 'generated'}-{split}-{house}"


def generate(split: str, house: int, task: int, *, quirky: bool = False) -> dict[str, Any]:
    """One game, as the content of a `game.tw-pddl` file.

    Args:
        split: train, dev or test.
        house: Which house of the split, from 0.
        task: Which of its tasks, from 0.
        quirky: From the quirky houses.

    Raises:
        EnvError: The house hosts fewer tasks.
    """
    games = house_games(split, house, quirky)
    if task >= len(games):
        msg = f"{house_name(split, house, quirky=quirky)} hosts {len(games)} tasks, numbered from 0; there is no task {task}"
        raise EnvError(msg)
    return games[task]


@functools.lru_cache(maxsize=1024)
def generated_game(split: str, house: int, task: int, *, quirky: bool = False) -> Game:
    """Like `generate`, parsed."""
    return parse_game(generate(split, house, task, quirky=quirky), f"{house_name(split, house, quirky=quirky)}/{task}")
