"""What a chore's end state must be, and what programs can put into archives, names and links."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import zipfile

import pytest

from reflectory.envs.code import CodeEnv, code_tasks
from reflectory.envs.code.archives import members_of
from reflectory.envs.code.values import NotPlain, plain_json, written
from reflectory.envs.code.workspace import Workspace
from reflectory.errors import ConfigError, SandboxError
from reflectory.records import Task

TASKS = {task.id: task for source in ("functions", "terminal") for task in code_tasks(source)}


async def earned(env: CodeEnv, name: str, extra: str, *, solve: bool = True) -> float:
    await env.reset(TASKS[f"terminal/{name}"], seed=0)
    solution = env.exercise.solution()[0] if solve else "shell"
    await env.step(f"{solution}\n{extra}")
    return (await env.step("submit")).reward


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("join_parts", "mkdir x; tar -xf bundle.tar -C x"),
        ("join_parts", "rm bundle.tar"),
        ("edit_settings", "echo 'port = 2' >> etc/other.conf"),
        ("edit_settings", "echo >> etc/other.conf"),
        ("close_share", "mkdir share/new; chmod 777 share/new"),
        ("close_share", "echo > share/new; chmod 666 share/new"),
        ("set_permissions", "chmod 777 bin"),
        ("set_permissions", "rm bin/*.sh; mkdir $(cd bin; ls *.txt)"),
        ("clean_build", "mkfifo pipe"),
        ("clean_build", "ln -s src link"),
        ("rename_photos", "cd photos; touch \"$(printf 'a\\n755 b')\""),
    ],
)
async def test_everything_else_must_be_as_it_was(env, name, extra):
    assert await earned(env, name, "") == 1.0
    assert await earned(env, name, extra) == 0.0


async def test_names_with_line_feeds_forge_no_permissions(env):
    forged = "for m in '755 bin' '600 secret' '700 secret'; do for f in bin/*.sh secret/*; do mkdir -p \"x\n$m/$f\"; done; done"
    assert await earned(env, "set_permissions", forged, solve=False) == 0.0


async def test_a_folder_with_more_than_can_be_listed_is_wrong_and_no_failure(env):
    assert await earned(env, "set_permissions", "for n in $(seq 3000); do : > f$n; done") == 0.0


async def test_the_opening_names_what_is_there_after_the_setup(env):
    text = (await env.reset(TASKS["terminal/join_parts"], seed=0)).text
    assert text.endswith("Files:\n  bundle.tar\n  order.txt")
    assert "no other file or folder" in text


async def test_the_opening_tells_the_rules_of_time_and_files(env):
    text = (await env.reset(TASKS["function/to_roman"], seed=0)).text
    assert "Each call may take 2 s" in text
    assert "Only .py files" in text


def packed(names, *, mode="w:gz", kind=None, size=None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            if kind is not None:
                info.type, info.linkname, info.size = kind, "x", 0
            tar.addfile(info, io.BytesIO(b"x"))
    return out.getvalue()


def negative() -> bytes:
    """A tar whose member says that it has less than no bytes, in the binary form of sizes."""
    block = bytearray(packed(["a"], mode="w")[:512])
    block[124:136] = b"\xff" * 10 + b"\xfe\x00"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) * 4


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", content)
    return out.getvalue()


async def test_archives_are_read_in_a_box(sandbox):
    found = await members_of(
        sandbox,
        {
            "a.tar.gz": packed(["./d/a", "b"]),
            "b.tar": packed(["b"], mode="w"),
            "c.zip": zipped(b"zip"),
            "d.log.gz": gzip.compress(b"log"),
            "none.tar": b"none",
            "none.gz": b"none",
            "empty.zip": b"",
        },
    )
    assert found == {
        "a.tar.gz": {"d/a": b"x", "b": b"x"},
        "b.tar": {"b": b"x"},
        "c.zip": {"a": b"zip"},
        "d.log.gz": {"": b"log"},
        "none.tar": None,
        "none.gz": None,
        "empty.zip": None,
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar", negative()),
        ("a.tar.gz", packed(["same"] * 300)),
        ("a.tar.gz", packed(["same"] * 2)),
        ("a.tar.gz", packed(["a"], kind=tarfile.SYMTYPE)),
        ("a.tar.gz", packed(["x" * 30_000_000])),
        ("a.log.gz", gzip.compress(b"0" * 50_000_000)),
        ("a.zip", zipped(b"0" * 50_000_000)),
        ("a.tar", b"0" * 2_000_000),
    ],
    ids=["negative", "many", "twice", "link", "name", "gzip", "zip", "large"],
)
async def test_archives_that_are_bombs_are_none_and_end(sandbox, name, content):
    began = time.monotonic()
    assert await members_of(sandbox, {name: content}) == {name: None}
    assert time.monotonic() - began < 8


async def test_paths_that_are_none_change_nothing(env):
    await env.reset(TASKS["terminal/clean_lines"], seed=0)
    for path in (".", "./", "solution.py/", "a/../b", "\ud800", "a" * 300, "ä" * 150):
        assert (await env.step(f"write {path}\nx")).effect.changed is (path == "\ud800")
    assert (await env.step("submit")).terminated


async def test_a_box_that_cannot_be_filled_is_closed_and_not_kept(sandbox):
    workspace = Workspace(sandbox, {"a": b"1"}, setup="exit 3")
    for _ in range(2):
        with pytest.raises(SandboxError, match="own commands failed"):
            await workspace.files()
    assert workspace._box is None


async def test_there_is_an_end_to_what_is_kept(sandbox):
    workspace = Workspace(sandbox, {})
    for number in range(32):
        await workspace.write(f"f{number}", b"x" * 2**18)
    with pytest.raises(SandboxError, match="MB"):
        await workspace.write("more", b"x")


async def test_edits_keep_bytes_that_are_no_text(env):
    await env.reset(TASKS["function/to_roman"], seed=0)
    await env.step("shell\nprintf 'max = 1\\r\\nx = 1\\r\\n\\377' > a")
    await env.step("edit a\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE")
    assert (await env.workspace.files())["a"] == b"max = 1\r\nx = 2\r\n\xff"


@pytest.mark.parametrize(
    "text",
    [
        "total 42\n",
        "took 3.25 s\n",
        "in 12.50 s\n",
        "real 1m2.5s\n",
        "0x7f0011223344\n",
        "[1] 55\n",
        "-rw-r--r-- is a mode\n",
        "done in 1.20s\n",
    ],
)
def test_a_program_s_own_words_stay(sandbox, text):
    assert Workspace(sandbox, {}).steady(text) == text


def test_what_cannot_be_a_program_s_own_word_is_taken_out(sandbox):
    steady = Workspace(sandbox, {}).steady
    assert steady("<object object at 0x7f0011223344>") == "<object object at 0x…>"
    assert steady("Ran 3 tests in 0.012s\n") == "Ran 3 tests in … s\n"
    assert steady("total 4\n-rw-r--r-- 1 root root 7 Nov 21 01:34 a\n") == "total …\n-rw-r--r-- 7 a\n"


async def test_a_task_that_is_only_words_says_where_tasks_come_from(env):
    with pytest.raises(ConfigError, match="code_tasks"):
        await env.reset(Task(goal="Sum two numbers", env="code"), seed=0)


def test_json_is_bounded_before_it_is_read():
    assert plain_json(b'{"a": "[[[[[["}', most=100, deepest=2) == {"a": "[[[[[["}
    for data in (b"[" * 51 + b"]" * 51, b"x", b"NaN", b'"' + b"x" * 3000 + b'"', b"\xff"):
        with pytest.raises(NotPlain):
            plain_json(data, most=2000, deepest=50)
    began = time.process_time()
    for data in (b'"\\' * 500_000, b'\\"' * 500_000, b'"' * 999_999):
        with pytest.raises(NotPlain):
            plain_json(data, most=10**6, deepest=50)
    assert time.process_time() - began < 2


def test_values_are_written_the_same_in_every_process():
    assert written({"b", "a", "c"}) == "{'a', 'b', 'c'}"
    for value in ((1,), (), [], {}, {"k": [1, (2, 3.5)]}, "it's", None, True, [{"a": {}}]):
        assert written(value) == repr(value)
    assert written(set()) == "set()"
    assert written([[0] * 10**6] * 5, 20) == "[[0, 0, 0, 0, 0, 0, …"
