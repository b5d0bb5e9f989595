"""The probes work: each that is harmless gets out where nothing holds it, is seen to, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import builtins
import dis
import os
import signal
import socket
import sys
import time
import types
from pathlib import Path

import pytest

from reflectory.errors import SandboxError
from reflectory.execution import Artefact, Executed, Limits, Output
from reflectory.sandbox import LocalSandbox, Settings, reports
from reflectory.sandbox.guest.processes import descendants, gone
from reflectory.sandbox.probes import SMALL, Probe, all_probes, inside, run_probes
from reflectory.sandbox.probes.canaries import Canaries
from reflectory.sandbox.probes.judge import Seen, verdict
from reflectory.sandbox.probes.orphans import adopting, left_running

pytestmark = pytest.mark.enable_socket
PROBES = all_probes()
AVAILABLE = [report.tier for report in reports() if report.available and report.level != "none"]
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the probes attack Linux")


def small(tier):
    return LocalSandbox(tier, settings=Settings(limits=SMALL), allow_unsafe=True)


def here():
    """Files and processes that probes could leave behind."""
    places = [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm")]
    files = {path for place in places if place.exists() for path in place.glob(f"reflectory-probe-{os.getpid()}-*")}
    return files, set(descendants(os.getpid()))


def test_there_are_enough_probes_of_every_kind():
    assert len(PROBES) >= 150
    assert sum(probe.harmless for probe in PROBES.values()) >= 100
    assert all(probe.tries for probe in PROBES.values())
    assert all(bool(probe.code) + bool(probe.argv) + bool(probe.command) == 1 for probe in PROBES.values())


@pytest.mark.parametrize("name", [name for name, probe in PROBES.items() if probe.code])
def test_an_attack_uses_no_name_that_is_missing_inside(name):
    def names(code):
        yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from names(constant)

    body = compile(PROBES[name].code, name, "exec", flags=0, dont_inherit=True)
    function = next(constant for constant in body.co_consts if isinstance(constant, types.CodeType))
    known = {*vars(inside), *vars(builtins), name}
    assert set(names(function)) <= known


@needs_linux
async def test_without_a_sandbox_every_harmless_probe_gets_out_and_nothing_is_left():
    files, processes = here()
    report = await run_probes(small("none"))
    harmless = {name for name, probe in PROBES.items() if probe.control == "user"}
    assert harmless <= report.results.keys()
    assert set(report.results) <= {name for name, probe in PROBES.items() if probe.harmless}
    assert [f"{name}: {report.results[name].why}" for name in report.tried if name not in report.escaped] == []
    assert len(report.tried) >= 60
    assert here()[0] == files
    assert not [pid for pid in here()[1] - processes if not gone(pid)]
    assert "REFLECTORY_PROBE" not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("tier", AVAILABLE)
async def test_nothing_gets_out_of_a_tier_but_what_its_report_admits(tier):
    report = await run_probes(small(tier))
    assert len(report.tried) >= 200
    assert {name: report.results[name].why for name in report.escaped} == {}
    assert all(report.results[name].declared in small(tier).report.leaks for name in report.declared)


@needs_linux
def test_canaries_tell_every_kind_of_change():
    with Canaries() as canaries:
        told = canaries.told
        assert canaries.state() == canaries.state()

        def changed_by(act):
            before = canaries.state()
            act()
            after = canaries.state()
            return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}

        assert changed_by(lambda: Path(told["victim"]).chmod(0o600)) == {"the file victim"}
        assert changed_by(lambda: Path(told["folder"], "new").touch()) >= {"the file new"}
        assert changed_by(lambda: os.kill(told["pid"], signal.SIGUSR2)) == {"the signals of a process"}
        assert changed_by(lambda: socket.create_connection(("127.0.0.1", told["tcp"])).close()) == {"what arrived at the listener tcp"}
        assert changed_by(lambda: os.setpriority(os.PRIO_PROCESS, told["pid"], 5)) == {"the priority of a process"}
        assert changed_by(lambda: Path(told["elsewhere"][0]).unlink()) == {f"the file {Path(told['elsewhere'][0]).name}"}
        assert "the signals of a process" in changed_by(lambda: os.kill(told["pid"], signal.SIGKILL))
        folder = told["folder"]
    assert not Path(folder).parent.exists()


@needs_linux
def test_attacks_are_told_no_secret():
    with Canaries() as canaries:
        told = repr(canaries.told)
        assert len(canaries.secrets) >= 8
        assert not [what for secret, what in canaries.secrets.items() if secret in told]
        assert Path(canaries.told["secret"]).read_text() in canaries.secrets


def executed(text="", **facts):
    return Executed(stdout=Output(text=text), **{"exit_code": 0, **facts})


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (Seen(executed("x 5ec2e7 y")), "a secret came out: the key"),
        (Seen(executed(error="5ec2e7")), "a secret came out"),
        (Seen(executed(), fetched=[[Artefact(path="a", sha256="", size=6, content=b"5ec2e7")]]), "a secret came out"),
        (Seen(executed(), changed=["the file"]), "changed outside"),
        (Seen(executed(), left=[7]), "1 processes outlived"),
        (Seen(executed(), took=[SMALL.seconds + 2.1]), "a call took"),
        (Seen(executed(), grown_mb=100), "the host grew"),
        (Seen(executed(), peak=(90, 1.0)), "90 processes"),
        (Seen(executed(), peak=(1, 900.0)), "900 MB"),
        (Seen(executed(f'{inside.MARK}{{"held": 31}}')), "it held 31"),
        (Seen(executed(f'{inside.MARK}{{"escaped": "out"}}')), "out"),
        (Seen(executed(f'{inside.MARK}[{{"escaped": "out"}}, 1]')), "out"),
        (Seen(executed(value="x" * 2_000_000)), "characters"),
        (Seen(executed(), fetched=[[Artefact(path="../a", sha256="", size=0, content=b"")]]), "'../a'"),
        (Seen(executed(), fetched=[[Artefact(path="a", sha256="", size=0, content=b"")] * 301]), "more files"),
        (Seen(executed(), fetched=[[Artefact(path="a", sha256="", size=2**24, content=bytes(2**24))]]), "more bytes"),
    ],
)
def test_the_judge_finds_each_kind_of_escape(seen, says):
    got_out, why = verdict(Probe("p", "storage", "", limit="processes"), seen, SMALL, {"5ec2e7": "the key"})
    assert got_out
    assert says in why


@pytest.mark.parametrize(
    "seen",
    [
        Seen(executed("some text"), took=[1.0]),
        Seen(executed(f'{inside.MARK}{{"held": 24}}')),
        Seen(executed(f'{inside.MARK}{{"held": 99}}', killed="processes", exit_code=None)),
        Seen(executed(f"{inside.MARK}not json")),
        Seen(None, errors=["the sandbox is gone"]),
    ],
)
def test_the_judge_accuses_nobody_of_what_was_held(seen):
    assert verdict(Probe("p", "storage", "", limit="processes"), seen, SMALL, {"5ec2e7": "the key"})[0] is False


class Broken:
    """A sandbox that does not open."""

    report = LocalSandbox("none", allow_unsafe=True).report.model_copy(update={"level": "namespace"})
    limits = Limits()

    async def open(self):
        msg = "no box today"
        raise SandboxError(msg)


async def test_a_sandbox_that_does_not_open_is_not_taken_for_one_that_holds():
    with pytest.raises(SandboxError, match="no box today"):
        await run_probes(Broken(), only=["read_absolute"])


@needs_linux
async def test_processes_that_outlive_a_box_are_found_and_ended():
    with adopting():
        known = set(descendants(os.getpid()))
        process = await asyncio.create_subprocess_exec("sh", "-c", "setsid sleep 60 & exit 0")
        await process.wait()
        began = time.monotonic()
        left = await left_running(known)
        assert len(left) == 1
        assert all(gone(pid) for pid in left)
        assert time.monotonic() - began < 5
        assert await left_running(known) == []
