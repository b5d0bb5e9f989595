"""BM25 over an explicit set of documents.

The statistics (number of documents, document frequency, mean length) are those of the documents handed in, never of a whole
index: a score then depends on nothing a reader is not allowed to see, and reading an old state gives the old scores.
Source: Robertson and Zaragoza (2009), with the non-negative inverse document frequency ln(1 + (N - n + 0.5) / (n + 0.5)); k1 and b
are those of SQLite's FTS5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

K1 = 1.2
B = 0.75

#: One query word's occurrences: positions of the documents that have it (ascending), and how often each has it.
Posting = tuple[NDArray[np.intp], NDArray[np.float64]]


def count_postings(terms: Sequence[str], documents: Sequence[Mapping[str, int]]) -> list[Posting]:
    """Find every term in every document by looking.

    Args:
        terms: Distinct query words.
        documents: Word counts per document.

    Returns:
        One posting per term, in the order of `terms`.
    """
    postings: list[Posting] = []
    for term in terms:
        found = [(position, count) for position, document in enumerate(documents) if (count := document.get(term))]
        positions = np.array([position for position, _ in found], dtype=np.intp)
        postings.append((positions, np.array([count for _, count in found], dtype=np.float64)))
    return postings


def bm25(postings: Sequence[Posting], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score all documents for one query.

    Args:
        postings: Occurrences, one entry per distinct query word.
        lengths: Number of words of each document, shape (documents,).

    Returns:
        Scores, shape (documents,); 0 where no query word occurs.
    """
    total = len(lengths)
    scores = np.zeros(total, dtype=np.float64)
    if total == 0:
        return scores
    damping = K1 * (1.0 - B + B * lengths / max(float(lengths.mean()), 1.0))
    for positions, counts in postings:
        if len(positions):
            weight = math.log1p((total - len(positions) + 0.5) / (len(positions) + 0.5))
            scores[positions] += weight * counts * (K1 + 1.0) / (counts + damping[positions])
    return scores
