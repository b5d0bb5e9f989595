from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest

from reflectory.errors import MemoryFault
from reflectory.memory import open_memory
from reflectory.records import Query

WRITER = """
import sys
from reflectory.memory import open_memory
from reflectory.records import Origin, Record
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
memory = open_memory(path)
for number in range(count):
    body = f"{name} wrote line {number}"
    memory.record([Record(id="", namespace=(name,), kind="lesson", body=body, origin=Origin(kind="world", source=name))])
    print(number, flush=True)
"""


def start_writer(path, name, count):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def acknowledged(process):
    return {int(line) for line in process.stdout.read().split("\n") if line.strip()}


def written(memory, name):
    return {int(record.body.rsplit(" ", 1)[1]) for record in memory.records((name,))}


def test_two_processes_write_and_one_is_killed(tmp_path):
    """Both create the file at the same moment; nothing acknowledged is lost when one dies in the middle."""
    path = tmp_path / "new" / "m.sqlite"
    survivor, victim = start_writer(path, "survivor", 200), start_writer(path, "victim", 200)
    first = [int(victim.stdout.readline()) for _ in range(40)]
    victim.kill()
    acked = {*first, *acknowledged(victim)}
    victim.wait()
    assert acknowledged(survivor) == set(range(200)), survivor.stderr.read()
    assert survivor.wait() == 0
    with open_memory(path, read_only=True) as memory:
        before = memory.content_digest()
        assert written(memory, "survivor") == set(range(200))
        assert written(memory, "victim") >= acked
        assert len(written(memory, "victim") - acked) <= 1  # at most the write whose answer was cut off
    with open_memory(path) as memory:
        assert memory.content_digest() == before
        assert memory.seq == len(list(memory.records()))
        assert memory.recall(Query(text="victim wrote line 7", namespace=("victim",)))[0].record.body == "victim wrote line 7"
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_many_processes_create_one_file_at_once(tmp_path):
    path = tmp_path / "m.sqlite"
    writers = [start_writer(path, f"w{number}", 3) for number in range(4)]
    for writer in writers:
        assert acknowledged(writer) == {0, 1, 2}, writer.stderr.read()
    with open_memory(path) as memory:
        assert memory.seq == 12


def test_open_objects_see_each_other(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as one, open_memory(path) as two, open_memory(path, read_only=True) as reader:
        one.record([rec("first", source="a")])
        two.record([rec("second"), rec("first", source="b")])
        one.forget(two.recall(Query(text="second"))[0].record.id)
        for memory in (one, two, reader):
            assert [(record.body, record.revision) for record in memory.records()] == [("first", 2)]
            assert memory.seq == 4
        assert one.content_digest() == two.content_digest() == reader.content_digest()


def test_reading_what_a_killed_writer_left_creates_no_files(tmp_path):
    """The last events are in the write-ahead log only; the reader sees them and leaves the folder as it was."""
    path = tmp_path / "m.sqlite"
    writer = start_writer(path, "victim", 100_000)
    for _ in range(20):
        writer.stdout.readline()
    writer.kill()
    acked = set(range(20)) | acknowledged(writer)
    writer.wait()
    before = {file.name for file in tmp_path.iterdir()}
    assert "m.sqlite-wal" in before
    with open_memory(path, read_only=True) as memory:
        assert written(memory, "victim") >= acked
    assert {file.name for file in tmp_path.iterdir()} == before
    (tmp_path / "m.sqlite-shm").unlink()
    with pytest.raises(MemoryFault, match="Open it for writing once"):
        open_memory(path, read_only=True)
    with open_memory(path) as memory:
        assert written(memory, "victim") >= acked


def test_use_in_a_forked_process_is_refused(tmp_path, rec):
    with open_memory(tmp_path / "m.sqlite") as memory:
        memory.record([rec()])
        child = os.fork()
        if child == 0:
            try:
                memory.recall(Query(text="mug", as_of=1))
            except MemoryFault as error:
                os._exit(0 if "another process" in str(error) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
