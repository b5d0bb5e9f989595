"""What the sandbox tiers hold of the probes, and what a box costs beside a bare interpreter; as root and as an ordinary user."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from reflectory.errors import SandboxError
from reflectory.runs.runner import synchronous
from reflectory.sandbox.guest.processes import descendants
from reflectory.sandbox.launch import Settings
from reflectory.sandbox.local import LocalSandbox, reports
from reflectory.sandbox.probes import SMALL, run_probes
from reflectory.sandbox.probes.orphans import adopting, left_running

#: Calls of a persistent interpreter that are timed.
CALLS = 200
#: Tiers that an ordinary user is measured with.
ORDINARY = ("bubblewrap", "landlock")
_CHILD = (
    "import json, sys\nfrom reflectory.runs.bench.sandbox import bench_tiers\nprint(json.dumps(bench_tiers(**json.loads(sys.argv[1]))))"
)
_DAEMON = "setsid sleep 300 >/dev/null 2>&1 & exit 0"


def bench_sandbox(*, runs: int = 30, seed: int = 0, user: int | None = None) -> dict[str, Any]:
    """Attack and time every tier.

    Args:
        runs: Boxes that are timed, and boxes that each leave daemons; the two tiers' 0 orphans are claimed for 1,000.
        seed: Seeds the order of boxes and bare interpreters.
        user: Numeric user for the ordinary user's part, which root alone can measure beside its own; None draws one that nobody has.

    Returns:
        `tiers` and `ordinary_user` (name → available, probes, escaped, escaped_names, declared, skipped, leaks, startup_ms, startup_p90_ms,
        call_ms, call_p90_ms, bare_interpreter_ms, startup_over_bare, orphans), `bare_interpreter_ms`, `as_root`, `runs`. What could not
        be measured is null and has its reason beside it.
    """
    tiers = bench_tiers([report.tier for report in reports()], runs=runs, seed=seed)
    bare = [tier["bare_interpreter_ms"] for tier in tiers.values() if tier["available"]]
    result: dict[str, Any] = {"runs": runs, "as_root": os.geteuid() == 0, "tiers": tiers, "bare_interpreter_ms": statistics.median(bare)}
    if os.geteuid():
        return {**result, "ordinary_user": {name: tiers[name] for name in ORDINARY if name in tiers}}
    ordinary, why = _ordinary(runs, seed, user)
    result["ordinary_user"] = ordinary
    return result if ordinary is not None else {**result, "ordinary_user_why": why}


def bench_tiers(tiers: Sequence[str], *, runs: int, seed: int) -> dict[str, Any]:
    """Attack and time some tiers as the user of this process.

    Args:
        tiers: Names.
        runs: Boxes that are timed.
        seed: Seeds the order of boxes and bare interpreters.
    """
    return {tier: synchronous(_bench(tier, runs, seed)) for tier in tiers}


async def _bench(tier: str, runs: int, seed: int) -> dict[str, Any]:
    try:
        sandbox = LocalSandbox(tier, allow_unsafe=True)
    except SandboxError as error:
        return _unavailable(str(error))
    small = LocalSandbox(tier, settings=Settings(limits=SMALL), allow_unsafe=True)
    report = await run_probes(small, say=lambda line: print(line, file=sys.stderr, flush=True))
    facts: dict[str, Any] = {"available": True, "level": sandbox.report.level, "probes": len(report.tried)}
    facts |= {"escaped": len(report.escaped), "escaped_names": report.escaped}
    facts |= {"declared": len(report.declared), "declared_names": report.declared, "skipped": report.skipped}
    facts |= {"leaks": list(sandbox.report.leaks), "contains": sandbox.report.contains}
    with adopting():
        known = set(descendants(os.getpid()))
        facts |= await _startup(sandbox, runs, random.Random(seed))
        print(f"{tier}: a box in {facts['startup_ms']:.0f} ms", file=sys.stderr, flush=True)
        facts |= await _calls(sandbox)
        facts["orphans"] = await _orphans(sandbox, runs, known)
    return facts


def _unavailable(why: str) -> dict[str, Any]:
    names = ("probes", "escaped", "declared", "startup_ms", "call_ms", "bare_interpreter_ms", "startup_over_bare", "orphans")
    return {"available": False, "why": why, "escaped_names": [], **dict.fromkeys(names)}


async def _startup(sandbox: LocalSandbox, runs: int, rng: random.Random) -> dict[str, float]:
    """Open, run one program and close; beside it, in turns, the start of a bare interpreter."""
    took: dict[str, list[float]] = {"box": [], "bare": []}
    for kind in ("box", "bare"):  # not counted: the first of each reads from disk
        await _once(sandbox, kind)
    order = ["box", "bare"] * runs
    rng.shuffle(order)
    for kind in order:
        took[kind].append(await _once(sandbox, kind))
    startup, bare = statistics.median(took["box"]), statistics.median(took["bare"])
    return {
        "startup_ms": startup,
        "startup_p90_ms": _p90(took["box"]),
        "bare_interpreter_ms": bare,
        "startup_over_bare": startup / bare,
    }


async def _once(sandbox: LocalSandbox, kind: str) -> float:
    """Milliseconds of one start."""
    began = time.perf_counter()
    if kind == "bare":
        process = await asyncio.create_subprocess_exec(sandbox.settings.interpreter, "-I", "-c", "pass")
        await process.wait()
    else:
        box = await sandbox.open()
        try:
            done = await box.run(["true"])
        finally:
            await box.close()
        if not done.ok:
            msg = f"a box could not run `true`: {done.stderr.text}"
            raise SandboxError(msg)
    return (time.perf_counter() - began) * 1000


async def _calls(sandbox: LocalSandbox) -> dict[str, float]:
    """Calls of one interpreter that keeps its state."""
    box = await sandbox.open()
    try:
        await box.python("n = 0")
        times = []
        for _ in range(CALLS):
            began = time.perf_counter()
            done = await box.python("n += 1\nn")
            times.append((time.perf_counter() - began) * 1000)
    finally:
        await box.close()
    if done.value != str(CALLS):
        msg = f"the interpreter of a box lost its state: {done.value!r} after {CALLS} calls"
        raise SandboxError(msg)
    return {"call_ms": statistics.median(times), "call_p90_ms": _p90(times)}


async def _orphans(sandbox: LocalSandbox, runs: int, known: Collection[int]) -> int:
    """How many processes are left after boxes that each started two daemons."""
    for _ in range(runs):
        box = await sandbox.open()
        try:
            await box.run(["sh", "-c", _DAEMON])
            await box.python("import os\nif not os.fork():\n    os.setsid()\n    os.execvp('sleep', ['sleep', '300'])")
        finally:
            await box.close()
    return len(await left_running(known))


def _p90(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=10)[-1] if len(times) > 1 else times[0]


def _ordinary(runs: int, seed: int, user: int | None) -> tuple[dict[str, Any] | None, str]:
    """The same for a process of an ordinary user; None and why where no interpreter here can be run by one."""
    user = _nobody() if user is None else user
    with tempfile.TemporaryDirectory(prefix="reflectory-home-") as home:
        Path(home, "notes").write_text("", encoding="utf-8")
        os.chown(home, user, user)
        environment = {"PATH": os.defpath, "HOME": home, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        as_user = {"user": user, "group": user, "extra_groups": [], "env": {**environment, "PYTHONDONTWRITEBYTECODE": "1"}, "cwd": home}
        why = ""
        for python in (sys.executable, "/usr/bin/python3"):
            tried = _run([python, "-c", "import reflectory.runs.bench.sandbox"], as_user)
            if tried.returncode:
                why += f"{python}: {(tried.stderr.strip().splitlines() or ['it cannot be started'])[-1]}. "
                continue
            asked = json.dumps({"tiers": ORDINARY, "runs": runs, "seed": seed})
            done = _run([python, "-c", _CHILD, asked], as_user, errors=None)
            if done.returncode:
                return None, f"the measurement as user {user} failed with status {done.returncode}; stderr says why"
            return json.loads(done.stdout.splitlines()[-1]), ""
    return None, f"no interpreter here can be run by an ordinary user. {why.strip()}"


def _run(command: Sequence[str], how: dict[str, Any], errors: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, **how, stdout=subprocess.PIPE, stderr=errors, text=True, check=False, stdin=subprocess.DEVNULL)
    except PermissionError as error:
        return subprocess.CompletedProcess(command, 126, "", str(error))


def _nobody() -> int:
    """A user that owns no process."""
    taken = {path.stat().st_uid for path in Path("/proc").iterdir() if path.name.isdecimal() and path.exists()}
    return next(user for user in range(61_000, 65_000) if user not in taken)
