"""What a Task of this environment stands for: a function to write, a module to repair, or files to work on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from reflectory.envs.code import cheats
from reflectory.envs.code.archives import members_of
from reflectory.envs.code.checker import CALL_SECONDS, passes_hidden
from reflectory.envs.code.mutate import plant
from reflectory.envs.code.problems import MAIN, Problem, find
from reflectory.envs.code.report import calling
from reflectory.envs.code.terminal import Chore
from reflectory.envs.code.values import written
from reflectory.envs.code.workspace import Workspace
from reflectory.errors import ConfigError, EnvError
from reflectory.protocols import Sandbox
from reflectory.records import Task

_RULES = f"Each call may take {CALL_SECONDS:g} s, all together the time of one sandbox call. Only .py files are handed in."


class Exercise(Protocol):
    """One exercise, ready to be played."""

    @property
    def judged(self) -> str:
        """Name of what decides, as the agent is told."""
        ...

    @property
    def problem(self) -> Problem | None:
        """The function that is wanted; None where files are worked on."""
        ...

    @property
    def setup(self) -> str:
        """Shell commands that finish what files alone cannot."""
        ...

    @property
    def files(self) -> dict[str, bytes]:
        """What lies in the working folder at first."""
        ...

    def opening(self, names: Collection[str]) -> str:
        """What is said below the goal: visible tests, files, and the rules of time.

        Args:
            names: Files that stand in the folder.
        """
        ...

    def solution(self) -> tuple[str, ...]:
        """Actions that win."""
        ...

    def cheats(self) -> dict[str, tuple[str, ...]]:
        """Actions that must not win, by name; but where the sandbox isolates nothing, a program can read the reference itself."""
        ...

    async def judge(self, workspace: Workspace, sandbox: Sandbox) -> bool:
        """Whether what stands there is right."""
        ...


@dataclass(frozen=True)
class Coding:
    """A function to write, or a module to repair.

    Attributes:
        problem: What is wanted.
        seed: Of the hidden inputs.
        broken: The module with its bug; "" where it is to be written.
    """

    problem: Problem
    seed: int
    broken: str = ""
    judged = "Hidden tests"
    setup = ""

    @property
    def files(self) -> dict[str, bytes]:
        """The module to be repaired, or nothing."""
        return {MAIN: self.broken.encode()} if self.broken else {}

    def opening(self, names: Collection[str]) -> str:
        """The visible tests, the rules, and the module where there is one."""
        rows = [f"  {calling(self.problem, args)} must be {written(self.problem.expected(args))}\n" for args in self.problem.examples]
        shown = f"\n{MAIN}:\n{self.broken}" if self.broken else ""
        return f"Visible tests:\n{''.join(rows)}{_RULES}\n{shown}".rstrip()

    def solution(self) -> tuple[str, ...]:
        """Write the reference, hand in."""
        return f"write {MAIN}\n{self.problem.source}", "submit"

    def cheats(self) -> dict[str, tuple[str, ...]]:
        """What a program could try on its tests."""
        return cheats.for_function(self.problem, self.broken)

    async def judge(self, workspace: Workspace, sandbox: Sandbox) -> bool:
        """Run the hidden tests."""
        return await passes_hidden(sandbox, await workspace.files(), self.problem, self.seed)


@dataclass(frozen=True)
class Housekeeping:
    """Files to work on with the shell.

    Attributes:
        chore: What is wanted.
        seed: Of the files.
    """

    chore: Chore
    seed: int
    judged = "The files"
    problem = None

    @property
    def setup(self) -> str:
        """Commands after the files are there."""
        return self.chore.setup

    @property
    def files(self) -> dict[str, bytes]:
        """The tree, drawn from the seed."""
        return self.chore.files(self.seed)

    def opening(self, names: Collection[str]) -> str:
        """The first of the files that stand there."""
        rows = [f"  {name}" for name in sorted(names)]
        more = [f"  … and {len(rows) - 20} more"] if len(rows) > 20 else []
        return "\n".join(["Files:", *rows[:20], *more])

    def solution(self) -> tuple[str, ...]:
        """Shell commands, hand in."""
        return f"shell\n{self.chore.solution}", "submit"

    def cheats(self) -> dict[str, tuple[str, ...]]:
        """What could be put in place of the right files."""
        return cheats.for_files(self.chore, self.seed)

    async def judge(self, workspace: Workspace, sandbox: Sandbox) -> bool:
        """Look at the files, here, and into archives in a box of their own."""
        after = await workspace.tree()
        if after is None:
            return False
        packed = {path: after.files[path] for path in self.chore.packed(self.seed) if path in after.files}
        members = await members_of(sandbox, packed) if packed else {}
        # Off the event loop: what is compared is bounded, but may take a while.
        return await asyncio.to_thread(self.chore.right, self.seed, await workspace.first(), after, members)


def exercise_of(task: Task) -> Exercise:
    """The exercise of a task.

    Raises:
        ConfigError: Its inputs name no kind of exercise: it was made from words, not by this environment.
        EnvError: Its inputs name an exercise that is not there.
    """
    if task.inputs.get("kind") not in {"function", "repair", "terminal", "generated"}:
        msg = (
            f"task {task.key} is no code task: the words of a goal alone have no tests. Take tasks of code_tasks() (`code:tasks`, "
            "`code:functions`, …), or make your own with function_task(), repair_task() or chore_task()."
        )
        raise ConfigError(msg)
    kind, seed = task.inputs.get("kind"), int(task.inputs.get("seed", 0))
    if kind == "generated":
        from reflectory.envs.code.generated import generated_problem

        return Coding(generated_problem(str(task.inputs["split"]), int(task.inputs["number"])), seed)
    found: Any = find(str(task.inputs.get("of", "")))
    if kind == "function" and isinstance(found, Problem):
        return Coding(found, seed)
    if kind == "repair" and isinstance(found, Problem):
        return Coding(found, seed, plant(found, int(task.inputs["number"])))
    if kind == "terminal" and isinstance(found, Chore):
        return Housekeeping(found, seed)
    msg = f"task {task.key} names no exercise; make tasks with code_tasks(), function_task(), repair_task() or chore_task()"
    raise EnvError(msg)
