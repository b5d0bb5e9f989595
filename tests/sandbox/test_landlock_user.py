"""The tiers as an ordinary user: where the tests run as root, a host process is started as another user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from boxes import ISOLATED, local

import reflectory
from reflectory.errors import SandboxError
from reflectory.sandbox.launch import out_of_reach

USER = 54_321
ROOT = Path(reflectory.__file__).parents[1]
PACKAGES = next(path for path in sys.path if Path(path).name == "site-packages")
SYSTEM = Path("/usr/bin/python3")


def as_user(code: str, tmp_path: Path) -> Any:
    """Run code in a host process of an ordinary user; what it prints is JSON."""
    python, more = sys.executable, {}
    if os.geteuid() == 0:
        if not SYSTEM.exists() or out_of_reach(ROOT / "reflectory", USER) or out_of_reach(Path(PACKAGES), USER):
            pytest.skip("an ordinary user cannot read the package, its dependencies or an interpreter here")
        same = subprocess.run([SYSTEM, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=True).stdout
        if same.strip() != str(sys.version_info[:2]):
            pytest.skip("the system's interpreter has another version than the packages")
        python, more = str(SYSTEM), {"user": USER, "group": USER, "extra_groups": []}
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, *([USER, USER] if more else [os.getuid(), os.getgid()]))
    for path in (tmp_path, *tmp_path.parents[:-1]):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 1:
            path.chmod(path.stat().st_mode | 0o11)
    head = "import asyncio, json, os, sys\nfrom reflectory.sandbox import LocalSandbox, Settings\nfrom reflectory.execution import Limits\n"
    environment = {
        "PYTHONPATH": f"{ROOT}:{PACKAGES}",
        "TMPDIR": str(home),
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [python, "-c", head + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home, check=False, timeout=60, **more)
    assert done.returncode == 0, done.stderr
    assert not [path for path in home.iterdir() if path.name.startswith("reflectory-box")]
    return json.loads(done.stdout)


BOX = """
CODE = {code!r}
async def main():
    sandbox = LocalSandbox({tier!r}, settings=Settings(limits=Limits(seconds=5, memory_mb=96, processes=16, disk_mb=4, files=128)))
    async with await sandbox.open() as box:
{body}
try: print(json.dumps(asyncio.run(main())))
except Exception as error: print(json.dumps({{"error": str(error)}}))
"""


def boxed(tier: str, body: str, tmp_path: Path, *, code: str = "") -> Any:
    """What a body of code returns that has an open `box`, and `CODE` to run in it."""
    local(tier)
    found = as_user(BOX.format(tier=tier, code=textwrap.dedent(code), body=textwrap.indent(textwrap.dedent(body), " " * 8)), tmp_path)
    if isinstance(found, dict) and "no sandbox works here" in found.get("error", ""):
        pytest.skip(found["error"])
    return found


@pytest.mark.parametrize("tier", ISOLATED)
def test_the_tier_works(tier: str, tmp_path: Path) -> None:
    body = """
    await box.put({"a.txt": b"in"})
    first = await box.python("x = 41")
    second = await box.python("x + 1")
    third = await box.shell("cat a.txt; cd /; echo")
    fourth = await box.run(["sh", "-c", "echo out > b.txt; id -u"])
    return [second.value, third.stdout.text, fourth.stdout.text.strip(), sorted(file.path for file in await box.get()), first.ok]
    """
    value, text, user, files, ok = boxed(tier, body, tmp_path)
    expected = "65534" if tier == "bubblewrap" else str(USER if os.geteuid() == 0 else os.geteuid())
    assert (value, text, user, files, ok) == ("42", "in\n", expected, ["a.txt", "b.txt"], True)


@pytest.mark.parametrize("tier", ISOLATED)
def test_own_files_outside_keep_content_mode_and_times(tier: str, tmp_path: Path) -> None:
    code = """
    import os
    found = []
    def wish(name, act):
        try: act(); found.append(name)
        except OSError: pass
    wish("read", lambda: open(victim).read())
    wish("write", lambda: open(victim, "a"))
    wish("mode", lambda: os.chmod(victim, 0o777))
    wish("mode at", lambda: os.chmod("victim", 0o777, dir_fd=os.open(os.path.dirname(victim), os.O_PATH)))
    wish("owner", lambda: os.chown(victim, -1, -1))
    wish("times", lambda: os.utime(victim, (1, 1)))
    wish("now", lambda: os.utime(victim))
    wish("attribute", lambda: os.setxattr(victim, "user.x", b"1"))
    wish("truncate", lambda: os.truncate(victim, 0))
    wish("delete", lambda: os.unlink(victim))
    wish("make", lambda: open(victim + "2", "x"))
    open("mine", "w").close()
    os.utime(os.open("mine", os.O_RDWR), (5, 5))
    print(found)
    """
    body = """
    victim = os.path.join(os.environ["HOME"], "victim")
    open(victim, "w").write("as it was")
    os.chmod(victim, 0o640)
    os.utime(victim, (1000, 1000))
    before = os.stat(victim)
    done = await box.python(f"victim = {victim!r}\\n{CODE}")
    same = os.stat(victim).st_ctime_ns == before.st_ctime_ns
    mine = await box.run(["stat", "-c", "%Y", "mine"])
    return [done.stdout.text, done.stderr.text, open(victim).read(), same, mine.stdout.text]
    """
    assert boxed(tier, body, tmp_path, code=code) == ["[]\n", "", "as it was", True, "5\n"]


@pytest.mark.parametrize("tier", ISOLATED)
def test_other_processes_of_the_user_get_no_signal_and_are_not_traced(tier: str, tmp_path: Path) -> None:
    code = """
    import os
    found = []
    for pid in pids:
        for number in (0, 2, 9, 15, 19):
            try: os.kill(pid, number); found.append([pid, number])
            except OSError: pass
        for name in ("environ", "mem", "maps", "fd", "cmdline"):
            try: open(f"/proc/{pid}/{name}").read(); found.append([pid, name])
            except OSError: pass
    print(found)
    """
    body = """
    import subprocess
    victim = subprocess.Popen(["sleep", "60"])
    try:
        done = await box.python(f"pids = {[os.getpid(), victim.pid]}\\n{CODE}")
        everybody = await box.run(["bash", "-c", "kill -9 -1; echo survived"])
        alive = victim.poll() is None
    finally:
        victim.kill()
    return [done.stdout.text, alive, everybody.killed, (await box.run(["echo", "fine"])).stdout.text]
    """
    assert boxed(tier, body, tmp_path, code=code) == ["[]\n", True, "", "fine\n"]


@pytest.mark.parametrize("tier", ISOLATED)
def test_limits_without_a_control_group(tier: str, tmp_path: Path) -> None:
    body = """
    import time
    began = time.monotonic()
    bomb = await box.run([sys.executable, "-c", CODE])
    many = "import os, time; os.fork(); os.fork(); os.fork(); x = bytearray(60 * 2**20); time.sleep(4)"
    many = await box.run([sys.executable, "-c", many])
    hidden = await box.python("import os; os.memfd_create('x')")
    took = time.monotonic() - began
    return [bomb.killed, many.killed, hidden.error, took < 8, (await box.run(["echo", "fine"])).stdout.text]
    """
    bomb = """
    import os
    while True:
        try: os.fork()
        except OSError: pass
    """
    assert boxed(tier, body, tmp_path, code=bomb) == ["processes", "memory", "PermissionError", True, "fine\n"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose another user")
async def test_root_can_run_boxes_as_another_user() -> None:
    if not SYSTEM.exists():
        pytest.skip("there is no interpreter of the system")
    for tier in (*ISOLATED, "none"):
        async with await local(tier, user=USER, python=SYSTEM).open() as box:
            assert (await box.python("open('x', 'w').write('mine')")).value == "4"
            assert [file.content for file in await box.get()] == [b"mine"]
            user = (await box.run(["id", "-u"])).stdout.text.strip()
            assert user == ("65534" if tier == "bubblewrap" else str(USER))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose another user")
def test_an_interpreter_out_of_reach_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed/bin").mkdir(parents=True)
    python = tmp_path / "closed/bin/python3"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    sandbox = local("bubblewrap", user=USER, python=python)
    with pytest.raises(SandboxError, match=r"is closed to it.*Give another `python`"):
        sandbox.tier.launch(sandbox.settings)


def test_an_ordinary_user_cannot_choose_a_user(tmp_path: Path) -> None:
    code = """
    from reflectory.sandbox.local import TIERS
    found = []
    for tier in ("bubblewrap", "landlock", "none"):
        try: TIERS[tier].launch(Settings(user=1))
        except Exception as error: found.append(str(error))
    print(json.dumps(found))
    """
    assert set(as_user(code, tmp_path)) == {"only root can run a box as the user 1; leave `user` out"}


def test_an_ordinary_user_is_told_that_his_processes_are_counted_together(tmp_path: Path) -> None:
    local("landlock")
    code = """
    from reflectory.sandbox.landlock import _leaks
    print(json.dumps(list(_leaks(6))))
    """
    assert any("processes: the kernel counts all of this user's together" in leak for leak in as_user(code, tmp_path))
