"""What a call does and how it ends, the same in every tier."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boxes import ISOLATED, SMALL, local, own, until

from reflectory.errors import SandboxError
from reflectory.sandbox import LiveBox
from reflectory.sandbox.cgroups import places

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


@pytest.fixture(autouse=True)
def others() -> set[tuple[int, str]]:
    """What runs below this process before a box is opened: it belongs to other tests."""
    return own()


@pytest.fixture(params=[*ISOLATED, "none"])
async def box(request: pytest.FixtureRequest) -> AsyncIterator[LiveBox]:
    async with await local(request.param).open() as opened:
        yield opened


@pytest.fixture(params=ISOLATED)
async def isolated(request: pytest.FixtureRequest) -> AsyncIterator[LiveBox]:
    async with await local(request.param).open() as opened:
        yield opened


async def test_a_program_gets_its_input_and_an_exit_code_as_a_shell_counts_it(box: LiveBox) -> None:
    assert (await box.run(["cat"], stdin=b"in\0\xff")).stdout.text == "in\0\\xff"
    assert (await box.run(["sh", "-c", "exit 7"])).exit_code == 7
    assert (await box.run(["sh", "-c", "kill -9 $$"])).exit_code == 137
    missing = await box.run(["no-such-program"])
    assert missing.exit_code == 127
    assert "no-such-program" in missing.stderr.text
    large = os.urandom(3 * 2**20)  # more than a pipe holds, to a program that reads all before it answers
    assert (await box.run(["sha256sum"], stdin=large)).stdout.text.split()[0] == hashlib.sha256(large).hexdigest()
    assert (await box.run(["true"], stdin=large)).ok  # and to one that reads nothing


async def test_a_program_whose_reader_goes_ends_quietly(box: LiveBox) -> None:
    done = await box.run(["bash", "-c", "yes | head -1; echo ${PIPESTATUS[0]}"])
    assert done.stdout.text == "y\n141\n"  # SIGPIPE, not an error message


async def test_names_stay_and_the_last_expression_is_the_value(box: LiveBox) -> None:
    await box.python("import math\ndef area(r): return math.pi * r * r")
    done = await box.python("x = area(2)\nround(x, 3)")
    assert (done.value, done.exit_code, done.ok) == ("12.566", 0, True)
    assert (await box.python("_ + 1")).value == "13.566"
    assert (await box.python("")).ok
    odd = await box.python("'\\ud800' + 'ä'")
    assert odd.model_dump_json()
    assert odd.value == "'\\ud800ä'"


async def test_a_traceback_shows_the_source_of_every_cell(box: LiveBox) -> None:
    await box.python("def inner(n):\n    return 1 / n  # the culprit")
    done = await box.python("print('before')\ninner(0)")
    assert (done.error, done.exit_code, done.stdout.text) == ("ZeroDivisionError", 1, "before\n")
    assert "return 1 / n  # the culprit" in done.stderr.text
    assert 'File "<cell 2>", line 2' in done.stderr.text
    assert "interpreter.py" not in done.stderr.text
    assert "SyntaxError" in (await box.python("1 +")).stderr.text


async def test_input_is_at_its_end(box: LiveBox) -> None:
    assert (await box.python("input()")).error == "EOFError"
    assert (await box.shell("read line; echo $?")).stdout.text == "1\n"
    assert (await box.run(["cat"])).stdout.text == ""


async def test_leaving_an_interpreter(box: LiveBox) -> None:
    assert (await box.python("x = 1\nimport sys; sys.exit(5)")).exit_code == 5
    assert (await box.python("x")).value == "1"  # sys.exit ends the cell, not the interpreter
    ended = await box.python("import os; os._exit(3)")
    assert (ended.exit_code, ended.lost, ended.killed) == (3, True, "")
    assert (await box.python("x")).error == "NameError"
    died = await box.python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert (died.exit_code, died.lost) == (139, True)


async def test_the_exit_code_of_a_dying_interpreter_or_shell_is_never_missed(box: LiveBox) -> None:
    for number in range(20):
        assert (await box.python(f"import os; os._exit({number})")).exit_code == number
        assert (await box.shell(f"exit {number}")).exit_code == number


async def test_a_shell_keeps_its_folder_variables_and_functions(box: LiveBox) -> None:
    await box.shell('mkdir -p a/b; cd a/b; word=there; say() { echo "hello $1"; }')
    done = await box.shell("say $word; basename $PWD; false")
    assert (done.stdout.text, done.exit_code) == ("hello there\nb\n", 1)
    assert (await box.shell("echo 'not closed")).exit_code != 0
    assert (await box.shell("basename $PWD")).stdout.text == "b\n"
    ended = await box.shell("exit 4")
    assert (ended.exit_code, ended.lost) == (4, True)
    assert (await box.shell("basename $PWD")).stdout.text != "b\n"


async def test_time_ends_a_call_and_the_state_stays_where_it_can(isolated: LiveBox) -> None:
    await isolated.python("kept = 42")
    began = time.monotonic()
    slow = await isolated.python("try:\n    while True: pass\nexcept Exception: pass", seconds=0.15)
    assert (slow.killed, slow.lost, slow.exit_code) == ("time", False, None)
    assert (await isolated.python("kept")).value == "42"
    await isolated.shell("kept=42")
    slow = await isolated.shell("sleep 100 | sleep 100", seconds=0.15)
    assert (slow.killed, slow.lost) == ("time", True)  # the rest of a command could not be left out otherwise
    assert (await isolated.shell("echo $kept")).stdout.text == "\n"
    assert (await isolated.run(["sleep", "100"], seconds=0.3)).killed == "time"
    assert time.monotonic() - began < 5


async def test_what_does_not_give_up_is_ended_with_its_state(isolated: LiveBox) -> None:
    stubborn = "import signal\nfor n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\nwhile True: pass"
    began = time.monotonic()
    done = await isolated.python(stubborn, seconds=0.1)
    assert (done.killed, done.lost) == ("time", True)
    done = await isolated.shell("trap '' INT TERM; while :; do :; done", seconds=0.1)
    assert (done.killed, done.lost) == ("time", True)
    assert time.monotonic() - began < 2 * (0.1 + 2)
    assert (await isolated.python("1")).value == "1"


LIES = {
    "half a frame": "s.send(b'\\0\\0'); time.sleep(100)",
    "a frame without an end": "s.send(struct.pack('>II', 100, 0)); time.sleep(100)",
    "a frame that is too long": "s.send(struct.pack('>II', 2**31, 2**31)); time.sleep(100)",
    "a flood": "s.setblocking(True)\nwhile True: s.sendall(b'x' * 2**16)",
    "no JSON": "s.send(struct.pack('>II', 3, 0) + b'no!'); time.sleep(100)",
    "no object": "s.send(struct.pack('>II', 2, 0) + b'[]'); time.sleep(100)",
    "deep JSON": "s.sendall(struct.pack('>II', 2**20, 0) + b'[' * 2**20); time.sleep(100)",
    "a closed line": "s.close(); time.sleep(100)",
    "two answers": "s.sendall((struct.pack('>II', 2, 0) + b'{}') * 2); time.sleep(100)",
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_interpreter_that_breaks_the_conversation_costs_its_state_and_no_time(lie: str) -> None:
    async with await local("none").open() as box:
        began = time.monotonic()
        done = await box.python(f"import socket, struct, time\ns = socket.socket(fileno=3)\n{LIES[lie]}", seconds=0.5)
        assert time.monotonic() - began < 2.5
        assert done.lost
        assert done.killed in ("time", "")
        assert (await box.python("2 * 3")).value == "6"


async def test_an_answer_before_the_question_is_not_taken_for_it() -> None:
    async with await local("none").open() as box:
        forged = '{"value": "forged"}'
        later = f"""
