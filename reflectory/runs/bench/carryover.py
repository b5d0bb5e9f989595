"""Carry-over: the second task in a house already lived in, with what the first one taught and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reflectory.envs.household.tasks import house_of_tasks
from reflectory.records import Task
from reflectory.runs.directory import RunDirectory
from reflectory.runs.metrics import mean, paired_bootstrap
from reflectory.runs.runner import Runner


def bench_carryover(
    out: Path, *, houses: int, model: str = "embedded", split: str = "test", quirky: bool = True, seed: int = 0
) -> dict[str, Any]:
    """Play a first task in every house, with memory; then a second one, with that memory and without, on the same seeds.

    Args:
        out: Folder for the three runs and the memory.
        houses: How many houses; each has two tasks.
        model: Who plays.
        split: Which generated houses.
        quirky: Whether they have quirks.
        seed: Which houses (seeds never share one), and the agent's chance.

    Returns:
        houses, steps_with, steps_without (mean actions in the second task), ratio, success_with, success_without, and `ci`: 95 % paired
        bootstrap intervals over houses of the differences with - without, for steps and success.
    """
    rooms = [house_of_tasks(split, seed * 10_000 + number, quirky=quirky, limit=2) for number in range(houses * 2)]
    pairs = [tasks for tasks in rooms if len(tasks) == 2][:houses]
    memory = out / "memory"
    base = {"scope": "house", "seed": seed}

    def play(name: str, graph: str, place: Path | str, tasks: list[Task]) -> list[dict[str, Any]]:
        runner = Runner(graph=graph, model=model, memory=place, config={**base, "out": str(out / name)})
        runner.eval(tasks)
        results = RunDirectory.open(out / name).results()
        return [dict(results[1, task.key]) for task in tasks]

    first, second = [tasks[0] for tasks in pairs], [tasks[1] for tasks in pairs]
    play("first", "reflexion", memory, first)
    told, plain = play("with", "act", memory, second), play("without", "act", "none", second)
    world = f"{'quirky' if quirky else 'generated'}:{split}"
    return {"houses": len(pairs), **_compare(plain, told, seed), "model": model, "set": world, "seed": seed}


def _compare(plain: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Means of both arms, and paired intervals of told - plain."""
    steps = [[float(line["steps"]) for line in lines] for lines in (plain, told)]
    won = [[float(line["won"]) for line in lines] for lines in (plain, told)]
    return {
        "steps_with": mean(steps[1]),
        "steps_without": mean(steps[0]),
        "ratio": mean(steps[1]) / mean(steps[0]),
        "success_with": mean(won[1]),
        "success_without": mean(won[0]),
        "ci": {"steps": list(paired_bootstrap(*steps, seed=seed)[1:]), "success": list(paired_bootstrap(*won, seed=seed)[1:])},
    }
