"""Calls that would take the program with them: text with code of its own, tasks that will not end, programs without a guard, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reflectory.execution import ToolResult
from reflectory.tools import Pinned, as_tool, open_policy, tool
from reflectory.tools.approval import console
from reflectory.tools.rules import Call

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


class Loud(str):
    """Text with code of its own."""

    __slots__ = ()

    def __len__(self):
        msg = "run in the loop"
        raise RuntimeError(msg)

    __str__ = __format__ = encode = __getitem__ = __len__


class Odd(Exception):
    def __str__(self):
        return Loud("odd")


async def test_a_texts_own_code_is_not_run():
    @tool
    def say() -> str:
        return Loud("plain")

    @tool
    def fail() -> str:
        raise Odd

    @tool
    def made() -> ToolResult:
        return ToolResult.model_construct(text=Loud("made"), ok=True, error="", origin="world")

    assert [(await one.call({})).text for one in (say, fail, made)] == ["plain", "Odd: odd", "made"]


async def test_tasks_that_will_not_be_cancelled_are_counted():
    over = asyncio.Event()

    @tool(seconds=0.01)
    async def stubborn() -> str:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        return "back"

    calls = await asyncio.gather(*(stubborn.call({}) for _ in range(8)))
    assert {call.error for call in calls} == {"time"}
    before = len(asyncio.all_tasks())
    refused = await stubborn.call({})
    assert (refused.error, len(asyncio.all_tasks())) == ("blocked", before)
    over.set()
    while (await stubborn.call({})).text != "back":
        await asyncio.sleep(0)


# ---------------------------------------------------------------- isolated

DOUBLE = "from reflectory.tools import tool\n@tool(isolated=True)\ndef double(n: int) -> int:\n    return 2 * n\n"


def program(folder, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=ENV, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "body",
    [
        "import asyncio\nprint(asyncio.run(double.call({'n': 21})).text)\n",
        "from reflectory import run\nrun('x', model='scripted:noop', tools=[double], config={'out': 'first'})\n"
        "import asyncio\nprint(asyncio.run(double.call({'n': 21})).text)\n",
    ],
    ids=["a call", "a run"],
)
def test_a_program_without_a_guard_is_not_run_again(body, tmp_path):
    (tmp_path / "program.py").write_text(f"{DOUBLE}open('times', 'a').write('x')\n{body}")
    done = program(tmp_path, "program.py")
    assert 'if __name__ == "__main__"' in done.stdout, done
    assert (tmp_path / "times").read_text() == "x"  # the child stands in a folder of its own


def test_a_program_of_a_package_is_found_by_its_name_and_by_relative_paths(tmp_path):
    package = tmp_path / "source" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "numbers.py").write_text("TWO = 2\n")
    main = f"from .numbers import TWO\n{DOUBLE.replace('2 * n', 'TWO * n')}"
    (package / "main.py").write_text(
        f"{main}if __name__ == '__main__':\n    import asyncio\n    print(asyncio.run(double.call({{'n': 21}})).text)\n"
    )
    start = "import sys, runpy; sys.path[:0] = ['source']; runpy.run_module('package.main', run_name='__main__', alter_sys=True)"
    assert program(tmp_path / "source", "-m", "package.main").stdout == "42\n"
    assert program(tmp_path, "-c", start).stdout == "42\n"


# ---------------------------------------------------------------- the terminal


def test_without_a_terminal_the_answer_is_no():
    code = "from reflectory.tools.approval import console\nprint(console('x'))"
    done = subprocess.run([sys.executable, "-c", code], env=ENV, input="y\n", capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "no\n"
    assert "no terminal" in done.stderr


ASK = (
    "import asyncio\nfrom reflectory.tools.approval import console, Human\nfrom reflectory.tools.rules import Call\n"
    "print('said', asyncio.run(Human(console).decide(Call('t', 'write'))).allowed)"
)


def until(terminal, text):
    seen = b""
    while text not in seen and select.select([terminal], [], [], 30)[0]:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            break
    return seen


@pytest.mark.parametrize(
    ("keys", "says", "status"), [(b"y\n", b"said True", 0), (b"\n", b"said False", 0), (b"\x03", b"KeyboardInterrupt", -signal.SIGINT)]
)
def test_on_a_terminal_the_answer_counts_and_ctrl_c_ends_the_program(keys, says, status):
    ours, theirs = pty.openpty()
    code = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n{ASK}"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=ENV, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as child:
        os.close(theirs)
        try:
            assert b"always for this tool" in until(ours, b"always for this tool? ")
            os.write(ours, keys)
            assert says in until(ours, says)
            assert child.wait(30) == status
        finally:
            child.kill()
            os.close(ours)


async def test_somebody_to_ask_is_asked_although_the_setting_says_auto():
    policy = open_policy("auto", lambda question: False)
    assert not (await policy.decide(Call("t", "write"))).allowed
    assert (await open_policy("auto").decide(Call("t", "write"))).allowed
    assert callable(console)


# ---------------------------------------------------------------- pins


def test_no_process_loses_the_pins_of_another(tmp_path):
    file = tmp_path / "pins.json"

    def made(name):
        def work(a: int) -> int:
            """Work."""
            return a

        work.__name__ = name
        return as_tool(work)

    one, other = Pinned([made("one")], file), Pinned([made("other")], file)
    one.approve("one")
    assert set(json.loads(file.read_text())) == {"one", "other"}
    code = (
        "import sys\nfrom reflectory.tools import Pinned, as_tool\ndef work(a: int) -> int:\n    return a\n"
        "for number in range(20):\n    work.__name__ = f'{sys.argv[2]}_{number}'\n    Pinned([as_tool(work)], sys.argv[1])\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(file), name], env=ENV) for name in "abc"]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert len(json.loads(file.read_text())) == 62
    assert other.changed == []
    assert {path.name for path in tmp_path.iterdir()} == {"pins.json", "pins.json.lock"}
