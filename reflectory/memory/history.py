"""All states of every record, and the columns that selecting reads."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.memory.columns import Column, Paths
from reflectory.memory.events import Event
from reflectory.memory.state import State
from reflectory.records import Query, Record

#: Events that do not make a new revision.
QUIET = frozenset({"cite", "touch"})


class History:
    """All states of one record.

    Attributes:
        id: The record's id.
        events: Positions of every event that touched it.
    """

    __slots__ = ("_cached", "_revisions", "_states", "events", "id")

    def __init__(self, record_id: str) -> None:
        self.id = record_id
        self.events: list[int] = []
        self._states: list[State | None] = []
        self._revisions: list[int] = []
        self._cached: tuple[int, Record | None] = (-1, None)

    def push(self, event: Event, state: State | None) -> None:
        """Append the state after an event."""
        before = self._revisions[-1] if self._revisions else 0
        self.events.append(event.seq)
        self._states.append(state)
        self._revisions.append(before + (event.kind not in QUIET))

    def state(self, seq: int) -> State | None:
        """The state after event `seq`."""
        place = self._place(seq)
        return None if place < 0 else self._states[place]

    def last(self) -> State | None:
        """The newest state that is one: a forgotten record's before it was forgotten."""
        return next((state for state in reversed(self._states) if state is not None), None)

    def record(self, seq: int) -> Record | None:
        """The record after event `seq`, with revision, counters and the position of its last event."""
        place = self._place(seq)
        if place < 0:
            return None
        if self._cached[0] != place:
            state = self._states[place]
            self._cached = (place, None if state is None else state.build(self._revisions[place], self.events[place]))
        return self._cached[1]

    def _place(self, seq: int) -> int:
        return len(self.events) - 1 if self.events[-1] <= seq else bisect_right(self.events, seq) - 1


class Records(Sequence[Record]):
    """The records of some histories at a position, each built when it is looked at.

    Args:
        histories: In order.
        seq: The position; all exist there.
    """

    def __init__(self, histories: Sequence[History], seq: int) -> None:
        self.histories = histories
        self._seq = seq

    def __len__(self) -> int:
        return len(self.histories)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        if isinstance(place, slice):
            return Records(self.histories[place], self._seq)
        record = self.histories[place].record(self._seq)
        if record is None:  # a selection holds what exists; a later rollback of the whole view would be a fault of the owner
            msg = f"the record {self.histories[place].id!r} does not exist at position {self._seq}."
            raise MemoryFault(msg)
        return record


class Selection(NamedTuple):
    """What a query may see.

    Attributes:
        rows: Rows in the corpus, ascending, shape (n,).
        records: The record of each row.
    """

    rows: NDArray[np.intp]
    records: Records


class Table:
    """What selecting reads, by record in order of arrival; text and status as after the newest event."""

    def __init__(self) -> None:
        self.histories: list[History] = []
        self.paths = Paths()
        self.kinds = Paths()
        self.born: Column[np.int64] = Column(np.int64)  # position of the first event
        self.changed: Column[np.int64] = Column(np.int64)  # position of the last event that could change a selection
        self.active: Column[np.bool_] = Column(np.bool_)
        self.row: Column[np.int64] = Column(np.int64)
        self.path: Column[np.int32] = Column(np.int32)
        self.kind: Column[np.int8] = Column(np.int8)

    def add(self, history: History, seq: int, fields: Mapping[str, Any]) -> int:
        """A new record; returns its place."""
        self.histories.append(history)
        self.path.append(self.paths.code(tuple(fields["namespace"])))
        self.kind.append(self.kinds.code((fields["kind"],)))
        for column in (self.changed, self.active, self.row):
            column.extend(1)
        return self.born.append(seq)

    def set(self, place: int, seq: int, *, active: bool, row: int) -> None:
        """What a record has become."""
        self.changed[place], self.active[place], self.row[place] = seq, active, row

    def allowed(self, query: Query, places: NDArray[np.intp] | None) -> NDArray[np.intp]:
        """Which records have the right namespace and kind, of some or of all."""
        chosen: Any = slice(None) if places is None else places
        mask = self.paths.below(query.namespace)[self.path.values[chosen]]
        if query.kinds:
            right = np.array([name[0] in query.kinds for name in self.kinds.names], dtype=np.bool_)
            mask = mask & right[self.kind.values[chosen]]
        found = np.flatnonzero(mask)
        return found if places is None else places[found]
