"""Control groups: their files written to a folder that plays the hierarchy, and the real ones where they can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from boxes import SMALL, local, started, until

from reflectory.sandbox import cgroups
from reflectory.sandbox.cgroups import Group, Place, controllers, find, places, remove, sweep

V1 = """30 20 0:26 / {root} rw - tmpfs tmpfs rw
31 30 0:27 / {root}/memory rw,relatime shared:9 - cgroup cgroup rw,memory
32 30 0:28 /outer {root}/pids rw,relatime - cgroup cgroup rw,pids
33 30 0:29 / {root}/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "31 30 0:27 / {root} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def kernel_files(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let each new folder have the files that the kernel would put into a new group, and let rmdir take them along."""
    make, away = Path.mkdir, Path.rmdir

    def mkdir(self: Path, *arguments: object, **more: object) -> None:
        make(self, *arguments, **more)  # type: ignore[arg-type]
        for name in (*names, "cgroup.procs"):
            (self / name).write_text("")

    def rmdir(self: Path) -> None:
        for file in self.iterdir():
            file.unlink()
        away(self)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", rmdir)


def test_version_1_each_controller_has_its_own_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory/mine").mkdir(parents=True)
    (tmp_path / "pids/inner").mkdir(parents=True)
    kernel_files(monkeypatch, "memory.limit_in_bytes", "pids.max")
    found = find(V1.format(root=tmp_path), "5:pids:/outer/inner\n4:memory:/mine\n1:name=systemd:/\n0::/\n")
    assert set(found) == {Place(tmp_path / "memory/mine", 1, ("memory",)), Place(tmp_path / "pids/inner", 1, ("pids",))}
    group = Group(SMALL, found)
    with subprocess.Popen(["sleep", "30"]) as one:
        group.take(one.pid)
        one.kill()
    (memory,) = (tmp_path / "memory/mine").iterdir()
    (pids,) = (tmp_path / "pids/inner").iterdir()
    assert (memory / "memory.limit_in_bytes").read_text() == str((96 + 4 + cgroups.AGENT_MB) * 2**20)
    assert int((pids / "pids.max").read_text()) >= SMALL.processes
    assert (memory / "cgroup.procs").read_text() == str(one.pid)
    assert group.overrun() == ""
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert group.overrun() == "memory"
    assert group.overrun() == ""  # told once
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (memory / "cgroup.procs").write_text("")
    group.close()
    assert group.overrun() == "memory"  # what was counted last is not lost with the group
    assert not memory.exists()
    assert not pids.exists()


def test_version_2_the_sibling_of_a_delegated_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user.slice/app.scope").mkdir(parents=True)
    kernel_files(monkeypatch, "memory.max", "memory.swap.max", "pids.max")
    (tmp_path / "user.slice/app.scope/cgroup.subtree_control").write_text("")  # has processes, so it has nothing to give
    (tmp_path / "user.slice/cgroup.subtree_control").write_text("cpu memory pids")
    (place,) = find(V2.format(root=tmp_path), "0::/user.slice/app.scope\n")
    assert place == Place(tmp_path / "user.slice", 2, ("memory", "pids"))
    group = Group(SMALL, (place,))
    group.take(os.getpid())
    (made,) = (path for path in (tmp_path / "user.slice").glob("reflectory-*"))
    assert (made / "memory.max").read_text() == str((96 + 4 + cgroups.AGENT_MB) * 2**20)
    assert (made / "memory.swap.max").read_text() == "0"
    (made / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n")
    assert group.overrun() == "memory"
    (made / "cgroup.procs").write_text("")
    group.close()
    assert not made.exists()


def test_nothing_is_found_where_nothing_may_be_written(tmp_path: Path) -> None:
    assert find(V2.format(root=tmp_path / "none"), "0::/\n") == ()
    (tmp_path / "cgroup.subtree_control").write_text("cpu")
    assert find(V2.format(root=tmp_path), "0::/\n") == ()
    assert find("", "0::/\n") == ()
    group = Group(SMALL, ())
    group.take(os.getpid())
    assert group.overrun() == ""
    group.close()


def test_only_groups_of_dead_owners_of_this_namespace_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    namespace, now = cgroups._namespace(), cgroups._started(os.getpid())
    keep = {f"reflectory-{namespace}-{os.getpid()}-{now}-0", f"reflectory-1-{dead.pid}-5-0", "reflectory-else", f"user-{dead.pid}"}
    stale = {
        f"reflectory-{namespace}-{dead.pid}-5-0",
        f"reflectory-{namespace}-{os.getpid()}-{int(now) + 1}-3",
    }  # the second: a number used again
    for name in keep | stale:
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == keep


real = pytest.mark.skipif(controllers() != ("memory", "pids"), reason="no control group with memory and pids can be written here")


@real
def test_a_real_group_holds_processes_and_goes_with_them() -> None:
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        group = Group(SMALL)
        try:
            group.take(sleeper.pid)
            made = [group for place in places() for group in place.folder.glob(f"reflectory-*-{os.getpid()}-*")]
            assert made
            assert all(str(sleeper.pid) in (folder / "cgroup.procs").read_text().split() for folder in made)
        finally:
            group.close()
        assert sleeper.wait(5) == -9
        assert not [folder for folder in made if folder.exists()]


@real
def test_what_a_killed_host_left_is_swept_by_the_next() -> None:
    code = "import os, subprocess, sys\nfrom reflectory.sandbox.cgroups import Group\nfrom reflectory.execution import Limits\n"
    code += (
        "p = subprocess.Popen(['sleep', '1000'], stdout=-3)\nGroup(Limits()).take(p.pid)\nprint(p.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    root = Path(cgroups.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root, check=False, text=True)
    sleeper = int(done.stdout)
    groups = [
        folder
        for place in places()
        for folder in place.folder.glob("reflectory-*")
        if str(sleeper) in (folder / "cgroup.procs").read_text().split()
    ]
    assert groups
    for place in places():
        sweep(place.folder)
    assert not [folder for folder in groups if folder.exists()]
    assert until(lambda: not started(sleeper))


@real
async def test_a_box_is_in_its_groups_before_anything_runs_in_it() -> None:
    async with await local("bubblewrap").open() as box:
        assert box._process is not None
        groups = Path(f"/proc/{box._process.pid}/cgroup").read_text()
        assert groups.count("reflectory-") == len(places())
        done = await box.run(["bash", "-c", "for n in $(seq 60); do sleep 5 & done; wait"])
        assert done.killed == "processes" or "fork" in done.stderr.text


def test_a_missing_group_is_no_error(tmp_path: Path) -> None:
    remove(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()
