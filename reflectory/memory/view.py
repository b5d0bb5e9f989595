"""The state of all records at any journal position, kept up to date event by event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectory.memory.corpus import Corpus
from reflectory.memory.events import GENESIS, Correction, Event, standing
from reflectory.memory.history import History as History
from reflectory.memory.history import Records, Selection, Table
from reflectory.memory.items import Items
from reflectory.memory.state import State, advance
from reflectory.records import Query, Record


def search_text(record: Record) -> str:
    """What is searched and embedded: the situations it helps in, then the text itself."""
    return f"{record.when_to_use}\n{record.body}" if record.when_to_use else record.body


class View:
    """What the journal says, by record and by key. Not thread-safe: the owner locks.

    Reading at an old position costs the same as reading the newest: every record keeps all its states.

    Args:
        corpus: Takes the texts.
        fetch: Reads single events again; needed to undo.

    Attributes:
        seq: Position of the last applied event.
        digest: Its hash.
        histories: By record id, in order of arrival.
        corrections: Undos and rollbacks, oldest first.
        snapshots: Named positions: (position of the event, name, position it names), oldest first.
        weights: By name of what was learned, its versions: (position, payload), oldest first.
        items: What stores look up and search, as after the newest event.
    """

    def __init__(self, corpus: Corpus, fetch: Callable[[Sequence[int]], list[Event]]) -> None:
        self.seq = 0
        self.digest = GENESIS
        self.histories: dict[str, History] = {}
        self.corrections: list[Correction] = []
        self.snapshots: list[tuple[int, str, int]] = []
        self.weights: defaultdict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        self.items = Items(corpus)
        self._corpus = corpus
        self._fetch = fetch
        self._rows: dict[int, int] = {}  # position of a text's event → row in the corpus
        self._table = Table()
        self._places: dict[str, int] = {}
        self._by_task: defaultdict[str, list[int]] = defaultdict(list)
        self._by_situation: defaultdict[str, list[int]] = defaultdict(list)

    def apply(self, event: Event) -> None:
        """Take in the next event.

        Raises:
            MemoryFault: Its payload is not of a known form.
        """
        if event.kind in ("undo", "rollback"):
            self.corrections.append(Correction(event.seq, event.kind, event.payload["seq"]))
        elif event.kind == "weights":
            self.weights[event.payload["name"]].append((event.seq, event.payload))
        elif event.kind == "snapshot":
            self.snapshots.append((event.seq, event.payload["name"], event.payload["seq"]))
        for record_id in event.touched():
            history = self.histories.get(record_id)
            if event.kind == "undo" and history is not None:
                state = self._fold(history, record_id)
            elif event.kind == "rollback" and history is not None:
                state = history.state(event.payload["seq"])
            else:
                state = advance(history.state(self.seq) if history is not None else None, event, record_id)
            row = self._keep_text(event, state)
            if history is None:
                history = self.histories[record_id] = History(record_id)
                if state is not None:
                    self._file(history, event.seq, state.fields)
            history.push(event, state)
            if event.kind != "cite" and record_id in self._places:
                self._table.set(self._places[record_id], event.seq, active=_active(state), row=row)
                self.items.follow(record_id, state if _active(state) else None)
        self.seq, self.digest = event.seq, event.sha256

    def select(self, query: Query, seq: int) -> Selection:
        """The records a query may see at a position.

        Scope `task` and `house` compare keys exactly; an empty key in the query matches nothing, because "" is no task and no place.

        Args:
            query: Namespace, scope, keys and kinds count; text and k do not.
            seq: Journal position, at most `self.seq`.

        Returns:
            The active ones, by ascending row.
        """
        table = self._table
        places = table.allowed(query, self._scope(query))
        rows = table.row.values[places]
        if seq >= self.seq:
            visible = table.active.values[places]
        else:
            same = table.changed.values[places] <= seq
            visible = same & table.active.values[places]
            for at in np.flatnonzero(~same & (table.born.values[places] <= seq)).tolist():
                state = table.histories[places[at]].state(seq)
                if state is not None and _active(state):
                    visible[at], rows[at] = True, self._rows[state.text]
        places, rows = places[visible], rows[visible]
        order = np.argsort(rows)
        return Selection(rows[order], Records([table.histories[place] for place in places[order].tolist()], seq))

    def all(self, namespace: tuple[str, ...], seq: int) -> Iterator[tuple[Record, State]]:
        """Every record at or below a namespace at a position, of any status, in order of arrival."""
        for history in self.histories.values():
            record, state = history.record(seq), history.state(seq)
            if record is not None and state is not None and record.namespace[: len(namespace)] == namespace:
                yield record, state

    def _scope(self, query: Query) -> NDArray[np.intp] | None:
        """Places of the records in a query's scope, ascending; None is all."""
        if query.scope == "all":
            return None
        found: Sequence[int] = ()
        if query.scope == "task" and query.task_key:
            found = self._by_task.get(query.task_key, ())
        elif query.scope == "house" and query.situation_key:
            found = self._by_situation.get(query.situation_key, ())
        return np.array(found, dtype=np.intp)

    def _file(self, history: History, seq: int, fields: Mapping[str, Any]) -> None:
        place = self._places[history.id] = self._table.add(history, seq, fields)
        self._by_task[fields.get("task_key", "")].append(place)
        self._by_situation[fields.get("situation_key", "")].append(place)

    def _keep_text(self, event: Event, state: State | None) -> int:
        """Take in a text that is new; returns the row of the state's text, 0 without a state."""
        if state is None:
            return 0
        row = self._rows.get(state.text)
        if row is None:
            own = event.seq == state.text
            vector = event.embedding() if own else None
            body, when = state.fields["body"], state.fields.get("when_to_use", "")
            row = self._rows[state.text] = self._corpus.add(f"{when}\n{body}" if when else body, event.embedder, vector)
            if state.item is not None:
                self.items.keep(state, row, event.embedder, vector)
        return row

    def _fold(self, history: History, record_id: str) -> State | None:
        """The state from the events that count, after the newest correction."""
        stands = standing(reversed(self.corrections), self.corrections[-1].seq)
        state: State | None = None
        for event in self._fetch([seq for seq in history.events if stands.counts(seq)]):
            if event.kind not in ("undo", "rollback"):
                state = advance(state, event, record_id)
        return state


def _active(state: State | None) -> bool:
    return state is not None and state.fields.get("status", "active") == "active"
