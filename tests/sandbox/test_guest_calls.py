"""What an interpreter and a shell of a box tell: nothing that is not so, whatever the programs in them do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from boxes import SMALL, local

from reflectory.errors import SandboxError
from reflectory.sandbox import LiveBox
from reflectory.sandbox.launch import GUEST

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")


@pytest.fixture
async def box() -> AsyncIterator[LiveBox]:
    async with await local("none").open() as opened:
        yield opened


async def test_an_interrupt_that_comes_too_late_ends_no_other_cell(box: LiveBox) -> None:
    """The cell goes on until its interrupt is pending, and ends by itself then."""
    wait = "import signal\nwhile signal.SIGINT not in signal.sigpending(): pass"
    hold = "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
    for _ in range(5):
        late = await box.python(hold + wait, seconds=0.03)
        assert late.killed == "time"
        if not late.lost:
            assert (await box.python("'ran'")).value == "'ran'"


async def test_the_interpreter_outlives_a_program_that_reads_nothing(box: LiveBox) -> None:
    done = await box.python("import subprocess; subprocess.run(['true'], input=b'x' * 1_000_000).returncode")
    assert (done.value, done.lost) == ("0", False)
    assert (
        await box.python("subprocess.run('yes | head -1; exit ${PIPESTATUS[0]}', shell=True, executable='/bin/bash').returncode")
    ).value == "141"


async def test_cells_are_compiled_as_programs_are(box: LiveBox) -> None:
    assert (await box.python("def f(x: 1 + 1): pass\nf.__annotations__['x']")).value == "2"


@pytest.mark.parametrize(
    ("code", "status", "stderr"),
    [
        ("import sys; sys.exit('my message')", 1, "my message\n"),
        ("import sys; sys.exit(-1)", 255, ""),
        ("import sys; sys.exit(256)", 0, ""),
        ("import sys; sys.exit(None)", 0, ""),
        ("exit(3)", 3, ""),
        ("quit()", 0, ""),
    ],
)
async def test_leaving_a_cell_counts_as_in_a_shell(box: LiveBox, code: str, status: int, stderr: str) -> None:
    done = await box.python(code)
    own = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.exit_code, done.stderr.text) == (status, stderr) == (own.returncode, own.stderr)


async def test_what_was_printed_before_a_kill_is_there(box: LiveBox) -> None:
    done = await box.python("print('progress')\nparts = []\nwhile True: parts.append(bytearray(2**20))")
    assert (done.killed, done.stdout.text) == ("memory", "progress\n")


async def test_the_source_of_old_cells_is_forgotten(box: LiveBox) -> None:
    for number in range(6):
        await box.python(f"def f{number}(): 1 / 0\n" + "#" * 400_000)
    kept = await box.python("import linecache; sum(sum(map(len, e[2])) for n, e in linecache.cache.items() if n.startswith('<cell'))")
    assert int(kept.value) < 1_500_000
    assert "def f5(): 1 / 0" in (await box.python("f5()")).stderr.text
    assert (await box.python("f0()")).error == "ZeroDivisionError"


async def test_an_error_of_syntax_shows_the_cell_alone(box: LiveBox) -> None:
    said = (await box.python("x = = 1")).stderr.text
    assert 'File "<cell 1>", line 1' in said
    assert said.count("File ") == 1
    assert "ast.py" in (await box.python("import ast\nast.parse('1 +')")).stderr.text  # here it is the program's own call


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
async def test_a_cell_that_was_never_taken_runs_in_a_fresh_interpreter(box: LiveBox, end: str) -> None:
    await box.python(
        f"import os, threading\ndef end():\n    while not os.path.exists('go'): pass\n    {end}\n"
        "threading.Thread(target=end).start()\nme = os.getpid()"
    )
    pid = int((await box.python("me")).value)
    await box.run(["bash", "-c", f"touch go; while [ -e /proc/{pid}/exe ]; do :; done"])
    done = await box.python("open('ran', 'w').close(); print('ran')")
    assert (done.stdout.text, done.exit_code, done.lost) == ("ran\n", 0, True)
    assert [one.path for one in await box.get("ran")] == ["ran"]


async def test_a_command_that_was_never_taken_runs_in_a_fresh_shell(box: LiveBox) -> None:
    pid = int((await box.shell("trap 'exit 0' USR1; echo $$")).stdout.text)
    await box.run(["bash", "-c", f"kill -USR1 {pid}"])
    done = await box.shell("echo ran; false")
    assert (done.stdout.text, done.exit_code) == ("ran\n", 1)
    again = await box.shell("echo $$; exit 0")
    assert (done.lost or again.lost, again.exit_code) == (True, 0)


async def test_the_end_of_a_process_is_seen_although_its_child_lives(box: LiveBox) -> None:
    for done in (
        await box.shell("( sleep 9; true ) & exit 3", seconds=3),
        await box.python("import os, time\nif not os.fork(): time.sleep(9)\nos._exit(3)", seconds=3),
    ):
        assert (done.exit_code, done.lost, done.killed) == (3, True, "")
        assert done.seconds < 2


async def test_a_program_that_takes_the_shells_place_runs_to_its_end(box: LiveBox) -> None:
    code = "import time; print('start', flush=True); time.sleep(0.6); print('done'); raise SystemExit(4)"
    done = await box.shell(f'exec python3 -c "{code}"')
    assert (done.stdout.text, done.exit_code, done.lost, done.killed) == ("start\ndone\n", 4, True, "")
    assert (await box.shell("exec sleep 9", seconds=0.2)).killed == "time"


async def test_after_the_time_nothing_of_a_command_runs(box: LiveBox) -> None:
    for command in ("sleep 9; echo PASSED > result", "f() { sleep 9; }; f; echo PASSED > result", "sleep 9 || echo PASSED > result"):
        done = await box.shell(command, seconds=0.1)
        assert (done.killed, done.lost) == ("time", True)
        await box.shell(":")
        assert not await box.get("result")


async def test_an_endless_output_does_not_reach_the_next_call(box: LiveBox) -> None:
    assert (await box.shell("yes")).killed == "output"
    assert (await box.shell("echo x$y")).stdout.text == "x\n"
    assert (await box.python("import subprocess; subprocess.run('yes')")).killed == "output"
    assert (await box.python("print('x')")).stdout.text == "x\n"


@pytest.mark.parametrize(
    "command",
    [
        "break",
        "continue 3",
        "return",
        "shopt -s expand_aliases; alias printf=false eval=false set=false",
        "printf() { exit 9; }; eval() { :; }; set() { :; }; exec() { :; }",
        "cd /; unset PWD IFS",
        "set -u",
        "set -o pipefail",
        "echo $((1 / 0))",
        "exec 3>&1 8>&1 9>&1",
        "trap : DEBUG ERR EXIT USR1",
    ],
)
async def test_nothing_in_the_shell_confuses_it(box: LiveBox, command: str) -> None:
    await box.shell("kept=1; where() { echo there; }")
    await box.shell(command)
    done = await box.shell("echo after $kept; where; builtin false")
    assert (done.stdout.text, done.exit_code, done.lost) == ("after 1\nthere\n", 1, False)


@pytest.mark.parametrize("command", ["set -n", "builtin() { :; }", "exec 250>&-; kill -STOP $$"])
async def test_a_shell_that_answers_no_more_is_lost(box: LiveBox, command: str) -> None:
    first = await box.shell(command, seconds=0.3)
    done = first if first.lost else await box.shell("echo after", seconds=0.3)
    assert done.lost
    assert not done.ok
    assert (await box.shell("echo after")).stdout.text == "after\n"


async def test_the_status_and_the_tracing_stay_from_command_to_command(box: LiveBox) -> None:
    assert (await box.shell("(exit 7)")).exit_code == 7
    assert (await box.shell("echo $?")).stdout.text == "7\n"
    assert (await box.shell("echo $?")).stdout.text == "0\n"
    assert (await box.shell("set -x")).stderr.text == ""
    for _ in range(2):
        done = await box.shell("echo one\nfalse")
        assert done.stderr.text == "++ echo one\n++ false\n"
    assert (await box.shell("echo $?; set +x")).stderr.text == "++ echo 1\n++ set +x\n"
    assert (await box.shell("echo quiet")).stderr.text == ""
    ended = await box.shell("set -e; false; echo not here")
    assert (ended.exit_code, ended.lost, ended.stdout.text) == (1, True, "")


async def test_commands_come_through_as_they_are(box: LiveBox) -> None:
    odd = "echo 'a'\"'\" \\\\ $'\\x41' \"$(echo \"it's\")\" é \udcff # '\n\ncat <<'END'\n'quoted' $x\nEND\n"
    own = subprocess.run(["bash", "-c", os.fsencode(odd)], capture_output=True, check=True, env={"LANG": "C.UTF-8"})
    assert (await box.shell(odd)).stdout.text == own.stdout.decode("utf-8", "backslashreplace")
    for empty in ("", "\n", "# nothing", "   "):
        assert (await box.shell(empty)).ok
    with pytest.raises(SandboxError, match="NUL"):
        await box.shell("echo a\0b")
    assert (await box.shell("echo fine")).stdout.text == "fine\n"


async def test_a_program_leaves_alone_what_the_shell_started(box: LiveBox) -> None:
    pid = (await box.shell("(setsid sleep 100 & echo $!)")).stdout.text.strip()
    assert (await box.run(["true"])).ok
    assert (await box.shell(f"kill -0 {pid}")).exit_code == 0


async def test_a_background_job_writes_on_between_calls(box: LiveBox) -> None:
    await box.shell("{ seq 1 40000; touch done; } &")
    deadline = time.monotonic() + 3
    while not await box.get("done"):
        assert time.monotonic() < deadline
    assert (await box.shell("true")).stdout.bytes == sum(len(f"{n}\n") for n in range(1, 40_001))


def test_an_answer_names_the_request(tmp_path: Path) -> None:
    code = f"""
