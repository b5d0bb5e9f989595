"""The crash benchmark: small runs of it, and that it notices what it is there to notice."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from reflectory.memory import open_memory, steps
from reflectory.runs.bench import crash, crash_damage, crash_model
from reflectory.runs.bench.crash import Sizes, Target, bench_crash
from reflectory.runs.bench.crash_check import observe, verdict
from reflectory.runs.bench.crash_model import CHANGES, UPKEEP, Model, perform
from reflectory.runs.bench.crash_process import spawn

NOTHING = Sizes(writes=0, damaged=0, disk=0)


@pytest.fixture
def scratch():
    """A folder in memory where there is one: killed processes take nothing of the kernel's with them, and waiting for a disk is long."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


def journal(folder):
    return open_memory(folder / "journal.sqlite")


def test_kills_at_every_kind_of_point_lose_nothing(scratch):
    found = bench_crash(scratch, points=45, seed=7, target=Target(), sizes=NOTHING)  # a process that had an index open must not fork
    assert found["killed"] == found["points"] == 45
    assert found["acked"] > 15
    assert {name: found[name] for name in ("lost", "duplicated", "stale_index", "wrong")} == dict.fromkeys(
        ("lost", "duplicated", "stale_index", "wrong"), 0
    )
    assert found["faults"] == []
    assert {"byte", "append.insert", "transaction.begun"} <= set(found["steps"])
    assert list(scratch.iterdir()) == []
    assert steps.STEP is None
    assert (found["processes"], found["damaged"], found["full_disk"]) == (None, None, None)


def run_with(scratch, opener):
    found = bench_crash(scratch, points=20, seed=3, target=Target(open=opener), sizes=NOTHING)
    assert found["faults"]
    return found


def test_an_acknowledged_record_that_is_gone_counts_as_lost(scratch):
    def forgetful(folder):
        memory = journal(folder)
        if memory.seq > 3:
            memory.forget(next(memory.records()).id)
        return memory

    assert run_with(scratch, forgetful)["lost"] > 0


def test_a_text_that_is_there_twice_counts(scratch):
    def doubling(folder):
        memory = journal(folder)
        known = next(memory.records(), None)
        if known is not None and memory.find("twin") is None:
            memory.record([known.model_copy(update={"id": "twin"})])
        return memory

    assert run_with(scratch, doubling)["duplicated"] > 0


def test_an_index_that_lags_behind_counts(scratch):
    def lagging(folder):
        memory = journal(folder)
        recall = memory.recall
        memory.recall = lambda query: [hit for hit in recall(query) if not hit.record.id.startswith("r0")]
        return memory

    assert run_with(scratch, lagging)["stale_index"] > 0


def test_a_wrong_vector_in_the_file_counts(scratch):
    def blurred(folder):
        memory = journal(folder)
        with sqlite3.connect(folder / "journal.sqlite") as connection:
            connection.execute("DROP TRIGGER IF EXISTS events_stay")
            connection.execute("UPDATE events SET vector = zeroblob(length(vector)) WHERE seq = 1")
        return memory

    assert run_with(scratch, blurred)["wrong"] > 0


def test_half_a_batch_counts(scratch, monkeypatch):
    """A writer that commits its records one by one where all or none was promised."""
    whole = perform

    def one_by_one(memory, operation):
        name, number, record_id, text = operation
        if name != "batch":
            return whole(memory, operation)
        for part in range(3):
            memory.record([crash_model._record(f"{record_id}-{part}", f"{text} {part}", number)])
        return None

    monkeypatch.setattr(crash, "perform", one_by_one)
    monkeypatch.setattr(crash, "CHANGES", ("record", "batch"))
    monkeypatch.setattr(crash, "UPKEEP", ())
    found = bench_crash(scratch, points=60, seed=1, sizes=NOTHING)
    assert found["wrong"] + found["lost"] > 0


def test_the_verdict_names_each_fault():
    record = {"body": "x", "status": "active", "shown": 0, "cited": 0, "sources": []}
    good = {"records": {"a": record}, "learned": {}, "snapshots": []}
    seen = {**good, "bodies": ["x"], "active": ["a"], "served": ["a"], "top_ok": True, "vectors_ok": True, "items_ok": True}
    assert verdict(seen, [good]) == {}
    assert verdict({**seen, "records": {}}, [good]) == {"lost": 1}
    assert verdict({**seen, "records": {"a": {**record, "status": "revoked"}}}, [good]) == {"wrong": 1}
    assert verdict({**seen, "learned": {"w": 1}}, [good]) == {"wrong": 1}
    assert verdict({**seen, "bodies": ["x", "x"]}, [good]) == {"duplicated": 1}
    assert verdict({**seen, "served": []}, [good]) == {"stale_index": 1}
    assert verdict({**seen, "items_ok": False}, [good]) == {"stale_index": 1}
    assert verdict({**seen, "vectors_ok": False}, [good]) == {"wrong": 1}
    assert verdict({"error": "it is damaged"}, [good]) == {"wrong": 1}
    later = {**good, "records": {"a": record, "b": record}}
    assert verdict({**seen, "records": later["records"]}, [good, later]) == {}


