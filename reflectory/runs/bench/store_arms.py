"""The stores that `reflectory.runs.bench.store` compares, each behind the same few calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: Results asked for, and shares of the items that the filters pass, in percent, with the field that has so many values.
K = 10
SHARES: Mapping[int, tuple[str, int]] = {2: ("fifty", 50), 20: ("five", 5)}
#: Seconds that loading may take, and items loaded at a time; Chroma takes 5,461 at most.
LIMIT, PART, CHROMA_PART = 600.0, 1000, 5000

Timer = Callable[[Callable[[], object]], float]


class TooLong(Exception):
    """An arm is left out, and why."""


class Items:
    """Clustered unit vectors with the values that go with them; the same for the same arguments.

    Args:
        size: Items loaded before anything is measured.
        total: Vectors made; the rest serves writes.
        seed: Seeds all choices.
    """

    DIM = 384

    def __init__(self, size: int, total: int, seed: int) -> None:
        self.size = size
        rng = np.random.default_rng(seed)
        centres = rng.standard_normal((max(8, size // 100), self.DIM), dtype=np.float32)
        vectors = centres[rng.integers(len(centres), size=total)] + rng.standard_normal((total, self.DIM), dtype=np.float32)
        self.vectors: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self._rng_seed = seed
        self._owner: dict[int, int] = {}

    def value(self, item: int, vector: int) -> dict[str, Any]:
        """What is stored: a text of a few words that names its vector, and the fields of the filters."""
        body = f"when the drawer of desk {item % 97} was empty, the mug stood in cabinet {item % 41}, vector {vector}"
        return {"text": body, **{field: item % many for field, many in SHARES.values()}}

    def some(self, at: int) -> int:
        """An item to update; others for other numbers."""
        return (at * 7919 + 13) % self.size

    def query(self, at: int) -> NDArray[np.float32]:
        """A query near one of the items, shape (DIM,)."""
        rng = np.random.default_rng((self._rng_seed, at + 1))
        vector = self.vectors[rng.integers(self.size)] + np.float32(0.03) * rng.standard_normal(self.DIM, dtype=np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    def wrote(self, item: int, vector: int) -> None:
        """Note which vector an item has."""
        self._owner[item] = vector

    def hits(self, at: int, found: Sequence[int]) -> float:
        """Share of the true nearest items among those found."""
        items = np.array(sorted({*range(self.size), *self._owner}))
        rows = np.array([self._owner.get(item, item) for item in items.tolist()])
        cosines = self.vectors[rows].astype(np.float64) @ self.query(at).astype(np.float64)
        best = items[np.argsort(-cosines, kind="stable")[:K]]
        return len({*best.tolist()} & {*found}) / len(best)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors that texts name, shape (len(texts), DIM): of items `… N`, of queries `query N`."""
        rows = [(text.split()[0] == "query", int(text.rsplit(" ", 1)[1])) for text in texts]
        return np.array([self.query(number) if query else self.vectors[number] for query, number in rows], dtype=np.float32)


class Arm(Protocol):
    """A store under measurement. Items are numbers; `put` without a vector gives an item its own."""

    def load(self) -> None:
        """Store the items 0 … size - 1."""
        ...

    def put(self, item: int, vector: int | None = None) -> None:
        """Add an item, or with a vector update it."""
        ...

    def search(self, query: NDArray[np.float32], share: int | None) -> Sequence[int]:
        """The items found, among all or among a share of them."""
        ...

    def bytes_per_item(self) -> tuple[int, int]:
        """Bytes of payload and vector that an add commits."""
        ...

    def finish(self, seconds: Timer) -> dict[str, Any]:
        """reopen_s, rebuild_s and synchronous."""
        ...

    def close(self) -> None:
        """Let go of all."""
        ...


def in_parts(size: int, store: Callable[[range], object], part: int = PART) -> None:
    """Load in parts.

    Args:
        size: How many.
        store: Stores a range of items.
        part: Items at a time.

    Raises:
        TooLong: At the rate so far it would take more than `LIMIT` seconds.
    """
    began = time.perf_counter()
    for start in range(0, size, part):
        done = min(start + part, size)
        store(range(start, done))
        spent = time.perf_counter() - began
        if spent > 20.0 and spent / done * size > LIMIT:
            msg = f"loading {size} items would take about {spent / done * size:.0f} s, more than {LIMIT:.0f} s"
            raise TooLong(msg)


class _Given:
    """An embedder that looks vectors up; the query in hand is set beforehand, so a search embeds nothing."""

    id, dim = "given", Items.DIM

    def __init__(self, items: Items) -> None:
        self._items = items
        self.query: NDArray[np.float32] | None = None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._items.embed(texts) if self.query is None else self.query[None]


class _StoreArm:
    """What both arms behind LangGraph's `BaseStore` do; the store, the items and the vectors to give are the arm's."""

    _store: Any  # a BaseStore; ours has more to it
    _items: Items
    _given: _Given

    def load(self) -> None:
        """See `Arm`."""
        from langgraph.store.base import PutOp

        values = self._items.value
        in_parts(self._items.size, lambda part: self._store.batch([PutOp(("items",), str(item), values(item, item)) for item in part]))

    def put(self, item: int, vector: int | None = None) -> None:
        """See `Arm`."""
        self._given.query = None
        self._store.put(("items",), str(item), self._items.value(item, item if vector is None else vector))
        self._items.wrote(item, item if vector is None else vector)

    def search(self, query: NDArray[np.float32], share: int | None) -> Sequence[int]:
        """See `Arm`."""
        self._given.query = query
        found = self._store.search(("items",), query="query", filter=_condition(share), limit=K)
        return [int(item.key) for item in found]