import json, os, sys
sys.path[:0] = [{str(GUEST.parent)!r}]
from guest.frames import pack, receive, send
ours, theirs = [os.pipe(), os.pipe()], None
pid = os.fork()
if not pid:
    os.dup2(ours[0][0], 0); os.dup2(ours[1][1], 1); os.close(ours[0][1]); os.close(ours[1][0])
    from guest.agent import main
    main(); os._exit(0)
ask, reply = ours[0][1], ours[1][0]
got = [receive(reply)[0]]
limits = dict(seconds=5, memory_mb=96, processes=16, disk_mb=4, files=128, output_kb=4, output_most_mb=1)
spec = dict(work=sys.argv[1], environment=dict(PATH=os.environ["PATH"]), limits=limits, paths=[], watch_files=False,
    confine="children", id=1)
for request in (spec, dict(op="run", argv=["true"], seconds=5, id=2), dict(op="python", text="1", seconds=5, id="three"),
    dict(op="get", patterns=[], id=[4]), dict(op="put", files=[["x", 9]], id=5), dict(op="no", id=6), dict(op="get", patterns=[])):
    send(ask, request)
    got.append(receive(reply)[0])
os.close(ask)
print(json.dumps([(one.get("id"), "failed" in one) for one in got]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=20)
    expected = '[[null, false], [1, false], [2, false], ["three", false], [[4], false], [5, true], [6, true], [null, false]]'
    assert done.stdout.strip() == expected, done.stderr


async def test_signals_that_the_host_ignores_or_blocks_work_in_a_box() -> None:
    signals = (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        async with await local("none").open() as box:
            assert (await box.run(["timeout", "0.1", "sleep", "2"])).exit_code == 124
            masks = await box.run(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    internal = 1 << 31 | 1 << 32  # the two signals that the C library keeps for itself and lets nobody set
    assert [int(mask, 16) & ~internal for mask in masks.stdout.text.split()[1::2]] == [0, 0]


async def test_files_up_to_the_limit_go_in_and_out() -> None:
    limits = SMALL.model_copy(update={"memory_mb": 64, "disk_mb": 200})
    async with await local("bubblewrap", limits=limits).open() as box:
        content = bytes(190 * 2**20)
        await box.put({"big": content})
        assert [one.content == content for one in await box.get()] == [True]
        await box.run(["true"])


async def test_a_file_that_would_lie_too_deep_is_refused(box: LiveBox) -> None:
    await box.put({"a/" * 64 + "f": b"deep"})
    assert [one.content for one in await box.get()] == [b"deep"]
    with pytest.raises(SandboxError, match="deep"):
        await box.put({"b/" * 65 + "f": b"deep", "g": b""})
    assert len(await box.get()) == 1
    assert (await box.run(["true"])).ok


async def test_hard_links_take_no_room() -> None:
    async with await local("landlock").open() as box:
        done = await box.run(["bash", "-c", "head -c 3000000 /dev/zero > f; for n in 1 2 3 4; do ln f $n; done; sleep 0.3"])
        assert (done.killed, done.exit_code) == ("", 0)


async def test_folders_shown_below_the_working_folder_are_not_its_own(tmp_path: Path) -> None:
    """What `find` and `usage` see of a folder in which another file system is mounted: in a namespace of its own, made by `unshare`."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    code = f"""
import os, sys
sys.path[:0] = [{str(GUEST.parent)!r}]
from guest import files, kernel
kernel.unshare(kernel.CLONE_NEWNS)
kernel.mount("", "/", "", 0x4000 | 1 << 18)
os.chdir(sys.argv[1])
os.mkdir("theirs"); open("mine", "w").write("1")
kernel.mount("tmpfs", "theirs", "tmpfs", 0)
open("theirs/x", "w").write("22" * 99999)
print(files.find(".", [], most_bytes=9, most_files=1), files.usage(".")[0] < 20000)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, timeout=20)
    if "Operation not permitted" in done.stderr:
        pytest.skip("no mount namespace can be made here")
    assert done.stdout == "{'files': [['mine', 1]], 'left_out': 0} True\n", done.stderr
