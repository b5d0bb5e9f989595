"""What a store keeps: items by namespace and key, their values as filter columns, and which vectors are theirs.

An item is a record of kind `fact` and origin `import` whose `add` event carries, beside the record:

    "item": {"key": "…", "value": {…}, "created": µs, "updated": µs, "ttl": minutes, "expires": µs, "texts": ["…", …]}

`value` is the whole value as JSON, so nothing is kept outside the journal. `ttl` and `expires` are absent without an end; a `touch` event
moves `expires`. `texts` are the indexed texts; absent means one, the record's body; `[]` means the item is not indexed. The event's vector
holds the vectors of all of them, one after the other. An update is a further `add` event of the same record, a delete a `forget` event.
What is here is derived from the states of the view, so undo and rollback hold for items as for all records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectory.memory.columns import Column, Paths
from reflectory.memory.corpus import Corpus
from reflectory.memory.filters import Field
from reflectory.memory.state import State

#: A value may be nested so deep: it is copied, cleaned and searched by functions that call themselves.
DEEPEST = 100
#: Minutes to live are below this; beyond, an end has no date.
LONGEST = 1e9
#: Fields with a filter column; beyond, all columns are dropped and made again when asked for.
FIELDS = 64


def too_deep(value: Any) -> bool:
    """Whether a value is nested more than `DEEPEST` deep."""
    layer, depth = [value], 0
    while layer and depth <= DEEPEST:
        inner = (part.values() if isinstance(part, Mapping) else part for part in layer if isinstance(part, Mapping | list | tuple))
        layer, depth = [child for parts in inner for child in parts], depth + 1
    return bool(layer)


class Items:
    """All items as after the newest event. Not thread-safe: the owner locks.

    Args:
        corpus: Where texts and vectors are.

    Attributes:
        spaces: Namespace → key → slot; namespaces in the order in which they came to hold something, keys in order of arrival.
        states: By slot; None where an item was deleted.
        multiple: Whether any item has several vectors.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.spaces: dict[tuple[str, ...], dict[str, int]] = {}
        self.states: list[State | None] = []
        self.multiple = False
        self._corpus = corpus
        self._slots: dict[str, int] = {}
        self._kept: dict[int, tuple[int, ...]] = {}  # position of a text's event → rows of the item's vectors
        self._paths = Paths()
        self._path: Column[np.int32] = Column(np.int32)
        self._since: Column[np.int64] = Column(np.int64)  # by path: when it came to hold something
        self._clock = 0
        self._alive: Column[np.bool_] = Column(np.bool_)
        self._expires: Column[np.int64] = Column(np.int64)  # microseconds since 1970; 0 never
        self._vectors: Column[np.int32] = Column(np.int32)
        self._owner: Column[np.int64] = Column(np.int64)  # by corpus row: slot + 1; 0 for rows that are no item's
        self._fields: dict[str, Field] = {}

    def __len__(self) -> int:
        return sum(map(len, self.spaces.values()))

    def keep(self, state: State, row: int, embedder: str, vectors: NDArray[np.float32] | None) -> None:
        """Take in the vectors of a new text.

        Args:
            state: The item's state, its text being new.
            row: The text's row in the corpus.
            embedder: Id of the embedder that made the vectors.
            vectors: All of them, one after the other; None when the event has none.
        """
        texts = None if state.item is None else state.item.get("texts")
        if texts is None:
            self._kept[state.text] = (row,)
        elif not texts:
            self._kept[state.text] = ()
        else:
            parts = [None] * len(texts) if vectors is None else np.split(vectors, len(texts)) if len(vectors) % len(texts) == 0 else [None]
            self._kept[state.text] = tuple(self._corpus.add(text, embedder, part) for text, part in zip(texts, parts, strict=False))

    def follow(self, record_id: str, state: State | None) -> None:
        """Take over what a record has become.

        Args:
            record_id: Which one; records that are no items are passed over.
            state: None when it is gone or not active.
        """
        slot = self._slots.get(record_id)
        if state is None or state.item is None:
            if slot is not None:
                self._drop(record_id, slot)
            return
        if slot is None:
            slot = self._slots[record_id] = self._add(tuple(state.fields["namespace"]), state.item["key"])
        before = self.states[slot]
        if before is None or before.text != state.text:
            self._own(slot, () if before is None else self._kept[before.text], self._kept[state.text])
            for name, field in self._fields.items():
                field.set(slot, state.item["value"].get(name))
        self.states[slot] = state
        self._expires[slot] = state.item.get("expires") or 0

    def find(self, namespace: tuple[str, ...], key: str) -> State | None:
        """The state of an item, None when there is none."""
        slot = self.spaces.get(namespace, {}).get(key)
        return None if slot is None else self.states[slot]

    def mask(self, prefix: Sequence[str], condition: Mapping[str, Any] | None, now: int | None) -> NDArray[np.bool_]:
        """Which slots a search may see.

        Args:
            prefix: Namespaces at or below this path.
            condition: See `reflectory.memory.filters`.
            now: Leave out what has expired by then, microseconds since 1970; None leaves nothing out.

        Returns:
            Shape (slots,), deleted ones False.
        """
        mask: NDArray[np.bool_] = self._alive.values.copy()
        if prefix:
            mask &= self._paths.below(prefix)[self._path.values]
        for name, wanted in (condition or {}).items():
            mask &= self._field(name).matches(wanted)
        if now is not None:
            expires = self._expires.values
            mask &= (expires == 0) | (expires > now)
        return mask

    def ordered(self, slots: NDArray[np.intp]) -> NDArray[np.intp]:
        """Slots by namespace (in the order in which they came to hold something), then by arrival."""
        return slots[np.lexsort((slots, self._since.values[self._path.values[slots]]))]

    def rank(self, slots: NDArray[np.intp], scores: NDArray[np.float64]) -> NDArray[np.intp]:
        """Places of slots by falling score, equal scores in the order of `ordered`."""
        return np.lexsort((slots, self._since.values[self._path.values[slots]], -scores))

    def walk(self, prefix: tuple[str, ...]) -> Iterator[int]:
        """Slots at or below a path, in the order of `ordered`, one at a time."""
        for namespace, keys in self.spaces.items():
            if namespace[: len(prefix)] == prefix:
                yield from keys.values()

    def expired(self, now: int) -> list[str]:
        """Ids of the records of items that have expired, microseconds since 1970."""
        gone = np.flatnonzero(self._alive.values & (self._expires.values != 0) & (self._expires.values <= now))
        return [state.id for slot in gone.tolist() if (state := self.states[slot]) is not None]

    def owners(self) -> NDArray[np.int64]:
        """Slot of every corpus row, -1 for rows that are no item's; shape (rows,)."""
        self._owner.extend(len(self._corpus) - len(self._owner))
        return self._owner.values - 1

    def rows(self) -> NDArray[np.intp]:
        """Corpus rows that are or once were an item's, ascending: an undo may give any of them back."""
        return np.array(sorted({row for rows in self._kept.values() for row in rows}), dtype=np.intp)

    def unindexed(self) -> NDArray[np.bool_]:
        """Which slots have no vector, shape (slots,)."""
        return np.equal(self._vectors.values, 0)

    def _field(self, name: str) -> Field:
        field = self._fields.get(name)
        if field is None:
            if len(self._fields) >= FIELDS:
                self._fields = {}
            field = self._fields[name] = Field()
            for slot, state in enumerate(self.states):
                field.set(slot, None if state is None or state.item is None else state.item["value"].get(name))
        return field

    def _add(self, namespace: tuple[str, ...], key: str) -> int:
        path = self._paths.code(namespace)
        if path == len(self._since):
            self._since.extend(1)
        self._clock += 1
        if namespace not in self.spaces:
            self._since[path] = self._clock
        slot = self._path.append(path)
        self.spaces.setdefault(namespace, {})[key] = slot
        self.states.append(None)
        self._alive.append(True)
        self._expires.extend(1)
        self._vectors.extend(1)
        return slot

    def _drop(self, record_id: str, slot: int) -> None:
        state = self.states[slot]
        del self._slots[record_id]
        self.states[slot] = None
        self._alive[slot] = False
        if state is None or state.item is None:
            return
        self._own(slot, self._kept[state.text], ())
        for field in self._fields.values():
            field.set(slot, None)
        namespace = tuple(state.fields["namespace"])
        keys = self.spaces[namespace]
        if keys.get(state.item["key"]) == slot:
            del keys[state.item["key"]]
        if not keys:
            del self.spaces[namespace]

    def _own(self, slot: int, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self._owner.extend(len(self._corpus) - len(self._owner))
        for row in before:
            self._owner[row] = 0
        for row in after:
            self._owner[row] = slot + 1
        self._vectors[slot] = len(after)
        self.multiple = self.multiple or len(after) > 1