import os, struct, threading, time
def late():
    while os.path.exists("wait"): time.sleep(0.001)
    os.write(3, struct.pack(">II", {len(forged)}, 0) + {forged.encode()!r})
    open("sent", "w").close()
open("wait", "w").close()
threading.Thread(target=late, daemon=True).start()
"""
        await box.python(later)
        await box.shell("rm wait; while ! [ -e sent ]; do sleep 0.01; done")
        done = await box.python("'true'")
        assert done.lost
        assert "forged" not in done.value
        assert (await box.python("'true'")).value == "'true'"


async def test_a_long_output_keeps_both_ends_and_the_hash_of_all(box: LiveBox) -> None:
    whole = "".join(f"{number}\n" for number in range(20_000)).encode()
    done = await box.run(["seq", "0", "19999"])
    assert (done.stdout.bytes, done.stdout.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert done.stdout.truncated
    assert done.stdout.text.startswith("0\n1\n")
    assert done.stdout.text.endswith("19998\n19999\n")
    assert len(done.stdout.text) < SMALL.output_kb * 1024 + 200


async def test_an_endless_output_is_cut_off(box: LiveBox) -> None:
    began = time.monotonic()
    for done in (await box.run(["yes"]), await box.shell("yes"), await box.python("while True: print('y' * 1000)")):
        assert done.killed == "output"
        assert SMALL.output_most_mb * 2**20 < done.stdout.bytes < 4 * SMALL.output_most_mb * 2**20
    assert time.monotonic() - began < 5


async def test_memory_is_held(box: LiveBox) -> None:
    await box.python("kept = 1")
    done = await box.python("parts = []\nwhile True: parts.append(bytearray(2**20))")
    assert (done.killed, done.lost) == ("memory", True)
    assert (await box.python("'kept' in globals()")).value == "False"
    many = "import os\nfor _ in range(6):\n    if not os.fork(): break\nx = bytearray(30 * 2**20)\nimport time; time.sleep(10)"
    assert (await box.run(["python3", "-c", many])).killed == "memory"


async def test_shared_pages_count_once(isolated: LiveBox) -> None:
    shared = "import os, time\nx = bytearray(40 * 2**20)\n" + "if os.fork(): os.fork()\n" * 2 + "time.sleep(0.3)"
    assert (await isolated.run(["python3", "-c", shared])).killed == ""


async def test_memory_in_the_background_is_held_between_calls(box: LiveBox) -> None:
    await box.python("kept = 1")
    grow = (
        "import threading\nparts = []\ndef grow():\n    while True: parts.append(bytearray(2**18))\nthreading.Thread(target=grow).start()"
    )
    assert not (await box.python(grow)).lost
    before = time.monotonic()
    while time.monotonic() - before < 5:
        done = await box.python("kept")
        if done.lost:
            break
        await asyncio.sleep(0.02)
    assert done.lost
    assert done.killed == "memory"
    assert (await box.python("1 + 1")).value == "2"


@pytest.mark.parametrize("tier", ISOLATED)
async def test_a_fork_bomb_is_over_at_once(tier: str) -> None:
    before = own()
    async with await local(tier).open() as box:
        began = time.monotonic()
        done = await box.run(["python3", "-c", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"])
        assert done.killed == "processes"
        assert time.monotonic() - began < SMALL.seconds
        assert (await box.run(["echo", "fine"])).stdout.text == "fine\n"
    assert until(lambda: not own() - before)


async def test_dead_orphans_do_not_pile_up(isolated: LiveBox) -> None:
    """Each of 40 programs leaves a dead child to the agent; 16 processes are allowed."""
    code = """
