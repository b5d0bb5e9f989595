"""Programming as a world: functions to write, modules to repair, files to work on, judged by hidden tests in a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.envs.code.env import CodeEnv
    from reflectory.envs.code.problems import Problem, problem
    from reflectory.envs.code.tasks import chore_task, code_tasks, function_task, repair_task
    from reflectory.envs.code.terminal import Chore, chore

__all__ = ["Chore", "CodeEnv", "Problem", "chore", "chore_task", "code_tasks", "function_task", "problem", "repair_task"]
_ROOM = "reflectory.envs.code"
__getattr__ = lazy(
    __name__,
    {
        "Chore": f"{_ROOM}.terminal",
        "CodeEnv": f"{_ROOM}.env",
        "Problem": f"{_ROOM}.problems",
        "chore": f"{_ROOM}.terminal",
        "chore_task": f"{_ROOM}.tasks",
        "code_tasks": f"{_ROOM}.tasks",
        "function_task": f"{_ROOM}.tasks",
        "problem": f"{_ROOM}.problems",
        "repair_task": f"{_ROOM}.tasks",
    },
)
