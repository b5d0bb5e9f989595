"""Opening the journal's SQLite file: schema, version, and connections that read without leaving files behind."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from reflectory.errors import MemoryFault
from reflectory.memory import migrate
from reflectory.memory.events import GENESIS
from reflectory.memory.steps import step

APPLICATION_ID = 0x52464C59  # "RFLY"
#: Version 2 knows the events rollback, weights, snapshot and touch; version 1 would call a journal with them damaged.
SCHEMA_VERSION = 2
BUSY_SECONDS = 30.0
#: How often, and after how many seconds, a reader looks again when side files come or go under its hands.
ATTEMPTS = 20
PAUSE = 0.01

_SCHEMA = (
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, record_id TEXT NOT NULL, "
    "payload TEXT NOT NULL, embedder TEXT NOT NULL, vector BLOB, sha256 BLOB NOT NULL)",
    # One row with the newest event's place and hash: without it, events lost from the end could not be told from events never written.
    "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 0), seq INTEGER NOT NULL, sha256 BLOB NOT NULL)",
    "CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    "CREATE TRIGGER events_remain BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    f"PRAGMA application_id = {APPLICATION_ID}",
)


@contextlib.contextmanager
def faults(name: str) -> Iterator[None]:
    """Turn errors of SQLite and the file system into MemoryFault.

    Args:
        name: The file, for the message.
    """
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeError) as error:
        msg = (
            f"the memory {name} cannot be used: {error}. If the disk is full or the file is locked, mend that and try again: nothing "
            "acknowledged is lost. If the file is damaged or no memory at all, restore a copy."
        )
        raise MemoryFault(msg) from error


def open_writer(path: Path | None) -> sqlite3.Connection:
    """Connect for reading and writing; a new file gets the schema, a file of an older version is brought to this one.

    Args:
        path: The file; None is a private database in memory.

    Raises:
        MemoryFault: Not a memory, damaged, newer than this version, or not writable.
    """
    name = "in memory" if path is None else str(path)
    with faults(name):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path or ":memory:", timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            _harden(connection)
            _create(connection)
            check_version(connection, name)
            if path is not None:
                migrate.migrate(connection, path, SCHEMA_VERSION)
                step("open.log")
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Connect for reading only, without creating any file.

    SQLite wants to create the side files of a WAL database even for reading. So: with side files (someone writes, or was killed)
    they are used as they are, without (nobody writes) the file is read as it stands. Should a writer come in that very moment, the
    hashes of the journal turn a torn read into an error.

    Raises:
        MemoryFault: No such file, not a memory, damaged, or newer than this version.
    """
    if not path.is_file():
        msg = f"there is no memory at {path}. Check the path, or open it for writing once to create it."
        raise MemoryFault(msg)
    with faults(str(path)), contextlib.closing(_attach(path)) as connection:
        check_version(connection, str(path))
        yield connection


def _attach(path: Path) -> sqlite3.Connection:
    """Connect in the way the side files call for; again, when a writer that comes or goes changes them in between."""
    wal, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
    for attempt in range(1, ATTEMPTS + 1):
        if shared.exists():
            mode = "mode=ro&readonly_shm=1"
        elif not _size(wal):
            mode = "mode=ro&immutable=1"
        elif attempt < ATTEMPTS:
            time.sleep(PAUSE)
            continue
        else:
            break
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            _harden(connection)
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the first read opens the side files
        except sqlite3.Error as error:
            connection.close()
            if attempt == ATTEMPTS or error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            time.sleep(PAUSE)
        else:
            return connection
    msg = f"{path} was not closed and its -shm file is missing: its last events cannot be read without writing. Open it for writing once."
    raise MemoryFault(msg)


def check_version(connection: sqlite3.Connection, name: str) -> None:
    """Refuse what is not a memory of this version.

    Raises:
        MemoryFault: With what was found and what to do.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        msg = f"{name} is an SQLite file but not a memory of Reflectory (application id {application:#x}). Give the path of a memory."
        raise MemoryFault(msg)
    if version > SCHEMA_VERSION:
        msg = f"{name} has schema version {version}, this Reflectory reads up to {SCHEMA_VERSION}. Upgrade: pip install -U reflectory"
        raise MemoryFault(msg)
    if version < 1:
        msg = f"{name} has schema version {version}, which was never released: the file is damaged. Restore a copy."
        raise MemoryFault(msg)


def quick_check(connection: sqlite3.Connection, name: str) -> None:
    """Let SQLite look for structural damage.

    Raises:
        MemoryFault: With the first finding.
    """
    finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if finding != "ok":
        msg = f"the memory {name} is damaged: {finding}. Restore a copy."
        raise MemoryFault(msg)


def _create(connection: sqlite3.Connection) -> None:
    """Give an empty file the schema, in one transaction: two processes may create the file at the same moment."""
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
        step("create.schema")
        for statement in (*_SCHEMA, f"PRAGMA user_version = {SCHEMA_VERSION}"):
            connection.execute(statement)
            step("create.statement")
        connection.execute("INSERT INTO head VALUES (0, 0, ?)", (GENESIS,))
        step("create.commit")
    connection.execute("COMMIT")
    step("create.committed")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _harden(connection: sqlite3.Connection) -> None:
    # SQLite's own advice for files that may be damaged or hostile (sqlite.org/security.html).
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
