"""Oracle 1, nothing 0, every cheat 0."""

from __future__ import annotations

import asyncio

import pytest

from reflectory.envs.code import CodeEnv, code_tasks
from reflectory.envs.code.checker import call_all, passed, passes_hidden
from reflectory.envs.code.exercise import exercise_of
from reflectory.envs.code.mutate import plant
from reflectory.envs.code.tasks import all_problems
from reflectory.errors import SandboxMissing
from reflectory.sandbox import LocalSandbox

TASKS = list(code_tasks("tasks"))


async def play(sandbox, task, actions) -> tuple[float, bool]:
    env = CodeEnv(sandbox)
    try:
        await env.reset(task, seed=task.seed)
        results = [await env.step(action) for action in actions]
        return sum(result.reward for result in results), results[-1].terminated
    finally:
        await env.close()


async def judge(sandbox, task) -> list[str]:
    """What is wrong with a task: (sequence, reward)."""
    env = CodeEnv(sandbox)
    await env.reset(task, seed=task.seed)
    cheats = env.cheats()
    wrong = []
    if await play(sandbox, task, env.exercise.solution()) != (1.0, True):
        wrong.append(f"{task.id}: the oracle does not win")
    if await play(sandbox, task, ["", "xyzzy plugh", "```"]) != (0.0, False):
        wrong.append(f"{task.id}: doing nothing does something")
    for name, actions in cheats.items():
        reward, ended = await play(sandbox, task, actions)
        if reward or not ended:
            wrong.append(f"{task.id}: {name!r} earns {reward:g}")
    await env.close()
    return wrong


async def judge_all(sandbox, tasks) -> list[str]:
    gate = asyncio.Semaphore(3)

    async def one(task):
        async with gate:
            return await judge(sandbox, task)

    return [line for lines in await asyncio.gather(*map(one, tasks)) for line in lines]


def test_the_default_set_is_large_and_mixed():
    kinds = [task.inputs["kind"] for task in TASKS]
    assert len(TASKS) >= 120
    assert kinds.count("function") >= 50
    assert kinds.count("repair") >= 30
    assert kinds.count("terminal") >= 25
    assert len({task.id for task in TASKS}) == len({(task.goal, str(task.inputs)) for task in TASKS}) == len(TASKS)
    assert {task.inputs["kind"] for task in TASKS[:4]} == set(kinds)


async def test_every_seventeenth_task_is_won_by_the_oracle_and_by_nothing_else(sandbox):
    assert await judge_all(sandbox, TASKS[::17]) == []


@pytest.mark.slow
async def test_every_task_is_won_by_the_oracle_and_by_nothing_else(sandbox):
    assert await judge_all(sandbox, TASKS) == []


@pytest.mark.parametrize("tier", ["bubblewrap", "landlock"])
async def test_in_a_real_sandbox_not_even_the_references_can_be_read(tier):
    try:
        sandbox = LocalSandbox(tier)
    except SandboxMissing as missing:
        pytest.skip(str(missing))
    env = CodeEnv(sandbox)
    await env.reset(TASKS[0], seed=0)
    assert "the reference of this package" in env.cheats()
    await env.close()
    assert await judge_all(sandbox, [TASKS[0], TASKS[14]]) == []


def test_every_kind_of_exercise_has_many_cheats():
    for task in TASKS[:4]:
        assert len(exercise_of(task).cheats()) >= 7


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
async def test_planted_bugs_fail_hidden_tests_and_mostly_visible_ones(sandbox, step):
    gate = asyncio.Semaphore(3)

    async def one(problem, number):
        async with gate:
            files = {"solution.py": plant(problem, number).encode()}
            answers, _ = await call_all(sandbox, files, problem, problem.examples)
            seen = not all(passed(answer, args, problem) for answer, args in zip(answers, problem.examples, strict=True))
            return problem.name, seen, await passes_hidden(sandbox, files, problem, 0)

    planted = [(problem, number) for problem in all_problems() for number in range(len(problem.bugs))]
    found = await asyncio.gather(*(one(*bug) for bug in planted[::step]))
    assert [name for name, _, won in found if won] == []
    assert sum(seen for _, seen, _ in found) > 0.8 * len(found)


async def test_other_seeds_have_other_tests_and_files_and_are_won_too(sandbox):
    chosen = list(code_tasks("tasks", seed=3))[5:7]
    assert {task.id for task in chosen}.isdisjoint(task.id for task in TASKS)
    assert await judge_all(sandbox, chosen) == []
