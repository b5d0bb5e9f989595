"""Benchmarks, demo and replay as commands: one line of JSON with the promised keys."""

import json
import lzma
from pathlib import Path

import pytest

from reflectory.cli import main

SHIPPED = Path(__file__).parents[1] / "envs" / "household" / "generated_transcripts.jsonl.xz"


def run(capsys, *arguments, status=0):
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    assert (ended.value.code or 0) == status
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.fixture
def games(tmp_path):
    """Two of the shipped games as files."""
    with lzma.open(SHIPPED, "rt") as stream:
        for number, line in zip(range(2), stream, strict=False):
            folder = tmp_path / "games" / f"pick-X-None-Y-{number}" / "trial"
            folder.mkdir(parents=True)
            (folder / "game.tw-pddl").write_text(json.dumps(json.loads(line)["data"]))
    return tmp_path / "games"


def test_bench_household(capsys, games):
    found = run(capsys, "bench", "household", "--tasks", str(games), "--reference-games", "0")
    assert found["games"] == 2
    assert found["steps_per_s"] > 1000
    assert 0 < found["reset_ms"] < 50
    assert 0 < found["parse_ms"] < 500
    assert 0 < found["mb_per_env"] < 5
    assert found["ratio"] is None
    assert found["reference_steps_per_s"] is None
    assert "ratio_why" in found


def test_bench_carryover_pays_for_the_scripted_searcher(capsys, tmp_path):
    found = run(capsys, "bench", "carryover", "--houses", "12", "--model", "scripted:search", "--out", str(tmp_path))
    assert found["houses"] == 12
    assert found["steps_with"] < found["steps_without"]
    low, high = found["ci"]["steps"]
    assert low <= found["steps_with"] - found["steps_without"] <= high
    assert found["success_with"] >= found["success_without"]


def test_bench_concurrency_plays_the_same_games_as_the_loop_by_hand(capsys, tmp_path):
    found = run(capsys, "bench", "concurrency", "--limit", "12", "--width", "4", "--rounds", "1")
    assert found["identical"] >= 0.9  # the loop by hand lets a game circle, the harness does not
    assert found["ratio"] == pytest.approx(found["steps_per_s"] / found["by_hand_steps_per_s"])


def test_replay_tells_a_difference_by_its_exit_status(capsys, tmp_path):
    assert run(capsys, "env", "replay", "household", str(SHIPPED))["differences"] == 0
    with lzma.open(SHIPPED, "rt") as stream:
        row = json.loads(next(stream))
    row["steps"][1]["text"] += "!"
    changed = tmp_path / "changed.jsonl"
    changed.write_text(json.dumps(row))
    assert run(capsys, "env", "replay", "household", str(changed), status=1)["differences"] == 1
    main_status = pytest.raises(SystemExit)
    with main_status as ended:
        main(["env", "replay", "chess", str(changed), "--json"])
    assert ended.value.code == 2


def test_the_demo_shows_both_arms(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(capsys, "demo", "--fast")
    assert set(found) == {"memory", "control", "stories"}
    assert found["memory"]["tasks"] == found["control"]["tasks"] == 20
    assert found["memory"]["success_by_trial"][0] == found["control"]["success_by_trial"][0]
    assert Path(found["memory"]["run_dir"], "manifest.json").exists()
