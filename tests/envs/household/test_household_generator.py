"""Generated houses: the same for the same seed in any process, different across splits, always winnable, of all kinds."""

import hashlib
import json
import subprocess
import sys
from collections import Counter

import pytest

from reflectory.envs.household.game import parse_game
from reflectory.envs.household.generator import generate, house_tasks, make_house
from reflectory.envs.household.planner import read_goal
from reflectory.envs.household.quirks import open_house
from reflectory.errors import ConfigError, EnvError

HASH = """
import hashlib, json
from reflectory.envs.household.generator import generate
games = [generate("dev", house, 0, quirky=quirky) for house in range(3) for quirky in (False, True)]
print(hashlib.sha256(json.dumps(games).encode()).hexdigest())
"""


def test_another_process_with_another_hash_seed_makes_the_same_games():
    here = hashlib.sha256(json.dumps([generate("dev", house, 0, quirky=quirky) for house in range(3) for quirky in (False, True)]).encode())
    there = subprocess.run(
        [sys.executable, "-c", HASH], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77", "PATH": ""}
    )
    assert there.stdout.strip() == here.hexdigest()


def test_splits_share_no_house():
    layouts = {split: {json.dumps(make_house(split, number).things) for number in range(40)} for split in ("train", "dev", "test")}
    assert not layouts["train"] & layouts["dev"]
    assert not layouts["train"] & layouts["test"]
    assert not layouts["dev"] & layouts["test"]


@pytest.mark.parametrize("quirky", [False, True])
def test_every_game_is_won_by_its_walkthrough_and_all_six_kinds_come_up(quirky):
    kinds = Counter()
    for house in range(25):
        for task, sentence in enumerate(house_tasks("dev", house, quirky=quirky)):
            goal = read_goal(sentence)
            assert goal is not None
            kinds[goal.kind] += 1
            game = parse_game(generate("dev", house, task, quirky=quirky), "here")
            world = open_house(game)
            assert not world.won
            assert [world.step(command)[2] for command in game.walkthrough][-1]
    assert set(kinds) == {"pick", "look", "clean", "heat", "cool", "two"}


def test_tasks_of_one_house_share_its_things():
    first, second = (parse_game(generate("dev", 3, task, quirky=True), "here") for task in (0, 1))
    assert first.facts["inreceptacle"] == second.facts["inreceptacle"]
    assert first.quirks == second.quirks
    assert first.task != second.task


def test_wrong_names_are_refused():
    with pytest.raises(ConfigError, match="train"):
        make_house("trian", 0)
    with pytest.raises(EnvError, match="hosts"):
        generate("dev", 0, 99)
