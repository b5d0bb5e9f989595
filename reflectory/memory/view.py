"""The state of all records at any journal position, kept up to date event by event."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from reflectory.memory.corpus import Corpus
from reflectory.memory.events import GENESIS, Event
from reflectory.memory.state import State, advance
from reflectory.records import Query, Record


def search_text(record: Record) -> str:
    """What is searched and embedded: the situations it helps in, then the text itself."""
    return f"{record.when_to_use}\n{record.body}" if record.when_to_use else record.body


class History:
    """All states of one record.

    Attributes:
        events: Positions of every event that touched it.
    """

    __slots__ = ("_cached", "_revisions", "_seqs", "_states", "events")

    def __init__(self) -> None:
        self.events: list[int] = []
        self._seqs: list[int] = []
        self._states: list[State | None] = []
        self._revisions: list[int] = []
        self._cached: tuple[int, Record | None] = (-1, None)

    def push(self, event: Event, state: State | None) -> None:
        """Append the state after an event."""
        before = self._revisions[-1] if self._revisions else 0
        self.events.append(event.seq)
        self._seqs.append(event.seq)
        self._states.append(state)
        self._revisions.append(before + (event.kind != "cite"))

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
            self._cached = (place, self._build(place))
        return self._cached[1]

    def _place(self, seq: int) -> int:
        return len(self._seqs) - 1 if self._seqs[-1] <= seq else bisect_right(self._seqs, seq) - 1

    def _build(self, place: int) -> Record | None:
        state = self._states[place]
        if state is None:
            return None
        shown, cited, helped, harmed = state.counts
        update = {"shown": shown, "cited": cited, "helped": helped, "harmed": harmed}
        return state.record.model_copy(update={**update, "revision": self._revisions[place], "seq": self._seqs[place]})


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
        undone: Positions of undone events.
        weights: By name of what was learned, its versions: (position, payload), oldest first.
    """

    def __init__(self, corpus: Corpus, fetch: Callable[[Sequence[int]], list[Event]]) -> None:
        self.seq = 0
        self.digest = GENESIS
        self.histories: dict[str, History] = {}
        self.undone: set[int] = set()
        self.weights: defaultdict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        self._corpus = corpus
        self._fetch = fetch
        self._rows: dict[int, int] = {}  # position of a text's event → row in the corpus
        self._by_task: defaultdict[str, list[History]] = defaultdict(list)
        self._by_situation: defaultdict[str, list[History]] = defaultdict(list)
        self._by_namespace: defaultdict[tuple[str, ...], list[History]] = defaultdict(list)

    def apply(self, event: Event) -> None:
        """Take in the next event.

        Raises:
            MemoryFault: Its payload is not of a known form.
        """
        if event.kind == "undo":
            self.undone.add(event.payload["seq"])
        elif event.kind == "weights":
            self.weights[event.payload["name"]].append((event.seq, event.payload))
        for record_id in event.touched():
            history = self.histories.get(record_id)
            if event.kind == "undo" and history is not None:
                state = self._fold(history, record_id)
            elif event.kind == "rollback" and history is not None:
                state = history.state(event.payload["seq"])
            else:
                state = advance(history.state(self.seq) if history is not None else None, event, record_id)
            self._keep_text(event, state)
            if history is None:
                history = self.histories[record_id] = History()
                if state is not None:
                    self._file(history, state.record)
            history.push(event, state)
        self.seq, self.digest = event.seq, event.sha256

    def select(self, query: Query, seq: int) -> list[tuple[int, Record]]:
        """The records a query may see at a position.

        Scope `task` and `house` compare keys exactly; an empty key in the query matches nothing, because "" is no task and no place.

        Args:
            query: Namespace, scope, keys and kinds count; text and k do not.
            seq: Journal position, at most `self.seq`.

        Returns:
            (row in the corpus, record), by ascending row.
        """
        found: list[tuple[int, Record]] = []
        depth, namespace, kinds = len(query.namespace), query.namespace, query.kinds
        for history in self._candidates(query):
            state = history.state(seq)
            if state is None or state.record.status != "active" or state.record.namespace[:depth] != namespace:
                continue
            if kinds and state.record.kind not in kinds:
                continue
            record = history.record(seq)
            if record is not None:
                found.append((self._rows[state.text], record))
        found.sort(key=lambda pair: pair[0])
        return found

    def all(self, namespace: tuple[str, ...], seq: int) -> Iterator[tuple[Record, State]]:
        """Every record at or below a namespace at a position, of any status, in order of arrival."""
        for history in self.histories.values():
            record, state = history.record(seq), history.state(seq)
            if record is not None and state is not None and record.namespace[: len(namespace)] == namespace:
                yield record, state

    def _candidates(self, query: Query) -> Sequence[History]:
        if query.scope == "task":
            return self._by_task.get(query.task_key, ()) if query.task_key else ()
        if query.scope == "house":
            return self._by_situation.get(query.situation_key, ()) if query.situation_key else ()
        if query.scope == "none":
            return ()
        depth = len(query.namespace)
        return [history for namespace, part in self._by_namespace.items() if namespace[:depth] == query.namespace for history in part]

    def _file(self, history: History, record: Record) -> None:
        self._by_task[record.task_key].append(history)
        self._by_situation[record.situation_key].append(history)
        self._by_namespace[record.namespace].append(history)

    def _keep_text(self, event: Event, state: State | None) -> None:
        if state is not None and state.text not in self._rows:
            vector = event.embedding() if event.seq == state.text else None
            self._rows[state.text] = self._corpus.add(search_text(state.record), event.embedder, vector)

    def _fold(self, history: History, record_id: str) -> State | None:
        state: State | None = None
        for event in self._fetch([seq for seq in history.events if seq not in self.undone]):
            if event.kind == "rollback":
                state = history.state(event.payload["seq"])
            elif event.kind != "undo":
                state = advance(state, event, record_id)
        return state
