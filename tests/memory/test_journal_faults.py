from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys

import pytest

from reflectory.errors import MemoryFault
from reflectory.memory import Journal, open_memory
from reflectory.memory.sqlite import SCHEMA_VERSION
from reflectory.records import Origin, Query, Record


def story(memory):
    """About 60 events of all kinds."""
    ids = []
    for number in range(30):
        origin = Origin(kind="world", source=f"e{number % 5}")
        ids.append(memory.record([Record(id="", namespace=("n",), kind="fact", body=f"mug {number % 25} in cabinet", origin=origin)])[0].id)
    for number in range(20):
        memory.cite(ids[number : number + 2], shown=ids[number : number + 4], helped=number % 2 == 0)
    memory.mark(ids[0], "quarantine", reason="odd")
    memory.mark(ids[0], "promote")
    memory.mark(ids[1], "revoke")
    memory.mark(ids[2], "supersede", by=ids[3])
    memory.forget(ids[4])
    memory.undo(7)
    memory.undo(35)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A closed memory of 60 events, and what it says at every position."""
    path = tmp_path_factory.mktemp("original") / "m.sqlite"
    with open_memory(path) as memory:
        story(memory)
        states = [memory.content_digest(seq) for seq in range(memory.seq + 1)]
    return path, states


def read_all(path):
    """Everything a reader can get: the digest, the search result and all audits."""
    with open_memory(path, read_only=True) as memory:
        for record in memory.records():
            memory.audit(record.id)
        memory.recall(Query(text="mug cabinet", k=0))
        return memory.content_digest()


def test_flipped_bytes_are_noticed_or_harmless(original, tmp_path):
    path, states = original
    data, rng, noticed = path.read_bytes(), random.Random(0), 0
    for trial in range(400):
        mutant = bytearray(data)
        start = rng.randrange(len(data)) if trial % 4 else rng.randrange(4096)  # the first page, with the header, more often
        for offset in range(start, min(start + rng.choice([1, 1, 4, 64]), len(data))):
            mutant[offset] ^= rng.randrange(1, 256)
        copy = tmp_path / "mutant.sqlite"
        copy.write_bytes(mutant)
        try:
            assert read_all(copy) == states[-1], f"wrong data after a flip at {start}"
        except MemoryFault:
            noticed += 1
    assert noticed > 100  # the rest hit unused space


def test_every_byte_of_a_stored_text_is_guarded(original, tmp_path):
    data, copy = original[0].read_bytes(), tmp_path / "mutant.sqlite"
    for text in (b"mug 17 in cabinet", b'"shown":', b'"world"', b"hashing-1:dim"):
        start = data.index(text)
        for offset in range(start, start + len(text)):
            copy.write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
            with pytest.raises(MemoryFault):
                read_all(copy)


def test_truncated_files_are_noticed(original, tmp_path):
    path, _ = original
    data = path.read_bytes()
    for size in {0, 1, 15, 16, 99, 100, 4095, 4096, *range(5000, len(data), len(data) // 15), len(data) - 1}:
        copy = tmp_path / f"{size}.sqlite"
        copy.write_bytes(data[:size])
        with pytest.raises(MemoryFault):
            read_all(copy)


def test_a_damaged_write_ahead_log_gives_an_earlier_state_or_an_error(tmp_path):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        story(memory)
        states = {memory.content_digest(seq) for seq in range(memory.seq + 1)}
        database, log = path.read_bytes(), (tmp_path / "m.sqlite-wal").read_bytes()  # as a kill would leave them
    rng, intact = random.Random(1), 0
    for trial in range(60):
        mutant = bytearray(log)
        if trial:
            mutant[rng.randrange(len(log))] ^= rng.randrange(1, 256)
        copy = tmp_path / f"{trial}.sqlite"
        copy.write_bytes(database)
        (tmp_path / f"{trial}.sqlite-wal").write_bytes(mutant)
        try:
            with open_memory(copy) as memory:
                assert memory.content_digest() in states
                intact += 1
        except MemoryFault:
            pass
    assert intact > 0


def tamper(path, *statements):
    connection = sqlite3.connect(path)
    for trigger in ("events_stay", "events_remain"):
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET payload = replace(payload, 'mug', 'gun') WHERE seq = 2",
        "UPDATE events SET kind = 'forget' WHERE seq = 2",
        "UPDATE events SET record_id = 'other' WHERE seq = 2",
        "UPDATE events SET vector = zeroblob(length(vector)) WHERE seq = 1",
        "UPDATE events SET vector = NULL WHERE seq = 1",
        "UPDATE events SET embedder = 'other' WHERE seq = 1",
        "UPDATE events SET at = at + 1 WHERE seq = 1",
        "UPDATE events SET payload = CAST(payload AS BLOB) WHERE seq = 1",
        "UPDATE events SET sha256 = zeroblob(32) WHERE seq = 3",
        "DELETE FROM events WHERE seq = 2",
        "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)",
        "DELETE FROM events",
        "UPDATE head SET seq = seq - 1",
        "DELETE FROM head",
        "UPDATE head SET sha256 = 'text'",
        "DROP TABLE events",
    ],
)
def test_tampering_with_rows_is_noticed(original, tmp_path, statement):
    copy = tmp_path / "m.sqlite"
    shutil.copy(original[0], copy)
    tamper(copy, statement)
    for read_only in (True, False):
        with pytest.raises(MemoryFault):
            open_memory(copy, read_only=read_only).content_digest()


def test_sql_cannot_change_history_by_accident(original, tmp_path):
    copy = tmp_path / "m.sqlite"
    shutil.copy(original[0], copy)
    connection = sqlite3.connect(copy)
    for statement in ("UPDATE events SET at = 0", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_damage_while_open_is_noticed_by_the_next_read(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        memory.record([rec("a"), rec("b")])
        tamper(path, "UPDATE events SET payload = '{}' WHERE seq = 1", "UPDATE head SET seq = 1")
        with pytest.raises(MemoryFault, match="damaged"):
            memory.recall(Query(text="a"))
        with pytest.raises(MemoryFault, match="damaged"):
            memory.record([rec("c")])


def test_a_newer_schema_is_refused_and_left_alone(original, tmp_path):
    copy = tmp_path / "m.sqlite"
    shutil.copy(original[0], copy)
    connection = sqlite3.connect(copy)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = copy.read_bytes()
    for read_only in (True, False):
        with pytest.raises(MemoryFault, match=f"schema version {SCHEMA_VERSION + 1}.*Upgrade"):
            open_memory(copy, read_only=read_only)
    assert copy.read_bytes() == before


def test_what_is_no_memory_is_refused_and_left_alone(tmp_path):
    foreign, text, folder = tmp_path / "foreign.sqlite", tmp_path / "notes.txt", tmp_path / "folder"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    text.write_text("just some notes " * 100)
    folder.mkdir()
    before = foreign.read_bytes(), text.read_bytes()
    for path in (foreign, text, folder, text / "below a file"):
        for read_only in (True, False):
            with pytest.raises(MemoryFault):
                open_memory(path, read_only=read_only)
    assert (foreign.read_bytes(), text.read_bytes()) == before


def test_reading_creates_no_files(original, tmp_path, rec):
    with pytest.raises(MemoryFault, match="no memory at"):
        open_memory(tmp_path / "absent" / "m.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []
    copy = tmp_path / "odd name %20?#.sqlite"
    shutil.copy(original[0], copy)
    assert read_all(copy) == original[1][-1]
    assert list(tmp_path.iterdir()) == [copy]
    with open_memory(copy, read_only=True) as memory, pytest.raises(MemoryFault, match="read-only"):
        memory.record([rec()])
    with pytest.raises(MemoryFault, match="starts empty"):
        open_memory(None, read_only=True)


def test_a_full_disk_is_a_typed_error_and_loses_nothing(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        kept = memory.record([rec("kept")])[0]
        writer = memory._replica.journal._writer
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to play a full disk
        with pytest.raises(MemoryFault, match="full"):
            memory.record([rec(f"line {number} " + "x" * 500) for number in range(50)])
        assert [record.id for record in memory.records()] == [kept.id]
        writer.execute("PRAGMA max_page_count = 1000000")
        memory.record([rec("more")])
    with open_memory(path, read_only=True) as memory:
        assert [record.body for record in memory.records()] == ["kept", "more"]


def test_append_needs_a_transaction():
    journal = Journal(None)
    with pytest.raises(MemoryFault, match="transaction"):
        journal.append("add", "x", {})
    journal.close()


KILLED = """
import os, shutil, signal, sys
from reflectory.memory import open_memory
from reflectory.records import Origin, Record
path = sys.argv[1]
memory = open_memory(path)
def add(number):
    memory.record([Record(id="", namespace=("a",), kind="fact", body=f"fact {number}", origin=Origin(kind="user", source="u"))])
for number in range(3):
    add(number)
for side in ("-shm", "-wal"):
    shutil.copy(path + side, path + side + ".old")
memory._replica.journal._writer.execute("PRAGMA wal_checkpoint(RESTART)")
for number in range(3, 6):
    add(number)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("older", "intact"), [("-shm", True), ("-wal", False)])
def test_an_older_side_file_is_forgiven_where_nothing_is_lost_and_only_there(tmp_path, older, intact):
    """A power failure may leave an older -shm, which is never synced; an older log has lost what came after it."""
    path = tmp_path / "journal.sqlite"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    shutil.copy(f"{path}{older}.old", f"{path}{older}")
    if intact:
        with open_memory(path) as memory:
            assert sorted(record.body for record in memory.records()) == [f"fact {number}" for number in range(6)]
    else:
        with pytest.raises(MemoryFault, match="earlier"):
            open_memory(path)
