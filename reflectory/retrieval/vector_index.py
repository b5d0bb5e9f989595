"""What an index of vectors must do for a memory. An index proposes; the memory's own vectors decide."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault


class IndexLocked(MemoryFault):
    """Another process is writing this index. Exact search works meanwhile."""

    code = "index_locked"


class Applied(NamedTuple):
    """How far an index goes.

    Attributes:
        seq: Journal position whose rows it holds; 0 for an empty or unusable index.
        digest: The journal's hash there, hex: the index of another journal, or of another past, has another one.
        rows: Number of rows it holds, numbered 0 … rows - 1.
    """

    seq: int = 0
    digest: str = ""
    rows: int = 0


class VectorIndex(Protocol):
    """Nearest neighbours of unit vectors, approximately. Rows are numbered from 0 without gaps, as in the memory's matrix."""

    @property
    def applied(self) -> Applied:
        """How far it goes."""
        ...

    def add(self, vectors: NDArray[np.float32], applied: Applied) -> None:
        """Append the rows `self.applied.rows` … `applied.rows - 1`, vectors of shape (new rows, dim)."""
        ...

    def search(self, vector: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """At most k rows near a unit vector of shape (dim,), best first as the index sees it."""
        ...

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors it holds for some rows, shape (len(rows), dim)."""
        ...

    def rebuild(self, vectors: NDArray[np.float32], applied: Applied) -> None:
        """Build anew from all vectors, shape (rows, dim), beside the old index, and swap."""
        ...

    def close(self, *, trusted: bool = True) -> None:
        """Let go of it; may be called twice.

        Args:
            trusted: False when it misbehaved: it then counts as unusable, and is rebuilt when it is opened again.
        """
        ...
