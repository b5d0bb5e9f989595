"""The engine: what is on offer does something, what is not does nothing, and a snapshot is the whole state."""

import random

import pytest

from reflectory.envs.household.engine import NOTHING
from reflectory.envs.household.generator import generated_game
from reflectory.envs.household.quirks import open_house

GAMES = [("train", 700 + house, house % 4, house % 2 == 1) for house in range(10)]


def _house(where):
    split, house, task, quirky = where
    return open_house(generated_game(split, house, task, quirky=quirky))


@pytest.mark.parametrize("where", GAMES, ids=str)
def test_every_command_on_offer_is_understood_and_others_change_nothing(where):
    house, rng = _house(where), random.Random(str(where))
    for _ in range(120):
        before = house.snapshot()
        for command in ("go to mars 1", "take", "put x in/on y", "LOOK", "move a to b", ""):
            assert house.step(command)[0] == NOTHING
        assert house.snapshot() == before
        offered = house.admissible()
        assert offered == sorted(set(offered))
        assert house.step(rng.choice(offered))[0] != NOTHING


@pytest.mark.parametrize("where", GAMES, ids=str)
def test_a_restored_snapshot_goes_on_exactly_like_the_original(where):
    house, twin, rng = _house(where), _house(where), random.Random(f"twin/{where}")
    for _ in range(60):
        house.step(rng.choice(house.admissible()))
    twin.restore(house.snapshot())
    for _ in range(60):
        assert twin.admissible() == house.admissible()
        command = rng.choice(house.admissible())
        assert twin.step(command) == house.step(command)


def test_things_are_neither_lost_nor_doubled():
    house, rng = _house(GAMES[0]), random.Random(4)
    everything = sorted(thing for things in house.contents.values() for thing in things)
    for _ in range(400):
        weights = [5 if command.startswith(("take", "move", "open")) else 1 for command in house.admissible()]
        house.step(rng.choices(house.admissible(), weights)[0])
        assert sorted([*house.held, *(thing for things in house.contents.values() for thing in things)]) == everything
        assert len(house.held) <= 1


def test_the_walkthrough_wins_at_its_last_command_and_never_before():
    for where in GAMES:
        house = _house(where)
        rewards = [house.step(command)[1:] for command in house.game.walkthrough]
        assert rewards == [(0, False)] * (len(rewards) - 1) + [(1, True)]
