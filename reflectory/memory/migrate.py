"""Bringing a journal's file from an older schema to this one: forward only, in one transaction, after a copy."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from reflectory.memory.steps import step

#: Version → the SQL that makes the next one of it. Events are never rewritten: their hashes hold for ever.
MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {1: ()}  # 2 brought kinds of events, the tables stayed


def migrate(connection: sqlite3.Connection, path: Path, target: int) -> None:
    """Apply what is missing. The file as it was is kept beside as PATH.vVERSION.

    A kill leaves the old file or the new one, never something between.

    Args:
        connection: To the file, outside of a transaction.
        path: The file.
        target: The version wanted; at least that of the file.

    Raises:
        sqlite3.Error: SQLite refused; the file is as it was.
        OSError: The copy cannot be written; the file is as it was.
    """
    if version_of(connection) == target:
        return
    connection.execute("BEGIN IMMEDIATE")  # from here on nobody else writes, so the copy is what is migrated
    try:
        version = version_of(connection)
        if version != target:
            _copy(path, Path(f"{path}.v{version}"))
        for number in range(version, target):
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
                step("migrate.statement")
            connection.execute(f"PRAGMA user_version = {number + 1}")
        step("migrate.commit")
        connection.execute("COMMIT")
        step("migrate.committed")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version a file says it has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _copy(path: Path, copy: Path) -> None:
    part = Path(f"{copy}.part")
    part.unlink(missing_ok=True)
    step("migrate.copy")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    step("migrate.copied")
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(copy)
    step("migrate.kept")
