"""Searching a memory's vectors through an index: it proposes, the memory checks and scores; whatever is in doubt is scanned exactly."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError
from reflectory.memory.events import GENESIS
from reflectory.memory.replica import Replica
from reflectory.protocols import Embedder
from reflectory.retrieval.vector_index import Applied, IndexLocked, VectorIndex

_log = logging.getLogger(__name__)
#: What an index may be: "exact", "chroma" (a folder beside the journal), another folder, or the URL of a Chroma server.
Where = str | Path
#: With at most so many rows allowed, the exact scan is as fast and misses nothing.
EXACT = 20_000
#: Candidates asked for, per result wanted, and at least.
OVERFETCH, FEWEST = 8, 64
#: Rows scanned beside the index before they are added to it: single rows cost Chroma tens of milliseconds.
TAIL = 4096
#: Rows compared when an index is opened, and the share of them that must find themselves.
SAMPLE, FOUND = 32, 0.9


class Nearest:
    """An index kept in step with a memory. Callers hold the replica's lock.

    An index that fails while it is searched is put away, and everything is scanned exactly from then on.

    Args:
        replica: The memory.
        index: Opened; closed together with this object. Rebuilt here when it does not fit the memory.
    """

    def __init__(self, replica: Replica, index: VectorIndex) -> None:
        self._replica = replica
        self._index: VectorIndex | None = index
        with replica.lock:
            replica.position(None)
            if not self._fits(index):
                self.rebuild()

    @property
    def applied(self) -> Applied | None:
        """How far the index goes; None when it was put away."""
        return None if self._index is None else self._index.applied

    def rows(self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Rows among which the k nearest are sought exactly.

        Args:
            vector: Unit vector, shape (dim,).
            k: How many results are wanted.
            allowed: Which rows may be found, shape (rows of the corpus,).

        Returns:
            Ascending; all allowed rows where the index cannot help.
        """
        everything = np.flatnonzero(allowed)
        if self._index is None or k <= 0 or len(everything) <= EXACT:
            return everything
        try:
            self._follow(self._index)
            indexed = self._index.applied.rows
            found = self._index.search(vector, max(FEWEST, OVERFETCH * k))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # Chroma's Rust panics are no Exceptions
            _log.warning("the index is put away, searching exactly from now on: %s", error)
            index, self._index = self._index, None
            with contextlib.suppress(Exception):
                index.close(trusted=False)
            return everything
        found = np.unique(found[(found >= 0) & (found < min(indexed, len(allowed)))])
        found = found[allowed[found]]
        if len(found) < k:
            return everything
        return np.concatenate([found, indexed + np.flatnonzero(allowed[indexed:])])

    def rebuild(self) -> None:
        """Build the index anew from the journal's vectors.

        Raises:
            MemoryFault: The index cannot be written.
        """
        if self._index is not None:
            self._index.rebuild(self._vectors(), self._now())

    def close(self) -> None:
        """Close the index; may be called twice."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def _now(self) -> Applied:
        view = self._replica.view
        return Applied(view.seq, view.digest.hex(), len(self._replica.corpus))

    def _follow(self, index: VectorIndex) -> None:
        behind = len(self._replica.corpus) - index.applied.rows
        if behind > TAIL and not self._replica.journal.in_transaction:  # what is not committed may still be taken back
            index.add(self._vectors()[index.applied.rows :], self._now())

    def _vectors(self) -> NDArray[np.float32]:
        """The matrix, with the vectors that items need; other texts' vectors are made when somebody asks, and are zeros until then."""
        return self._replica.corpus.vectors(self._replica.view.items.rows())

    def _fits(self, index: VectorIndex) -> bool:
        """Whether the index is of this journal, and holds the journal's vectors: a sample is read back and must find itself."""
        applied, total = index.applied, len(self._replica.corpus)
        if not 0 < applied.seq <= self._replica.view.seq or not 0 < applied.rows <= total:
            return applied == Applied() == self._now()
        digest = self._replica.journal.fetch([applied.seq])[0].sha256 if applied.seq else GENESIS
        if digest.hex() != applied.digest:
            return False
        rows = self._replica.view.items.rows()
        rows = rows[rows < applied.rows]
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(np.intp))] if len(rows) else rows
        vectors = self._replica.corpus.vectors(rows)[rows]
        try:
            if len(rows) and not np.allclose(index.read(rows), vectors, atol=1e-6):
                return False
            hits = [row in index.search(vector, FEWEST) for row, vector in zip(rows.tolist(), vectors, strict=True) if vector.any()]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # Chroma's Rust panics are no Exceptions
            _log.warning("the index does not answer and is built anew: %s", error)
            return False
        return not hits or sum(hits) >= FOUND * len(hits)


def open_nearest(replica: Replica, where: Where, embedder: Embedder) -> Nearest | None:
    """Open an index for a memory.

    Args:
        replica: The memory.
        where: See `Where`.
        embedder: Of the memory.

    Returns:
        None for "exact", for a memory that may not be written, and while another process has the folder open: everything is scanned
        exactly then.

    Raises:
        ConfigError: "chroma" for a memory without a file, or a URL of another kind.
        MissingDependency: Chroma is not installed.
        MemoryFault: The server does not answer.
    """
    if where == "exact" or replica.journal.read_only:
        return None
    try:
        index = _opener(replica, where, embedder)()
    except IndexLocked as error:
        _log.warning("%s", error)
        return None
    try:
        return Nearest(replica, index)
    except BaseException:
        index.close()
        raise


def _opener(replica: Replica, where: Where, embedder: Embedder) -> Callable[[], VectorIndex]:
    from reflectory.retrieval.chroma import ChromaFolder
    from reflectory.retrieval.chroma_server import ChromaServer

    name = replica.journal.name
    if isinstance(where, str) and "://" in where:
        return lambda: ChromaServer(where, str(Path(name).absolute()), embedder.id, embedder.dim)
    if where != "chroma":
        return lambda: ChromaFolder(Path(where), embedder.id, embedder.dim)
    if not Path(name).is_file():
        msg = "a memory without a file has no place for a Chroma index. Give the memory a path, or index=FOLDER."
        raise ConfigError(msg)
    return lambda: ChromaFolder(Path(f"{name}-chroma"), embedder.id, embedder.dim)
