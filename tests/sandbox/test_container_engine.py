"""The container tier with an engine that is played: it checks the command line and runs the agent in a plain folder."""

from __future__ import annotations

import json
import os
import sys
import textwrap
import time
from pathlib import Path

import pytest
from boxes import SMALL, started, until

from reflectory.errors import SandboxError, SandboxMissing
from reflectory.sandbox import LiveBox, LocalSandbox, Settings
from reflectory.sandbox.container import Container
from reflectory.sandbox.local import TIERS

#: Answers `info` and `image inspect`; `run` turns into the agent, with its folders put where the test wants them.
FAKE = """
import json, os, subprocess, sys, threading
asked, log = sys.argv[1:], {log!r}
with open(log, "a") as file:
    file.write(json.dumps(asked) + chr(10))
if asked[0] == "info":
    sys.exit({info})
if asked[:2] == ["image", "inspect"]:
    sys.exit(asked[2] not in {images!r})
if asked[0] == "rm":
    os.path.exists(log + ".pid") and os.kill(int(open(log + ".pid").read()), 9)
    sys.exit(0)
volumes = [asked[n + 1].split(":") for n, word in enumerate(asked) if word == "--volume"]
guest = next(source for source, target, _ in volumes if target == "/run/reflectory/guest")
at = asked.index("--entrypoint")
command = [sys.executable, *asked[at + 3 :]]
command[-1] = command[-1].replace("/run/reflectory", os.path.dirname(guest))
sys.path.insert(0, os.path.dirname(guest))
from guest.frames import pack, receive
agent = subprocess.Popen(command, stdin=subprocess.PIPE, env={{}})
open(log + ".pid", "w").write(str(agent.pid))
spec, seccomp = receive(0)
spec["work"] = {work!r}
agent.stdin.write(pack(spec, seccomp))
agent.stdin.flush()
def copy():
    while part := os.read(0, 65536):
        agent.stdin.write(part)
        agent.stdin.flush()
    agent.stdin.close()
threading.Thread(target=copy, daemon=True).start()
sys.exit(agent.wait())
"""


class Engine:
    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "asked"

    def install(self, name: str = "docker", *, info: int = 0, images: tuple[str, ...] = ("python:3.11-slim",)) -> None:
        program = self.folder / name
        text = FAKE.format(log=str(self.log), info=info, images=images, work=str(self.folder / "work"))
        program.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
        program.chmod(0o755)

    @property
    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(TIERS, "container", Container())  # what it found out about this machine is its own
    return Engine(tmp_path)


def option(arguments: list[str], name: str) -> list[str]:
    return [arguments[at + 1] for at, word in enumerate(arguments) if word == name]


async def opened(**settings: object) -> LiveBox:
    return await LocalSandbox("container", settings=Settings(limits=SMALL, **settings)).open()  # type: ignore[arg-type]


async def test_a_conversation(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    engine.install()
    async with await opened() as box:
        assert (await box.python("x = 20 + 1\nx * 2")).value == "42"
        await box.put({"a.txt": b"in"})
        assert (await box.shell("cat a.txt; echo made > b.txt; pwd")).stdout.text == f"in{engine.folder}/work\n"
        assert [found.path for found in await box.get()] == ["a.txt", "b.txt"]
        assert "hunter2" not in (await box.run(["/usr/bin/env"])).stdout.text
        assert (await box.run(["/bin/sleep", "100"], seconds=0.2)).killed == "time"
        assert box.facts["Seccomp"] == "2"
        agent = int((engine.folder / "asked.pid").read_text())
    assert until(lambda: not started(agent))
    assert engine.asked[-1][:2] == ["rm", "--force"]


async def test_the_command_line_shuts_everything(engine: Engine) -> None:
    engine.install()
    async with await opened(read_only=(engine.folder,)):
        pass
    arguments = next(asked for asked in reversed(engine.asked) if asked[0] == "run")
    assert option(arguments, "--network") == ["none"]
    assert option(arguments, "--cap-drop") == ["ALL"]
    assert option(arguments, "--security-opt") == ["no-new-privileges"]
    assert option(arguments, "--user") == ["65534:65534"]
    assert option(arguments, "--pull") == ["never"]
    assert option(arguments, "--env") == ["PYTHONHASHSEED=0"]
    assert {"--rm", "--read-only", "--interactive"} <= set(arguments)
    assert not {"--privileged", "--tty", "-t", "-e", "--pid", "--ipc", "--device"} & set(arguments)
    assert int(option(arguments, "--pids-limit")[0]) < 2 * SMALL.processes + 1
    assert option(arguments, "--memory") == option(arguments, "--memory-swap")
    assert "size=4m" in option(arguments, "--tmpfs")[0]
    assert "nr_inodes=" in option(arguments, "--tmpfs")[0]
    assert all(volume.endswith(":ro") for volume in option(arguments, "--volume"))
    assert f"{engine.folder}:{engine.folder}:ro" in option(arguments, "--volume")
    (name,) = option(arguments, "--name")
    assert engine.asked[-1] == ["rm", "--force", name]
    assert arguments[arguments.index("--entrypoint") + 1 : arguments.index("--entrypoint") + 3] == ["python3", "python:3.11-slim"]


async def test_a_box_that_hangs_is_killed_by_its_name(engine: Engine) -> None:
    engine.install()
    box = await opened()
    agent = int((engine.folder / "asked.pid").read_text())
    os.kill(agent, 19)  # SIGSTOP
    began = time.monotonic()
    done = await box.run(["/bin/true"], seconds=0.1)
    assert time.monotonic() - began < 0.1 + 2
    assert (done.killed, done.lost) == ("box", True)
    assert until(lambda: not started(agent))


def test_no_engine_no_answer_no_image(engine: Engine) -> None:
    with pytest.raises(SandboxMissing, match="neither is installed"):
        LocalSandbox("container")
    engine.install(info=1)
    assert "no engine answers" in Container().report().why
    engine.install(images=())
    assert "docker pull python:3.11-slim" in Container().report().why
    engine.install(info=1)
    engine.install("podman")
    report = Container().report()
    assert report.available
    assert report.details["engine"].endswith("/podman")


def test_what_a_container_does_not_have_is_refused(engine: Engine) -> None:
    engine.install()
    tier = Container()
    for settings in (Settings(packages=True), Settings(python=Path(sys.executable))):
        with pytest.raises(SandboxError, match="image's interpreter"):
            tier.launch(settings)
    with pytest.raises(SandboxMissing, match="docker pull mine:1"):
        tier.launch(Settings(image="mine:1"))
