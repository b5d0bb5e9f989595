"""An evaluation gives the same result for any number of workers and after any kill."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toyworld

from reflectory.errors import ConfigError, ModelUnavailable, RunError
from reflectory.records import Task
from reflectory.runs import RunDirectory, Runner
from reflectory.runs.directory import lock

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SETTINGS = {"prompt": "toyworld:ToyView", "trials": 3, "budget": {"steps": 6}}
TASKS = toyworld.tasks(24, boxes=10)


def runner(out, model="toyworld:plain", graph="reflexion", memory=None, **settings):
    return Runner(graph=graph, model=model, memory=memory, config={**SETTINGS, **settings, "out": str(out)})


def essence(out):
    """All results without times and places."""
    found = {}
    for (trial, task), line in RunDirectory.open(Path(out)).results().items():
        line = {key: value for key, value in line.items() if key not in {"seconds", "trajectories"}}
        found[trial, task] = {**line, "usage": {**line["usage"], "seconds": 0}}
    return found


def memory_of(out):
    return (Path(out) / "memory" / "after.jsonl").read_text()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "run"
    metrics = runner(out).eval(TASKS)
    return out, metrics


def test_it_learns_and_every_game_is_played_in_every_trial(reference):
    out, metrics = reference
    assert set(essence(out)) == {(trial, task.key) for trial in (1, 2, 3) for task in TASKS}
    assert metrics.success_in_trial[2] > metrics.success_in_trial[0]
    assert list(metrics.success_by_trial) == sorted(metrics.success_by_trial)
    assert metrics.errors == 0
    manifest = RunDirectory.open(out).manifest
    assert manifest["status"] == "done"
    marks = [entry["as_of"] for entry in manifest["trials"]]
    assert marks == sorted(set(marks))
    assert (out / "memory" / "before.jsonl").read_text() == ""


@pytest.mark.parametrize("settings", [{"concurrency": 1}, {"concurrency": 5}, {"workers": 2, "concurrency": 2}])
def test_workers_and_concurrency_change_nothing(tmp_path, reference, settings):
    runner(tmp_path / "run", **settings).eval(TASKS)
    assert essence(tmp_path / "run") == essence(reference[0])
    assert memory_of(tmp_path / "run") == memory_of(reference[0])


SCRIPT = """
import sys, toyworld
from reflectory.runs import Runner
if __name__ == "__main__":
    settings = {settings!r} | {{"out": sys.argv[1], "workers": int(sys.argv[2])}}
    Runner(graph="reflexion", model="toyworld:slow", config=settings).eval(toyworld.tasks(24, boxes=10))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_and_started_again(tmp_path, workers):
    script = tmp_path / "killed.py"
    script.write_text(SCRIPT.format(settings=SETTINGS))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), "OMP_NUM_THREADS": "1"}
    whole, out = tmp_path / "whole", tmp_path / "run"
    runner(whole, model="toyworld:slow").eval(TASKS)
    rng, kills = random.Random(workers), 0
    for _ in range(60):
        process = subprocess.Popen(
            [sys.executable, str(script), str(out), str(workers)], env=environment, start_new_session=True, stderr=subprocess.PIPE
        )
        lines = count(out)
        wanted = lines + rng.randint(1, 30)
        deadline = time.monotonic() + 60
        while process.poll() is None and count(out) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read().decode()
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills >= 2
    assert RunDirectory.open(out).manifest["status"] == "done"
    assert essence(out) == essence(whole)
    assert memory_of(out) == memory_of(whole)
    # Nothing finished was repeated.
    lines = [json.loads(line) for line in (out / "results.jsonl").read_bytes().splitlines() if line.endswith(b"}")]
    assert len({(line["trial"], line["task"]) for line in lines}) == 72
    assert len(lines) <= 72 + kills * workers


def count(out: Path) -> int:
    file = out / "results.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_a_dead_worker_is_replaced_by_the_others(tmp_path, reference):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), "OMP_NUM_THREADS": "1"}
    script = tmp_path / "killed.py"
    script.write_text(SCRIPT.format(settings=SETTINGS))
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, str(script), str(out), "2"], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while count(out) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    workers = [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and parent(entry) == process.pid and spawned(entry)
    ]
    os.kill(max(workers), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    slow = {key: {**line, "usage": 0} for key, line in essence(out).items()}
    assert slow.keys() == essence(reference[0]).keys()
    assert {key: line["outcome"] for key, line in slow.items()} == {key: line["outcome"] for key, line in essence(reference[0]).items()}


def test_workers_do_not_outlive_their_coordinator(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]), "OMP_NUM_THREADS": "1"}
    script = tmp_path / "killed.py"
    script.write_text(SCRIPT.format(settings=SETTINGS))
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, str(script), str(out), "2"], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while count(out) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    workers = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and parent(entry) == process.pid and spawned(entry)]
    assert len(workers) == 2
    process.kill()
    process.wait()
    while any(alive(entry) for entry in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(entry) for entry in workers)


