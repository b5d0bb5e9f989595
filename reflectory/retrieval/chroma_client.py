"""What both Chroma indexes share: opening a client without telemetry, and rows in and out of a collection."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MissingDependency

#: Called with the name of each step as it is reached, so that a benchmark can kill the process between any two of them.
STEP: Callable[[str], None] | None = None
#: Format of what is written.
FORMAT = 1
COLLECTION = "reflectory"


def step(name: str) -> None:
    """Say that a step is reached."""
    if STEP is not None:
        STEP(name)


def require() -> None:
    """Refuse without Chroma.

    Raises:
        MissingDependency: With what to install.
    """
    if find_spec("chromadb") is None:
        msg = "a Chroma index needs chromadb: run `pip install chromadb`, or leave the index out: exact search needs nothing."
        raise MissingDependency(msg)


def settings() -> Any:
    """Chroma's settings: nothing is reported to anybody."""
    return import_module("chromadb.config").Settings(anonymized_telemetry=False)


def open_folder(path: Path) -> tuple[Any, Any]:
    """Client and collection of a Chroma folder."""
    client = import_module("chromadb").PersistentClient(path=str(path), settings=settings())
    try:
        return client, create(client, COLLECTION)
    except BaseException:
        close_client(client)
        raise


def create(client: Any, name: str, metadata: dict[str, Any] | None = None) -> Any:
    """A collection, made when absent."""
    # Inner product, not cosine: vectors have length 1 or 0, and no name of an embedding function, or Chroma would fetch a model.
    hnsw = {"space": "ip", "ef_search": 200}
    return client.get_or_create_collection(name, embedding_function=None, configuration={"hnsw": hnsw}, metadata=metadata)


def close_client(client: Any) -> None:
    """Close a client and the files it holds."""
    if hasattr(client, "close"):
        client.close()
    else:  # versions without it keep what they opened in a cache of the class
        client._system.stop()
        client.clear_system_cache()
    for owner in (client, getattr(client, "_admin_client", None)):
        session = getattr(getattr(owner, "_server", None), "_session", None)
        if session is not None:
            session.close()  # connections to a server, which Chroma leaves to the garbage collection


def insert_rows(client: Any, collection: Any, vectors: NDArray[np.float32], first: int) -> None:
    """Write vectors, shape (n, dim), as the rows first … first + n - 1."""
    size = int(client.get_max_batch_size())
    for start in range(0, len(vectors), size):
        step("chroma.batch")
        part = vectors[start : start + size]
        collection.upsert(ids=[str(first + start + number) for number in range(len(part))], embeddings=np.ascontiguousarray(part))


def search_rows(collection: Any, vector: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """At most k rows near a vector, best first."""
    found = collection.query(query_embeddings=[vector], n_results=k, include=[])
    return np.array([int(row) for row in found["ids"][0]], dtype=np.int64)


def read_rows(collection: Any, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Vectors of some rows, shape (len(rows), dim)."""
    found = collection.get(ids=[str(row) for row in rows.tolist()], include=["embeddings"])
    by_row = dict(zip(found["ids"], found["embeddings"], strict=True))
    return np.array([by_row[str(row)] for row in rows.tolist()], dtype=np.float32)
