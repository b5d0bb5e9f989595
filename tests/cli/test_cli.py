"""The command line: what it prints where, how it ends, how fast it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reflectory.cli import main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOY = ["toyworld:toy_tasks", "--tasks", "8", "--prompt", "toyworld:ToyView", "--model", "toyworld:plain"]


def call(capsys, *arguments):
    """Exit status, the last line of stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out.rstrip("\n").rpartition("\n")[2], printed.err


def test_help_is_fast_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom reflectory.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    best = 9.0
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        best = min(best, time.perf_counter() - began)
    assert best < 1.0
    loaded = set(done.stderr.split())
    assert not loaded & {"torch", "transformers", "langgraph", "langchain_core", "chromadb", "sentence_transformers", "numpy"}
    for command in ("run", "eval", "resume", "show", "memory", "graph", "env", "doctor"):
        assert f"\n  {command} " in done.stdout


def test_eval_prints_one_line_of_json_and_resumes(tmp_path, capsys):
    arguments = ["eval", *TOY, "--limit", 10, "--graph", "reflexion", "--trials", 3, "--max-steps", 6, "--out", tmp_path / "run", "--json"]
    status, line, said = call(capsys, *arguments)
    first = json.loads(line)
    assert status == 0
    assert list(first) == [
        "tasks",
        "trials",
        "success_by_trial",
        "success_in_trial",
        "steps_by_trial",
        "mean_steps",
        "steps_per_s",
        "wall_s",
        "tokens",
        "errors",
        "run_dir",
    ]
    assert (first["tasks"], first["trials"], len(first["success_by_trial"])) == (10, 3, 3)
    assert "trial 3: 10/10 played" in said
    _, line, _ = call(capsys, "resume", tmp_path / "run", "--json")
    assert json.loads(line)["success_by_trial"] == first["success_by_trial"]
    status, _, said = call(capsys, *arguments[:-1], "--seed", 5)
    assert status == 1
    assert said.count("error: ") == 1
    assert "config.seed" in said
    assert "Traceback" not in said


def test_settings_by_options_overrides_and_file(tmp_path, capsys):
    (tmp_path / "base.yaml").write_text("trials: 2\nbudget: {steps: 4}\nseed: 1\n")
    arguments = [
        "eval",
        *TOY,
        "--limit",
        3,
        "-c",
        tmp_path / "base.yaml",
        "-c",
        "seed=2",
        "--max-steps",
        5,
        "--out",
        tmp_path / "run",
        "--json",
    ]
    status, line, _ = call(capsys, *arguments)
    assert (status, json.loads(line)["trials"]) == (0, 2)
    kept = (tmp_path / "run" / "config.yaml").read_text()
    assert "seed: 2" in kept
    assert "steps: 5" in kept


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["eval", *TOY, "-c", "budgt.steps=1"], 2, "Did you mean budget"),
        (["eval", *TOY, "--graph", "reflexoin"], 2, "Did you mean reflexion"),
        (["eval", "no_such_set"], 2, "tasks"),
        (["eval", "--no-such-option"], 2, "no-such-option"),
        (["resume", "nowhere"], 1, "not a run directory"),
        (["memory", "list", "nowhere"], 3, "no memory"),
        (["no-such-command"], 2, "no-such-command"),
    ],
)
def test_errors_are_one_clear_sentence(capsys, tmp_path, monkeypatch, arguments, status, says):
    monkeypatch.chdir(tmp_path)
    found, _, said = call(capsys, *arguments)
    assert found == status
    assert says in said
    assert "Traceback" not in said


def test_run_show_and_memory(tmp_path, capsys):
    common = ["--set", "toyworld:toy_tasks", "--tasks", "8", "--model", "toyworld:plain", "-c", "prompt=toyworld:ToyView"]
    out = tmp_path / "run"
    status, line, _ = call(
        capsys, "run", "coin/1", *common, "--graph", "reflexion", "--trials", 9, "--max-steps", 4, "--out", out, "--json"
    )
    value = json.loads(line)
    assert (status, value["outcome"], value["task"]) == (0, "solved", "coin/1")
    status, line, _ = call(capsys, "show", out, "--json")
    assert json.loads(line)["results"][0]["outcome"] == "solved"
    status, line, _ = call(capsys, "show", out, "coin/1", "--json")
    assert len(json.loads(line)) == value["attempts"]
    with pytest.raises(SystemExit):
        main(["show", str(out), "coin/1"])
    assert "> take coin" in capsys.readouterr().out
    status, line, _ = call(capsys, "memory", "list", out, "--json")
    records = json.loads(line)
    assert records
    status, line, _ = call(capsys, "memory", "search", out, records[0]["body"], "--json")
    assert records[0]["id"] in [hit["record"]["id"] for hit in json.loads(line)]
    status, line, _ = call(capsys, "memory", "show", out, records[0]["id"], "--json")
    assert json.loads(line)[0]["event"] == "add"
    status, _, said = call(capsys, "run", "coin/99", *common)
    assert (status, "no task" in said) == (2, True)
    status, line, _ = call(capsys, "run", "0", *common, "--max-steps", 1, "--out", tmp_path / "unsolved", "--json")
    assert (status, json.loads(line)["outcome"]) == (1, "limit:steps")


def test_graphs_and_environments(capsys):
    status, line, _ = call(capsys, "graph", "list", "--json")
    assert {"act", "reflexion"} <= set(json.loads(line))
    status, line, _ = call(capsys, "graph", "draw", "reflexion", "--json")
    assert "recall" in json.loads(line)["mermaid"]
    status, line, _ = call(capsys, "env", "list", "--json")
    assert "household" in json.loads(line)
    status, line, _ = call(capsys, "env", "check", "household", "--tasks", "generated:dev", "--limit", "2", "--json")
    assert (status, json.loads(line)["problems"]) == (0, [])


def test_the_oracle_is_bound_to_each_episodes_world_and_wins(tmp_path, capsys):
    arguments = ["eval", "household", "--tasks", "generated:dev", "--limit", 6, "--model", "scripted:oracle", "--out", tmp_path / "run"]
    status, line, _ = call(capsys, *arguments, "--json")
    assert (status, json.loads(line)["success_by_trial"]) == (0, [1.0])


def test_doctor_reports_and_its_status_follows(capsys):
    status, line, _ = call(capsys, "doctor", "--json")
    report = json.loads(line)
    assert (status == 0) == report["ok"]
    assert {check["name"] for check in report["checks"]} >= {"memory", "embedded model"}


def test_debug_shows_the_traceback():
    from reflectory.errors import RunError

    with pytest.raises(RunError):
        main(["--debug", "resume", "nowhere"])
