"""The world of tools: an environment whose actions are tool calls, so that every graph can use tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.envs.toolbox.actions import read_action, read_answer
    from reflectory.envs.toolbox.env import ToolboxEnv
    from reflectory.envs.toolbox.texts import fenced

__all__ = ["ToolboxEnv", "fenced", "read_action", "read_answer"]
_HERE = "reflectory.envs.toolbox"
__getattr__ = lazy(
    __name__,
    {
        "ToolboxEnv": f"{_HERE}.env",
        "fenced": f"{_HERE}.texts",
        "read_action": f"{_HERE}.actions",
        "read_answer": f"{_HERE}.actions",
    },
)
