"""A Chroma index on a server that `chroma run` started: for sharing between machines. Rebuildable, never the source of truth."""

from __future__ import annotations

import hashlib
import os
import time
import urllib.request
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError, MemoryFault
from reflectory.retrieval.chroma_client import (
    COLLECTION,
    FORMAT,
    close_client,
    create,
    insert_rows,
    read_rows,
    require,
    search_rows,
    settings,
    step,
)
from reflectory.retrieval.vector_index import Applied

T = TypeVar("T")

#: Seconds without an answer after which a server counts as down.
TIMEOUT = 30.0
#: Seconds after which a collection that somebody began to fill is nobody's any more.
GIVEN_UP = 86_400


class ChromaServer:
    """An index in collections of a running `chroma run` server. The server orders the writers; all of them write the same rows.

    Args:
        url: For example `http://localhost:8000`.
        name: Which memory; part of the collections' names.
        embedder: Id of the embedder.
        dim: Length of a vector.

    Raises:
        ConfigError: Not an http or https URL.
        MissingDependency: Chroma is not installed.
        MemoryFault: The server does not answer.
    """

    def __init__(self, url: str, name: str, embedder: str, dim: int) -> None:
        require()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = f"{url!r} is not the address of a Chroma server; it looks like http://localhost:8000."
            raise ConfigError(msg)
        self._prefix = f"{COLLECTION}-{hashlib.sha256(f'{FORMAT} {name} {embedder} {dim}'.encode()).hexdigest()[:16]}-"
        self._client: Any = None
        try:
            self._client = _connect(parts.hostname, parts.port, secure=parts.scheme == "https")
            self._collection: Any = self._current()
            self._applied = self._read_applied()
        except Exception as error:
            if self._client is not None:
                close_client(self._client)
            msg = f"the Chroma server {url} cannot be used: {error}. Start it with `chroma run`, or leave the index out."
            raise MemoryFault(msg) from error

    @property
    def applied(self) -> Applied:
        """How far it goes, as its collection said when it was last read or written here."""
        return self._applied

    def add(self, vectors: NDArray[np.float32], applied: Applied) -> None:
        """Append rows; see `VectorIndex.add`."""
        step("chroma.add")
        _twice(lambda: insert_rows(self._client, self._collection, vectors, applied.rows - len(vectors)))
        self._collection.modify(metadata=applied._asdict())
        self._applied = applied
        step("chroma.added")

    def search(self, vector: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Rows near a vector; see `VectorIndex.search`."""
        return _twice(lambda: search_rows(self._collection, vector, k))

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of rows; see `VectorIndex.read`."""
        return read_rows(self._collection, rows)

    def rebuild(self, vectors: NDArray[np.float32], applied: Applied) -> None:
        """Build a new collection; it counts once its metadata say how far it goes. See `VectorIndex.rebuild`."""
        step("chroma.rebuild")
        name = f"{self._prefix}{os.urandom(8).hex()}"
        collection = create(self._client, name, {"started": int(time.time())})
        insert_rows(self._client, collection, vectors, 0)
        step("chroma.rebuild.swap")
        collection.modify(metadata=applied._asdict())
        step("chroma.rebuild.swapped")
        for other in self._client.list_collections():
            data = other.metadata or {}
            given_up = data.get("rows") or time.time() - data.get("started", 0) > GIVEN_UP
            if other.name.startswith(self._prefix) and other.name != name and given_up:
                self._client.delete_collection(other.name)
        self._collection, self._applied = collection, applied

    def close(self, *, trusted: bool = True) -> None:
        """Close the connection; may be called twice. See `VectorIndex.close`."""
        if not trusted and self._collection is not None:
            self._client.delete_collection(self._collection.name)
        if self._client is not None:
            close_client(self._client)
            self._client = self._collection = None

    def _read_applied(self) -> Applied:
        if self._collection is None:
            return Applied()
        data = self._collection.metadata or {}
        if not data.get("rows") or self._collection.count() < data["rows"]:
            return Applied()
        return Applied(int(data["seq"]), str(data["digest"]), int(data["rows"]))

    def _current(self) -> Any:
        own = [item for item in self._client.list_collections() if item.name.startswith(self._prefix) and (item.metadata or {}).get("rows")]
        return max(own, key=lambda item: (item.metadata["seq"], item.name), default=None)


def _connect(host: str, port: int | None, *, secure: bool) -> Any:
    """A client. Chroma's own waits for ever for a server that accepts and says nothing."""
    port = port or (443 if secure else 80)
    address = f"[{host}]" if ":" in host else host
    with urllib.request.urlopen(f"http{'s' * secure}://{address}:{port}/api/v2/heartbeat", timeout=TIMEOUT) as answer:
        answer.read()
    client = import_module("chromadb").HttpClient(host=host, port=port, ssl=secure, settings=settings())
    session = getattr(getattr(client, "_server", None), "_session", None)
    if session is not None:
        session.timeout = TIMEOUT
    return client


def _twice(call: Callable[[], T]) -> T:
    """Call once more when the connection broke: one that was kept open does not survive a restart of the server."""
    httpx = import_module("httpx")
    try:
        return call()
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        return call()
