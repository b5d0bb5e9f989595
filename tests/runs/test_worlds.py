"""Environments get what their makers ask for; a view fits its world; nothing runs code without a sandbox unless that is said."""

from __future__ import annotations

import json
import logging
import sys
from types import ModuleType

import pytest

from reflectory import Runner
from reflectory.agents.views.raw import RawView
from reflectory.agents.views.tracked import TrackedView
from reflectory.cli.options import split_set
from reflectory.config import RunConfig
from reflectory.errors import SandboxMissing
from reflectory.records import Effect, Observation, StepResult, Task
from reflectory.runs.worlds import Worlds, placed
from reflectory.sandbox import local
from reflectory.sandbox.unsafe import Unsafe
from reflectory.testing import check_env


class Asking:
    """A world that keeps what it was made with; `win` wins, and so does `hack`, which it names as a cheat."""

    blocking = False

    def __init__(self, sandbox=None, tools=()):
        self.sandbox, self.tools = sandbox, tools

    def reset(self, task, *, seed):
        return Observation("say win")

    def step(self, action):
        won = action in {"win", "hack"}
        return StepResult(observation=Observation("done" if won else "no"), reward=float(won), terminated=won, effect=Effect(changed=won))

    def close(self):
        pass

    def oracle(self):
        return "win"

    def cheats(self):
        return {"hacking": ["hack"], "asking": ["please", "please"]}


@pytest.fixture
def asking(monkeypatch):
    module = ModuleType("asking_world")
    module.Asking = Asking
    monkeypatch.setitem(sys.modules, "asking_world", module)
    return "asking_world:Asking"


def no_tier_works(monkeypatch):
    monkeypatch.setattr(local, "TIERS", {"none": Unsafe()})


def test_a_maker_gets_sandbox_and_tools_where_it_asks_for_them(asking):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    tools = [add]
    worlds = Worlds(RunConfig(sandbox={"tier": "none", "allow_unsafe": True, "limits": {"seconds": 3}}), tools)
    first, second = worlds.maker(asking)(), worlds.maker(asking)()
    assert [tool.name for tool in first.tools] == ["add"]
    assert first.sandbox.limits.seconds == 3
    assert first.sandbox is second.sandbox
    assert worlds.maker("household")() is not None


def test_auto_takes_the_view_made_for_a_world_else_the_transcript():
    worlds = Worlds(RunConfig())
    assert type(worlds.view("household")) is TrackedView
    assert type(worlds.view("corridor:Corridor")) is RawView
    assert worlds.view("household") is worlds.view("household")
    assert type(Worlds(RunConfig(prompt="raw")).view("household")) is RawView


def test_a_task_without_a_world_plays_with_the_tools_if_there_are_any():
    assert placed(Task(goal="add"), [len]).env == "toolbox"
    assert placed(Task(goal="add"), []).env is None
    assert placed(Task(goal="add", env="household"), [len]).env == "household"


def test_without_a_working_sandbox_a_world_that_runs_code_is_refused(asking, monkeypatch, tmp_path):
    no_tier_works(monkeypatch)
    runner = Runner(model="scripted:oracle", config={"out": str(tmp_path / "run")})
    with pytest.raises(SandboxMissing, match="allow_unsafe"):
        runner.run(Task(goal="x", env=asking))
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_run_without_isolation_says_so_everywhere(asking, monkeypatch, tmp_path, caplog):
    no_tier_works(monkeypatch)
    runner = Runner(model="scripted:oracle", config={"out": str(tmp_path / "run"), "sandbox": {"allow_unsafe": True}})
    with caplog.at_level(logging.WARNING):
        result = runner.run(Task(goal="x", env=asking))
    assert result.solved
    assert result.sandbox == "none"
    assert "NO SANDBOX" in str(result)
    assert any("NO SANDBOX" in record.message and "network" in record.message for record in caplog.records)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["sandbox"]["tier"] == "none"


def test_a_world_without_code_names_no_sandbox(tmp_path):
    runner = Runner(model="scripted:oracle", config={"out": str(tmp_path / "run")})
    from reflectory.envs.household import household_tasks

    result = runner.run(next(household_tasks("generated:dev", limit=1)))
    assert result.sandbox is None
    assert "sandbox" not in str(result).casefold()


def test_check_env_plays_every_cheat_a_world_names():
    assert check_env(Asking, [Task(goal="x", id="t")]) == ["task 't': the cheat 'hacking' earns 1"]


def test_scripted_cheat_plays_one_of_the_cheats(asking, tmp_path):
    outcomes = {}
    for seed in range(8):
        runner = Runner(
            model="scripted:cheat",
            config={
                "out": str(tmp_path / f"{seed}"),
                "seed": seed,
                "budget": {"steps": 3},
                "sandbox": {"tier": "none", "allow_unsafe": True},
            },
        )
        result = runner.run(Task(goal="x", env=asking, id="t"))
        outcomes.setdefault(result.outcome, tuple(step.action for step in result.attempts[0].steps if step.action is not None))
    assert outcomes == {"solved": ("hack",), "limit:steps": ("please", "please", "")}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("household", ("household", None)),
        ("household:quirky:dev", ("household", "quirky:dev")),
        ("code:repair", ("code", "repair")),
        ("corridor:corridor_tasks", ("corridor:corridor_tasks", None)),
    ],
)
def test_a_set_may_name_its_source(name, split):
    assert split_set(name) == split
