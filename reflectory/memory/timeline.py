"""The journal as a history: what was learned by when, named positions, differences, ways back, and the search for a harmful event."""

from __future__ import annotations

import contextlib
import copy
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from reflectory.errors import MemoryFault
from reflectory.memory.export import content_of
from reflectory.memory.history import History
from reflectory.memory.reader import Reader, tell

#: Fields that `diff` reports apart from `changed`, or not at all because every event moves them.
COUNTERS = ("shown", "cited", "helped", "harmed")
_APART = frozenset({*COUNTERS, "id", "revision", "seq", "status"})
#: The groups of writes that the running task is inside of. A thread would not do: all tasks of an event loop share one.
_GROUPS: ContextVar[frozenset[object]] = ContextVar("together", default=frozenset())


class Timeline(Reader):
    """Operations on a memory's history; `reflectory.memory.JournalMemory` has them.

    A position is a journal position or the name of a snapshot. Nothing here removes anything: undo and rollback are events, reading at
    an earlier position is unaffected by them.
    """

    _group: object | None = None  # stands for the running `together`; written under the replica's lock

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make all writes inside durable together at its end, or none of them when it is left by an error.

        The write lock is held until then, so keep it short and do not wait inside. May be nested; a single call that fails inside
        takes back its own writes only. It belongs to the task that entered it and to those begun inside: another task of the same
        event loop that awaits a store's `aput` meanwhile waits, and its own `together` is refused.

        Raises:
            MemoryFault: Read-only, locked too long, disk full, damaged, or another task of this thread is inside.
        """
        with self._replica.writing():
            if self._group is not None and not self.inside:
                msg = "another task of this thread is inside `together`, and could take back what is written here. Wait for it."
                raise MemoryFault(msg)
            before, outer = _GROUPS.get(), self._group
            self._group = outer or object()
            _GROUPS.set(before | {self._group})
            try:
                yield
            finally:
                self._group = outer
                _GROUPS.set(before)

    @property
    def inside(self) -> bool:
        """Whether this task, or the one it was begun by, is inside `together`."""
        return self._group is not None and self._group in _GROUPS.get()

    def learn(self, name: str, payload: Any) -> int:
        """Keep what was learned (a ranker's weights, a statistic) under a name; earlier versions stay readable.

        Args:
            name: Which thing, for example "ranker".
            payload: JSON values, vectors as lists of floats.

        Returns:
            The position of this version.

        Raises:
            MemoryFault: An empty name, no JSON form, or the journal cannot be written.
        """
        if not name.strip():
            msg = "what is learned needs a name to be found by. Give one, for example learn('ranker', …)."
            raise MemoryFault(msg)
        with self._replica.writing():
            self._replica.append("weights", "", {"name": name, "value": payload})
            return self._replica.view.seq

    def learned(self, name: str, as_of: int | str | None = None) -> Any:
        """The newest version of what was learned under a name; undone and rolled back ones do not count.

        Args:
            name: As given to `learn`.
            as_of: Position to read at; None is the newest.

        Returns:
            The payload, a copy; None when nothing was learned under that name by then.

        Raises:
            MemoryFault: No such position.
        """
        with self._replica.lock:
            seq = self.position(as_of)
            stands = self._standing(seq)
            versions = reversed(self._replica.view.weights.get(name, []))
            payload = next((payload for at, payload in versions if at <= seq and stands.counts(at)), None)
            return None if payload is None else copy.deepcopy(payload["value"])

    def snapshot(self, name: str) -> int:
        """Give the current position a name. A name stays where it is; undo the event to free it.

        Returns:
            The position.

        Raises:
            MemoryFault: The name is empty, a number, or taken, or the journal cannot be written.
        """
        if not name.strip() or name.lstrip("+-").isdigit():
            msg = f"a snapshot cannot be called {name!r}: give a name with a letter in it."
            raise MemoryFault(msg)
        with self._replica.writing():
            known = self._names()
            if name in known:
                msg = f"the snapshot {name!r} stands at position {known[name]} already. Choose another name."
                raise MemoryFault(msg)
            seq = self._replica.view.seq
            self._replica.append("snapshot", "", {"name": name, "seq": seq})
            return seq

    def snapshots(self) -> dict[str, int]:
        """Names and positions of all snapshots, oldest first. A rollback keeps them."""
        with self._replica.lock:
            self._replica.position(None)
            return self._names()

    def diff(self, a: int | str, b: int | str | None = None) -> dict[str, Any]:
        """What is different at position `b` from position `a`.

        Args:
            a: Position or snapshot.
            b: Position or snapshot, also an earlier one; None is the newest.

        Returns:
            JSON values: `from` and `to` (positions); `added` and `removed`: records; `changed`: {id, fields: {name: {old, new}}}, with
            `lineage` and a store's `item` as fields; `status`: {id, old, new}; `counts`: {id, counter: {old, new}}; `learned`: names
            whose version differs.

        Raises:
            MemoryFault: No such position.
        """
        with self._replica.lock:
            start, end = self.position(a), self.position(b)
            found: dict[str, Any] = {"from": start, "to": end, "added": [], "removed": [], "changed": [], "status": [], "counts": []}
            low, high = sorted((start, end))
            for record_id, history in self._replica.view.histories.items():
                if bisect_right(history.events, low) != bisect_right(history.events, high):
                    _compare(record_id, _fields(history, start), _fields(history, end), found)
            names = self._replica.view.weights
            found["learned"] = sorted(name for name in names if self.learned(name, start) != self.learned(name, end))
            return found

    def rollback(self, to: int | str) -> int:
        """Make records and what was learned what they were at a position. An event like all others: it can be undone itself.

        Args:
            to: Position or snapshot. What was undone after it is not undone any more.

        Returns:
            The position of the rollback.

        Raises:
            MemoryFault: No such position, or the journal cannot be written.
        """
        with self._replica.writing():
            seq = self.position(to)
            touched = [record_id for record_id, history in self._replica.view.histories.items() if history.events[-1] > seq]
            self._replica.append("rollback", "", {"seq": seq, "records": touched})
            return self._replica.view.seq

    def undo(self, seq: int) -> None:
        """Make the records an event touched what they would be without it. Reading before this moment is unaffected.

        Args:
            seq: The event's position.

        Raises:
            MemoryFault: No such event, undone or rolled back already, or itself an undo.
        """
        with self._replica.writing():
            if not 1 <= seq <= self._replica.view.seq:
                msg = f"there is no event {seq}; the journal has 1 to {self._replica.view.seq}."
                raise MemoryFault(msg)
            event = self._replica.journal.fetch([seq])[0]
            stands = self._standing(self._replica.view.seq)
            gone = seq in self._freed() if event.kind == "snapshot" else not stands.counts(seq)
            if event.kind == "undo" or gone:
                why = "an undo" if event.kind == "undo" else "undone already" if seq in stands.undone else "rolled back already"
                msg = f"event {seq} is {why}. To have its effect again, write it again, or roll back to a position where it counted."
                raise MemoryFault(msg)
            self._replica.append("undo", "", {"seq": seq, "records": list(event.touched())})

    def bisect(self, fails: Callable[[int], bool], good: int | str = 0, bad: int | str | None = None) -> dict[str, Any]:
        """Find the event after which an agent fails.

        Args:
            fails: Says for a journal position whether the agent that reads there (`Query.as_of`) fails. Called about log2(bad - good)
                times, without a lock.
            good: A position where it does not fail.
            bad: A position where it fails; None is the newest.

        Returns:
            `seq`: the first position that fails, when the answers change once; `event`: as in `audit`; `records`: {id, before, after}
            of what the event touched; `calls`: how often `fails` was asked.

        Raises:
            MemoryFault: It fails at `good`, or does not fail at `bad`, or `good` does not lie before `bad`.
        """
        with self._replica.lock:
            low, high = self.position(good), self.position(bad)
        if low >= high:
            msg = f"there is nothing between {low} and {high}: `good` has to lie before `bad`."
            raise MemoryFault(msg)
        for position, wanted in ((low, False), (high, True)):
            if bool(fails(position)) != wanted:
                msg = f"the agent {'does not fail' if wanted else 'fails'} at position {position}, given as {'bad' if wanted else 'good'}."
                raise MemoryFault(f"{msg} Give a {'later' if wanted else 'good'} position, or look at the check: it may depend on chance.")
        calls = 2
        while high - low > 1:
            middle, calls = (low + high) // 2, calls + 1
            low, high = (low, middle) if fails(middle) else (middle, high)
        with self._replica.lock:
            event = self._replica.journal.fetch([high])[0]
            histories = {record_id: self._replica.history(record_id) for record_id in event.touched()}
            told = tell(event, self._standing(self.position(None)))
        records = [{"id": key, "before": _fields(item, high - 1), "after": _fields(item, high)} for key, item in histories.items()]
        return {"seq": high, "event": told, "records": records, "calls": calls}


def _fields(history: History, seq: int) -> dict[str, Any] | None:
    record, state = history.record(seq), history.state(seq)
    if record is None or state is None:
        return None
    item = {} if state.item is None else {"item": content_of(state.item)}
    return {**record.model_dump(mode="json"), "lineage": [[origin.kind, origin.source] for origin in state.lineage], **item}


def _compare(record_id: str, old: dict[str, Any] | None, new: dict[str, Any] | None, found: dict[str, Any]) -> None:
    if old is None or new is None:
        if old is not new:
            found["added" if old is None else "removed"].append(new if old is None else old)
        return
    differs = {name: {"old": old.get(name), "new": new.get(name)} for name in old | new if old.get(name) != new.get(name)}
    fields = {name: both for name, both in differs.items() if name not in _APART}
    counts = {name: both for name, both in differs.items() if name in COUNTERS}
    if fields:
        found["changed"].append({"id": record_id, "fields": fields})
    if "status" in differs:
        found["status"].append({"id": record_id, **differs["status"]})
    if counts:
        found["counts"].append({"id": record_id, **counts})
