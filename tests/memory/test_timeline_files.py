from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from reflectory.errors import MemoryFault
from reflectory.memory import migrate, mounts, open_memory, sqlite

INFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw - ext4 /dev/vdb rw
31 30 0:41 / /home/ann/share rw,relatime shared:5 master:2 - nfs4 server:/x rw
32 30 0:42 / /home/ann/with\\040space rw - cifs //server/x rw
33 30 0:43 / /home/ann/ssh rw - fuse.sshfs ann@host:/ rw
34 31 0:44 / /home/ann/share/local rw - tmpfs tmpfs rw
35 22 0:45 / /mnt/c rw - 9p C: rw
36 22 0:46 / /over rw - nfs server:/y rw
37 36 0:47 / /over rw - ext4 /dev/vdc rw
38 22 0:48 / /under rw - ext4 /dev/vdd rw
39 38 0:49 / /under rw - smb3 //server/z rw
40 22 0:50 / /fuse rw - fuse.ext2 /dev/vde rw
not a line at all
41 22 - 
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/x", "ext4"),
        ("/home/ann/m.sqlite", "ext4"),
        ("/home/ann/share/m.sqlite", "nfs4"),
        ("/home/ann/shared/m.sqlite", "ext4"),
        ("/home/ann/share/local/deep/m.sqlite", "tmpfs"),
        ("/home/ann/with space/m.sqlite", "cifs"),
        ("/home/ann/ssh/new/folder/m.sqlite", "fuse.sshfs"),
        ("/mnt/c/m.sqlite", "9p"),
        ("/over/m.sqlite", "ext4"),
        ("/under/m.sqlite", "smb3"),
        ("/fuse/m.sqlite", "fuse.ext2"),
    ],
)
def test_the_longest_mount_point_counts_and_of_equal_ones_the_last(tmp_path, monkeypatch, path, kind):
    assert mounts.file_system(Path(path), INFO)[0] == kind
    (tmp_path / "mountinfo").write_text(INFO)
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "mountinfo")
    if kind in ("ext4", "tmpfs", "fuse.ext2"):
        mounts.refuse_network(Path(path))
    else:
        with pytest.raises(MemoryFault, match=rf"{kind} network file system.*local disk"):
            mounts.refuse_network(Path(path))


def test_a_memory_on_a_network_mount_is_refused_before_anything_is_made(tmp_path, monkeypatch, rec):
    share, local = tmp_path / "share", tmp_path / "local"
    with open_memory(local / "m.sqlite") as memory:
        memory.record([rec()])
    (tmp_path / "mountinfo").write_text(f"1 1 0:1 / / rw - ext4 x rw\n2 1 0:2 / {share} rw - nfs s:/ rw\n")
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "mountinfo")
    (tmp_path / "link").symlink_to(share)
    for path in (share / "m.sqlite", tmp_path / "link" / "m.sqlite"):
        for read_only in (True, False):
            with pytest.raises(MemoryFault, match="nfs network file system"):
                open_memory(path, read_only=read_only)
    assert not share.exists()
    with open_memory(local / "m.sqlite") as memory:
        assert memory.seq == 1
    monkeypatch.setattr(mounts, "MOUNTINFO", tmp_path / "absent")
    open_memory(share / "m.sqlite").close()