def alive(entry: Path) -> bool:
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return -1


def spawned(entry: Path) -> bool:
    return b"spawn_main" in (entry / "cmdline").read_bytes()


def test_a_finished_run_is_read_back_without_playing(reference):
    out, metrics = reference
    before = (out / "results.jsonl").read_bytes()
    again = runner(out).eval(TASKS)
    assert (out / "results.jsonl").read_bytes() == before
    assert again.model_dump(exclude={"wall_s", "steps_per_s"}) == metrics.model_dump(exclude={"wall_s", "steps_per_s"})


def test_another_run_in_the_same_place_is_refused(reference, tmp_path):
    out, _ = reference
    with pytest.raises(RunError, match=r"config\.seed"):
        runner(out, seed=9).eval(TASKS)
    with pytest.raises(RunError, match="tasks"):
        runner(out).eval(TASKS[:-1])
    with pytest.raises(RunError, match="graph"):
        runner(out, graph="act").eval(TASKS)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="no run"):
        runner(tmp_path).eval(TASKS)


def test_two_processes_cannot_run_one_directory(reference):
    out, _ = reference
    with lock(out), pytest.raises(RunError, match="another process"):
        runner(out).eval(TASKS)


def test_scope_none_with_memory_is_the_retry_baseline(tmp_path, reference):
    metrics = runner(tmp_path / "run", scope="none").eval(TASKS)
    assert metrics.success_by_trial[2] < reference[1].success_by_trial[2]
    # The first trial reads an empty memory either way.
    assert metrics.success_in_trial[0] == reference[1].success_in_trial[0]


def test_a_given_memory_is_kept_and_read_by_the_next_run(tmp_path):
    first = runner(tmp_path / "one", memory=str(tmp_path / "memory"), trials=3).eval(TASKS)
    second = runner(tmp_path / "two", memory=str(tmp_path / "memory"), trials=1).eval(TASKS)
    assert second.success_in_trial[0] >= first.success_in_trial[2]
    assert second.success_in_trial[0] > first.success_in_trial[0]


class Flaky(toyworld.ToyEnv):
    """Breaks in one task until a file says that it was mended."""

    mended: Path

    def step(self, action):
        if self.where == 3 and not Flaky.mended.exists():
            raise OSError("unplugged")
        return super().step(action)


def test_broken_worlds_are_counted_apart_and_tried_again(tmp_path, monkeypatch):
    Flaky.mended = tmp_path / "mended"
    monkeypatch.setattr(toyworld, "ToyEnv", Flaky)
    broken = [task for task in TASKS if task.inputs["where"] == 3]
    assert broken
    metrics = runner(tmp_path / "run", trials=1, model=toyworld.plain()).eval(TASKS)
    assert metrics.errors == len(broken)
    lines = essence(tmp_path / "run")
    assert all(lines[1, task.key]["outcome"] == "infra:env" for task in broken)
    assert "unplugged" in lines[1, broken[0].key]["error"]


def test_what_every_trial_would_meet_ends_the_run(tmp_path):
    class Absent(toyworld.ToyModel):
        async def generate(self, request):
            raise ModelUnavailable("no weights here")

    with pytest.raises(ModelUnavailable):
        runner(tmp_path / "run", model=Absent()).eval(TASKS)
    assert RunDirectory.open(tmp_path / "run").manifest["status"] == "interrupted"


def test_wrong_questions_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="twice"):
        runner(tmp_path / "a").eval([TASKS[0], TASKS[0]])
    with pytest.raises(ConfigError, match="no tasks"):
        runner(tmp_path / "b").eval([])
    with pytest.raises(ConfigError, match="objects"):
        runner(tmp_path / "c", model=toyworld.plain(), workers=2).eval(TASKS)
    with pytest.raises(ConfigError, match="no environment"):
        runner(tmp_path / "d").eval([Task(goal="think")])
