"""The fixed prior ranker: a weighted sum of min-max scaled retriever scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError, did_you_mean
from reflectory.records import Query, Record

#: Names of the retrievers whose scores a ranker is given.
PARTS = ("bm25", "cosine")


@runtime_checkable
class Ranker(Protocol):
    """Turns the scores of several retrievers into one order. Ties are broken by record id, by the memory."""

    @property
    def id(self) -> str:
        """Name with parameters, for run manifests."""
        ...

    def rank(self, query: Query, records: Sequence[Record], parts: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Score candidates; the same arguments give the same scores.

        Args:
            query: What was asked.
            records: The candidates, already filtered.
            parts: Raw scores by retriever name ("bm25", "cosine"), each of shape (len(records),).

        Returns:
            Finite scores, shape (len(records),), higher is better.
        """
        ...


def min_max(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale scores linearly to 0..1; equal scores all become 0, because they tell nothing apart.

    Args:
        scores: Shape (n,).

    Returns:
        Shape (n,).
    """
    if not len(scores):
        return scores
    low, high = float(scores.min()), float(scores.max())
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


class HybridRanker:
    """Weighted sum of min-max scaled scores, the scale taken over the candidates of the query.

    Args:
        weights: Weight per retriever; None is 0.5 for BM25 and 0.5 for cosine.

    Raises:
        ConfigError: A weight has an unknown name or is negative, or all are 0.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        chosen = dict(weights) if weights is not None else dict.fromkeys(PARTS, 0.5)
        for name, weight in chosen.items():
            if name not in PARTS:
                msg = f"there is no retriever named {name!r}. {did_you_mean(name, PARTS)}"
                raise ConfigError(msg)
            if not 0.0 <= weight < float("inf"):
                msg = f"the weight of {name} is {weight}; weights are finite and at least 0."
                raise ConfigError(msg)
        if not any(chosen.values()):
            msg = f"all ranker weights are 0; give at least one of {', '.join(PARTS)} a positive weight."
            raise ConfigError(msg)
        self.weights: dict[str, float] = {name: float(chosen[name]) for name in PARTS if chosen.get(name)}

    @property
    def id(self) -> str:
        """Name with weights, for example `minmax:bm25=0.5,cosine=0.5`."""
        return "minmax:" + ",".join(f"{name}={weight:g}" for name, weight in self.weights.items())

    def rank(self, query: Query, records: Sequence[Record], parts: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Weighted sum of the scaled parts; see `Ranker.rank`."""
        total = np.zeros(len(records), dtype=np.float64)
        for name, weight in self.weights.items():
            total += weight * min_max(parts[name])
        return total
