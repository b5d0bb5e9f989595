"""`@tool`: what the model is told, what it may give, what it gets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from reflectory.errors import ToolError
from reflectory.execution import Limits, ToolResult
from reflectory.protocols import Tool
from reflectory.runs.bench import hostile
from reflectory.tools import as_tool, tool
from reflectory.tools.function import FunctionTool, Options
from reflectory.tools.schema import read_docstring

ROOT = Path(__file__).resolve().parents[2]


class Place(BaseModel):
    """Where."""

    x: int
    title: str = ""


@tool(effect="read")
def look(place: Place, mode: Literal["near", "far"] = "near", schema: Annotated[int, Field(ge=0)] = 3, title: str | None = None) -> str:
    """Look somewhere.

    It tells what is there.

    Args:
        place: Where to look,
            from here.
        mode (str): How.

    Returns:
        What is there.
    """
    return f"{place.x} {mode} {schema} {title}"


def test_the_model_is_told_name_description_and_schema():
    assert isinstance(look, Tool)
    assert (look.name, look.effect) == ("look", "read")
    assert look.description == "Look somewhere.\n\nIt tells what is there."
    schema = look.parameters
    assert schema["required"] == ["place"]
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"place", "mode", "schema", "title"}
    assert schema["properties"]["mode"] == {"default": "near", "description": "How.", "enum": ["near", "far"], "type": "string"}
    assert schema["properties"]["place"]["description"] == "Where to look, from here."
    assert set(schema["$defs"]["Place"]["properties"]) == {"x", "title"}
    assert "title" not in schema["$defs"]["Place"]  # only the pydantic title is left out, not the field of that name


async def test_arguments_become_the_functions_types():
    result = await look.call({"place": {"x": 4}, "title": "t"})
    assert (result.text, result.ok, result.error, result.origin) == ("4 near 3 t", True, "", "content")
    assert look(Place(x=1)) == "1 near 3 None"  # still the function it was


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, ['"place" is missing']),
        ({"place": {"x": 1}, "mod": "far"}, ['no argument "mod"', "Did you mean mode?"]),
        ({"place": {"x": "4"}}, ['"place.x"', "integer", '"4"']),
        ({"place": {"x": 1}, "mode": "up"}, ['"mode"', "'near' or 'far'", '"up"']),
        ({"place": {"x": 1}, "schema": -1}, ['"schema"', "greater than or equal to 0", "-1"]),
        ({"place": "x" * 5000}, ['"place"', "5002 characters"]),
        ([1], ["JSON object"]),
    ],
)
async def test_wrong_arguments_say_which_what_and_what_was_given(given, says):
    result = await look.call(given)
    assert (result.ok, result.error, result.origin) == (False, "arguments", "world")
    assert all(part in result.text for part in says), result.text
    assert len(result.text) < 500


def test_a_docstring_of_every_shape_is_read():
    text = "Do.\n\nArgs:\n    a: First,\n        goes on: here.\n    b (int, optional): Second.\n\nRaises:\n    KeyError: c.\n"
    assert read_docstring(text) == ("Do.", {"a": "First, goes on: here.", "b": "Second."})
    assert read_docstring("") == ("", {})
    assert read_docstring("Args: none are needed.") == ("Args: none are needed.", {})


def untyped(a):
    return a


def starred(*a: int) -> None:
    pass


def hidden(a: int, /) -> None:
    pass


def odd(a: threading.Lock) -> None:
    pass


def unknown(a: Nowhere) -> None:  # noqa: F821
    pass


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (untyped, "`a: str`"),
        (starred, "by name"),
        (hidden, "by name"),
        (odd, "cannot be described"),
        (unknown, "Nowhere"),
        (lambda: 1, "Write it as a `def`"),
    ],
)
def test_a_function_no_model_could_call_is_refused_with_the_reason(function, says):
    with pytest.raises(ToolError, match=says):
        tool(function)


async def test_every_function_of_a_kind_can_be_a_tool():
    class Shop:
        def price(self, item: str) -> float:
            """Look it up."""
            return 2.5

        async def order(self, item: str) -> str:
            return f"ordered {item}"

    assert (await as_tool(Shop().price).call({"item": "tea"})).text == "2.5"
    assert (await as_tool(Shop().order).call({"item": "tea"})).text == "ordered tea"
    assert as_tool(Shop().order).effect == "write"  # nothing is known of it
    assert as_tool(look) is look
    with pytest.raises(ToolError, match="no tool"):
        as_tool(3)


async def test_a_function_may_say_itself_where_its_answer_comes_from():
    @tool
    def computed() -> ToolResult:
        return ToolResult(text="x" * 100_000, origin="world", ok=False, error="mine")

    result = await computed.call({})
    assert (result.origin, result.ok, result.error, result.truncated) == ("world", False, "mine", True)


async def test_an_error_names_type_and_message_and_no_path_of_this_machine(caplog):
    @tool
    def broken() -> None:
        msg = "the disk is gone"
        raise OSError(msg)

    with caplog.at_level("DEBUG"):
        result = await broken.call({})
    assert (result.text, result.error, result.origin) == ("OSError: the disk is gone", "raised", "content")
    assert "test_tool_function.py" in caplog.text  # the traceback is in the log


async def test_a_hanging_call_is_left_behind_and_so_many_that_the_tool_is_refused():
    over = threading.Event()

    @tool(seconds=0.02)
    def hang() -> str:
        over.wait(20)
        return "back"

    results = [await hang.call({}) for _ in range(9)]
    assert [result.error for result in results] == ["time"] * 8 + ["blocked"]
    assert "background" in results[0].text
    assert "8 earlier calls" in results[8].text
    over.set()
    while (result := await hang.call({})).error:  # the threads come back in their own time
        await asyncio.sleep(0.001)
    assert result.text == "back"


async def test_cancelling_the_caller_cancels_an_async_tool():
    begun, ended = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    work = asyncio.create_task(wait.call({}))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await asyncio.wait_for(ended.wait(), 5)


async def test_calls_of_a_sync_tool_go_on_side_by_side():
    meet = threading.Barrier(4, timeout=10)

    @tool
    def together() -> str:
        meet.wait()
        return "met"

    results = await asyncio.gather(*(together.call({}) for _ in range(4)))
    assert [result.text for result in results] == ["met"] * 4


def test_a_program_ends_although_a_tool_hangs(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, time\nfrom reflectory.tools import tool\n@tool(seconds=0.05)\ndef hang() -> None:\n    time.sleep(600)\n"
        "print(asyncio.run(hang.call({})).error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "time\n"


MODULE = """
import os, sys
from reflectory.tools import tool
from reflectory.execution import Limits, ToolResult

