"""Frozen past queries that tell whether learning made the ranker worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError
from reflectory.retrieval.collection import Floats
from reflectory.retrieval.features import FEATURES
from reflectory.retrieval.linear import ranked

#: Every so many queries with a citation worth learning from, one is kept, so that the set is not all of one day.
EVERY = 4
#: Fewer queries than these tell nothing.
LEAST = 32
#: The best of the prior that are kept beside what was shown.
RIVALS = 10
#: One-sided 99 %: what chance explains as well is no reason to roll back, and there are dozens of looks.
SIGNIFICANT = 2.326


@dataclass(frozen=True, slots=True)
class CanaryQuery:
    """One frozen query.

    Attributes:
        query: Its text.
        features: Of what was shown and its rivals, rounded to 4 decimals, shape (n, len(FEATURES)).
        cited: Which of them were cited, shape (n,).
        cut: How many places count.
    """

    query: str
    features: Floats
    cited: NDArray[np.bool_]
    cut: int

    def recall(self, weights: Floats) -> float:
        """Share of the cited among the first `cut`, of as many as fit there."""
        first = ranked((self.features * weights).sum(axis=1), self.cut)
        return float(self.cited[first].sum()) / min(int(self.cited.sum()), self.cut)

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        rows = [[float(value) for value in row] for row in self.features]
        return {"query": self.query, "features": rows, "cited": self.cited.tolist(), "cut": self.cut}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> CanaryQuery:
        """From `state`.

        Raises:
            ConfigError: It is not one, or of other features.
        """
        try:
            features = np.array(state["features"], dtype=np.float64)
            cited = np.array(state["cited"], dtype=bool)
            made = cls(query=str(state["query"]), features=features, cited=cited, cut=int(state["cut"]))
        except (KeyError, TypeError, ValueError) as error:
            msg = f"this is not a frozen query of a canary set: {error!r}."
            raise ConfigError(msg) from error
        if features.shape != (len(cited), len(FEATURES)) or not cited.any() or made.cut < 1 or not np.isfinite(features).all():
            msg = f"a frozen query needs one finite row of {len(FEATURES)} features per document, and a citation."
            raise ConfigError(msg)
        return made


class Canary:
    """The set of frozen queries. It fills once and never changes after.

    What was cited had been shown, so within all that was shown nothing can ever get better: by recall over as many places every change is
    a loss. Recall is therefore taken over the first two fifths of what was shown.

    Args:
        size: How many queries; 0 is no guard.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.queries: list[CanaryQuery] = []
        self._offered = 0

    def offer(self, query: str, features: Floats, shown: Sequence[int], cited: Sequence[int]) -> CanaryQuery | None:
        """Keep a query, when its turn has come and there is room.

        Args:
            query: Its text.
            features: Of all candidates, the prior's best first, shape (K, len(FEATURES)).
            shown: Rows of what was shown.
            cited: Rows of what was cited; some, and not all of the shown.

        Returns:
            What was kept.
        """
        self._offered += 1
        if len(self.queries) >= self.size or self._offered % EVERY:
            return None
        rows = sorted({*shown, *range(min(RIVALS, len(features)))})
        marked = np.isin(rows, list(cited))
        kept = CanaryQuery(query, np.round(features[rows], 4), marked, max(1, len(shown) * 2 // 5))
        self.queries.append(kept)
        return kept

    def recall(self, weights: Floats) -> float | None:
        """Mean recall; None as long as there are too few queries."""
        return float(self._each(weights).mean()) if len(self.queries) >= LEAST else None

    def fell(self, weights: Floats, best: Floats, tolerance: float) -> tuple[bool, bool]:
        """Compare weights with the best so far.

        Args:
            weights: Now.
            best: Then.
            tolerance: What may be lost, as a fraction.

        Returns:
            Whether recall surely fell by more than the tolerance, and whether it is at least as good.
        """
        loss = self._each(best) - self._each(weights)
        error = float(loss.std(ddof=1)) / len(loss) ** 0.5
        mean = float(loss.mean())
        return mean - SIGNIFICANT * error > tolerance, mean <= 0

    def load(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Replace the queries by stored ones, in their order.

        Raises:
            ConfigError: One is malformed.
        """
        self.queries = [CanaryQuery.load(state) for state in states]
        self._offered = len(self.queries) * EVERY

    def _each(self, weights: Floats) -> Floats:
        return np.array([query.recall(weights) for query in self.queries], dtype=np.float64)
