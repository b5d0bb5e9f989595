"""What the isolating tiers keep in, tried from inside and looked at from outside."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boxes import ISOLATED, SMALL, below, left, local, own, until

import reflectory
from reflectory.errors import ConfigError, SandboxError, SandboxMissing
from reflectory.execution import SandboxReport
from reflectory.sandbox import LiveBox, LocalSandbox, reports
from reflectory.sandbox import local as tiers
from reflectory.sandbox.cgroups import controllers
from reflectory.sandbox.syscalls import ARM64, X86_64

NUMBERS = {"x86_64": X86_64, "aarch64": ARM64}.get(os.uname().machine, X86_64)
ROOT = os.geteuid() == 0


@pytest.fixture(params=ISOLATED)
async def box(request: pytest.FixtureRequest) -> AsyncIterator[LiveBox]:
    async with await local(request.param).open() as opened:
        yield opened


@pytest.fixture
async def namespaced() -> AsyncIterator[LiveBox]:
    async with await local("bubblewrap").open() as opened:
        yield opened


@pytest.fixture
async def ruled() -> AsyncIterator[LiveBox]:
    async with await local("landlock").open() as opened:
        yield opened


async def value(box: LiveBox, code: str) -> object:
    done = await box.python(f"import json\n{textwrap.dedent(code)}")
    assert done.ok, done
    return json.loads(done.stdout.text)


async def test_files_of_this_user_are_out_of_reach(box: LiveBox, tmp_path: Path) -> None:
    secret, target = tmp_path / "secret", tmp_path / "target"
    secret.write_text("hunter2")
    target.write_text("as it was")
    for path in (tmp_path, *tmp_path.parents[:-1]):
        if path.stat().st_uid == os.geteuid() and path != Path("/tmp"):
            path.chmod(0o755)
    secret.chmod(0o644)
    target.chmod(0o666)
    wishes = f"""
    import os, shutil
    found = []
    def wish(name, act):
        try: act(); found.append(name)
        except OSError: pass
    secret, target = {str(secret)!r}, {str(target)!r}
    wish("read", lambda: open(secret).read())
    wish("write", lambda: open(target, "w").write("changed"))
    wish("append", lambda: open(target, "a").write("changed"))
    wish("truncate", lambda: os.truncate(target, 0))
    wish("delete", lambda: os.unlink(target))
    wish("rename", lambda: os.rename(target, target + "2"))
    wish("link", lambda: os.link(secret, "linked"))
    wish("make", lambda: open(target + "3", "x"))
    wish("through a link", lambda: (os.symlink(secret, "sym"), open("sym").read()))
    wish("mode", lambda: os.chmod(target, 0o777))
    wish("times", lambda: os.utime(target, (1, 1)))
    wish("list", lambda: os.listdir({str(tmp_path)!r}))
    wish("shadow", lambda: open("/etc/shadow").read())
    wish("host name", lambda: open("/etc/hostname", "r+"))
    print(json.dumps(found))
    """
    before = target.stat()
    assert await value(box, wishes) == []
    after = target.stat()
    assert target.read_text() == "as it was"
    assert (after.st_mode, after.st_mtime_ns, after.st_ctime_ns) == (before.st_mode, before.st_mtime_ns, before.st_ctime_ns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "target"]


@pytest.mark.enable_socket
async def test_no_listener_of_this_machine_is_reached(box: LiveBox, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(path)
        abstract.bind("\0reflectory-test-canary")
        for one in (tcp, named, abstract):
            one.listen()
            one.setblocking(False)
        wishes = f"""
        import socket
        found = []
        for family, address in ((2, ("127.0.0.1", {tcp.getsockname()[1]})), (1, {path!r}), (1, "\\0reflectory-test-canary")):
            try: socket.socket(family).connect(address); found.append(repr(address))
            except OSError: pass
        print(json.dumps(found))
        """
        assert await value(box, wishes) == []
        for one in (tcp, named, abstract):
            with pytest.raises(BlockingIOError):
                one.accept()


async def test_the_kernel_refuses_what_the_filter_names(box: LiveBox) -> None:
    """Real calls with arguments that would succeed or fail in another way."""
    calls = {
        "unshare": [0x20000],
        "mount": [0, 0, 0, 0, 0],
        "ptrace": [0, 0, 0, 0],
        "keyctl": [0, -3, 0],
        "bpf": [0, 0, 0],
        "perf_event_open": [0, 0, -1, -1, 0],
        "io_uring_setup": [1, 0],
        "userfaultfd": [0],
        "personality": [0x0020000],
        "clone": [0x10000000 | 17, 0, 0, 0, 0],
        "ioctl": [0, 0x5412 | 1 << 40, 0],
        "open_by_handle_at": [-1, 0, 0],
        "process_vm_readv": [1, 0, 0, 0, 0, 0],
        "prlimit64": [1, 7, 0, 0],
        "setns": [-1, 0],
    }
    code = f"""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    found = {{}}
    for name, (number, arguments) in { ({name: (NUMBERS[name], arguments) for name, arguments in calls.items()})!r}.items():
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments])
        found[name] = ctypes.get_errno() if result < 0 else f"allowed: {{result}}"
    found["clone3"] = (libc.syscall(ctypes.c_long(435), 0, ctypes.c_long(0)), ctypes.get_errno())[1]
    found["young"] = (libc.syscall(ctypes.c_long(500), 0), ctypes.get_errno())[1]
    print(json.dumps(found))
    """
    assert await value(box, code) == {**dict.fromkeys(calls, 1), "clone3": 38, "young": 38}


async def test_nothing_of_the_agent_can_be_read_and_no_signal_ends_it(box: LiveBox) -> None:
    code = """
    import os, signal, time
    agent, found = os.getppid(), []
    names = [f"fd/{number}" for number in range(20)]
    for name in ("mem", "environ", "maps", "cwd", "root", "exe", "stack", "syscall", "auxv", "io", "map_files", *names):
        path = f"/proc/{agent}/{name}"
        for act in (lambda: open(path, "rb").read(1), lambda: open(path, "wb"), lambda: os.listdir(path), lambda: os.readlink(path)):
            try: act(); found.append(name)
            except OSError: pass
    for number in range(1, 65):
        try: os.kill(agent, number)
        except (OSError, ValueError): pass
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try: os.kill(-1, signal.SIGTERM)
        except OSError: pass
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.waitpid(pid, 0)
    print(json.dumps(found))
    """
    assert await value(box, code) == []
    assert (await box.run(["echo", "still here"])).stdout.text == "still here\n"


async def test_killing_everything_is_answered_cleanly(box: LiveBox) -> None:
    before = own()
    done = await box.run(["bash", "-c", "kill -9 -1; echo survived"])
    assert done.killed in ("", "box")
    assert (await box.run(["echo", "fine"])).stdout.text == "fine\n"
    assert own() == before


async def test_rights_are_gone(namespaced: LiveBox) -> None:
    status = await value(
        namespaced, "print(json.dumps(dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines())))"
    )
    assert isinstance(status, dict)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"], status["Uid"]) == ("1", "2", "65534\t65534\t65534\t65534")


async def test_proc_can_be_written_nowhere_and_shows_the_box_alone(namespaced: LiveBox) -> None:
    """Root without a capability may still write to /proc/sys, and with it name a program that the kernel starts."""
    code = """
    import os
    writable = []
    for folder, folders, files in os.walk("/proc"):
        if folder == "/proc": folders[:] = [name for name in folders if not name.isdecimal()]
        for name in files:
            path = os.path.join(folder, name)
            try: os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
            except OSError: continue
            if os.stat(path).st_rdev != os.stat("/dev/null").st_rdev: writable.append(path)
    numbers = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
    print(json.dumps([writable, numbers, os.getpid(), open("/proc/1/cmdline").read().split("\\0")]))
    """
    writable, numbers, pid, command = await value(namespaced, code)  # type: ignore[misc]
    assert writable == []
    assert numbers == [1, pid]
    assert str(Path(reflectory.__file__).parent) not in " ".join(command)
    assert command[1:4] == ["-s", "-S", "-B"]
    assert (await namespaced.run(["uname", "-n"])).stdout.text == "box\n"
    assert "reflectory" not in (await namespaced.run(["cat", "/proc/self/cgroup"])).stdout.text


async def test_disk_and_files_are_held_for_all_folders_together(namespaced: LiveBox) -> None:
    code = """
    import errno, os
    written, error = 0, 0
    folders = ["/work", "/tmp", "/dev/shm"]
    try:
        for number in range(64):
            with open(f"{folders[number % 3]}/f{number}", "wb", buffering=0) as file:
                written += file.write(b"x" * 2**18)
    except OSError as caught: error = caught.errno
    for folder in folders:
        for name in os.listdir(folder): os.unlink(f"{folder}/{name}")
    made = 0
    try:
        for number in range(1000): open(f"{folders[number % 3]}/n{number}", "w").close(); made += 1
    except OSError as caught: error = [error, caught.errno]
    print(json.dumps([written, made, error]))
    """
    written, made, errors = await value(namespaced, code)  # type: ignore[misc]
    assert SMALL.disk_mb * 2**20 - 2**18 <= written <= SMALL.disk_mb * 2**20
    assert made == SMALL.files
    assert errors == [28, 28]  # ENOSPC


async def test_the_system_is_read_only(namespaced: LiveBox) -> None:
    code = """
    import os
    made = []
    for folder in ("/", "/usr", "/etc", "/run", "/dev", "/usr/bin", "/run/reflectory", "/run/reflectory/guest", "/var", "/dev/pts"):
        try: open(f"{folder}/x", "x"); made.append(folder)
        except OSError: pass
    print(json.dumps(made))
    """
    assert await value(namespaced, code) == []


async def test_what_is_shown_is_shown_even_below_a_covered_folder(tmp_path: Path) -> None:
    folder, file = tmp_path / "data", tmp_path / "one.txt"
    folder.mkdir()
    (folder / "x").write_text("inside")
    file.write_text("alone")
    (tmp_path / "other").write_text("hidden")
    for tier in ISOLATED:
        async with await local(tier, read_only=(folder, file)).open() as box:
            done = await box.run(["cat", str(folder / "x"), str(file)])
            assert done.stdout.text == "insidealone", (tier, done)
            assert not (await box.run(["cat", str(tmp_path / "other")])).ok
            await box.shell(f"echo changed > {folder}/x; echo new > {folder}/y; echo changed > {file}")
    assert (folder / "x").read_text() == "inside"
    assert file.read_text() == "alone"
    assert [path.name for path in folder.iterdir()] == ["x"]


def test_what_cannot_be_shown_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for path in (Path("/proc/self"), Path("/"), Path("/etc"), Path("/tmp")):
        sandbox = local("bubblewrap", read_only=(path,))
        with pytest.raises(SandboxError, match="cannot be shown"):
            sandbox.tier.launch(sandbox.settings)
    for tier in ISOLATED:
        sandbox = local(tier, read_only=(tmp_path / "missing",))
        with pytest.raises(SandboxError, match="there is no"):
            sandbox.tier.launch(sandbox.settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tier", ISOLATED)
async def test_packages_are_found_where_they_are_wanted(tier: str) -> None:
    for wanted in (False, True):
        async with await local(tier, packages=wanted).open() as box:
            assert (await box.python("import pydantic_core")).ok == wanted
            if wanted:  # the base interpreter may have packages of its own beside the ones it lends
                assert (await box.run(["python3", "-c", "import pydantic_core"])).ok


@pytest.mark.parametrize("tier", ISOLATED)
async def test_boxes_do_not_see_each_other(tier: str) -> None:
    sandbox = local(tier)
    async with await sandbox.open() as one, await sandbox.open() as two:
        await one.put({"mine": b"secret"})
        where = (await one.python("import os; print(os.getcwd(), end='')")).stdout.text
        pid = (await one.python("os.getpid()")).value
        assert not (await two.run(["cat", f"{where}/mine"])).ok
        await two.shell(f"kill -9 {pid}; rm -rf {where}/mine")
        assert (await one.run(["cat", "mine"])).stdout.text == "secret"
        assert (await one.python("os.getpid()")).value == pid


@pytest.mark.skipif("memory" not in controllers(), reason="no control group can be written here")
@pytest.mark.parametrize("tier", ISOLATED)
async def test_what_the_kernel_ends_for_memory_is_told(tier: str) -> None:
    """Faster than any look: a mapping larger than the limit, touched at once by many processes."""
    limits = SMALL.model_copy(update={"memory_mb": 32, "processes": 64})
    code = "import os\nfor _ in range(5): os.fork()\nimport mmap\nm = mmap.mmap(-1, 40 * 2**20)\nm.write(b'x' * (40 * 2**20))\nos.wait()"
    async with await local(tier, limits=limits).open() as box:
        assert (await box.run(["python3", "-c", code])).killed == "memory"


@pytest.mark.parametrize("tier", [*ISOLATED, "none"])
def test_a_box_vanishes_with_its_host(tier: str, tmp_path: Path) -> None:
    """A real host, killed without a chance to clean up."""
    local(tier)
    script = f"""
    import asyncio, sys
    from reflectory.sandbox import LocalSandbox
    async def main():
        box = await LocalSandbox({tier!r}, allow_unsafe=True).open()
        await box.shell("(setsid sleep 1000 &) ; sleep 1000 &")
        print("up", flush=True)
        await box.run(["sleep", "1000"])
    asyncio.run(main())
    """
    root = str(Path(reflectory.__file__).parents[1])
    host = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, cwd=root, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        assert host.stdout is not None
        assert host.stdout.readline() == b"up\n"
        assert until(lambda: len(below(host.pid)) >= 4)
        processes = below(host.pid).items()
    finally:
        host.kill()
        host.wait()
        host.stdout.close()
    assert until(lambda: not left(processes))
    assert until(lambda: not list(tmp_path.iterdir()))


@pytest.mark.parametrize("tier", [*ISOLATED, "none"])
async def test_a_killed_agent_is_a_lost_box_with_a_clean_answer(tier: str) -> None:
    before = own()
    box = await local(tier).open()
    await box.shell("sleep 1000 & (setsid sleep 1000 &)")
    call = asyncio.create_task(box.run(["sleep", "1000"]))
    assert await asyncio.to_thread(until, lambda: len(own() - before) >= 5)
    mine = own() - before
    assert box._process is not None
    agent = next((pid for pid in below(box._process.pid) if tier == "bubblewrap"), box._process.pid)
    os.kill(agent, 9)
    done = await call
    assert (done.killed, done.lost) == ("box", True)
    with pytest.raises(SandboxError, match="closed"):
        await box.run(["true"])
    await box.close()
    if tier == "bubblewrap" or (tier == "landlock" and ROOT):
        assert until(lambda: not left(mine))
    for pid, _ in left(mine):
        os.kill(pid, 9)


def test_the_order_of_the_tiers_and_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def report(name: str, available: bool) -> SandboxReport:
        return SandboxReport(tier=name, level="none", available=available, why="" if available else f"{name} is not here")

    assert [found.tier for found in reports()] == ["bubblewrap", "landlock", "container", "none"]
    working = set(tiers.TIERS)
    for name, tier in tiers.TIERS.items():
        monkeypatch.setattr(type(tier), "report", lambda self, name=name: report(name, name in working))
    for expected in ("bubblewrap", "landlock", "container"):
        assert LocalSandbox("auto").tier.name == expected
        working.discard(expected)
        with pytest.raises(SandboxMissing, match=f"{expected} is not here"):
            LocalSandbox(expected)
    with pytest.raises(SandboxMissing, match=r"bubblewrap is not here.*landlock is not here.*container is not here"):
        LocalSandbox("auto")
    assert LocalSandbox("auto", allow_unsafe=True).tier.name == "none"
    with pytest.raises(SandboxMissing, match="isolates nothing"):
        LocalSandbox("none")
    with pytest.raises(ConfigError, match="bubblewrap"):
        LocalSandbox("bublewrap")


def test_reports_say_what_is_not_contained() -> None:
    for found in reports():
        assert found.available == (not found.why)
        if found.available and found.tier != "none":
            assert found.contains
            assert found.leaks
            assert any(leak.startswith("kernel:") for leak in found.leaks)
        assert SandboxReport.model_validate_json(found.model_dump_json()) == found