LOADED = []

@tool(isolated=True, limits=Limits(output_kb=1))
def repeat(word: str, times: int = 2) -> str:
    "Repeat."
    LOADED.append(1)
    print("noise on stdout")
    return word * times

@tool(isolated=True)
async def own(text: str) -> dict:
    return {"pid": os.getpid(), "text": text, "folder": os.listdir(), "variable": os.environ.get("MINE")}

@tool(isolated=True)
def fail() -> None:
    raise LookupError("nothing there")

@tool(isolated=True, origin="world")
def mine() -> ToolResult:
    return ToolResult(text="m", origin="peer_agent")

class Group:
    @tool(isolated=True)
    @staticmethod
    def inner() -> str:
        return "inner"
"""


@pytest.fixture
def farm(tmp_path, monkeypatch):
    (tmp_path / "farm_of_tools.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "farm_of_tools", raising=False)
    monkeypatch.setenv("MINE", "a variable")
    import farm_of_tools

    return farm_of_tools


async def test_an_isolated_tool_runs_elsewhere_and_answers_the_same(farm):
    result = await farm.repeat.call({"word": "ä", "times": 3})
    assert (result.text, result.ok, farm.LOADED) == ("äää", True, [])
    long = await farm.repeat.call({"word": "xyz", "times": 5000})
    assert long.truncated
    assert len(long.text) < 1400
    assert long.sha256 == hashlib.sha256(b"xyz" * 5000).hexdigest()
    told = json.loads((await farm.own.call({"text": "\0 ✓"})).text)
    assert told["pid"] != os.getpid()
    assert told["folder"] == []
    assert told["variable"] == "a variable"
    failed = await farm.fail.call({})
    assert (failed.text, failed.error) == ("LookupError: nothing there", "raised")
    assert (await farm.mine.call({})).origin == "peer_agent"
    assert (await farm.Group.inner.call({})).text == "inner"
    assert (await farm.repeat.call({"word": 3})).error == "arguments"


def test_an_isolated_tool_of_a_program_is_found_in_its_file(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio\nfrom reflectory.tools import tool\n@tool(isolated=True)\ndef double(n: int) -> int:\n    return 2 * n\n"
        "if __name__ == '__main__':\n    print(asyncio.run(double.call({'n': 21})).text)\n"
    )
    done = subprocess.run([sys.executable, str(program)], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_what_no_name_leads_to_cannot_run_isolated():
    def inner() -> None:
        pass

    with pytest.raises(ToolError, match="inside another function"):
        tool(isolated=True)(inner)
    code = "from reflectory.tools import tool\n@tool(isolated=True)\ndef typed() -> None: ...\n"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert "typed in at a prompt" in done.stderr


async def test_a_limit_of_an_isolated_tool_is_named():
    spinning = FunctionTool(hostile.ignore_signals, Options(limits=Limits(seconds=1.0), isolated=True))
    began = time.monotonic()
    result = await spinning.call({})
    assert (result.error, result.origin) == ("time", "world")
    assert "did not end within 1 s" in result.text
    assert time.monotonic() - began < 3