#: The tables of version 1, as they were released.
VERSION_1 = """
CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, record_id TEXT NOT NULL, payload TEXT NOT NULL,
    embedder TEXT NOT NULL, vector BLOB, sha256 BLOB NOT NULL);
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 0), seq INTEGER NOT NULL, sha256 BLOB NOT NULL);
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER events_remain BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
PRAGMA application_id = 1380338777;
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(tmp_path, rec):
    """A file of version 1 with events, and what it holds."""
    new, path = tmp_path / "new.sqlite", tmp_path / "old" / "m.sqlite"
    path.parent.mkdir()
    with open_memory(new) as memory:
        memory.record([rec("one"), rec("two")])
        memory.cite([next(memory.records()).id])
        digest = memory.content_digest()
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1)
        connection.execute("ATTACH ? AS new", (str(new),))
        connection.execute("INSERT INTO events SELECT * FROM new.events")
        connection.execute("INSERT INTO head SELECT * FROM new.head")
    connection.close()
    return path, digest


def version(path):
    connection = sqlite3.connect(path)
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found


def test_an_older_file_is_read_as_it_is_and_migrated_when_written(old, rec):
    path, digest = old
    before = path.read_bytes()
    with open_memory(path, read_only=True) as memory:
        assert memory.content_digest() == digest
    assert path.read_bytes() == before
    with open_memory(path) as memory:
        assert memory.content_digest() == digest
        memory.snapshot("new")
        memory.record([rec("three")])
    assert version(path) == sqlite.SCHEMA_VERSION
    copy = Path(f"{path}.v1")
    assert version(copy) == 1
    with open_memory(copy, read_only=True) as memory:
        assert memory.content_digest() == digest
    assert {file.name for file in path.parent.iterdir()} == {"m.sqlite", "m.sqlite.v1"}


def test_several_versions_are_passed_in_order(old, monkeypatch):
    path, digest = old
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 4)
    steps = {1: (), 2: ("CREATE TABLE notes (text TEXT)",), 3: ("INSERT INTO notes VALUES ('third')", "ALTER TABLE notes RENAME TO words")}
    monkeypatch.setattr(migrate, "MIGRATIONS", steps)
    with open_memory(path) as memory:
        assert memory.content_digest() == digest
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT text FROM words").fetchall() == [("third",)]
    connection.close()
    assert version(path) == 4
    assert version(f"{path}.v1") == 1
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 3)
    with pytest.raises(MemoryFault, match="schema version 4"):
        open_memory(path)


def test_a_migration_that_fails_changes_nothing(old, monkeypatch):
    path, digest = old
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(migrate, "MIGRATIONS", {1: ("CREATE TABLE notes (text TEXT)",), 2: ("INSERT INTO nowhere VALUES (1)",)})
    with pytest.raises(MemoryFault, match="nowhere"):
        open_memory(path)
    assert version(path) == 1
    with open_memory(path, read_only=True) as memory:
        assert memory.content_digest() == digest
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'notes'").fetchall() == []
    connection.close()


@pytest.fixture
def killed(tmp_path, rec):
    """A folder as a killed writer leaves it, and how to copy it: the newest events are in the log only."""
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        for number in range(12):
            memory.record([rec(f"line {number}")])
        files = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal", "-shm")}
        digest = memory.content_digest()

    def make(name, **changed):
        copy = tmp_path / name / "m.sqlite"
        copy.parent.mkdir()
        for suffix, data in {**files, **changed}.items():
            if data is not None:
                Path(f"{copy}{suffix}").write_bytes(data)
        return copy

    return files, digest, make


def test_a_lost_log_is_noticed(killed):
    files, digest, make = killed
    for number, log in enumerate((None, b"", files["-wal"][:31], files["-wal"][:-1], files["-wal"][: len(files["-wal"]) // 2])):
        copy = make(str(number), **{"-wal": log})
        for read_only in (True, False, True):
            with pytest.raises(MemoryFault, match=r"-wal.*delete .*-shm"):
                open_memory(copy, read_only=read_only)
        Path(f"{copy}-shm").unlink()
        with open_memory(copy) as memory:
            assert memory.content_digest() != digest
    with open_memory(make("whole")) as memory:
        assert memory.content_digest() == digest


def test_every_changed_byte_of_the_log_is_noticed(killed):
    files, digest, make = killed
    log = files["-wal"]
    copy = make("changed")
    for place in [*range(56), *range(56, len(log), 997), len(log) - 1]:
        Path(f"{copy}-wal").write_bytes(log[:place] + bytes([log[place] ^ 4]) + log[place + 1 :])
        with pytest.raises(MemoryFault, match="-wal"):
            open_memory(copy, read_only=place % 2 == 0)
    Path(f"{copy}-wal").write_bytes(log)
    with open_memory(copy) as memory:
        assert memory.content_digest() == digest


def test_a_log_that_was_copied_into_the_file_may_go(tmp_path, rec):
    path, copy = tmp_path / "m.sqlite", tmp_path / "copy.sqlite"
    with open_memory(path) as memory:
        memory.record([rec("kept")])
        memory._replica.journal._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        digest = memory.content_digest()
        shutil.copy(path, copy)
        shutil.copy(f"{path}-shm", f"{copy}-shm")
    with open_memory(copy) as memory:
        assert memory.content_digest() == digest


def test_others_may_begin_the_log_anew_while_it_is_checked(tmp_path, rec):
    """Opened again and again while a writer goes on and checkpoints; none of it may look like damage."""
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        for number in range(60):
            memory.record([rec(f"line {number}")])
            if number % 7 == 0:
                memory._replica.journal._writer.execute(f"PRAGMA wal_checkpoint({('PASSIVE', 'RESTART', 'TRUNCATE')[number % 3]})")
            with open_memory(path, read_only=number % 2 == 0) as other:
                assert other.seq == number + 1
