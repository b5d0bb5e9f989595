"""LangGraph's store over a journal: items of any graph or LangMem tool, durable, searchable, never advice.

    from reflectory.memory import open_store

    store = open_store("memory.sqlite")
    graph = builder.compile(store=store)

Every put, delete and refreshed end is an event of the journal, durable on return; a batch is all or nothing. Items are records of kind
`fact` and origin `import`: `JournalMemory.recall` finds them, but they can never become lessons. How values are kept is told in
`reflectory.memory.items`.

Where this differs from LangGraph's in-memory store: `created_at` stays when an item is updated; a new version's vectors replace the old
ones; a namespace ends with its last item and is not made by reading; values are copied in and out and must have a JSON form; a comparison
with something that is no number does not match, where the other raises; items without a vector are paged after those with one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from numpy.typing import NDArray

from reflectory.errors import ConfigError
from reflectory.memory.embeddings import Embed, as_embedder, avectors_of, vectors_of
from reflectory.memory.filters import check_filter
from reflectory.memory.redact import Redactor
from reflectory.memory.state import State
from reflectory.memory.store import JournalMemory, open_memory
from reflectory.memory.store_items import Extractor, Vectors, check_put, item_of, list_namespaces, put_event, search_slots
from reflectory.memory.sweeper import Sweeper
from reflectory.protocols import Embedder

Index = IndexConfig | Literal[False] | None
#: An end is moved on reading when that gains at least this share of the time to live: a read must not cost a commit each time.
WORTH = 0.01


def open_store(path: str | Path | None, *, embed: Embed = None, index: Index = None, ttl: TTLConfig | None = None) -> MemoryStore:
    """Open a store, or create one.

    Args:
        path: The journal file, on a local file system; None is a private store that ends with the object.
        embed: Makes vectors: an embedder of ours, LangChain's embeddings, a function from texts to vectors, or "provider:model". None is
            what `index` names, else the hashing embedder, which needs no weights.
        index: LangGraph's index settings; None indexes whole values; False turns semantic search off, so queries are ignored.
        ttl: LangGraph's settings for items that end.

    Raises:
        ConfigError: Two different embedders were given.
        MemoryFault: The file is no memory, damaged, or written by a newer version.
    """
    settings: Mapping[str, Any] = index or {}
    if embed is not None and settings.get("embed") is not None:
        msg = "both embed and index['embed'] were given. Keep one of them."
        raise ConfigError(msg)
    source = settings.get("embed") if embed is None else embed
    embedder = None if source is None else as_embedder(source, dims=settings.get("dims"))
    memory = open_memory(path, embedder=embedder)
    return MemoryStore(memory, index=index, ttl=ttl, owned=True)


class MemoryStore(BaseStore):
    """A store over an open memory. Usable from several threads; several processes may open the same file, each through its own object.

    Args:
        memory: The memory; its embedder makes the vectors.
        index: As in `open_store`; its `embed` is not looked at.
        ttl: As in `open_store`.
        owned: Close the memory together with the store.
        clock: Seconds since 1970.
    """

    supports_ttl = True

    def __init__(
        self,
        memory: JournalMemory,
        *,
        index: Index = None,
        ttl: TTLConfig | None = None,
        owned: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.memory = memory
        self.ttl_config = ttl
        self.clock = clock
        self._owned = owned
        self._extractor = None if index is False else Extractor((index or {}).get("fields"))
        self._sweeper = Sweeper(self.sweep_ttl)

    @property
    def embedder(self) -> Embedder:
        """What makes the vectors."""
        return self.memory.embedder

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations; puts are durable on return.

        Reads see what was there before the batch. Puts are written all together or not at all; of several puts of one key the last counts.

        Raises:
            InvalidNamespaceError: A namespace label is no text.
            ValueError: An unknown operation or filter operator.
            MemoryFault: A value has no JSON form or is nested too deeply, a `ttl` is impossible, an item is quarantined, or the journal
                cannot be read or written.
        """
        plan = self._plan(ops)
        return self._run(plan, plan.vectors(vectors_of(self.embedder, plan.texts, plan.queries)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` without blocking the event loop. Inside `JournalMemory.together` in this thread: another would wait for ever."""
        plan = self._plan(ops)
        vectors = plan.vectors(await avectors_of(self.embedder, plan.texts, plan.queries))
        return self._run(plan, vectors) if self.memory.inside else await asyncio.to_thread(self._run, plan, vectors)

    def sweep_ttl(self) -> int:
        """Delete the items that have expired; returns how many.

        Raises:
            MemoryFault: The journal cannot be written.
        """
        replica, now = self.memory._replica, self._now()
        with replica.lock:
            replica.position(None)
            if not replica.view.items.expired(now):
                return 0
        with replica.writing():
            gone = replica.view.items.expired(now)
            for record_id in gone:
                replica.append("forget", record_id, {"reason": "expired"})
            return len(gone)

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> None:
        """Delete expired items every so many minutes (None: as configured, else 5), in a thread, until `stop_ttl_sweeper` or `close`."""
        configured = (self.ttl_config or {}).get("sweep_interval_minutes")
        self._sweeper.start(60.0 * (sweep_interval_minutes or configured or 5))

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop it; returns whether it has ended within `timeout` seconds (None waits)."""
        return self._sweeper.stop(timeout)

    def close(self) -> None:
        """Stop the sweeper and let go of an owned memory; may be called twice."""
        self._sweeper.stop(None)
        if self._owned:
            self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _plan(self, ops: Iterable[Op]) -> _Plan:
        redactor = self.memory._replica.journal.redactor
        return _Plan((_clean(op, redactor) for op in ops), self._extractor)

    def _now(self) -> int:
        return int(self.clock() * 1e6)

    def _run(self, plan: _Plan, vectors: Vectors) -> list[Result]:
        replica, now = self.memory._replica, self._now()
        fresh: dict[str, tuple[int, int]] = {}
        with replica.lock:
            replica.position(None)
            results = [self._read(op, vectors, now, fresh) for op in plan.ops]
        if replica.journal.read_only:
            fresh = {}
        if plan.puts or fresh:
            with replica.writing():
                for record_id, (text, expires) in fresh.items():
                    history = replica.view.histories.get(record_id)
                    state = None if history is None else history.state(replica.view.seq)
                    if state is not None and state.text == text and 0 < _expires(state) < expires:  # what was read, not a later version
                        replica.append("touch", record_id, {"expires": expires})
                for (namespace, key), op in plan.puts.items():
                    put_event(replica, op, plan.texts_of.get((namespace, key)), vectors, now)
        return results

    def _read(self, op: Op, vectors: Vectors, now: int, fresh: dict[str, tuple[int, int]]) -> Result:
        """The answer to one operation; notes in `fresh` which ends are to be moved: record id → (position of its text, new end)."""
        items = self.memory._replica.view.items
        hidden = now if (self.ttl_config or {}).get("omit_expired") else None
        if isinstance(op, GetOp):
            state = items.find(tuple(op.namespace), op.key)
            if state is None or (hidden is not None and 0 < _expires(state) <= hidden):
                return None
            self._refresh(op.refresh_ttl, state, now, fresh)
            return item_of(state)
        if isinstance(op, SearchOp):
            vector = None if self._extractor is None or not op.query else vectors.queries[op.query]
            found = search_slots(self.memory._replica, op, vector, hidden)
            states = [(state, score) for slot, score in found if (state := items.states[slot]) is not None]
            for state, _ in states:
                self._refresh(op.refresh_ttl, state, now, fresh)
            return [SearchItem(**_parts(item_of(state)), score=score) for state, score in states]
        return list_namespaces(items, op, hidden) if isinstance(op, ListNamespacesOp) else None

    def _refresh(self, wanted: bool, state: State, now: int, fresh: dict[str, tuple[int, int]]) -> None:
        ttl = None if state.item is None else state.item.get("ttl")
        if wanted and ttl is not None:
            expires = now + int(ttl * 60e6)
            if expires - _expires(state) >= WORTH * ttl * 60e6:
                fresh[state.id] = (state.text, expires)


class _Plan:
    """A batch taken apart: what to read, what to write, what to embed."""

    def __init__(self, ops: Iterable[Op], extractor: Extractor | None) -> None:
        self.ops = list(ops)
        self.puts: dict[tuple[tuple[str, ...], str], PutOp] = {}
        self.texts_of: dict[tuple[tuple[str, ...], str], list[str]] = {}
        queries: dict[str, None] = {}
        for op in self.ops:
            if isinstance(op, PutOp):
                self.puts[tuple(op.namespace), op.key] = op
            elif isinstance(op, SearchOp) and op.query and extractor is not None:
                queries[op.query] = None
        if extractor is not None:
            self.texts_of = {place: extractor.texts(op) for place, op in self.puts.items() if op.value is not None}
        self.texts = list(dict.fromkeys(text for texts in self.texts_of.values() for text in texts))
        self.queries = list(queries)

    def vectors(self, made: list[NDArray[np.float32]]) -> Vectors:
        """What was embedded, by text and by query."""
        count = len(self.texts)
        return Vectors(dict(zip(self.texts, made[:count], strict=True)), dict(zip(self.queries, made[count:], strict=True)))


def _clean(op: Op, redactor: Redactor | None) -> Op:
    """An operation that is in order, a put without secrets, before it is embedded: a vector, too, tells of its text."""
    _check(op)
    if isinstance(op, PutOp) and op.value is not None and redactor is not None:
        return op._replace(value=redactor.payload({"value": dict(op.value)})["value"])
    return op


def _check(op: Any) -> None:
    if isinstance(op, GetOp | PutOp):
        path: Iterable[Any] = op.namespace
        if isinstance(op, PutOp):
            check_put(op)
    elif isinstance(op, SearchOp):
        check_filter(op.filter)
        path = op.namespace_prefix
    elif isinstance(op, ListNamespacesOp):
        path = [label for condition in op.match_conditions or () for label in condition.path]
        for condition in op.match_conditions or ():
            if condition.match_type not in ("prefix", "suffix"):
                msg = f"Unsupported match type: {condition.match_type}"
                raise ValueError(msg)
    else:
        msg = f"Unknown operation type: {type(op)}"
        raise ValueError(msg)
    for label in path:
        if not isinstance(label, str):
            msg = f"Invalid namespace label '{label}' found in {path}. Namespace labels must be strings, but got {type(label).__name__}."
            raise InvalidNamespaceError(msg)


def _expires(state: State) -> int:
    return 0 if state.item is None else state.item.get("expires") or 0


def _parts(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in ("namespace", "key", "value", "created_at", "updated_at")}
