"""Texts of a memory with what searching needs: word counts, the word index and the vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.protocols import Embedder
from reflectory.retrieval.bm25 import Posting, count_postings
from reflectory.retrieval.fts import WordIndex
from reflectory.retrieval.scan import cosines
from reflectory.retrieval.words import words

#: With more candidates than this, FTS5 finds the matching ones; with fewer, counting directly is faster. Both give the same numbers.
DIRECT = 2048


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
        self._lengths = np.empty(0, dtype=np.float64)  # -1: not counted yet
        self._matrix = np.empty((0, embedder.dim), dtype=np.float32)
        self._missing: set[int] = set()
        self._index: WordIndex | None = None

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
        if row == len(self._matrix):
            grown = np.zeros((max(64, 2 * row), self._embedder.dim), dtype=np.float32)
            grown[:row] = self._matrix
            self._matrix = grown
            self._lengths = np.concatenate([self._lengths, np.full(len(grown) - row, -1.0)])
        self._texts.append(text)
        if vector is not None and embedder == self._embedder.id and vector.shape == (self._embedder.dim,):
            self._matrix[row] = vector
        else:
            self._missing.add(row)
        return row

    def cosines(self, vector: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Cosine of rows with a query vector, missing vectors being made first.

        Args:
            vector: Unit vector, shape (dim,).
            rows: Shape (n,).

        Returns:
            Shape (n,).
        """
        if self._missing:
            wanted = sorted(self._missing.intersection(rows.tolist()))
            if wanted:
                self._matrix[wanted] = embed(self._embedder, [self._texts[row] for row in wanted])
                self._missing.difference_update(wanted)
        return cosines(self._matrix[rows], vector)

    def lengths(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Number of words of each row, shape (n,)."""
        for row in rows[self._lengths[rows] < 0].tolist():
            self._words(row)
        return self._lengths[rows]

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
        index = self._word_index()
        postings: list[Posting] = []
        for term in terms:
            positions = np.flatnonzero(np.isin(rows, index.find(term), assume_unique=True))
            counts = [self._words(row)[term] for row in rows[positions].tolist()]
            postings.append((positions, np.array(counts, dtype=np.float64)))
        return postings

    def close(self) -> None:
        """Free the word index."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def _words(self, row: int) -> Mapping[str, int]:
        known = self._counts.get(row)
        if known is None:
            known = self._counts[row] = dict(Counter(words(self._texts[row])))
            self._lengths[row] = sum(known.values())
        return known

    def _word_index(self) -> WordIndex:
        if self._index is None:
            self._index = WordIndex()
        self._index.extend(self._words(row) for row in range(self._index.rows, len(self._texts)))
        return self._index
