"""Exact nearest-neighbour search: every vector is looked at, nothing is approximated. Fast enough up to about 100 000 vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Cosines are rounded to so many decimals: beyond them float32 sums differ between machines, and ties must stay ties.
DECIMALS = 6
#: When more than this share of the rows is asked for, scoring all of them is cheaper than copying those out. Both give the same numbers.
DENSE = 0.25


def cosines(matrix: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of every row with the query.

    Args:
        matrix: Unit vectors, shape (n, dim).
        query: Unit vector, shape (dim,).

    Returns:
        Shape (n,), rounded to `DECIMALS`; a row's value does not depend on the other rows.
    """
    # einsum, not `@`: BLAS splits its sums by matrix shape and thread count, so the same row could score differently beside other rows.
    raw: NDArray[np.float32] = np.einsum("ij,j->i", matrix, query)
    return np.asarray(np.round(raw.astype(np.float64), DECIMALS) + 0.0)  # + 0.0 turns -0.0 into 0.0


def cosines_of(matrix: NDArray[np.float32], query: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Cosine of some rows with the query.

    Args:
        matrix: Unit vectors, shape (n, dim).
        query: Unit vector, shape (dim,).
        rows: Which rows, ascending, shape (m,).

    Returns:
        Shape (m,), rounded to `DECIMALS`.
    """
    if len(rows) == len(matrix):
        return cosines(matrix, query)
    if len(rows) > DENSE * len(matrix):
        return cosines(matrix, query)[rows]
    return cosines(np.take(matrix, rows, axis=0), query)


def top_k(
    matrix: NDArray[np.float32], query: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The k rows nearest to the query.

    Args:
        matrix: Unit vectors, shape (n, dim).
        query: Unit vector, shape (dim,).
        k: How many; fewer come back when fewer rows are allowed.
        mask: Which rows are allowed, shape (n,); None allows all.

    Returns:
        Row numbers and cosines, best first; equal cosines are ordered by row number.
    """
    rows = np.arange(len(matrix), dtype=np.intp) if mask is None else np.flatnonzero(mask)
    if k <= 0 or not len(rows):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float64)
    scores = cosines_of(matrix, query, rows)
    if k < len(rows):
        # Keep everything that equals the k-th best, so that the cut between ties is made by row number and not by the partition.
        keep = scores >= np.partition(scores, len(rows) - k)[len(rows) - k]
        rows, scores = rows[keep], scores[keep]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]