import os, time
for _ in range(40):
    if not (child := os.fork()):
        os.fork()
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.015)
"""
    assert (await isolated.run(["python3", "-c", code])).ok


async def test_nothing_that_a_program_leaves_behind_lives_on(box: LiveBox) -> None:
    code = "(setsid sh -c 'sleep 100; echo late > late') & setsid setsid sleep 100 & (sleep 100 &) ; echo started"
    before = own()
    assert (await box.run(["bash", "-c", code])).stdout.text == "started\n"
    assert until(lambda: not own() - before, 0.5)


async def test_files_go_in_and_out_and_no_link_is_followed(box: LiveBox, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("secret")
    await box.put({"src/a.py": b"print(1)", "b\udcff": b"\0", "empty": b""})
    assert (await box.run(["python3", "src/a.py"])).stdout.text == "1\n"
    await box.run(
        ["bash", "-c", f"ln -s {outside} link; ln -s {tmp_path} folder; mkfifo pipe; mkdir sub; echo out > sub/made; ln -s / root"]
    )
    found = {artefact.path: artefact for artefact in await box.get()}
    assert set(found) == {"src/a.py", "b\\xff", "empty", "sub/made"}  # what can be written as JSON
    assert found["sub/made"].content == b"out\n"
    assert found["sub/made"].sha256 == hashlib.sha256(b"out\n").hexdigest()
    assert [artefact.path for artefact in await box.get("*.py")] == ["src/a.py"]
    await box.put({"link": b"mine"})  # takes the link's place
    assert outside.read_text() == "secret"
    with pytest.raises(SandboxError):
        await box.put({"folder/x": b""})
    assert not (tmp_path / "x").exists()
    for path in ("/etc/x", "../x", "a/../../x", "", "a\0b"):
        with pytest.raises(SandboxError, match="no path inside"):
            await box.put({path: b""})


async def test_names_too_long_for_one_answer_are_left_out() -> None:
    async with await local("none", limits=SMALL.model_copy(update={"files": 8192})).open() as box:
        deep = "/".join(["\u1234" * 80] * 12)
        done = await box.python(f"import os\nos.makedirs({deep!r})\nfor n in range(700): open(f'{deep}/{{n:03}}', 'w').close()")
        assert done.ok
        found = await box.get()
        assert 100 < len(found) < 700
        assert [artefact.path for artefact in found] == [f"{deep}/{n:03}" for n in range(len(found))]
        assert len(await box.get("*/699")) == 1
    with pytest.raises(SandboxError, match="in several"):
        async with await local("none").open() as box:
            await box.put({f"{deep}/{n}": b"" for n in range(2000)})


async def test_the_environment_is_only_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    for tier in (*ISOLATED, "none"):
        async with await local(tier, environment={"GIVEN": "yes"}).open() as box:
            for done in (await box.run(["env"]), await box.shell("env"), await box.python("import os; print(dict(os.environ))")):
                assert "hunter2" not in done.stdout.text
                assert "GIVEN" in done.stdout.text


async def test_two_tasks_at_once_are_served_one_after_the_other(box: LiveBox) -> None:
    await box.python("seen = []")
    calls = [box.python(f"import time; seen.append({n}); time.sleep(0.01); seen.append({n}); {n}") for n in range(8)]
    assert [done.value for done in await asyncio.gather(*calls)] == [str(n) for n in range(8)]
    order = [int(part) for part in (await box.python("seen")).value.strip("[]").split(",")]
    assert order[::2] == order[1::2]


async def test_a_cancelled_call_closes_the_box_and_ends_what_ran(box: LiveBox, others: set[tuple[int, str]]) -> None:
    before = own() - others
    task = asyncio.create_task(box.run(["sleep", "100"], seconds=5))
    assert await asyncio.to_thread(until, lambda: any("sleep" in _command(pid) for pid, _ in own()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not box.alive
    with pytest.raises(SandboxError, match="closed"):
        await box.run(["true"])
    assert until(lambda: not own() & before)


async def test_a_caller_who_gives_up_waiting_for_his_turn_disturbs_nobody(box: LiveBox) -> None:
    first = asyncio.create_task(box.shell("sleep 0.2; echo first"))
    await asyncio.sleep(0)
    second = asyncio.create_task(box.shell("echo second"))
    await asyncio.sleep(0)
    second.cancel()
    assert (await first).stdout.text == "first\n"
    assert (await box.shell("echo third")).stdout.text == "third\n"


async def test_closing_is_final_and_may_be_repeated(box: LiveBox, others: set[tuple[int, str]]) -> None:
    before = own() - others
    await box.shell("sleep 100 &")
    await asyncio.gather(box.close(), box.close())
    await box.close()
    assert until(lambda: not own() & before)
    with pytest.raises(SandboxError, match="closed; open a new one"):
        await box.python("1")


async def test_fifty_calls_leave_nothing(box: LiveBox) -> None:
    before = own()
    for _ in range(50):
        await box.run(["sh", "-c", "sleep 100 & sleep 100 &"])
    assert until(lambda: not own() - before, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("tier", ISOLATED)
async def test_a_thousand_boxes_leave_nothing(tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sandbox, before = local(tier), own()
    for number in range(1000):
        async with await sandbox.open() as box:
            await box.run(["sh", "-c", "setsid sleep 100 & sleep 100 & setsid setsid sleep 100 &"])
            if number % 3 == 0:
                await box.shell("sleep 100 &")
    assert until(lambda: not own() - before)
    assert not list(tmp_path.iterdir())
    assert not [group for place in places() for group in place.folder.glob(f"reflectory-*-{os.getpid()}-*")]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
