"""Texts of a memory with what searching needs: word counts, the word index and the vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.memory.columns import Column
from reflectory.protocols import Embedder
from reflectory.retrieval.bm25 import Posting, count_postings
from reflectory.retrieval.fts import WordIndex
from reflectory.retrieval.scan import cosines_of
from reflectory.retrieval.words import words

#: With more candidates than this, FTS5 finds the matching ones; with fewer, counting directly is faster. Both give the same numbers.
DIRECT = 2048
#: Occurrences remembered over all query words, so that a frequent word is looked up once; forgotten all at once beyond.
REMEMBERED = 4_000_000

_Found = tuple[int, NDArray[np.intp], NDArray[np.float64]]


def embed(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed texts and check what came back.

    Args:
        embedder: Any embedder.
        texts: What to embed.

    Returns:
        Shape (len(texts), embedder.dim), float32.

    Raises:
        MemoryFault: The embedder's answer has another shape or holds numbers that are not finite.
    """
    vectors = np.asarray(embedder.embed(texts), dtype=np.float32)
    if vectors.shape != (len(texts), embedder.dim) or not np.isfinite(vectors).all():
        msg = f"the embedder {embedder.id} returned shape {vectors.shape} for shape {(len(texts), embedder.dim)}, or not-finite numbers."
        raise MemoryFault(msg)
    return vectors


class Corpus:
    """Rows of text, numbered in order of arrival, never removed. Not thread-safe: the owner locks.

    Args:
        embedder: Makes the vectors that are missing; stored vectors of another embedder are never used.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._texts: list[str] = []
        self._counts: dict[int, Mapping[str, int]] = {}
        self._lengths: Column[np.float64] = Column(np.float64)  # -1: not counted yet
        self._matrix: Column[np.float32] = Column(np.float32, embedder.dim)
        self._missing: set[int] = set()
        self._index: WordIndex | None = None
        self._found: dict[str, _Found] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str, embedder: str, vector: NDArray[np.float32] | None) -> int:
        """Take in a text.

        Args:
            text: What is searched.
            embedder: Id of the embedder that made `vector`.
            vector: Shape (dim,), or None.

        Returns:
            Its row.
        """
        row = len(self._texts)
        self._texts.append(text)
        self._lengths.append(-1.0)
        if vector is not None and embedder == self._embedder.id and vector.shape == (self._embedder.dim,):
            self._matrix.append(vector)
        else:
            self._matrix.extend(1)
            self._missing.add(row)
        return row

    def vectors(self, rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """The matrix of all vectors, not a copy, missing ones being made first.

        Args:
            rows: Rows whose vectors are needed, ascending; others may be zeros. None is all.

        Returns:
            Shape (len(self), dim).
        """
        if self._missing:
            wanted = np.array(sorted(self._missing), dtype=np.intp)
            if rows is not None:
                wanted = wanted[np.isin(wanted, rows, assume_unique=True)]
            if len(wanted):
                self._matrix[wanted] = embed(self._embedder, [self._texts[row] for row in wanted.tolist()])
                self._missing.difference_update(wanted.tolist())
        return self._matrix.values

    def cosines(self, vector: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Cosine of rows with a query vector, missing vectors being made first.

        Args:
            vector: Unit vector, shape (dim,).
            rows: Ascending, shape (n,).

        Returns:
            Shape (n,).
        """
        return cosines_of(self.vectors(rows), vector, rows)

    def lengths(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Number of words of each row, shape (n,)."""
        for row in rows[self._lengths.values[rows] < 0].tolist():
            self._words(row)
        return self._lengths.values[rows]

    def postings(self, terms: Sequence[str], rows: NDArray[np.intp]) -> list[Posting]:
        """Where among some rows the terms occur.

        Args:
            terms: Distinct query words.
            rows: Candidates, ascending, shape (n,).

        Returns:
            One posting per term; positions count within `rows`.
        """
        if len(rows) <= DIRECT:
            return count_postings(terms, [self._words(row) for row in rows.tolist()])
        places = np.full(len(self._texts), -1, dtype=np.intp)
        places[rows] = np.arange(len(rows))
        postings: list[Posting] = []
        for term in terms:
            found, counts = self._find(term)
            positions = places[found]
            inside = positions >= 0
            postings.append((positions[inside], counts[inside]))
        return postings

    def close(self) -> None:
        """Free the word index."""
        self._found = {}
        if self._index is not None:
            self._index.close()
            self._index = None

    def _words(self, row: int) -> Mapping[str, int]:
        known = self._counts.get(row)
        if known is None:
            known = self._counts[row] = dict(Counter(words(self._texts[row])))
            self._lengths[row] = sum(known.values())
        return known

    def _find(self, term: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Rows with the term, ascending, and how often each has it; only rows that came since the last time are looked at."""
        total = len(self._texts)
        after, rows, counts = self._found.get(term, (0, np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float64)))
        if after == total:
            return rows, counts
        if total - after > DIRECT:
            found = self._word_index().find(term)
            found = found[np.searchsorted(found, after) :]
        else:
            found = np.array([row for row in range(after, total) if term in self._words(row)], dtype=np.intp)
        rows = np.concatenate([rows, found])
        counts = np.concatenate([counts, np.array([self._words(row)[term] for row in found.tolist()], dtype=np.float64)])
        if sum(len(known[1]) for known in self._found.values()) + len(rows) > REMEMBERED:
            self._found = {}
        self._found[term] = (total, rows, counts)
        return rows, counts

    def _word_index(self) -> WordIndex:
        if self._index is None:
            self._index = WordIndex()
        self._index.extend(self._words(row) for row in range(self._index.rows, len(self._texts)))
        return self._index
