"""Task sets: generated, from folders and archives, in people's words; and what the Env makes of them."""

import io
import json
import lzma
import tarfile

import pytest

from reflectory.envs.household import HouseholdEnv, generate, household_tasks
from reflectory.errors import ConfigError, EnvError, GameFileError, MissingDependency
from reflectory.records import Task
from reflectory.testing import check_env

GAMES = {f"valid/pick-Mug-None-Desk-{number}/trial_{number}": generate("train", 800 + number, 0) for number in range(3)}


@pytest.fixture
def folder(tmp_path):
    for name, data in GAMES.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "game.tw-pddl").write_text(json.dumps(data))
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _archive(path, members):
    with tarfile.open(path, "w:xz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return path


def test_generated_sets_are_endless_disjoint_by_seed_and_always_the_same():
    first = [task.id for task in household_tasks("quirky:dev", limit=12)]
    assert first == [task.id for task in household_tasks("quirky:dev", limit=12)]
    assert len(set(first)) == 12
    assert not set(first) & {task.id for task in household_tasks("quirky:dev", limit=12, seed=1)}
    situations = [task.situation for task in household_tasks("quirky:dev", limit=12)]
    assert len(set(situations)) == 6


def test_a_folder_an_archive_and_one_file_give_the_same_games(folder, tmp_path):
    packed = _archive(tmp_path / "games.tar.xz", {f"{name}/game.tw-pddl": json.dumps(data).encode() for name, data in GAMES.items()})
    from_folder, from_archive = (list(household_tasks(str(place))) for place in (folder, packed))
    assert [task.id for task in from_folder] == [task.id for task in from_archive] == sorted(GAMES)
    assert [task.situation for task in from_folder] == ["FloorPlan0", "FloorPlan1", "FloorPlan2"]
    texts = [[HouseholdEnv().reset(task, seed=0).text for task in tasks] for tasks in (from_folder, from_archive)]
    assert texts[0] == texts[1]
    assert all(task.goal and text.endswith(task.goal) for task, text in zip(from_folder, texts[0], strict=True))
    one = list(household_tasks(str(folder / next(iter(GAMES)) / "game.tw-pddl")))
    assert len(one) == 1


def test_a_sample_of_a_folder_is_drawn_by_the_seed(folder):
    assert len({tuple(task.id for task in household_tasks(str(folder), limit=1, seed=seed)) for seed in range(12)}) == 3


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    evil = _archive(tmp_path / "evil.tar.xz", {"../../escaped/game.tw-pddl": b"{}"})
    with pytest.raises(ConfigError, match="cannot be unpacked"):
        list(household_tasks(str(evil)))
    assert not list(tmp_path.rglob("escaped"))


def test_a_damaged_archive_is_refused_and_leaves_nothing_behind(tmp_path):
    broken = tmp_path / "broken.tar.xz"
    broken.write_bytes(lzma.compress(b"no archive")[:-5])
    with pytest.raises(ConfigError, match=r"broken\.tar\.xz"):
        list(household_tasks(str(broken)))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_peoples_sentences_make_one_task_each(folder, tmp_path):
    name = next(iter(GAMES))
    goals = tmp_path / "goals.json.xz"
    entry = {"task_type": "pick_and_place_simple", "pddl_params": {}, "human_goals": ["Put the cup away.", "tidy up that mug"]}
    goals.write_bytes(lzma.compress(json.dumps({f"anywhere/{'/'.join(name.split('/')[1:])}": entry}).encode()))
    tasks = list(household_tasks(str(folder), goals=str(goals)))
    assert [task.goal for task in tasks] == entry["human_goals"]
    text = HouseholdEnv().reset(tasks[1], seed=0).text
    assert text.endswith("Your task is to: tidy up that mug")
    assert HouseholdEnv().reset(next(iter(household_tasks(str(folder)))), seed=0).text != text


@pytest.mark.parametrize(
    ("source", "options", "error", "says"),
    [
        ("generated:trian", {}, ConfigError, "train"),
        ("/no/such/place", {}, MissingDependency, "nothing at"),
        ("", {}, MissingDependency, "ALFWORLD_DATA"),
        ("generated:dev", {"goals": "x.json"}, ConfigError, "--tasks PATH"),
    ],
)
def test_what_is_not_there_is_said(source, options, error, says, monkeypatch):
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    with pytest.raises(error, match=says):
        list(household_tasks(source, **options))


def test_goals_that_match_nothing_or_are_no_goals_are_refused(folder, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"a/b/c": {"human_goals": ["x"]}}))
    with pytest.raises(ConfigError, match="none of the 3 games"):
        list(household_tasks(str(folder), goals=str(other)))
    other.write_text("[1]")
    with pytest.raises(ConfigError, match="not a goals file"):
        list(household_tasks(str(folder), goals=str(other)))


def test_a_file_that_is_no_game_is_named(folder):
    bad = folder / "valid" / "x" / "trial" / "game.tw-pddl"
    bad.parent.mkdir(parents=True)
    bad.write_text("[]")
    with pytest.raises(GameFileError, match="no game file"):
        list(household_tasks(str(folder)))


def test_the_older_put_is_understood_and_effects_tell_what_changed():
    task = next(
        task
        for task in household_tasks("generated:dev", limit=40)
        if task.goal.startswith(("put a ", "put some ")) and " clean " not in task.goal
    )
    env = HouseholdEnv()
    env.reset(task, seed=0)
    *way, last = env.house.game.walkthrough
    for command in way:
        assert env.step(command).effect.changed is True
    assert env.step("look").effect.changed is None
    refused = env.step("eat everything")
    assert (refused.effect.changed, refused.reward, refused.terminated) == (False, 0.0, False)
    thing, _, place = last.removeprefix("move ").partition(" to ")
    done = env.step(f"put {thing} in/on {place}")
    assert (done.reward, done.terminated) == (1.0, True)


@pytest.mark.parametrize("source", ["generated:dev", "quirky:dev"])
def test_the_world_keeps_what_every_world_promises(source):
    assert check_env(HouseholdEnv, list(household_tasks(source, limit=6))) == []


def test_a_task_of_another_world_is_refused():
    with pytest.raises(EnvError, match="household_tasks"):
        HouseholdEnv().reset(Task(goal="sing"), seed=0)
