"""`python` and `shell`: state between calls, what the model reads when it is gone, one box for several tools."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from reflectory.errors import SandboxError, SandboxMissing
from reflectory.execution import Executed, Limits, SandboxReport
from reflectory.protocols import Tool
from reflectory.sandbox import LocalSandbox, Settings
from reflectory.tools import PythonTool, ShellTool, Workplace

SHORT = Limits(seconds=0.5, output_kb=2)


def sandbox(limits=SHORT):
    """Limits without isolation will do: the code of this file is harmless."""
    return LocalSandbox("none", settings=Settings(limits=limits), allow_unsafe=True)


@pytest.fixture
async def place():
    made = Workplace(sandbox())
    yield made
    await made.close()


async def test_names_stay_and_the_value_is_shown(place):
    python = PythonTool(place)
    assert isinstance(python, Tool)
    assert (python.name, python.effect) == ("python", "execute")
    assert python.parameters["required"] == ["code"]
    assert (await python.call({"code": "x = 3\nprint('said')\nx * 2"})).text == "said\nvalue: 6"
    assert (await python.call({"code": "x"})).text == "value: 3"
    assert (await python.call({"code": "y = 1"})).text == "(no output)"
    failed = await python.call({"code": "import sys\nsys.stderr.write('so\\n')\n1 / 0"})
    assert (failed.ok, failed.error, failed.origin) == (False, "raised", "content")
    assert failed.text.startswith("so\n")
    assert "ZeroDivisionError" in failed.text
    assert (await python.call({"kode": "x"})).error == "arguments"


async def test_a_shell_keeps_its_folder_and_tells_its_status(place):
    shell = ShellTool(place)
    await shell.call({"command": "mkdir sub; cd sub; A=5"})
    result = await shell.call({"command": 'echo "${PWD##*/} $A"; (exit 4)'})
    assert (result.text, result.ok) == ("sub 5\nexit status 4", True)


async def test_two_tools_share_one_box(place):
    python, shell = PythonTool(place), ShellTool(place)
    await shell.call({"command": "echo 17 > number"})
    assert (await python.call({"code": "int(open('number').read()) + 1"})).text == "value: 18"
    await python.close()  # the box is not its own
    assert (await shell.call({"command": "cat number"})).text == "17"


async def test_the_end_of_a_call_is_explained(place):
    python = PythonTool(place)
    await python.call({"code": "x = 1"})
    late = await python.call({"code": "import time\ntime.sleep(60)"})
    assert (late.ok, late.error) == (False, "time")
    assert "It was ended: it did not end within 0.5 s. Its variables are kept." in late.text
    assert (await python.call({"code": "x"})).text == "value: 1"
    stubborn = await python.call({"code": "import signal\nsignal.signal(2, signal.SIG_IGN)\nwhile True: pass"})
    assert stubborn.error == "time"
    assert "Its variables are gone." in stubborn.text
    assert "NameError" in (await python.call({"code": "x"})).text
    gone = await python.call({"code": "import os; os._exit(3)"})
    assert "Its variables are gone." in gone.text


async def test_long_output_is_cut_and_hashed(place):
    result = await PythonTool(place).call({"code": "print('ab' * 50_000)"})
    assert result.truncated
    assert len(result.text) < 4 * 2048
    assert hashlib.sha256(b"ab" * 50_000 + b"\n").hexdigest() in result.text


async def test_a_lost_box_is_opened_anew_and_the_model_is_told(place):
    python = PythonTool(place)
    await python.call({"code": "x = 1"})
    await place._box.close()
    result = await python.call({"code": "'x' in globals()"})
    assert result.ok
    assert "A new sandbox was started before this call: the variables of earlier calls are gone." in result.text
    assert result.text.endswith("value: False")
    assert (await python.call({"code": "2"})).text == "value: 2"


def test_a_tool_outlives_its_event_loop():
    python = PythonTool(sandbox())

    async def once(code):
        try:
            return (await python.call({"code": code})).text
        finally:
            await python.close()

    assert asyncio.run(once("x = 1")) == "(no output)"
    assert asyncio.run(once("1 + 1")) == "value: 2"


async def test_each_session_has_a_box_of_its_own_that_its_tools_share():
    place = Workplace()
    given = [PythonTool(place), ShellTool(place), PythonTool()]
    first, second = {}, {}
    python, shell, bare = (tool.session(sandbox(), first) for tool in given)
    other, *_ = (tool.session(sandbox(), second) for tool in given)
    try:
        await shell.call({"command": "echo mine > note"})
        assert (await python.call({"code": "open('note').read()"})).text == "value: 'mine\\n'"
        assert "FileNotFoundError" in (await other.call({"code": "open('note').read()"})).text
        assert bare.workplace is python.workplace  # whoever brings no sandbox works where the others do
        assert place._box is None
        assert [tool.needs_sandbox for tool in (*given, python)] == [True, True, True, False]
        python.lose()
        assert "variables of earlier calls are gone" in (await python.call({"code": "1"})).text
    finally:
        for shared in (first, second):
            for made in shared.values():
                await made.close()


class Absent:
    """A sandbox that does not work here."""

    report = SandboxReport(tier="bubblewrap", level="namespace", available=False, why="bwrap is not installed.")
    limits = Limits()

    async def open(self):
        msg = "it never will"
        raise SandboxError(msg)


class Closing(Absent):
    """One that works according to its report alone."""

    report = SandboxReport(tier="bubblewrap", level="namespace", available=True)


class Broken(Closing):
    """One whose boxes break in a way of their own."""

    async def open(self):
        class Box:
            async def python(self, code, *, seconds=None):
                raise RuntimeError(code)

        return Box()


async def test_without_a_working_sandbox_code_is_refused():
    with pytest.raises(SandboxMissing, match="bwrap is not installed"):
        PythonTool(Absent())
    refused = await ShellTool(Closing()).call({"command": "ls"})
    assert (refused.error, refused.origin) == ("sandbox", "world")
    assert "it never will" in refused.text
    assert (await PythonTool(Broken()).call({"code": "1"})).error == "sandbox"


async def test_calls_of_one_box_wait_for_each_other():
    running, most = 0, 0

    class Counting(Closing):
        async def open(self):
            class Box:
                alive = True

                async def python(self, code, *, seconds=None):
                    nonlocal running, most
                    running += 1
                    most = max(most, running)
                    await asyncio.sleep(0)
                    running -= 1
                    return Executed(exit_code=0)

                async def close(self):
                    pass

            return Box()

    python = PythonTool(Counting())
    await asyncio.gather(*(python.call({"code": "1"}) for _ in range(5)))
    assert most == 1
