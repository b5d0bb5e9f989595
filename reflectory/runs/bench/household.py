"""Speed and size of the household engine, beside the reference engine where it is installed."""

from __future__ import annotations

import gc
import json
import random
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reflectory.envs.household.env import task_game
from reflectory.envs.household.game import load_game
from reflectory.envs.household.quirks import open_house
from reflectory.records import Task

STEPS = 50


def bench_household(tasks: Sequence[Task], *, seed: int = 0, reference_games: int = 3, repeats: int = 3) -> dict[str, Any]:
    """Measure the engine on one core.

    A step is one action, drawn uniformly with the seed, and the full list of admissible commands after it; a fresh game every 50 steps;
    resets are timed apart. The best of `repeats` passes counts, for both engines: other load on the machine only slows.

    Args:
        tasks: Games to play, all of them.
        seed: Seeds the choice of actions.
        reference_games: How many games the reference engine plays (it takes seconds each); 0 leaves it out.
        repeats: Passes over all games.

    Returns:
        steps_per_s, reset_ms, parse_ms, mb_per_env, reference_steps_per_s and ratio (null with `_why` where not measured), games.
    """
    passes = [_pass(tasks, seed) for _ in range(repeats)]
    result: dict[str, Any] = {
        "games": len(tasks),
        "steps_per_s": max(speed for speed, _ in passes),
        "reset_ms": min(reset for _, reset in passes),
        "parse_ms": _parse_ms(tasks),
        "mb_per_env": _megabytes(tasks),
    }
    paths = [str(task.inputs["path"]) for task in tasks if "path" in task.inputs][:reference_games]
    reference, why = _reference(paths, seed)
    result |= {"reference_steps_per_s": reference, "ratio": None if reference is None else result["steps_per_s"] / reference}
    return result if reference is not None else {**result, "reference_steps_per_s_why": why, "ratio_why": why}


def _pass(tasks: Sequence[Task], seed: int) -> tuple[float, float]:
    rng, spent, resets, steps = random.Random(seed), 0.0, [], 0
    for task in tasks:
        game = task_game(task)
        game.tables  # noqa: B018 - parsing, which includes the look-up tables, is timed apart
        began = time.perf_counter()
        house = open_house(game)
        offered = house.admissible()
        resets.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(STEPS):
            house.step(offered[int(rng.random() * len(offered))])
            offered = house.admissible()
        spent += time.perf_counter() - began
        steps += STEPS
    return steps / spent, statistics.median(resets) * 1000


def _parse_ms(tasks: Sequence[Task]) -> float | None:
    times = []
    for task in tasks[:50]:
        if "path" in task.inputs:
            began = time.perf_counter()
            load_game(Path(task.inputs["path"])).tables  # noqa: B018 - see _pass
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times) if times else None


def _megabytes(tasks: Sequence[Task]) -> float:
    """What one more environment holds, its parsed game included where games come from files."""
    sample = list(tasks[:40])
    gc.collect()
    tracemalloc.start()
    houses = [open_house(load_game(Path(task.inputs["path"])) if "path" in task.inputs else task_game(task)) for task in sample]
    for house in houses:
        house.admissible()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(sample) / 1e6


def _reference(paths: Sequence[str], seed: int) -> tuple[float | None, str]:
    """The reference engine on the same games, in a process of its own: it rewrites sys.argv and may call exit."""
    if find_spec("textworld") is None or find_spec("alfworld") is None:
        return None, "the reference engine is not installed: pip install 'reflectory[alfworld]'"
    if not paths:
        return None, "the reference engine plays game files only: give --tasks PATH"
    done = subprocess.run(
        [sys.executable, "-m", "reflectory.runs.bench.reference", str(seed), str(STEPS), *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return None, f"the reference engine failed: {done.stderr.strip()[-300:]}"
    return float(json.loads(lines[-1])["steps_per_s"]), ""
