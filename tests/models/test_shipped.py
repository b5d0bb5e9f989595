"""The shipped checkpoints: present, small, and what they promise. Floors leave slack; figures stand in docs/benchmarks.md."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from reflectory.envs.household import household_tasks
from reflectory.errors import UnsupportedTask
from reflectory.models import resolve_model
from reflectory.records import Message, Request
from reflectory.runs.runner import Runner

ROOT = Path(str(files("reflectory.models"))) / "embedded"


@pytest.mark.parametrize("name", ["strong", "novice", "trusting", "raw"])
def test_a_checkpoint_is_small_has_a_card_and_no_code(name):
    folder = ROOT / name
    card = json.loads((folder / "reflectory.json").read_text())
    assert (card["format"], card["name"], card["supports"]) == (1, name, ["household"])
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5_000_000
    assert {file.suffix for file in folder.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize(("name", "asked"), [("embedded", "Write a poem about the sea."), ("embedded:raw", "task pick mug desk ; act")])
async def test_asked_for_anything_else_it_says_what_would_work(name, asked):
    request = Request(messages=(Message(role="user", content=asked),))
    with pytest.raises(UnsupportedTask, match="household"):
        await resolve_model(name).generate(request)


def _eval(tmp_path, name, tasks, **settings):
    config = {"out": str(tmp_path / name), "solver": {"retry_temperature": 0.0}, **settings}
    return Runner(graph="reflexion", model=name, config=config).eval(tasks)


def test_the_strong_one_wins_nearly_all_plain_houses_and_needs_fewer_steps_with_its_own_lessons(tmp_path):
    metrics = _eval(tmp_path, "embedded", list(household_tasks("generated:dev", limit=60)), trials=2)
    assert metrics.success_by_trial[0] >= 0.93
    assert metrics.steps_by_trial[1] < 0.9 * metrics.steps_by_trial[0]


def test_the_novice_learns_in_quirky_houses(tmp_path):
    metrics = _eval(tmp_path, "embedded:novice", list(household_tasks("quirky:dev", limit=60)), trials=3, budget={"steps": 15})
    assert metrics.success_by_trial[2] - metrics.success_by_trial[0] >= 0.15


def test_the_raw_one_reads_transcripts_alone_and_wins_more_than_chance(tmp_path):
    config = {"out": str(tmp_path / "raw"), "prompt": "raw"}
    metrics = Runner(graph="act", model="embedded:raw", config=config).eval(list(household_tasks("generated:dev", limit=6)))
    assert metrics.errors == 0
    assert metrics.success_by_trial[0] >= 0.3


def test_random_choices_win_next_to_nothing(tmp_path):
    config = {"out": str(tmp_path / "random")}
    metrics = Runner(graph="act", model="scripted:random", config=config).eval(list(household_tasks("generated:dev", limit=60)))
    assert metrics.success_by_trial[0] <= 0.15
