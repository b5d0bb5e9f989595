"""LangChain's tools as ours and ours as LangChain's, against LangChain itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, ToolException
from langchain_core.tools import Tool as SingleInput
from langchain_core.tools import tool as langchain_tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.types import Command
from pydantic import BaseModel

from reflectory.errors import ToolError
from reflectory.execution import Limits, ToolResult
from reflectory.protocols import Tool
from reflectory.tools import as_tool, to_langchain, tool
from reflectory.tools.langchain import from_langchain

ROOT = Path(__file__).resolve().parents[2]
DICT = {"type": "object", "title": "D", "properties": {"title": {"type": "string", "title": "T"}}, "required": ["title"]}


@langchain_tool
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@langchain_tool
async def slow(q: str) -> str:
    """Async only."""
    return f"async {q}"


@langchain_tool(response_format="content_and_artifact")
def both(q: str) -> tuple[list[dict], dict]:
    """Blocks and an artefact."""
    return [{"type": "text", "text": q}, {"type": "image_url", "image_url": {"url": "x"}}], {"secret": 1}


@langchain_tool
def injected(q: str, user: Annotated[str, InjectedToolArg] = "nobody") -> str:
    """The model does not see the user."""
    return f"{q} {user}"


class Own(BaseTool):
    name: str = "own"
    description: str = "A class."

    def _run(self, n: int) -> str:
        return f"{n} on {threading.current_thread().name}"


class Handled(BaseModel):
    n: int


def failing(n: int) -> str:
    msg = f"no {n}"
    raise ToolException(msg)


plain = StructuredTool.from_function(failing, description="Fails.")
handled = StructuredTool.from_function(failing, description="Fails.", handle_tool_error=lambda error: f"handled: {error}")
checked = StructuredTool.from_function(
    lambda n: str(n), name="checked", description="c", args_schema=Handled, handle_validation_error="give a number"
)
single = SingleInput(name="single", description="One text.", func=lambda text: text.upper())
given_schema = StructuredTool(name="given", description="d", args_schema=DICT, func=lambda title: f"t={title}")
wrong_pair = StructuredTool.from_function(lambda: "no pair", name="pair", description="d", response_format="content_and_artifact")


@pytest.mark.parametrize(
    ("theirs", "arguments", "text", "error"),
    [
        (add, {"a": 1}, "3", ""),
        (add, {"a": "one"}, 'The argument "a" does not fit: Input should be a valid integer', "arguments"),
        (add, {"b": 1}, 'The argument "a" is missing.', "arguments"),
        (slow, {"q": "x"}, "async x", ""),
        (both, {"q": "x"}, 'x\n{"type": "image_url", "image_url": {"url": "x"}}', ""),
        (injected, {"q": "x"}, "x nobody", ""),
        (Own(), {"n": 3}, "3 on tool", ""),
        (plain, {"n": 4}, "ToolException: no 4", "raised"),
        (handled, {"n": 4}, "handled: no 4", "raised"),
        (checked, {"n": "x"}, "give a number", "arguments"),
        (single, {"tool_input": "abc"}, "ABC", ""),
        (given_schema, {"title": "x"}, "t=x", ""),
        (given_schema, {}, 'The argument "title" is missing.', "arguments"),
        (wrong_pair, {}, "ValueError: Since response_format", "raised"),
    ],
)
async def test_a_langchain_tool_answers_as_ours(theirs, arguments, text, error):
    ours = as_tool(theirs)
    assert isinstance(ours, Tool)
    assert (ours.name, ours.effect) == (theirs.name, "write")
    result = await ours.call(arguments)
    assert result.text.startswith(text), result.text
    assert (result.error, result.ok) == (error, not error)


def test_the_schema_is_what_a_model_is_told():
    assert as_tool(add).parameters == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 2}},
        "required": ["a"],
    }
    assert set(as_tool(injected).parameters["properties"]) == {"q"}
    assert as_tool(given_schema).parameters == {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    assert from_langchain(add, effect="none", origin="world").effect == "none"


async def test_what_is_no_message_is_no_answer():
    @langchain_tool
    def jump() -> Any:
        """Return a command."""
        return Command(goto="x")

    assert (await as_tool(jump).call({})).error == "form"


def test_a_program_ends_although_a_langchain_tool_hangs(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, time\nfrom langchain_core.tools import tool\nfrom reflectory.execution import Limits\n"
        "from reflectory.tools.langchain import from_langchain\n@tool\ndef hang() -> None:\n    'Hang.'\n    time.sleep(600)\n"
        "print(asyncio.run(from_langchain(hang, limits=Limits(seconds=0.05)).call({})).error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "time\n"


@tool(effect="read", origin="world")
def multiply(a: int, b: int = 2) -> int:
    """Multiply.

    Args:
        a: The first.
    """
    return a * b


async def test_ours_answers_as_langchains():
    theirs = to_langchain(multiply)
    call = {"type": "tool_call", "id": "7", "name": "multiply", "args": {"a": 3}}
    for message in (theirs.invoke(call), await theirs.ainvoke(call)):
        assert isinstance(message, ToolMessage)
        assert (message.content, message.tool_call_id, message.status) == ("6", "7", "success")
        assert isinstance(message.artifact, ToolResult)
        assert message.artifact.origin == "world"
    refused = await theirs.ainvoke({**call, "args": {"a": "x"}})
    assert refused.status == "error"
    assert '"a"' in refused.content
    described = convert_to_openai_tool(theirs)["function"]
    assert described["name"] == "multiply"
    assert described["parameters"]["properties"]["a"]["description"] == "The first."
    assert described["parameters"]["required"] == ["a"]


async def test_there_and_back_is_the_same():
    back = as_tool(to_langchain(multiply))
    assert back.parameters["properties"] == multiply.parameters["properties"]
    assert (await back.call({"a": 3, "b": 4})).text == "12"
    assert (await back.call({"a": "x"})).error == "arguments"


def test_names_that_langchain_keeps_for_itself_are_refused():
    @tool
    def setup(config: str) -> str:
        return config

    with pytest.raises(ToolError, match="config"):
        to_langchain(setup)


async def test_limits_hold_for_async_ones_too():
    @langchain_tool
    async def never(q: str) -> str:
        """Never."""
        await asyncio.sleep(60)
        return q

    result = await from_langchain(never, limits=Limits(seconds=0.05)).call({"q": "x"})
    assert result.error == "time"
