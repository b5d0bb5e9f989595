"""The learned reranker as a whole: candidates of the prior, linear policy, canary set and rollback."""

from __future__ import annotations

import hashlib
from collections.abc import Collection as Some
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reflectory.errors import ConfigError
from reflectory.retrieval.canary import LEAST, Canary, CanaryQuery
from reflectory.retrieval.collection import Floats
from reflectory.retrieval.features import Ranking
from reflectory.retrieval.linear import LearnerConfig, LinearPolicy, explore


@dataclass(frozen=True, slots=True)
class WeightsUpdate:
    """A new version of the weights.

    Attributes:
        version: Counts updates and rollbacks.
        queries: Texts of the queries that caused it.
        rolled_back: Whether the canary undid it and what came since the best version.
        canary: Recall on the canary set, 0..1; None as long as it is too small.
    """

    version: int
    queries: tuple[str, ...]
    rolled_back: bool
    canary: float | None


class CitationLearner:
    """Ranks, learns from citations, and takes back what made it worse. Not thread-safe: the owner locks.

    Args:
        config: Settings.

    Attributes:
        policy: The weights.
        canary: The frozen queries.
        version: Of the weights, from 0.
    """

    def __init__(self, config: LearnerConfig | None = None) -> None:
        self.config = config or LearnerConfig()
        self.policy = LinearPolicy(self.config)
        self.canary = Canary(self.config.canary)
        self.version = 0
        self.kept: CanaryQuery | None = None
        self._best: dict[str, Any] | None = None
        self._unchecked = 0

    def scores(self, ranking: Ranking) -> Floats:
        """Scores of all documents: the candidates by what was learned, everything else below them in the prior's order.

        Args:
            ranking: Candidates with features.

        Returns:
            Shape (n,); the same for the same version, seed and query, exploration included.
        """
        own = self.policy.scores(ranking.features)
        if self.config.exploration and len(own):
            own = explore(own, self.config.exploration, self._rng(ranking.query))
        return merged(ranking, own)

    def learn(self, ranking: Ranking, shown: Sequence[int], cited: Some[int]) -> WeightsUpdate | None:
        """Take in which of the shown documents were cited.

        Args:
            ranking: The query's candidates.
            shown: Places of the documents shown; those that were no candidates are left out.
            cited: Places of the documents cited; those that were not shown count for nothing.

        Returns:
            What changed; None when nothing did.
        """
        self.kept = None
        row_of = {int(place): row for row, place in enumerate(ranking.pool)}
        rows = [row_of[place] for place in dict.fromkeys(shown) if place in row_of]
        marked = np.array([int(ranking.pool[row]) in cited for row in rows], dtype=bool)
        if not marked.any() or marked.all():
            return None
        self.kept = self.canary.offer(ranking.query, ranking.features, rows, [row for row, yes in zip(rows, marked, strict=True) if yes])
        queries = self.policy.learn(ranking.features[rows], marked, ranking.query)
        if not queries:
            return None
        self.version += 1
        self._unchecked += 1
        return WeightsUpdate(self.version, queries, self._check(), self.canary.recall(self.policy.weights))

    def state(self) -> dict[str, Any]:
        """Everything but the canary's queries, as JSON values."""
        return {"version": self.version, "unchecked": self._unchecked, "policy": self.policy.state(), "best": self._best}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ConfigError: It is not one of `state`, or of other features.
        """
        try:
            version, unchecked, policy, best = int(state["version"]), int(state["unchecked"]), state["policy"], state["best"]
        except (KeyError, TypeError, ValueError) as error:
            msg = f"this is not the state of a citation learner: {error!r}."
            raise ConfigError(msg) from error
        trial = LinearPolicy(self.config)
        for found in filter(None, (best, policy)):  # all of it is checked before anything is taken over
            trial.load(found)
        self.policy, self.version, self._unchecked, self._best = trial, version, unchecked, best

    def _check(self) -> bool:
        """Look at the canary when it is time; returns whether the weights rolled back."""
        if self._unchecked < self.config.check or len(self.canary.queries) < min(LEAST, self.config.canary or LEAST):
            return False
        self._unchecked = 0
        if self._best is None:
            self._best = self.policy.state()
            return False
        best = LinearPolicy(self.config)
        best.load(self._best)
        worse, as_good = self.canary.fell(self.policy.weights, best.weights, self.config.tolerance)
        if worse:
            self.policy = best
        elif as_good:
            self._best = self.policy.state()
        return worse

    def _rng(self, query: str) -> np.random.Generator:
        key = f"{self.config.seed}|{self.version}|{query}".encode("utf-8", "surrogatepass")
        return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8], "little"))


def merged(ranking: Ranking, own: Floats) -> Floats:
    """Scores of all documents from those of the candidates; the rest stays below, in the prior's order."""
    scores = ranking.prior - (ranking.prior.max() if len(ranking.prior) else 0.0) - 1.0 + (float(own.min()) if len(own) else 0.0)
    scores[ranking.pool] = own
    return scores
