"""How a run meets memory: staged in an evaluation and committed in order of the tasks, so that workers cannot change the result."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reflectory.protocols import Memory
from reflectory.records import Hit, Query, Record
from reflectory.runs.sqlite import connect, effect_get, effect_put

Operation = dict[str, Any]


class StagedMemory:
    """Reads a memory and keeps what should be written, as JSON values, until the trial's result line carries it to disk.

    Args:
        memory: The memory to read.
    """

    #: Says that a write is not an effect yet: a trial that starts again after a kill must stage it again.
    staged = True

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.operations: list[Operation] = []

    def recall(self, query: Query) -> list[Hit]:
        """The records that fit best, best first."""
        return self._memory.recall(query)

    def record(self, records: Sequence[Record]) -> list[Record]:
        """Keep candidate records for the commit; returns them as they are."""
        self.operations.append({"record": [record.model_dump(mode="json", exclude_defaults=True) for record in records]})
        return list(records)

    def cite(self, ids: Sequence[str], *, shown: Sequence[str] = (), helped: bool | None = None) -> None:
        """Keep the citation for the commit."""
        self.operations.append({"cite": {"ids": list(ids), "shown": list(shown), "helped": helped}})

    def audit(self, record_id: str) -> list[dict[str, Any]]:
        """Every event that touched a record, oldest first."""
        return self._memory.audit(record_id)


def commit(memory: Memory, staged: Sequence[tuple[str, Sequence[Operation]]], ledger: Path) -> None:
    """Write staged operations, each exactly once also when the commit is killed and done again: all records, then all citations.

    A record is known by its content and source, so writing it again changes nothing. A citation is not: the ledger notes the journal
    position before each one, and a journal that has moved on since then has the citation already. A memory without positions gets each
    citation at most once.

    Args:
        memory: The memory to write.
        staged: (trial's identity, its operations), in the order to write.
        ledger: SQLite file of the run that notes what is done.
    """
    connection = connect(ledger, durable=False)
    try:
        written = [item for _, operations in staged for operation in operations for item in operation.get("record", ())]
        memory.record([Record.model_validate(item) for item in written])
        for name, operations in staged:
            for number, operation in enumerate(operations):
                if "cite" in operation:
                    _cite_once(memory, operation["cite"], f"{name}/{number}", connection)
    finally:
        connection.close()


def _cite_once(memory: Memory, call: Mapping[str, Any], key: str, connection: sqlite3.Connection) -> None:
    position: int | None = getattr(memory, "seq", None)
    before = effect_get(connection, key)
    if before is not None and (position is None or position > before[0]):
        return
    effect_put(connection, key, position)
    memory.cite(call["ids"], shown=call["shown"], helped=call["helped"])


class Effects:
    """Side effects by key, each done once per run, also after a kill; behind `RunContext.once`.

    Args:
        path: SQLite file of the run; made at the first effect.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self, key: str, act: Callable[[], Awaitable[Any]]) -> Any:
        """The stored result of the effect, which is done now when it never was."""
        connection = connect(self._path)
        try:
            known = effect_get(connection, key)
            if known is not None:
                return known[0]
            result = await act()
            effect_put(connection, key, result)
            return result
        finally:
            connection.close()
