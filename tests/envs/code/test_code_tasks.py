from __future__ import annotations

import pytest

from reflectory.envs.code import Chore, CodeEnv, Problem, chore, chore_task, code_tasks, function_task, problem, repair_task
from reflectory.envs.code.tasks import SOURCES
from reflectory.errors import ConfigError, EnvError, SandboxError
from reflectory.execution import Limits, SandboxReport
from reflectory.records import Task

TASKS = {task.id: task for source in ("functions", "repair", "terminal") for task in code_tasks(source)}
ROMAN = TASKS["function/to_roman"]


async def say(env, *actions):
    return [await env.step(action) for action in actions]


@problem(examples=[(1,), (5,)], edges=[(0,)], draw=lambda rng: (rng.randint(2, 10**6),), bugs=["arithmetic/0"])
def doubled(number: int) -> int:
    """Give twice the number, as a whole number, for any number at all, also 0 and negative ones."""
    return number + number


@chore(tree=lambda rng: {"in.txt": f"{rng.random()}\n"}, solution="cp in.txt out.txt")
def copied(files):
    """Copy `in.txt` to `out.txt`, exactly as it is, and leave the original where it is now."""
    return {"out.txt": files["in.txt"]}


async def test_own_tasks_need_nothing_but_a_module(env):
    assert isinstance(doubled, Problem)
    assert isinstance(copied, Chore)
    import sys

    sys.modules.setdefault(doubled.reference.__module__, sys.modules[__name__])
    for task in (function_task(doubled), repair_task(doubled, 0), chore_task(copied), function_task(doubled, seed=5)):
        await env.reset(task, seed=0)
        assert (await say(env, env.oracle()))[0].reward == 0.0
        assert (await env.step(env.oracle())).reward == 1.0
    assert function_task(doubled, seed=5).id == "function/doubled~5"


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"kind": "function", "of": "nowhere:x"},
        {"kind": "repair", "of": "reflectory.envs.code:CodeEnv"},
        {"kind": "function", "of": "reflectory.envs.code.bank.dates:nothing"},
    ],
)
async def test_a_task_that_names_no_exercise_says_so(env, inputs):
    with pytest.raises((EnvError, ConfigError)):
        await env.reset(Task(goal="x", inputs=inputs), seed=0)


class Broken:
    """A sandbox whose boxes do not open."""

    limits = Limits()
    report = SandboxReport(tier="x", level="none", available=True)

    async def open(self):
        msg = "no box today"
        raise SandboxError(msg)


async def test_a_sandbox_that_does_not_open_is_no_failed_task():
    env = CodeEnv(Broken())
    await env.reset(ROMAN, seed=0)
    await env.step("write solution.py\nx = 1\n")
    for action in ("test", "python\n1", "shell\nls", "submit"):
        with pytest.raises(SandboxError, match="no box today"):
            await env.step(action)


class Glass:
    """A sandbox that says it isolates but shows the whole machine."""

    def __init__(self, inner):
        self.inner, self.limits = inner, inner.limits
        self.report = SandboxReport(tier="glass", level="namespace", available=True)

    async def open(self):
        return await self.inner.open()


async def test_a_sandbox_that_shows_the_references_is_refused(sandbox):
    with pytest.raises(SandboxError, match="reference solutions"):
        await CodeEnv(Glass(sandbox)).reset(ROMAN, seed=0)


def test_sets_have_stable_ids_limits_and_names():
    assert [task.id for task in code_tasks("tasks", limit=7)] == [task.id for task in code_tasks("tasks")][:7]
    assert all(task.env == "code" for task in TASKS.values())
    assert list(code_tasks("repair", limit=0)) == []
    assert TASKS["repair/to_roman/0"].situation
    assert TASKS["terminal/clean_lines"].situation != TASKS["terminal/sum_events"].situation
    for wrong in ("taks", "generated:dve", "generated"):
        with pytest.raises(ConfigError, match=r"Did you mean|There is"):
            code_tasks(wrong)
    assert "tasks" in SOURCES
