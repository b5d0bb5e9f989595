"""Searching a memory's vectors through an index: it proposes, the memory checks and scores; whatever is in doubt is scanned exactly."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError, MemoryFault
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
#: Cosines that differ by no more than this may be the same, summed in another order.
EQUAL = 1e-6
#: Rows scanned beside the index before they are added to it: single rows cost Chroma tens of milliseconds.
TAIL = 4096
#: Queries asked when an index is opened or was built, results looked at for each, and the share of the true ones it must propose.
SAMPLE, NEIGHBOURS, RECALL = 32, 10, 0.95


class Nearest:
    """An index kept in step with a memory. Callers hold the replica's lock.

    An index that fails, cannot be built, or misses what it should propose even when newly built, is put away, and everything is scanned
    exactly from then on.

    Args:
        replica: The memory.
        index: Opened; closed together with this object. Rebuilt here when it does not fit the memory.
    """

    def __init__(self, replica: Replica, index: VectorIndex) -> None:
        self._replica = replica
        self._index: VectorIndex | None = index
        with replica.lock:
            replica.position(None)
            if not (self._same_past(index.applied) and self._proposes(index)):
                with contextlib.suppress(MemoryFault):  # it is put away and said
                    self._build(index)

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
            self._put_away(error)
            return everything
        found = np.unique(found[(found >= 0) & (found < min(indexed, len(allowed)))])
        near = found[allowed[found]]
        if len(near) < k:
            return everything
        scores = self._replica.corpus.vectors(np.empty(0, dtype=np.intp))[found] @ vector
        last = np.partition(scores[allowed[found]], len(near) - k)[len(near) - k]
        if len(found) < indexed and last <= scores.min() + EQUAL:
            return everything  # what equals the last result may lie beyond what was proposed
        return np.concatenate([near, indexed + np.flatnonzero(allowed[indexed:])])

    def rebuild(self) -> None:
        """Build the index anew from the journal's vectors.

        Raises:
            MemoryFault: The index cannot be written; it is put away.
        """
        if self._index is not None:
            self._build(self._index)

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

    def _build(self, index: VectorIndex) -> None:
        vectors = self._vectors()
        try:
            index.rebuild(vectors, self._now())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # Chroma's Rust panics are no Exceptions
            self._put_away(f"it cannot be built: {error}")
            msg = f"the index cannot be built: {error}. The memory is as it was, and is searched exactly from now on."
            raise MemoryFault(msg) from error
        if not self._proposes(index):
            self._put_away("newly built, it misses too many of the nearest vectors")

    def _put_away(self, why: object) -> None:
        _log.warning("the index is put away, searching exactly from now on: %s", why)
        index, self._index = self._index, None
        if index is not None:
            with contextlib.suppress(Exception):
                index.close(trusted=False)

    def _same_past(self, applied: Applied) -> bool:
        """Whether an index is of this journal, and not of another one or of another past."""
        if not 0 < applied.seq <= self._replica.view.seq or not 0 < applied.rows <= len(self._replica.corpus):
            return applied == self._now()
        return self._replica.journal.fetch([applied.seq])[0].sha256.hex() == applied.digest

    def _proposes(self, index: VectorIndex) -> bool:
        """Whether an index holds the journal's vectors and finds them: a sample is read back, and its neighbours are compared."""
        count = index.applied.rows
        rows = self._replica.view.items.rows()
        rows = rows[rows < count]
        if not len(rows):
            return True
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(np.intp))]
        matrix = self._replica.corpus.vectors(rows)[:count]
        scores = matrix @ matrix[rows].T  # (count, sample)
        wanted = min(NEIGHBOURS, count)
        least = np.partition(scores, count - wanted, axis=0)[count - wanted] - EQUAL
        try:
            if not np.allclose(index.read(rows), matrix[rows], atol=EQUAL):
                return False
            found = [scores[index.search(matrix[row], FEWEST), at] >= least[at] for at, row in enumerate(rows)]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # Chroma's Rust panics are no Exceptions
            _log.warning("the index does not answer: %s", error)
            return False
        return sum(min(wanted, int(np.count_nonzero(hits))) for hits in found) >= RECALL * wanted * len(rows)


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
