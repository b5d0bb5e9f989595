"""The host's side of a box: one answer to each request, in time, in the loop it belongs to, and nothing left when that loop ends."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from boxes import ISOLATED, SMALL, local, own, until

from reflectory.errors import SandboxError
from reflectory.execution import Limits
from reflectory.sandbox import LiveBox, answers
from reflectory.sandbox import box as module
from reflectory.sandbox.cgroups import controllers, places
from reflectory.sandbox.launch import Launch

TIERS = [*ISOLATED, "none"]
#: An agent of another make: it comes up, and then does what the test says.
AGENT = """
import json, os, struct, sys, time
def send(header, payload=b""):
    text = json.dumps(header).encode()
    os.write(1, struct.pack(">II", len(text), len(payload)) + text + payload)
def receive():
    header, payload = struct.unpack(">II", sys.stdin.buffer.read(8))
    return json.loads(sys.stdin.buffer.read(header)), sys.stdin.buffer.read(payload)
send({"up": True})
receive()
send({"ready": True})
"""


def agent(code: str) -> LiveBox:
    return LiveBox(Launch(argv=(sys.executable, "-S", "-c", AGENT + textwrap.dedent(code)), spec={}), SMALL)


@pytest.fixture
def elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_requests_are_numbered_and_an_answer_to_another_one_ends_the_box() -> None:
    echo = """
    for shift in (0, 0, -1):
        request, _ = receive()
        send({"id": request["id"] + shift, "exit_code": 0, "value": str(request["id"])})
    receive()
    """
    box = await agent(echo).start()
    first, second = await box.python("1"), await box.python("2")
    assert first.value != second.value
    late = await box.python("3")
    assert (late.killed, late.lost, late.value) == ("box", True, "")
    with pytest.raises(SandboxError, match="closed"):
        await box.python("4")


async def test_the_agent_echoes_the_number_of_a_request() -> None:
    async with await local("none").open() as box:
        for op in ({"op": "get", "patterns": []}, {"op": "put", "files": []}, {"op": "no such"}):
            answer, _ = await box._line.ask({**op, "id": 0}, (), most=0, seconds=5)
            assert isinstance(answer["id"], int)


@pytest.mark.parametrize("tier", TIERS)
async def test_a_box_answers_in_its_own_loop_alone(tier: str, elsewhere: asyncio.AbstractEventLoop) -> None:
    before, sandbox = own(), local(tier)

    def there(act: object) -> object:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(act, elsewhere))  # type: ignore[arg-type]

    box = await there(sandbox.open())  # type: ignore[misc]
    for act in (lambda: box.python("open('ran', 'w')"), lambda: box.put({"ran": b""}), box.get):
        with pytest.raises(SandboxError, match="another event loop"):
            await act()
    assert box.alive
    assert (await there(box.python("import os; os.path.exists('ran')"))).value == "False"  # type: ignore[misc]
    await box.close()
    assert not box.alive
    assert until(lambda: not own() - before)
    await there(box.close())  # type: ignore[misc]


@pytest.mark.parametrize("tier", TIERS)
def test_a_box_is_ended_with_its_loop(tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, before = local(tier), own()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = []

    async def main() -> None:
        box = await sandbox.open()
        await box.shell("(setsid sleep 1000 &); sleep 1000 &")
        kept.append(box)

    asyncio.run(main())
    assert until(lambda: not own() - before)
    assert not list(tmp_path.iterdir())
    assert not [group for place in places() for group in place.folder.glob(f"reflectory-*-{os.getpid()}-*")]
    assert not kept[0].alive
    asyncio.run(kept[0].close())


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_box_is_ended_when_nobody_holds_it() -> None:
    before, loop = own(), asyncio.new_event_loop()
    box = loop.run_until_complete(local("none").open())
    assert own() - before
    loop.close()  # without asyncio.run, which cancels what is left
    del box, loop
    gc.collect()
    assert until(lambda: not own() - before)


async def test_an_answer_that_came_while_the_host_was_busy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.0)
    async with await local("none").open() as box:
        call = asyncio.create_task(box.python("'quick'", seconds=0.2))
        while not box._lock.locked():
            await asyncio.sleep(0)
        for _ in range(4):
            await asyncio.sleep(0)
        time.sleep(0.5)  # the host does something else, much longer than the call may take
        done = await call
        assert (done.value, done.killed, done.lost) == ("'quick'", "", False)
        assert box.alive


async def test_a_box_that_does_not_answer_is_gone_and_no_time_limit_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.0)
    box, began = await agent("time.sleep(100)").start(), time.monotonic()
    done = await box.python("1", seconds=0.1)
    assert (done.killed, done.lost) == ("box", True)
    assert time.monotonic() - began < 3


async def test_whatever_goes_wrong_once_a_request_is_sent_ends_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(most: int) -> tuple[dict[str, object], bytes]:
        raise RuntimeError("something else")

    box = await local("none").open()
    monkeypatch.setattr(box._line, "_answer", broken)
    with pytest.raises(RuntimeError):
        await box.python("1")
    assert not box.alive


def parts(data: bytes, kept: int) -> answers.Executed:
    """What comes of an output of which so many bytes at both ends are kept."""
    head, tail = data[:kept], data[max(kept, len(data) - kept) :]
    facts = {"head": len(head), "tail": len(tail), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return answers.executed({"stdout": facts}, head + tail)


def test_characters_are_not_cut_in_two() -> None:
    text = "aé€😀" * 5
    data = text.encode()
    for kept in range(len(data) + 2):
        out = parts(data, kept).stdout
        assert out.truncated == (2 * kept < len(data))
        if not out.truncated:
            assert out.text == text
            continue
        first, middle, last = out.text.split("\n")
        assert text.startswith(first)
        assert text.endswith(last)
        assert f" {len(data) - len(first.encode()) - len(last.encode())} bytes left out" in middle
        assert 2 * kept - len(first.encode()) - len(last.encode()) <= 6


def test_bytes_that_are_no_text_stay_visible() -> None:
    data = b"\xff\x80\x80\x80\x80" * 4
    assert parts(data, 10).stdout.text == "\\xff\\x80\\x80\\x80\\x80" * 4
    assert parts(data, 5).stdout.text.replace("\\", "").startswith("xffx80x80x80x80\n")


async def test_a_short_output_is_as_it_was_written() -> None:
    async with await local("none").open() as box:
        for before in range(SMALL.output_kb * 512 - 3, SMALL.output_kb * 512 + 1):
            text = "x" * before + "€" * 50
            assert (
                await box.run(["python3", "-c", "import sys; sys.stdout.write(sys.stdin.read())"], stdin=text.encode())
            ).stdout.text == text


@pytest.mark.skipif("memory" not in controllers(), reason="no control group can be written here")
@pytest.mark.parametrize("tier", ISOLATED)
async def test_files_up_to_the_limit_go_in_and_out(tier: str) -> None:
    content = os.urandom(2**20) * 60
    async with await local(tier, limits=Limits(memory_mb=32, disk_mb=64)).open() as box:
        await box.put({"large": content})
        [found] = await box.get()
        assert found.sha256 == hashlib.sha256(content).hexdigest()
        assert (await box.run(["sha256sum", "large"])).stdout.text.split()[0] == found.sha256


@pytest.mark.parametrize("tier", TIERS)
async def test_the_longest_input_fits_into_the_smallest_box(tier: str) -> None:
    content = os.urandom(2**20) * 8
    async with await local(tier, limits=Limits(memory_mb=16, disk_mb=1)).open() as box:
        assert (await box.run(["sha256sum"], stdin=content)).stdout.text.split()[0] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("tier", TIERS)
async def test_what_is_too_large_is_refused_and_harms_nothing(tier: str) -> None:
    async with await local(tier).open() as box:
        await box.python("kept = 1")
        for act in (box.python, box.shell):
            with pytest.raises(SandboxError, match="too long for one call"):
                await act("#" * 5 * 2**20)
        with pytest.raises(SandboxError, match="disk_mb"):
            await box.put({"a": bytes(5 * 2**20)})
        with pytest.raises(SandboxError, match="as a file"):
            await box.run(["cat"], stdin=bytes(9 * 2**20))
        with pytest.raises(SandboxError, match="in several"):
            await box.put({"ሴ" * 80 + f"/{number:04}": b"" for number in range(7000)})
        with pytest.raises(TypeError):
            await box.put({"a": "text"})  # type: ignore[dict-item]
        assert (await box.python("kept")).value == "1"
        assert (await box.shell(f"echo fine # {'é' * 1_400_000}")).stdout.text == "fine\n"
        assert (await box.python(f"len('{'é' * 1_400_000}')")).value == "1400000"
