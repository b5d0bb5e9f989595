"""One task: trials, checkpoints, resume."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toyworld

from reflectory.errors import ConfigError, ModelError, RunError, UnknownName
from reflectory.records import Verdict
from reflectory.runs import Metrics, Run, RunDirectory, Runner, resume, run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TASK = toyworld.tasks(3, boxes=20)[2]
SETTINGS = {"prompt": "toyworld:ToyView", "trials": 9, "budget": {"steps": 5}}


def steps_of(result: Run) -> list[tuple]:
    return [(step.attempt, step.n, step.role, step.action, step.output) for item in result.attempts for step in item.steps]


def test_reflexion_solves_in_later_trials_and_is_read_back(tmp_path):
    settings = {**SETTINGS, "out": str(tmp_path / "run")}
    first = run(TASK, graph="reflexion", model="toyworld:plain", config=settings)
    assert first.solved
    assert len(first.attempts) > 1
    assert [item.outcome for item in first.attempts] == ["limit:steps"] * (len(first.attempts) - 1) + ["solved"]
    assert first.answer == "take coin"
    again = run(TASK, graph="reflexion", model="toyworld:plain", config=settings)
    assert again == first
    assert resume(tmp_path / "run") == first
    assert "solved" in str(first)


def test_the_same_seed_gives_the_same_run(tmp_path):
    runs = [run(TASK, graph="reflexion", model="toyworld:plain", config={**SETTINGS, "out": str(tmp_path / name)}) for name in "ab"]
    other = run(TASK, graph="reflexion", model="toyworld:plain", config={**SETTINGS, "seed": 1, "out": str(tmp_path / "c")})
    assert runs[0].attempts == runs[1].attempts
    assert steps_of(other) != steps_of(runs[0])


async def test_the_sync_facade_works_beside_a_running_loop(tmp_path):
    await asyncio.sleep(0)
    result = run(TASK, graph="reflexion", model="toyworld:plain", config={**SETTINGS, "out": str(tmp_path / "run")})
    assert result.solved


SCRIPT = """
import sys, toyworld
from reflectory.runs import run
task = toyworld.tasks(3, boxes=20)[2]
run(task, graph="reflexion", model="toyworld:slow", config={settings!r} | {{"out": sys.argv[1]}})
"""


def test_a_checkpointed_run_continues_in_the_middle_of_an_attempt(tmp_path):
    settings = {**SETTINGS, "checkpoint": "sqlite"}
    whole = run(TASK, graph="reflexion", model="toyworld:slow", config={**settings, "out": str(tmp_path / "whole")})
    bare = run(TASK, graph="reflexion", model="toyworld:slow", config={**SETTINGS, "out": str(tmp_path / "bare")})
    assert steps_of(bare) == steps_of(whole)
    script = tmp_path / "killed.py"
    script.write_text(SCRIPT.format(settings=settings))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), "OMP_NUM_THREADS": "1"}
    out, rng, kills = tmp_path / "run", random.Random(5), 0
    file = out / "steps.jsonl"
    for _ in range(40):
        size = file.stat().st_size if file.exists() else 0
        wanted = size + rng.randint(1, 9000)
        process = subprocess.Popen([sys.executable, str(script), str(out)], env=environment, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while process.poll() is None and (file.stat().st_size if file.exists() else 0) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read().decode()
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills >= 2
    result = resume(out)
    assert isinstance(result, Run)
    assert steps_of(result) == steps_of(whole)
    assert result.outcome == whole.outcome
    # Every side of the journal as in a run that nobody killed: no lesson twice, no citation twice.
    assert counters(out) == counters(tmp_path / "whole")


def counters(out: Path) -> list[tuple]:
    from reflectory.memory import open_memory

    with open_memory(out / "memory" / "journal.sqlite", read_only=True) as memory:
        return sorted((record.body, record.shown, record.cited, record.helped, record.harmed) for record in memory.records())


def test_resume_reads_the_kind_of_run_from_the_directory(tmp_path):
    runner = Runner(graph="act", model="toyworld:plain", config={**SETTINGS, "trials": 1, "out": str(tmp_path / "eval")})
    metrics = runner.eval(toyworld.tasks(4))
    again = resume(tmp_path / "eval")
    assert isinstance(again, Metrics)
    assert again.success_by_trial == metrics.success_by_trial
    with pytest.raises(RunError, match="not a run directory"):
        resume(tmp_path)
    Runner(graph="act", model=toyworld.plain(), config={**SETTINGS, "out": str(tmp_path / "objects")}).run(TASK)
    with pytest.raises(RunError, match="objects"):
        resume(tmp_path / "objects")


def test_a_tasks_own_check_decides_instead_of_the_reward(tmp_path, monkeypatch):
    monkeypatch.setattr(toyworld, "looked", lambda task, state: state["moves"] >= 2, raising=False)
    monkeypatch.setattr(toyworld, "opinion", lambda task, state: Verdict(id="", by="m", source="model", ok=True), raising=False)
    settings = {**SETTINGS, "trials": 1, "budget": {"steps": 2}}
    checked = TASK.model_copy(update={"check": "toyworld:looked"})
    assert run(checked, model="toyworld:plain", config={**settings, "out": str(tmp_path / "a")}).outcome == "solved"
    # A model's verdict alone never marks anything solved.
    believed = TASK.model_copy(update={"check": "toyworld:opinion"})
    assert run(believed, model="toyworld:plain", config={**settings, "out": str(tmp_path / "b")}).outcome == "limit:steps"


def test_what_is_not_approved_is_not_done(tmp_path):
    asked = []

    async def approve(action: str) -> bool:
        asked.append(action)
        return action != "open box 1"

    settings = {**SETTINGS, "trials": 1, "approvals": "ask", "budget": {"steps": 8}}
    result = Runner(model=toyworld.plain(), approve=approve, config={**settings, "out": str(tmp_path / "a")}).run(TASK)
    refused = [step for step in result.attempts[0].steps if step.action == "open box 1"]
    assert refused
    assert all(step.effect.detail == "not approved" for step in refused)
    assert len(asked) == result.steps
    with pytest.raises(ConfigError, match="somebody to ask"):
        Runner(model=toyworld.plain(), config={**settings, "out": str(tmp_path / "b")}).run(TASK)


def test_roles_and_names(tmp_path):
    solver, reflector = toyworld.plain(), toyworld.plain()
    config = {**SETTINGS, "trials": 2, "out": str(tmp_path / "a")}
    run(TASK, graph="reflexion", model={"solver": solver, "reflector": reflector}, config=config)
    assert {request.role for request in solver.requests} == {"solver"}
    assert {request.role for request in reflector.requests} == {"reflector"}
    with pytest.raises(ConfigError, match="solver"):
        run(TASK, model={"reflector": reflector}, config={**config, "out": str(tmp_path / "b")})
    with pytest.raises(UnknownName, match="Did you mean act"):
        run(TASK, graph="actt", model=solver, config={**config, "out": str(tmp_path / "c")})


def test_memory_none_means_none(tmp_path):
    model = toyworld.plain()
    run(TASK, graph="reflexion", model=model, memory="none", config={**SETTINGS, "out": str(tmp_path / "a")})
    assert not list((tmp_path / "a" / "memory").glob("*.sqlite"))
    assert not any("lesson" in request.messages[-1].content for request in model.requests)
    assert RunDirectory.open(tmp_path / "a").manifest["identity"]["memory"] == "none"


class Dies(toyworld.ToyModel):
    """Breaks down at its n-th answer, as a killed process would."""

    def __init__(self, at):
        super().__init__()
        self.left = at

    async def generate(self, request):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return await super().generate(request)


def test_an_attempt_begun_again_after_a_kill_reads_the_memory_it_read_then(tmp_path):
    def shown(name, *models):
        result = None
        for model in models:
            config = {"prompt": "toyworld:ToyView", "trials": 3, "budget": {"steps": 3}, "out": str(tmp_path / name)}
            runner = Runner(graph="reflexion", model=model, memory=str(tmp_path / f"{name}-memory"), config=config)
            with contextlib.suppress(KeyboardInterrupt):
                result = runner.run(toyworld.tasks(1, boxes=9)[0])
        return [[step.shown for step in attempt.steps] for attempt in result.attempts]

    assert shown("killed", Dies(7), Dies(0)) == shown("whole", Dies(0))


def test_a_reflector_that_fails_does_not_undo_a_won_attempt(tmp_path):
    class Mute(toyworld.ToyModel):
        async def generate(self, request):
            if request.role == "reflector":
                raise ModelError("no words")
            return await super().generate(request)

    config = {"prompt": "toyworld:ToyView", "budget": {"steps": 30}, "out": str(tmp_path / "run")}
    metrics = Runner(graph="reflexion", model=Mute(), config=config).eval(toyworld.tasks(2, boxes=2))
    assert (metrics.success_by_trial, metrics.errors) == ((1.0,), 0)
