"""The demo: a small novice in houses full of quirks, three trials, with memory and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reflectory.envs.household import household_tasks
from reflectory.records import Frozen, Task
from reflectory.runs.directory import RunDirectory
from reflectory.runs.evaluation import Watch
from reflectory.runs.metrics import Metrics
from reflectory.runs.runner import Runner, new_directory

MODEL, TASKS, STEPS, TRIALS = "embedded:novice", "quirky:dev", 15, 3
#: Sampling temperature of the control's retries; chosen on quirky:dev among 0, 0.5 and 1.
RETRY_TEMPERATURE = 1.0


class Story(Frozen):
    """A task lost at first and solved later, with what was noted in between."""

    task: str
    solved_in: int
    lessons: tuple[str, ...]


class Demo(Frozen):
    """What the demo showed: both evaluations, and some tasks that memory turned."""

    memory: Metrics
    control: Metrics
    stories: tuple[Story, ...]


def play_demo(limit: int, watch: Callable[[str], Watch], *, seed: int = 0) -> Demo:
    """Run the demo.

    Args:
        limit: Number of games.
        watch: Makes a watcher for a named evaluation.
        seed: Which houses, and the agents' chance.
    """
    tasks = list(household_tasks(TASKS, limit=limit, seed=seed))
    base: dict[str, Any] = {"trials": TRIALS, "budget": {"steps": STEPS}, "seed": seed}
    learning = {**base, "out": new_directory("demo"), "scope": "task", "solver": {"retry_temperature": 0.0}}
    retrying = {**base, "out": new_directory("demo_control"), "scope": "none", "solver": {"retry_temperature": RETRY_TEMPERATURE}}
    memory = Runner(graph="reflexion", model=MODEL, config=learning).eval(tasks, watch("with memory"))
    control = Runner(graph="act", model=MODEL, memory="none", config=retrying).eval(tasks, watch("retry only"))
    return Demo(memory=memory, control=control, stories=tuple(_stories(Path(memory.run_dir), tasks)))


def _stories(path: Path, tasks: Sequence[Task], most: int = 3) -> list[Story]:
    results = RunDirectory.open(path).results()
    stories = []
    for task in tasks:
        won = [bool(results[trial, task.key]["won"]) for trial in range(1, TRIALS + 1)]
        if won[0] or not any(won):
            continue
        solved = won.index(True) + 1
        staged = results[solved - 1, task.key]["memory"]
        bodies = [str(record["body"]) for operation in staged for record in operation.get("record", ())]
        telling = sorted(bodies, key=lambda body: (" in " in body or body.endswith(" empty"), body not in task.goal))
        stories.append(Story(task=task.goal, solved_in=solved, lessons=tuple(telling[:4])))
    return sorted(stories, key=lambda story: -sum(" in " not in body for body in story.lessons))[:most]
