"""Equality with the reference engine: its own transcripts of generated games, shipped; of the public data, where it is at hand."""

import json
import lzma
from pathlib import Path

import pytest

from reflectory.envs.household import household_tasks
from reflectory.envs.household.env import task_game
from reflectory.envs.household.quirks import open_house
from reflectory.envs.household.replay import replay
from reflectory.errors import ConfigError, MissingDependency

SHIPPED = Path(__file__).with_name("generated_transcripts.jsonl.xz")
DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the public data sets are not beside the checkout")


def test_recorded_games_of_the_reference_are_reproduced_to_the_byte():
    result = replay(SHIPPED, None)
    assert (result["games"], result["differences"]) == (14, 0)
    assert result["steps"] > 500


@pytest.mark.parametrize(("field", "value"), [("text", "Something else."), ("admissible", []), ("reward", 1), ("done", True)])
def test_any_difference_is_found_and_told(tmp_path, field, value):
    with lzma.open(SHIPPED, "rt") as stream:
        row = json.loads(next(stream))
    row["steps"][3][field] = value
    changed = tmp_path / "changed.jsonl"
    changed.write_text(json.dumps(row) + "\n")
    result = replay(changed, None)
    assert result["differences"] == 1
    first = result["first_difference"]
    assert (first["step"], first["field"], first["reference"]) == (3, field, value)


def test_what_is_no_transcript_is_refused_by_line(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"game": "x", "steps": []}\n{"no": 1}\n')
    with pytest.raises(MissingDependency, match="--games"):
        replay(bad, tmp_path)
    bad.write_text('{"no": 1}\n')
    with pytest.raises(ConfigError, match="line 1"):
        replay(bad, None)
    with pytest.raises(MissingDependency, match="no transcript file"):
        replay(tmp_path / "none.jsonl", None)


@needs_data
@pytest.mark.data
def test_the_golden_transcripts_of_the_public_games_are_reproduced():
    result = replay(DATA / "golden" / "alfworld_valid_seen.jsonl.xz", DATA / "alfworld" / "valid_seen.tar.xz")
    assert (result["games"], result["steps"], result["differences"]) == (26, 521, 0)


def _wins(path):
    total = won = 0
    for task in household_tasks(str(path)):
        house = open_house(task_game(task))
        for command in house.game.walkthrough:
            assert command in house.admissible()
            house.step(command)
        total, won = total + 1, won + house.won
    return won, total


@needs_data
@pytest.mark.data
def test_every_walkthrough_of_the_development_games_wins():
    assert _wins(DATA / "alfworld" / "valid_seen.tar.xz") == (140, 140)


@needs_data
@pytest.mark.data
@pytest.mark.slow
def test_every_walkthrough_of_the_train_games_wins():
    assert _wins(DATA / "alfworld" / "train.tar.xz") == (3753, 3753)
