"""A set of documents made ready for ranking: neighbours, threads and word counts, and the scores of the prior."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reflectory.retrieval.documents import Analysis, Document, Question, analyse
from reflectory.retrieval.hybrid import min_max

Floats = NDArray[np.float64]

#: BM25 of the rankers in this folder.
K1 = 1.5
B = 0.75
#: What a neighbouring turn's score adds to a turn's own: the answer often stands beside the words of the question.
NEIGHBOUR = 0.3


class Collection:
    """Documents with their neighbours and an inverted index. All statistics are those of these documents.

    Args:
        documents: In a fixed order; a document is known by its place in it.

    Attributes:
        analyses: What each text shows.
        previous: Place of the document before, in its thread; -1 for none. Shape (n,).
        following: Place of the document after. Shape (n,).
        threads: Number of each document's thread; a document without one is a thread of its own. Shape (n,).
        lengths: Terms per document, shape (n,).
        calendar: Month and day of the month (UTC), 0 where unknown, shape (n, 2).
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = list(documents)
        self.analyses: list[Analysis] = [analyse(document.text, document.speaker) for document in documents]
        self.lengths = np.array([len(analysis.terms) for analysis in self.analyses], dtype=np.float64)
        self.calendar = np.array([_month_and_day(document.time) for document in documents], dtype=np.int64).reshape(-1, 2)
        self.threads = _threads(self.documents)
        self.previous, self.following = neighbours(self.documents, self.threads)
        self._postings: dict[str, dict[int, int]] = {}
        for place, analysis in enumerate(self.analyses):
            for term in analysis.terms:
                posting = self._postings.setdefault(term, {})
                posting[place] = posting.get(place, 0) + 1

    def __len__(self) -> int:
        return len(self.documents)

    def counts(self, terms: Sequence[str]) -> Floats:
        """How often each document has each term, shape (terms, n)."""
        counted = np.zeros((len(terms), len(self)), dtype=np.float64)
        for row, term in enumerate(terms):
            posting = self._postings.get(term)
            if posting:
                counted[row, list(posting)] = list(posting.values())
        return counted

    def beside(self, scores: Floats, places: NDArray[np.intp]) -> Floats:
        """Scores of neighbours: `scores[..., places]`, and 0 where there is none.

        Args:
            scores: Shape (..., n).
            places: `previous` or `following`.

        Returns:
            The shape of `scores`.
        """
        return np.where(places >= 0, scores[..., places], 0.0) if len(places) else scores

    def prior(self, cosine: Floats, asked: Question) -> Floats:
        """The fixed prior: min-max hybrid of cosine and BM25, half and half, and `NEIGHBOUR` times that of both neighbours.

        Args:
            cosine: Cosines with the query, shape (n,).
            asked: The query.

        Returns:
            Scores, shape (n,).
        """
        own = 0.5 * min_max(cosine) + 0.5 * min_max(bm25(self.counts(asked.terms), self.lengths))
        return own + NEIGHBOUR * (self.beside(own, self.previous) + self.beside(own, self.following))


def bm25(counts: Floats, lengths: Floats) -> Floats:
    """BM25 from dense counts; see `reflectory.retrieval.bm25` for the source.

    Args:
        counts: Occurrences, shape (terms, n).
        lengths: Terms per document, shape (n,).

    Returns:
        Scores, shape (n,).
    """
    if not counts.size:
        return np.zeros(len(lengths), dtype=np.float64)
    damping = K1 * (1.0 - B + B * lengths / max(float(lengths.mean()), 1.0))
    # A sum over rows, not `@`: BLAS orders its sums by shape.
    return np.asarray((rarity(counts)[:, None] * counts * (K1 + 1.0) / (counts + damping)).sum(axis=0))


def rarity(counts: Floats) -> Floats:
    """Non-negative inverse document frequency of each term, shape (terms,)."""
    total, having = counts.shape[1], (counts > 0).sum(axis=1)
    return np.asarray(np.log1p((total - having + 0.5) / (having + 0.5)))


def neighbours(documents: Sequence[Document], threads: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Who stands before and after whom, within threads.

    Args:
        documents: Their positions count.
        threads: Number of each one's thread, shape (n,).

    Returns:
        (previous, following), places or -1, each of shape (n,).
    """
    order = sorted(range(len(documents)), key=lambda place: (threads[place], documents[place].position, place))
    previous, following = (np.full(len(documents), -1, dtype=np.intp) for _ in range(2))
    for before, after in itertools.pairwise(order):
        if threads[before] == threads[after]:
            previous[after], following[before] = before, after
    return previous, following


def _threads(documents: Sequence[Document]) -> NDArray[np.intp]:
    numbers: dict[str | int, int] = {}
    keys = (document.thread or place for place, document in enumerate(documents))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def _month_and_day(time: float | None) -> tuple[int, int]:
    try:
        when = None if time is None else datetime.datetime.fromtimestamp(time, datetime.UTC)
    except (OverflowError, OSError, ValueError):  # outside the calendar
        when = None
    return (0, 0) if when is None else (when.month, when.day)
