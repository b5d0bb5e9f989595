"""Sets of code tasks: hand-written functions, repairs and chores, and generated functions without end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from reflectory.envs.code.generated import SPLITS, generated_problem
from reflectory.envs.code.problems import MAIN, Problem, problems_of
from reflectory.envs.code.terminal import Chore, chores_of
from reflectory.errors import ConfigError, did_you_mean
from reflectory.records import Task

_BANK = "reflectory.envs.code.bank"
#: Modules of the bank with functions, and with chores.
FUNCTIONS = ("strings", "parsing", "dates", "graphs", "numbers", "tables", "spans", "machines", "recursion", "languages")
CHORES = ("chores_text", "chores_files", "chores_data")
#: Generated tasks of the default set, and how many a generated source gives without a limit.
SAMPLE, ENDLESS = 12, 100
SOURCES = ("tasks", "functions", "repair", "terminal", *(f"generated:{split}" for split in SPLITS))


def code_tasks(source: str = "tasks", *, limit: int | None = None, seed: int = 0) -> Iterator[Task]:
    """The tasks of a set, always in the same order for the same arguments.

    Args:
        source: `functions`, `repair`, `terminal`; `tasks` has all of them in turn, with a few generated ones; `generated:SPLIT` (train,
            dev, test) goes on without end, so it gives 100 where no limit is given. No generated function is in two splits.
        limit: At most so many, from the beginning.
        seed: Which hidden inputs and which files; of a generated set, which tasks.

    Raises:
        ConfigError: Unknown set.
    """
    if source not in SOURCES:
        msg = f"there is no set of code tasks {source!r}. {did_you_mean(source, SOURCES)}"
        raise ConfigError(msg)
    family, _, split = source.partition(":")
    if split:
        return itertools.islice(_generated(split, seed), ENDLESS if limit is None else limit)
    kinds = {
        "functions": (function_task(item, seed=seed) for item in all_problems()),
        "repair": (repair_task(item, number, seed=seed) for item in all_problems() for number in range(len(item.bugs))),
        "terminal": (chore_task(item, seed=seed) for item in all_chores()),
        "generated": itertools.islice(_generated("dev", seed), SAMPLE),
    }
    chosen = _in_turn(*kinds.values()) if family == "tasks" else kinds[family]
    return itertools.islice(chosen, limit)


def all_problems() -> list[Problem]:
    """The hand-written functions."""
    return [item for module in FUNCTIONS for item in problems_of(f"{_BANK}.{module}")]


def all_chores() -> list[Chore]:
    """The hand-written chores."""
    return [item for module in CHORES for item in chores_of(f"{_BANK}.{module}")]


def function_task(problem: Problem, *, seed: int = 0) -> Task:
    """The task to write a function.

    Args:
        problem: Importable by the path it names (`module:name`).
        seed: Of the hidden inputs.
    """
    return Task(
        goal=_goal(problem),
        env="code",
        id=_id(f"function/{problem.name}", seed),
        inputs={"kind": "function", "of": problem.path, "name": problem.name, "seed": seed},
    )


def repair_task(problem: Problem, number: int, *, seed: int = 0) -> Task:
    """The task to find one of a problem's planted bugs.

    Args:
        problem: Importable by the path it names.
        number: Which of its bugs, from 0.
        seed: Of the hidden inputs.
    """
    goal = (
        f"{MAIN} has a bug. Find it and repair it, so that `{problem.name}` does what its docstring says. Hidden tests check it on other "
        f"inputs.\n\nThe function: `{problem.signature}`\n\n{problem.specification}"
    )
    return Task(
        goal=goal,
        env="code",
        id=_id(f"repair/{problem.name}/{number}", seed),
        inputs={"kind": "repair", "of": problem.path, "name": problem.name, "number": number, "seed": seed, "situation": problem.path},
    )


def chore_task(chore: Chore, *, seed: int = 0) -> Task:
    """The task to do something with files.

    Args:
        chore: Importable by the path it names.
        seed: Of the files.
    """
    return Task(
        goal=f"Work on the files of the current folder with shell commands.\n\n{chore.goal}\n\n"
        "In the end everything else must be as it was, permissions too, and no other file or folder may lie there.",
        env="code",
        id=_id(f"terminal/{chore.name}", seed),
        inputs={"kind": "terminal", "of": chore.path, "name": chore.name, "seed": seed, "situation": f"{chore.path}/{seed}"},
    )


def generated_task(split: str, number: int) -> Task:
    """The task to write a function that was put together from parts.

    Args:
        split: train, dev or test.
        number: Which; each number has its own.
    """
    problem = generated_problem(split, number)
    return Task(
        goal=_goal(problem),
        env="code",
        id=f"generated/{split}/{number}",
        inputs={"kind": "generated", "split": split, "name": problem.name, "number": number, "seed": 0},
    )


def _goal(problem: Problem) -> str:
    return (
        f"Write {MAIN} with the function `{problem.signature}`. Hidden tests check it on other inputs than those shown.\n\n"
        f"{problem.specification}"
    )


def _generated(split: str, seed: int) -> Iterator[Task]:
    """Generated tasks without end, none twice."""
    seen: set[str] = set()
    for number in itertools.count(seed * 1_000_000):
        path = generated_problem(split, number).path
        if path not in seen:
            seen.add(path)
            yield generated_task(split, number)


def _id(name: str, seed: int) -> str:
    return name if seed == 0 else f"{name}~{seed}"


def _in_turn(*kinds: Iterator[Task]) -> Iterator[Task]:
    """One of each kind, again and again, until all are used up."""
    for row in itertools.zip_longest(*kinds):
        yield from (task for task in row if task is not None)
