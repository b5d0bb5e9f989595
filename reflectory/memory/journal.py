"""The journal: one append-only SQLite file, the only source of truth of a memory.

Every event carries a hash over its content and the hash of the event before; both are checked whenever an event is read. An append
returns after the commit has reached the disk (WAL, synchronous=FULL). The file must lie on a local file system: WAL does not work
over a network.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from reflectory.errors import MemoryFault
from reflectory.memory import sqlite
from reflectory.memory.events import GENESIS, KINDS, Event, EventKind, canonical, chain
from reflectory.memory.log import check_log
from reflectory.memory.mounts import refuse_network
from reflectory.memory.redact import Redactor
from reflectory.memory.steps import step

_COLUMNS = "seq, at, kind, record_id, payload, embedder, vector, sha256"


class Journal:
    """Append and read events. Not thread-safe: the owner locks. Several processes may open the same file.

    Args:
        path: The file, created with its folders when absent; None is a private journal in memory.
        read_only: Never write, never create a file.
        redact: Replace keys and tokens in what is appended.

    Attributes:
        redactor: What it found; None with `redact=False`.

    Raises:
        MemoryFault: See `reflectory.memory.sqlite`, `reflectory.memory.mounts` and `reflectory.memory.log`.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False, redact: bool = True) -> None:
        if path is None and read_only:
            msg = "a memory without a file starts empty, so opening it read-only makes no sense. Give a path or allow writing."
            raise MemoryFault(msg)
        if path is not None:
            refuse_network(path)
            check_log(path)
        self.read_only = read_only
        self.redactor = Redactor() if redact else None
        self.name = "in memory" if path is None else str(path)
        self._process = os.getpid()
        self._closed = False
        self._tail: tuple[int, bytes] | None = None  # newest event inside a running transaction
        self._writer = None if read_only else sqlite.open_writer(path)
        try:
            with self._connection() as connection, sqlite.faults(self.name):
                sqlite.quick_check(connection, self.name)
        except BaseException:
            self.close()
            raise

    def read(self, after: int, before: bytes) -> list[Event]:
        """All events after a known one, checked.

        Args:
            after: Position of the last known event; 0 for none.
            before: Its hash.

        Returns:
            Events after + 1, after + 2, … up to the newest.

        Raises:
            MemoryFault: An event is missing or changed, or the journal is another one than before.
        """
        with self._connection() as connection, sqlite.faults(self.name):
            # Head first: what is appended after this moment is left for the next read, so no transaction is needed.
            newest, digest = self._head(connection)
            if newest == after and digest == before:
                return []
            rows = connection.execute(f"SELECT {_COLUMNS} FROM events WHERE seq > ? AND seq <= ? ORDER BY seq", (after, newest))
            events: list[Event] = []
            for row in rows:
                events.append(self._checked(row, after + len(events) + 1, events[-1].sha256 if events else before))
        last = events[-1] if events else None
        if last is None or last.seq != newest or last.sha256 != digest:
            raise self._damaged(newest, "the newest event is missing or another file has taken this one's place")
        return events

    def fetch(self, seqs: Sequence[int]) -> list[Event]:
        """Single events, each checked against the hash of the one before it.

        Args:
            seqs: Positions that exist.

        Raises:
            MemoryFault: An event is missing or changed.
        """
        events: list[Event] = []
        with self._connection() as connection, sqlite.faults(self.name):
            for seq in seqs:
                rows = connection.execute(f"SELECT {_COLUMNS} FROM events WHERE seq IN (?, ?) ORDER BY seq", (seq - 1, seq)).fetchall()
                if len(rows) != (1 if seq == 1 else 2):
                    raise self._damaged(seq, "it is missing")
                events.append(self._checked(rows[-1], seq, rows[0][7] if seq > 1 else GENESIS))
        return events

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is running."""
        return self._tail is not None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock; all appends inside become durable together at the end, or none of them.

        A transaction inside another becomes durable with the outer one; when it fails, its own appends are taken back.

        Raises:
            MemoryFault: Read-only, locked too long, disk full.
        """
        if self._writer is None:
            msg = f"the memory {self.name} is open read-only. Open it with read_only=False to write."
            raise MemoryFault(msg)
        faults = partial(sqlite.faults, self.name)  # around our own statements only: what fails inside is the caller's
        with self._connection() as connection:
            tail = self._tail
            with faults():
                connection.execute("BEGIN IMMEDIATE" if tail is None else "SAVEPOINT nested")
            try:
                step("transaction.begun")
                with faults():
                    self._tail = tail or self._head(connection)
                yield
                step("transaction.commit")
                with faults():
                    connection.execute("COMMIT" if tail is None else "RELEASE nested")
            except BaseException:
                self._tail = tail
                if connection.in_transaction:  # some errors make SQLite itself roll back everything
                    for statement in ("ROLLBACK",) if tail is None else ("ROLLBACK TO nested", "RELEASE nested"):
                        with faults():
                            connection.execute(statement)
                raise
            finally:
                if tail is None:
                    self._tail = None
            step("transaction.committed")

    def append(self, kind: EventKind, record_id: str, payload: dict[str, Any], *, embedder: str = "", vector: bytes | None = None) -> Event:
        """Add one event inside a transaction.

        Args:
            kind: What happened.
            record_id: The record it is about, "" for several.
            payload: JSON values; keys and tokens in it are replaced.
            embedder: Id of the embedder that made `vector`.
            vector: Little-endian float32.

        Returns:
            The event as stored; durable once the transaction ends.

        Raises:
            MemoryFault: No transaction, payload without JSON form, or SQLite refused.
        """
        if self._tail is None or self._writer is None or not self._writer.in_transaction:
            msg = "append needs a running transaction: use `with journal.transaction():`."
            raise MemoryFault(msg)
        seq, before = self._tail
        text = canonical(payload if self.redactor is None else self.redactor.payload(payload))
        row = (seq + 1, time.time_ns() // 1000, str(kind), record_id, text, embedder, vector)
        digest = chain(before, row)
        with sqlite.faults(self.name):
            step("append.insert")
            self._writer.execute(f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, digest))
            step("append.head")
            self._writer.execute("UPDATE head SET seq = ?, sha256 = ?", (seq + 1, digest))
        self._tail = (seq + 1, digest)
        # The payload as a reader will get it: tuples have become lists.
        return Event(row[0], row[1], kind, record_id, json.loads(text), digest, embedder, vector)

    def newest_embedder(self) -> str:
        """Id of the embedder that made the newest vector; "" without vectors.

        Raises:
            MemoryFault: The file cannot be read.
        """
        with self._connection() as connection, sqlite.faults(self.name):
            row = connection.execute("SELECT embedder FROM events WHERE embedder != '' ORDER BY seq DESC LIMIT 1").fetchone()
        return "" if row is None else str(row[0])

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        self._closed = True
        if self._writer is not None:
            self._writer.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self.check_open()
        if self._writer is not None:
            yield self._writer
        else:
            with sqlite.open_reader(Path(self.name)) as connection:
                yield connection

    def check_open(self) -> None:
        """Refuse use after `close`, and in a forked process.

        Raises:
            MemoryFault: Either is the case.
        """
        if self._closed:
            msg = f"the memory {self.name} is closed. Open it again with open_memory."
            raise MemoryFault(msg)
        if os.getpid() != self._process:  # SQLite connections do not survive a fork: locks and pages would be shared
            msg = f"the memory {self.name} was opened in another process. Open it anew in each process."
            raise MemoryFault(msg)

    def _head(self, connection: sqlite3.Connection) -> tuple[int, bytes]:
        rows = connection.execute("SELECT seq, sha256 FROM head").fetchall()
        if len(rows) != 1 or not isinstance(rows[0][0], int) or not isinstance(rows[0][1], bytes):
            raise self._damaged(0, "the row that names the newest event is unreadable")
        return rows[0][0], rows[0][1]

    def _checked(self, row: tuple[Any, ...], seq: int, before: bytes) -> Event:
        content, digest = row[:7], row[7]
        try:
            if row[0] != seq or chain(before, cast(Any, content)) != digest or row[2] not in KINDS:
                raise self._damaged(seq, "its content does not match its hash")
            payload = json.loads(row[4])
        except (TypeError, ValueError, AttributeError) as error:
            raise self._damaged(seq, str(error)) from error
        return Event(row[0], row[1], row[2], row[3], payload, digest, row[5], row[6])

    def _damaged(self, seq: int, why: str) -> MemoryFault:
        return MemoryFault(f"the memory {self.name} is damaged at event {seq}: {why}. Restore a copy; nothing was changed.")
