"""Every hostile tool through the kind of tool that is to bear it: what the model reads, how long it takes, how much memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectory.errors import SandboxMissing
from reflectory.execution import Limits, ToolResult
from reflectory.protocols import Sandbox
from reflectory.runs.bench.hostile import KINDS, Kind
from reflectory.tools import PythonTool, ShellTool
from reflectory.tools.function import FunctionTool, Options

INSIDE = Limits(seconds=0.5)
#: Their seconds count from the start of a process, which a busy machine may delay; what hangs gets fewer.
OUTSIDE = Limits(seconds=10.0, memory_mb=192, processes=24, disk_mb=8, files=256)
HANGING_S = 1.5
#: What a model may be given of one call, in bytes.
MOST_TEXT = 5 * 32 * 1024


@dataclass
class Tried:
    """What came of one kind.

    Attributes:
        result: What the model would read.
        seconds: Wall time of the call.
        limit: What it was allowed, in seconds.
        rss_mb: How far this process's resident memory grew meanwhile, at its highest.
    """

    result: ToolResult
    seconds: float
    limit: float
    rss_mb: float

    def right(self, kind: Kind) -> bool:
        """Whether the model reads some text, not too much of it, and the kind of error is right."""
        size = len(self.result.text.encode("utf-8"))
        return self.result.error in kind.error and 0 < size <= MOST_TEXT


def bench_tools(kinds: Collection[Kind] = KINDS) -> dict[str, Any]:
    """Try every kind.

    Args:
        kinds: Which ones.

    Returns:
        `kinds` (tried), `answered` (share with the right answer), `slowest_over_limit_s`, `most_rss_mb`, `sandbox` (the tier that bore
        code, or None with `sandbox_why`), `by_kind` (None where there was no sandbox).
    """
    return asyncio.run(_bench(kinds))


async def _bench(kinds: Collection[Kind]) -> dict[str, Any]:
    sandbox, why = find_sandbox(OUTSIDE)
    by_kind: dict[str, Any] = {}
    for kind in kinds:
        tried = await attempt(kind)
        if tried is None:
            by_kind[kind.name] = None
            continue
        print(f"{kind.name}: {tried.result.error or 'a result'} after {tried.seconds:.2f} s", file=sys.stderr)
        by_kind[kind.name] = {
            "bearer": kind.bearer,
            "answered": tried.right(kind),
            "error": tried.result.error,
            "seconds": round(tried.seconds, 3),
            "over_limit_s": round(max(0.0, tried.seconds - tried.limit), 3),
            "rss_mb": round(tried.rss_mb, 1),
        }
    done = [one for one in by_kind.values() if one is not None]
    return {
        "kinds": len(done),
        "answered": sum(one["answered"] for one in done) / len(done) if done else None,
        "slowest_over_limit_s": max((one["over_limit_s"] for one in done), default=None),
        "most_rss_mb": max((one["rss_mb"] for one in done), default=None),
        "sandbox": None if sandbox is None else sandbox.report.tier,
        "sandbox_why": why,
        "by_kind": by_kind,
    }


def find_sandbox(limits: Limits) -> tuple[Sandbox | None, str]:
    """The strongest sandbox of this machine, or None and why."""
    from reflectory.sandbox import LocalSandbox, Settings

    try:
        return LocalSandbox("auto", settings=Settings(limits=limits)), ""
    except SandboxMissing as error:
        return None, str(error)


async def attempt(kind: Kind) -> Tried | None:
    """Try one kind; None where it needs a sandbox and there is none."""
    limits = OUTSIDE.model_copy(update={"seconds": HANGING_S}) if kind.error == ("time",) else OUTSIDE
    if kind.bearer in {"inside", "isolated"}:
        limits = INSIDE if kind.bearer == "inside" else limits
        function = FunctionTool(kind.what, Options(name="hostile", limits=limits, isolated=kind.bearer == "isolated"))
        return await _timed(function.call, {}, limits.seconds)
    sandbox, _ = find_sandbox(limits)
    if sandbox is None:
        return None
    python = kind.bearer == "python"
    tool = PythonTool(sandbox) if python else ShellTool(sandbox)
    try:
        return await _timed(tool.call, {"code" if python else "command": kind.what}, limits.seconds)
    finally:
        await tool.close()


async def _timed(call: Callable[[dict[str, Any]], Any], arguments: dict[str, Any], limit: float) -> Tried:
    with _memory() as grown:
        began = time.monotonic()
        result = await call(arguments)
        seconds = time.monotonic() - began
    return Tried(result, seconds, limit, grown())


@contextlib.contextmanager
def _memory() -> Iterator[Callable[[], float]]:
    """Watches this process's resident memory, 200 times a second; gives its growth in MB."""
    before, most, over = _resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.005):
            most = max(most, _resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: max(0, max(most, _resident()) - before) / 2**20
    finally:
        over.set()
        watcher.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