def test_the_model_is_what_a_memory_does(scratch):
    """Every operation, in several orders, without any kill."""
    import random

    rng, model, numbers = random.Random(5), Model(), itertools.count()
    with journal(scratch) as memory:
        for name in [*CHANGES, *rng.choices([*CHANGES, "rebuild"], k=60)]:
            operation = model.choose(name, next(numbers), rng)
            model.apply(operation)
            perform(memory, operation)
    found = observe(journal, scratch, {"read_only": True, "close": True})
    assert verdict(found, [model.seen()]) == {}
    assert set(UPKEEP) == {"rebuild", "close", "migrate"}


def test_a_process_says_what_it_did_and_how_it_ended():
    assert spawn(lambda fd: os.write(fd, b"one\ntwo\n")) == (["one", "two"], 0)
    assert spawn(lambda fd: 1 / 0)[0] == ["!ZeroDivisionError: division by zero"]
    assert spawn(lambda fd: os.kill(os.getpid(), 9)) == ([], -9)
    assert spawn(lambda fd: (os.write(fd, b"ready\n"), os.read(os.pipe()[0], 1)), 0.0) == ([], -9)


def test_several_writers_and_kills_lose_nothing(scratch):
    found = crash_damage.many_writers(scratch / "w", writers=3, writes=40, seed=0)
    assert found == {"writers": 3, "writes": 40, "killed": 2, "acked": 120, "lost": 0, "duplicated": 0}


def test_damaged_files_are_noticed_or_harmless(scratch):
    found = crash_damage.damaged_files(scratch / "d", files=60, seed=0)
    assert found["files"] == sum(found[name] for name in ("detected", "harmless", "earlier")) == 60
    assert found["wrong"] == found["untyped"] == found["crashed"] == 0
    assert found["kinds"]["truncate"] == {"detected": 5}
    for kind in ("log_flip", "log_cut", "log_gone"):
        assert found["kinds"][kind] == {"detected": 5}
    assert found["earlier"] == 5  # the log and its index both taken away: what is left is a true earlier state, and looks like one


def test_a_file_that_kills_its_reader_is_counted_and_passed(scratch, monkeypatch):
    judge = crash_damage._judge

    def fatal(path, known, *, read_only):
        if path.parent.name in ("3", "4", "11"):
            os.kill(os.getpid(), 9)
        return judge(path, known, read_only=read_only)

    monkeypatch.setattr(crash_damage, "_judge", fatal)
    found = crash_damage.damaged_files(scratch / "d", files=24, seed=0)
    assert found["crashed"] == 3
    assert found["detected"] + found["harmless"] + found["earlier"] == 21


@pytest.mark.parametrize("mountable", [True, False])
def test_a_full_disk_keeps_what_was_acknowledged_readable(scratch, monkeypatch, mountable):
    if not mountable:
        monkeypatch.setattr(crash_damage.shutil, "which", lambda name: None)
    found = crash_damage.full_disk(scratch / "f", 1 << 20)
    assert found["acked"] > 10
    assert {key: value for key, value in found.items() if key not in ("how", "acked")} == {
        "typed_error": True,
        "lost": 0,
        "readable_when_full": True,
        "writable_after": True,
    }


def chroma_points(out, points, also=""):
    """The benchmark on memories with a Chroma index, in a process that opened none before: its kills are forked."""
    code = (
        "import json, sys; from pathlib import Path; from reflectory.runs.bench.crash import Sizes, bench_crash, chroma_target\n"
        "nothing = Sizes(writers=0, damaged=0, disk=0)\n"
        f"{also}\n"
        "print(json.dumps(bench_crash(Path(sys.argv[1]), points=int(sys.argv[2]), seed=5, target=chroma_target(), sizes=nothing)))"
    )
    pytest.importorskip("chromadb")
    done = subprocess.run([sys.executable, "-c", code, str(out), str(points)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_kills_at_the_steps_of_an_index_leave_none_stale(scratch):
    found = chroma_points(scratch, 150)
    assert found["killed"] == 150
    assert [found[name] for name in ("lost", "duplicated", "stale_index", "wrong")] == [0, 0, 0, 0]
    assert {"chroma.add", "chroma.batch", "chroma.rebuild", "chroma.rebuild.swap", "chroma.close.manifest"} <= set(found["steps"])


@pytest.mark.slow
def test_an_index_that_answers_from_what_it_was_counts_as_stale(scratch):
    """It claims to hold the newest rows and does not."""
    blind = """
from reflectory.memory.nearest import Nearest
rows = Nearest.rows
Nearest.rows = lambda self, vector, k, allowed: rows(self, vector, k, allowed)[: max(4, len(allowed) - 2)]"""
    assert chroma_points(scratch, 20, blind)["stale_index"] > 0


@pytest.mark.slow
def test_many_kills_lose_nothing(scratch):
    found = bench_crash(scratch, points=1000, seed=11)
    assert [found[name] for name in ("lost", "duplicated", "stale_index", "wrong")] == [0, 0, 0, 0]
    assert set(found["steps"]) >= {"migrate.copy", "migrate.kept", "migrate.commit", "rebuild.swap", "open.log", "transaction.committed"}