class Ours(_StoreArm):
    """This project's store, in a file."""

    def __init__(self, folder: Path, items: Items) -> None:
        self._path, self._items, self._given = folder / "memory.sqlite", items, _Given(items)
        self._open()

    def _open(self) -> None:
        from reflectory.memory import open_store

        self._store = open_store(self._path, embed=self._given, index={"fields": ["text"]})

    def bytes_per_item(self) -> tuple[int, int]:
        """See `Arm`."""
        from reflectory.memory.events import canonical

        event = self._store.memory._replica.journal.fetch([self._store.memory.seq])[0]
        return len(canonical(event.payload)) + 128, len(event.vector or b"")  # 128: hash, id and embedder beside the payload

    def finish(self, seconds: Timer) -> dict[str, Any]:
        """See `Arm`."""
        writer = self._store.memory._replica.journal._writer
        synchronous = None if writer is None else writer.execute("PRAGMA synchronous").fetchone()[0]
        rebuild = seconds(self._store.memory._replica.rebuild)
        self._store.close()
        return {"reopen_s": seconds(self._open), "rebuild_s": rebuild, "synchronous": synchronous}

    def close(self) -> None:
        """See `Arm`."""
        self._store.close()


class Chroma:
    """Raw Chroma, in a folder, as its documentation uses it."""

    def __init__(self, folder: Path, items: Items) -> None:
        if find_spec("chromadb") is None:
            msg = "chromadb is not installed"
            raise TooLong(msg)
        self._folder, self._items = folder / "chroma", items
        self._open()

    def _open(self) -> None:
        settings = import_module("chromadb.config").Settings(anonymized_telemetry=False)
        self._client = import_module("chromadb").PersistentClient(path=str(self._folder), settings=settings)
        self._collection = self._client.get_or_create_collection("items", embedding_function=None, metadata={"hnsw:space": "cosine"})

    def load(self) -> None:
        """See `Arm`."""
        in_parts(self._items.size, lambda part: self._write(self._collection.add, [(item, item) for item in part]), CHROMA_PART)

    def put(self, item: int, vector: int | None = None) -> None:
        """See `Arm`."""
        self._write(self._collection.add if vector is None else self._collection.update, [(item, item if vector is None else vector)])
        self._items.wrote(item, item if vector is None else vector)

    def search(self, query: NDArray[np.float32], share: int | None) -> Sequence[int]:
        """See `Arm`."""
        found = self._collection.query(query_embeddings=[query], n_results=K, where=_condition(share), include=["documents", "metadatas"])
        return [int(row) for row in found["ids"][0]]

    def bytes_per_item(self) -> tuple[int, int]:
        """See `Arm`."""
        return 512, 4 * Items.DIM

    def finish(self, seconds: Timer) -> dict[str, Any]:
        """See `Arm`."""
        self.close()

        def reopen() -> None:
            self._open()
            self.search(self._items.query(0), None)  # the index is read at the first query

        why = {"rebuild_s": None, "rebuild_s_why": "Chroma has nothing to rebuild itself from; load_s is what filling it took"}
        return {"reopen_s": seconds(reopen), **why, "synchronous": None, "synchronous_why": "Chroma does not say"}

    def close(self) -> None:
        """See `Arm`."""
        from reflectory.retrieval.chroma_client import close_client

        close_client(self._client)

    def _write(self, call: Callable[..., Any], rows: Sequence[tuple[int, int]]) -> None:
        values = [self._items.value(item, vector) for item, vector in rows]
        metadatas = [{key: value for key, value in each.items() if key != "text"} for each in values]
        vectors = self._items.vectors[[vector for _, vector in rows]]
        call(ids=[str(item) for item, _ in rows], embeddings=vectors, documents=[each["text"] for each in values], metadatas=metadatas)


class LangGraph(_StoreArm):
    """LangGraph's in-memory store."""

    def __init__(self, folder: Path, items: Items) -> None:
        from langgraph.store.memory import InMemoryStore

        self._items, self._given = items, _Given(items)
        index = {"dims": Items.DIM, "embed": lambda texts: self._given.embed(texts).tolist(), "fields": ["text"]}
        self._store = InMemoryStore(index=index)  # type: ignore[arg-type]

    def bytes_per_item(self) -> tuple[int, int]:
        """See `Arm`."""
        return 512, 4 * Items.DIM

    def finish(self, seconds: Timer) -> dict[str, Any]:
        """See `Arm`."""
        why = "nothing is on disk"
        return {key: value for name in ("reopen_s", "rebuild_s", "synchronous") for key, value in ((name, None), (f"{name}_why", why))}

    def close(self) -> None:
        """See `Arm`."""


def _condition(share: int | None) -> dict[str, Any] | None:
    return None if share is None else {SHARES[share][0]: 3}
