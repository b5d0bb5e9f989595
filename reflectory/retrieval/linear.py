"""A linear reranker that learns from citations of what it showed: a policy gradient over pairs of shown documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError
from reflectory.retrieval.collection import Floats
from reflectory.retrieval.features import FEATURES


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """Settings of the learned reranker; the defaults were chosen on training conversations.

    Attributes:
        pool: Candidates per query, always the best of the fixed prior: learning cannot narrow what it will see.
        rate: Step size of Adam.
        batch: Queries per update.
        temperature: Of the softmax choice between two shown documents.
        averaging: The served weights are the running average of all steps, the last of t counting averaging / (averaging + t).
        exploration: Scale of the Gumbel noise that `explore` adds to the scores; 0 shows the best.
        canary: Frozen past queries that guard against getting worse; 0 turns the guard off.
        check: Updates between two looks at the canary.
        tolerance: Canary recall that may be lost before the weights roll back, as a fraction.
        seed: Seeds the exploration.

    Raises:
        ConfigError: A value out of range.
    """

    pool: int = 50
    rate: float = 0.02
    batch: int = 4
    temperature: float = 0.5
    averaging: float = 20.0
    exploration: float = 0.0
    canary: int = 128
    check: int = 8
    tolerance: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value; see the class."""
        for name, value in asdict(self).items():
            low = 1 if name in ("pool", "batch", "check") else 0
            positive = name in ("rate", "temperature", "averaging")
            if not low <= value < float("inf") or (positive and value == 0):
                msg = f"{name}={value} is out of range: it must be finite and {'above 0' if positive else f'at least {low}'}."
                raise ConfigError(msg)


class LinearPolicy:
    """Weights over `FEATURES`, at first those of the prior alone.

    Any two shown documents are a choice between two: softmax over their scores. The gradient is that of the expected reward of this
    choice, taken exactly instead of by sampling. The reward is the citation (1 or 0) less that of the other, so it is centred within the
    query: where all that was shown was cited, or none of it, there is nothing to learn. The mean over the pairs that differ makes every
    query count once; it is bounded, so that one surely wrong citation, of which the ranker thinks little, moves little. Optimiser: Adam.

    Source: REINFORCE (Williams, 1992) with the exact expectation over actions; reranking by citations: RMM (Tan et al., 2025); averaging:
    Polyak and Juditsky (1992).

    Args:
        config: Settings.

    Attributes:
        weights: What `scores` uses, shape (len(FEATURES),).
        updates: How many steps were taken.
    """

    def __init__(self, config: LearnerConfig) -> None:
        self.config = config
        self.weights: Floats = np.zeros(len(FEATURES), dtype=np.float64)
        self.weights[FEATURES.index("prior")] = 1.0
        self.updates = 0
        self._fast = self.weights.copy()
        self._mean, self._square = np.zeros(len(FEATURES)), np.zeros(len(FEATURES))
        self._gradients: list[Floats] = []
        self._queries: list[str] = []

    def scores(self, features: Floats) -> Floats:
        """Scores of candidates.

        Args:
            features: Standardised, shape (K, len(FEATURES)).

        Returns:
            Shape (K,), higher is better.
        """
        return np.asarray((features * self.weights).sum(axis=1))

    def learn(self, features: Floats, cited: NDArray[np.bool_], query: str) -> tuple[str, ...]:
        """Take in what came of one query.

        Args:
            features: Of the shown documents only, shape (M, len(FEATURES)).
            cited: Which of them were cited, shape (M,).
            query: Its text, for the record of who taught what.

        Returns:
            The queries that caused an update; empty when none was made.
        """
        if not cited.any() or cited.all():
            return ()
        self._gradients.append(citation_gradient(features, cited, self._fast, self.config.temperature))
        self._queries.append(query)
        if len(self._gradients) < self.config.batch:
            return ()
        queries = tuple(self._queries)
        self._step(np.mean(self._gradients, axis=0))
        self._gradients, self._queries = [], []
        return queries

    def _step(self, gradient: Floats) -> None:
        self.updates += 1
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.999 * self._square + 0.001 * gradient**2
        mean, square = self._mean / (1 - 0.9**self.updates), self._square / (1 - 0.999**self.updates)
        self._fast = self._fast + self.config.rate * mean / (np.sqrt(square) + 1e-8)
        keep = self.updates / (self.updates + self.config.averaging)
        self.weights = keep * self.weights + (1 - keep) * self._fast

    def state(self) -> dict[str, Any]:
        """Everything learned, as JSON values; weights by feature name."""
        columns = {"weights": self.weights, "fast": self._fast, "mean": self._mean, "square": self._square}
        named = {name: dict(zip(FEATURES, column.tolist(), strict=True)) for name, column in columns.items()}
        waiting = [dict(zip(FEATURES, gradient.tolist(), strict=True)) for gradient in self._gradients]
        return {**named, "updates": self.updates, "gradients": waiting, "queries": list(self._queries)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ConfigError: It is not one of `state`, or of other features.
        """
        try:
            columns = {name: _column(state[name]) for name in ("weights", "fast", "mean", "square")}
            gradients = [_column(gradient) for gradient in state["gradients"]]
            updates, queries = int(state["updates"]), [str(query) for query in state["queries"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"these are not the weights of this ranker ({error!r}). Its features are {', '.join(FEATURES)}."
            raise ConfigError(msg) from error
        self.weights, self._fast = columns["weights"], columns["fast"]
        self._mean, self._square = columns["mean"], columns["square"]
        self.updates, self._gradients, self._queries = updates, gradients, queries


def citation_gradient(features: Floats, cited: NDArray[np.bool_], weights: Floats, temperature: float) -> Floats:
    """Gradient of the mean, over pairs of which one was cited and one was not, of the chance that the cited one comes first.

    That is the mean of sigmoid((s_i - s_j) / temperature) over cited i and other j, with s = features @ weights.

    Args:
        features: Of the shown documents, shape (M, F).
        cited: Their rewards, shape (M,).
        weights: Shape (F,).
        temperature: Of the choice.

    Returns:
        Shape (F,); 0 when all were cited or none.
    """
    scores = (features * weights).sum(axis=1) / temperature
    # tanh form of sigmoid' : never overflows
    slope = 0.25 * (1.0 - np.tanh((scores[:, None] - scores[None, :]) / 2.0) ** 2)
    rewards = cited.astype(np.float64)
    pairs = max(rewards.sum() * (1.0 - rewards).sum(), 1.0)
    pull = (slope * (rewards[:, None] - rewards[None, :])).sum(axis=1) / (temperature * pairs)
    return np.asarray((pull[:, None] * features).sum(axis=0))


def explore(scores: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Scores with Gumbel noise: their order is a draw from the Plackett-Luce model of softmax(scores / scale); scale 0 changes nothing."""
    return scores + scale * rng.gumbel(size=len(scores)) if scale else scores


def _column(named: Mapping[str, Any]) -> Floats:
    values = np.array([float(named[name]) for name in FEATURES], dtype=np.float64)
    if len(named) != len(FEATURES) or not np.isfinite(values).all():
        msg = f"{sorted(set(named) ^ set(FEATURES)) or 'a value is not finite'}"
        raise ValueError(msg)
    return values


def ranked(scores: Floats, k: int | None = None) -> Sequence[int]:
    """Places by score, best first, equal scores in their order; the first k."""
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return order[:k]
