"""Whatever can be called, as a Tool."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from reflectory.errors import ToolError
from reflectory.protocols import Tool
from reflectory.tools.function import FunctionTool
from reflectory.tools.prepared import wrap


def as_tool(what: Any) -> Tool:
    """A Tool of ours, a LangChain tool, or a plain typed function, as a Tool.

    An object of the user's checks its arguments against its schema from then on. A function becomes what `@tool` makes of it: effect
    `write`, because nothing is known of it.

    Args:
        what: One of them.

    Raises:
        ToolError: It is none of them, or cannot be described.
    """
    if isinstance(what, Tool):
        return wrap(what)
    # Whoever has a LangChain tool has imported it: nothing heavy is loaded just to ask.
    base = getattr(sys.modules.get("langchain_core.tools.base"), "BaseTool", None)
    if base is not None and isinstance(what, base):
        from reflectory.tools.langchain import from_langchain

        return from_langchain(what)
    if inspect.isroutine(what):
        return FunctionTool(what)
    msg = f"a {type(what).__name__} is no tool. Give a typed function, a LangChain tool, or an object with name, description, effect, "
    msg += "parameters and call."
    raise ToolError(msg)
