"""LangChain's tools as ours, and ours as LangChain's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from reflectory.errors import ToolError
from reflectory.execution import EffectKind, Limits, ToolResult
from reflectory.protocols import Tool
from reflectory.records import OriginKind
from reflectory.tools.checks import WrongArguments, checked, json_object, known_names, report_unchecked
from reflectory.tools.function import FunctionTool, Options
from reflectory.tools.schema import Read, as_json, object_schema
from reflectory.tools.text import NoText, render

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool, StructuredTool

#: Argument names that LangChain keeps for itself.
_RESERVED = frozenset({"config", "run_manager", "callbacks"})


def from_langchain(
    tool: BaseTool, *, effect: EffectKind = "write", origin: OriginKind = "content", limits: Limits | None = None
) -> FunctionTool:
    """A LangChain tool as ours. Sync ones run on a thread, async ones in the event loop, both for a limited time.

    The model reads the content of the tool's message; an artefact beside it stays unread, and so does what is no message (a LangGraph
    `Command`): the answer says so with the error `form`. Arguments are checked before the call, by its types or by its JSON schema; what
    LangChain injects cannot be given by a model.

    Args:
        tool: A `BaseTool`; its own handlers of errors are kept.
        effect: What it can do to the world, which LangChain does not say.
        origin: Who could have written what it returns.
        limits: `seconds` and `output_kb` hold.

    Raises:
        ToolError: Its name or its arguments cannot be described to a model.
    """
    reader = _Reader(tool)

    def request(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"type": "tool_call", "id": "call", "name": tool.name, "args": arguments}

    def sync_call(arguments: dict[str, Any]) -> ToolResult:
        return _read(tool.invoke(request(arguments)), origin)

    async def async_call(arguments: dict[str, Any]) -> ToolResult:
        return _read(await tool.ainvoke(request(arguments)), origin)

    options = Options(name=tool.name, description=tool.description, effect=effect, origin=origin, limits=limits or Limits())
    return FunctionTool(async_call if _is_async(tool) else sync_call, options, reader)


def to_langchain(tool: Tool) -> StructuredTool:
    """One of our tools as LangChain's: the text is the message's content, the whole ToolResult its artefact, an error its status.

    Args:
        tool: Any Tool. A person who approves its calls is asked by what calls it, not by this.

    Raises:
        ToolError: An argument has a name that LangChain keeps for itself.
    """
    from langchain_core.tools import StructuredTool, ToolException

    taken = sorted(_RESERVED & set(tool.parameters.get("properties", {})))
    if taken:
        msg = f"the tool {tool.name} cannot be LangChain's: it keeps the argument name {', '.join(taken)} for itself. Rename it."
        raise ToolError(msg)

    async def acall(**arguments: Any) -> tuple[str, ToolResult]:
        result = await tool.call(arguments)
        if not result.ok:
            raise ToolException(result.text)
        return result.text, result

    def call(**arguments: Any) -> tuple[str, ToolResult]:
        with ThreadPoolExecutor(max_workers=1) as pool:  # a loop of its own: this thread may have one that runs
            return pool.submit(asyncio.run, acall(**arguments)).result()

    return StructuredTool(
        name=tool.name,
        description=tool.description or tool.name,
        args_schema=dict(tool.parameters),
        func=call,
        coroutine=acall,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )


class _Reader:
    """Arguments as a LangChain tool describes them, checked before it is called."""

    def __init__(self, tool: BaseTool) -> None:
        self.description = tool.description
        self.schema = _schema(tool)
        self._model = _model(tool)
        self._handler = tool.handle_validation_error
        if self._model is None:
            report_unchecked(tool.name, self.schema)

    def read(self, given: Any) -> Read:
        plain, text = json_object(given)
        if self._model is None:
            return self._by_schema(plain)
        names = self.schema["properties"]
        known_names(plain, names)
        try:
            read = self._model.model_validate_json(text, strict=True)
        except ValidationError as error:
            if all(item["type"] == "missing" and item["loc"][0] not in names for item in error.errors(include_url=False)):
                return self._by_schema(plain)  # LangChain is still to inject something
            raise WrongArguments(self._said(error)) from None
        written = as_json(read)
        arguments = {name: value for name, value in plain.items() if name in names}
        for name, field in type(read).model_fields.items():  # the model may know a field by its name or by its alias
            for shown in {name, field.alias or name} & set(names):
                arguments[shown] = written[field.serialization_alias or name]
        return Read({"arguments": dict(plain)}, arguments, plain)

    def _by_schema(self, plain: dict[str, Any]) -> Read:
        read = checked(self.schema, plain)
        return Read({"arguments": dict(read)}, read, plain)

    def _said(self, error: ValidationError) -> str:
        """What does not fit, in the words of the tool's own handler where it has one."""
        handler: Any = self._handler
        if isinstance(handler, str):
            return handler
        return str(handler(error)) if callable(handler) else _problems(error)


def _model(tool: BaseTool) -> type[BaseModel] | None:
    """The types of a tool's arguments; None where it has a bare JSON schema, or types of another kind."""
    from langchain_core.tools import Tool as SingleInput

    if isinstance(tool, SingleInput) and tool.args_schema is None:
        return None
    model: Any = tool.get_input_schema() if tool.args_schema is None else tool.args_schema
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _schema(tool: BaseTool) -> dict[str, Any]:
    """JSON schema of what a model gives; what LangChain injects is left out.

    Raises:
        ToolError: There is none.
    """
    from langchain_core.tools import Tool as SingleInput

    if isinstance(tool, SingleInput) and tool.args_schema is None:
        return {"type": "object", "properties": {"tool_input": {"type": "string"}}, "required": ["tool_input"]}
    try:
        described: Any = tool.tool_call_schema
        whole = described if isinstance(described, dict) else getattr(described, "model_json_schema", None) or described.schema
        schema = object_schema(whole if isinstance(whole, dict) else whole())
    except Exception as error:
        msg = f"the arguments of {tool.name} cannot be described: {error}"
        raise ToolError(msg) from error
    schema.pop("description", None)  # the tool's own, told beside it
    return schema


def _is_async(tool: BaseTool) -> bool:
    """Whether the tool brings async code of its own; LangChain would run sync code on threads that keep a program from ending."""
    from langchain_core.tools import BaseTool, StructuredTool
    from langchain_core.tools import Tool as SingleInput

    if isinstance(tool, StructuredTool | SingleInput):
        return tool.coroutine is not None
    own: Callable[..., Any] = type(tool)._arun
    return own is not BaseTool._arun


def _read(message: Any, origin: OriginKind) -> ToolResult:
    from langchain_core.messages import ToolMessage

    if not isinstance(message, ToolMessage):
        msg = f"it returned a {type(message).__name__}, which is no message a model could read."
        raise NoText(msg)
    content = message.content
    parts = [content] if isinstance(content, str) else [_block(block) for block in content]
    failed = message.status == "error"
    return ToolResult(text="\n".join(parts), ok=not failed, error="raised" if failed else "", origin=origin)


def _block(block: Any) -> str:
    """A content block as text; pictures and the like as JSON."""
    if isinstance(block, dict) and block.get("type") == "text":
        return str(block.get("text", ""))
    return render(block)


def _problems(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return " ".join(
        f'The argument "{".".join(str(part) for part in item["loc"])}" '
        + ("is missing." if item["type"] == "missing" else f"does not fit: {item['msg']}.")
        for item in found
    )
