"""The run directory's SQLite file: effects done once, and the lease queue that feeds workers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TABLES = """
create table if not exists effects (key text primary key, value text not null);
create table if not exists jobs (task integer primary key, owner text);
"""


def connect(path: Path, *, durable: bool = True) -> sqlite3.Connection:
    """Open the file in WAL mode, made when absent; every statement commits by itself.

    Args:
        path: The file.
        durable: Survive a power cut; else only a kill, which costs no sync per statement.
    """
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
    connection.executescript(_TABLES)
    return connection


def effect_get(connection: sqlite3.Connection, key: str) -> tuple[Any] | None:
    """The stored value of an effect in a 1-tuple, or None when there is none."""
    row = connection.execute("select value from effects where key = ?", (key,)).fetchone()
    return None if row is None else (json.loads(row[0]),)


def effect_put(connection: sqlite3.Connection, key: str, value: Any) -> None:
    """Store the value (JSON) of an effect."""
    connection.execute("insert or replace into effects values (?, ?)", (key, json.dumps(value)))


class LeaseQueue:
    """The tasks of the current trial that wait for a worker.

    A worker leases tasks in its name; when it dies, the coordinator gives its leases back. The queue is filled anew from the
    results at the start of each trial, so it is never the truth about what is done.

    Args:
        path: The run directory's SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._connection = connect(path, durable=False)

    def fill(self, tasks: Iterable[int]) -> None:
        """Let exactly these task numbers wait."""
        with self._connection:
            self._connection.execute("begin immediate")
            self._connection.execute("delete from jobs")
            self._connection.executemany("insert into jobs (task) values (?)", [(task,) for task in tasks])

    def lease(self, owner: str) -> int | None:
        """The lowest waiting task number, now leased to `owner`; None when nothing waits."""
        row = self._connection.execute(
            "update jobs set owner = ? where task = (select min(task) from jobs where owner is null) returning task", (owner,)
        ).fetchone()
        return None if row is None else int(row[0])

    def done(self, task: int) -> None:
        """Take a finished task out."""
        self._connection.execute("delete from jobs where task = ?", (task,))

    def release(self, owner: str) -> int:
        """Give back what a dead worker had leased; returns how many tasks."""
        return self._connection.execute("update jobs set owner = null where owner = ?", (owner,)).rowcount

    def left(self) -> int:
        """How many tasks are not finished, leased ones included."""
        return int(self._connection.execute("select count(*) from jobs").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
