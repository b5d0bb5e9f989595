"""What must be the same in every box, hidden from every box, and counted where no process is seen to own it."""

from __future__ import annotations

import os
import socket
import textwrap
from pathlib import Path

import pytest

import reflectory
from reflectory.execution import Limits
from reflectory.sandbox import LocalSandbox, Settings, bubblewrap, reports
from reflectory.sandbox.guest import processes

AVAILABLE = [report.tier for report in reports() if report.available and report.tier != "container"]
PACKAGE = Path(reflectory.__file__).parent
needs_bubblewrap = pytest.mark.skipif("bubblewrap" not in AVAILABLE, reason="bubblewrap does not work here")


@pytest.mark.parametrize("tier", AVAILABLE)
async def test_sets_are_in_the_same_order_in_every_box(tier):
    orders = set()
    for _ in range(3):
        async with await LocalSandbox(tier, allow_unsafe=True).open() as box:
            orders.add((await box.python("list({'alpha', 'beta', 'gamma', 'delta', 'epsilon'})")).value)
            program = "print(list({'alpha', 'beta', 'gamma', 'delta', 'epsilon'}))"
            orders.add((await box.run(["python3", "-c", program])).stdout.text.strip())
    assert len(orders) == 1


@pytest.mark.parametrize("tier", AVAILABLE)
async def test_the_folder_a_box_is_opened_from_lends_it_no_modules(tier, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    async with await LocalSandbox(tier, allow_unsafe=True).open() as box:
        assert (await box.python("import json; json.dumps([1])")).value == "'[1]'"


@needs_bubblewrap
async def test_a_box_never_sees_this_package_even_below_a_folder_it_may_read():
    settings = Settings(read_only=(PACKAGE.parent / "tests", PACKAGE), limits=Limits(seconds=5))
    async with await LocalSandbox("bubblewrap", settings=settings).open() as box:
        found = await box.python(f"import os; [os.listdir({str(PACKAGE)!r}), len(os.listdir({str(PACKAGE.parent / 'tests')!r})) > 3]")
        assert found.value == "[[], True]"
        assert (await box.python(f"open({str(PACKAGE / 'new')!r}, 'w')")).error == "OSError"


async def test_memory_that_only_sockets_hold_counts_where_no_group_holds_it(monkeypatch):
    monkeypatch.setattr(bubblewrap.cgroups, "controllers", tuple)
    monkeypatch.setattr(bubblewrap.cgroups, "places", tuple)
    code = """
    import socket, time
    kept = []
    while True:
        try: kept.append(socket.socketpair())
        except OSError: time.sleep(20)
        for end in kept[-1]:
            end.setblocking(False)
            try:
                while True: end.send(bytes(65536))
            except BlockingIOError: pass
    """
    settings = Settings(limits=Limits(seconds=10, memory_mb=64, processes=8))
    tier = "bubblewrap" if "bubblewrap" in AVAILABLE else "none"
    async with await LocalSandbox(tier, settings=settings, allow_unsafe=True).open() as box:
        assert (await box.python("import socket; pairs = [socket.socketpair() for _ in range(20)]; len(pairs)")).value == "20"
        done = await box.python(textwrap.dedent(code))
        assert done.killed == "memory"


def test_sockets_are_counted_among_other_descriptors():
    pairs = [socket.socketpair() for _ in range(8)]
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(processes.FEW)]
    before = processes.sockets([os.getpid()])
    for pair in pairs:
        for end in pair:
            end.close()
    try:
        assert before - processes.sockets([os.getpid()]) == 16
    finally:
        for fd in files:
            os.close(fd)
