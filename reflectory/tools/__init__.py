"""What can be called: functions, a Python interpreter and a shell in a sandbox, local search, LangChain's tools; approval and pins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.tools.approval import Policy, open_policy
    from reflectory.tools.code import PythonTool, ShellTool, Workplace
    from reflectory.tools.convert import as_tool
    from reflectory.tools.function import tool
    from reflectory.tools.langchain import to_langchain
    from reflectory.tools.pins import Pinned
    from reflectory.tools.search import SearchTool

__all__ = [
    "Pinned",
    "Policy",
    "PythonTool",
    "SearchTool",
    "ShellTool",
    "Workplace",
    "as_tool",
    "open_policy",
    "to_langchain",
    "tool",
]
_HERE = "reflectory.tools"
__getattr__ = lazy(
    __name__,
    {
        "Pinned": f"{_HERE}.pins",
        "Policy": f"{_HERE}.approval",
        "PythonTool": f"{_HERE}.code",
        "SearchTool": f"{_HERE}.search",
        "ShellTool": f"{_HERE}.code",
        "Workplace": f"{_HERE}.code",
        "as_tool": f"{_HERE}.convert",
        "open_policy": f"{_HERE}.approval",
        "to_langchain": f"{_HERE}.langchain",
        "tool": f"{_HERE}.function",
    },
)
