"""RMM's reranker: residual adapters of query and memory embeddings, sampled with Gumbel noise, taught by citations with REINFORCE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError
from reflectory.retrieval.collection import Floats


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """Settings of `RMMAdapter`; the defaults are the published ones (Tan et al., 2025, appendix A.1).

    Attributes:
        pool: Candidates, the nearest by cosine (K).
        shown: How many are sampled (M).
        temperature: Of the softmax (tau).
        rate: Step size (eta).
        batch: Queries per update.
        baseline: What is taken from the reward of +1 or -1 (b). "mean" centres the reward within each query, which learns where the
            published constant pushes down everything shown.
        optimiser: "sgd" or "adam".
        scale: Multiplies the scores: cosines of unit vectors are too close together for a softmax.
        seed: Seeds the Gumbel noise.
    """

    pool: int = 20
    shown: int = 5
    temperature: float = 0.5
    rate: float = 1e-3
    batch: int = 4
    baseline: float | Literal["mean"] = 0.5
    optimiser: Literal["sgd", "adam"] = "sgd"
    scale: float = 1.0
    seed: int = 0

    @classmethod
    def sane(cls, seed: int = 0) -> AdapterConfig:
        """Settings that learn on a few hundred queries: centred reward, Adam with 1e-4, scores scaled by 10."""
        return cls(rate=1e-4, baseline="mean", optimiser="adam", scale=10.0, seed=seed)


class RMMAdapter:
    """q' = q + Wq q, m' = m + Wm m, scores q'.m'; the embedder itself stays as it is. Wq and Wm begin at 0: the order of the cosines.

    Source: Reflective Memory Management (Tan et al., ACL 2025), section 3.2. The paper gives no initialisation.

    Args:
        dim: Length of the embeddings.
        config: Settings.

    Raises:
        ConfigError: An optimiser or baseline that does not exist, or a size below 1.

    Attributes:
        query_matrix: Wq, shape (dim, dim).
        memory_matrix: Wm, shape (dim, dim).
    """

    def __init__(self, dim: int, config: AdapterConfig | None = None) -> None:
        self.config = config or AdapterConfig()
        _check(self.config, dim)
        self.query_matrix: Floats = np.zeros((dim, dim))
        self.memory_matrix: Floats = np.zeros((dim, dim))
        self.updates = 0
        self._sum: Floats = np.zeros((2, dim, dim))
        self._waiting = 0
        # Adam needs two moments per weight; SGD none.
        self._moments: Floats = np.zeros((2, 2, dim, dim) if self.config.optimiser == "adam" else 0)
        self._rng = np.random.default_rng(self.config.seed)

    def scores(self, query: Floats, memories: Floats) -> Floats:
        """Scores without noise.

        Args:
            query: Shape (dim,).
            memories: Candidates, shape (K, dim).

        Returns:
            Shape (K,), higher is better.
        """
        adapted = query + self.query_matrix @ query
        return np.asarray((memories + memories @ self.memory_matrix.T) @ adapted)

    def sample(self, query: Floats, memories: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Draw what is shown: the first M of the scores with Gumbel noise.

        Returns:
            Places of the shown candidates, best first, shape (M,), and the noise, shape (K,), which `learn` needs.
        """
        noise = self._rng.gumbel(size=len(memories))
        perturbed = self.config.scale * self.scores(query, memories) + noise
        return np.argsort(-perturbed, kind="stable")[: self.config.shown].astype(np.intp), noise

    def learn(self, query: Floats, memories: Floats, drawn: tuple[NDArray[np.intp], Floats], cited: NDArray[np.bool_]) -> bool:
        """Take in what came of one query.

        Args:
            query: Shape (dim,).
            memories: The candidates, shape (K, dim).
            drawn: What `sample` returned.
            cited: Which of the shown were cited, shape (M,).

        Returns:
            Whether the weights were updated.
        """
        reward = np.where(cited, 1.0, -1.0)
        baseline = float(reward.mean()) if self.config.baseline == "mean" else self.config.baseline
        self._sum += self.gradient(query, memories, drawn, reward - baseline)
        self._waiting += 1
        if self._waiting < self.config.batch:
            return False
        self._step(self._sum / self._waiting)
        self._sum, self._waiting = np.zeros_like(self._sum), 0
        return True

    def gradient(self, query: Floats, memories: Floats, drawn: tuple[NDArray[np.intp], Floats], advantage: Floats) -> Floats:
        """Gradient of sum over shown i of advantage_i * log p_i, p = softmax((scale * scores + noise) / temperature).

        Args:
            query: Shape (dim,).
            memories: Shape (K, dim).
            drawn: Places of the shown, shape (M,), and the noise, shape (K,).
            advantage: Reward less baseline, shape (M,).

        Returns:
            For Wq and Wm, shape (2, dim, dim).
        """
        shown, noise = drawn
        logits = (self.config.scale * self.scores(query, memories) + noise) / self.config.temperature
        chances = np.exp(logits - logits.max())
        chances /= chances.sum()
        pull = -advantage.sum() * chances
        np.add.at(pull, shown, advantage)
        # Every memory pulls on the scores, s_k = q'.m'_k: one weighted sum of memories stands for all.
        together = (pull * self.config.scale / self.config.temperature) @ memories
        adapted = query + self.query_matrix @ query
        gradient: Floats = np.stack([np.outer(together + self.memory_matrix @ together, query), np.outer(adapted, together)]).astype(
            np.float64
        )
        return gradient

    def _step(self, gradient: Floats) -> None:
        self.updates += 1
        if self.config.optimiser == "adam":
            self._moments[0] = 0.9 * self._moments[0] + 0.1 * gradient
            self._moments[1] = 0.999 * self._moments[1] + 0.001 * gradient**2
            mean, square = self._moments[0] / (1 - 0.9**self.updates), self._moments[1] / (1 - 0.999**self.updates)
            gradient = mean / (np.sqrt(square) + 1e-8)
        self.query_matrix += self.config.rate * gradient[0]
        self.memory_matrix += self.config.rate * gradient[1]

    def save(self) -> Mapping[str, NDArray[Any]]:
        """What was learned, as arrays for `numpy.savez`: half a million numbers are no matter for a journal."""
        return {"query_matrix": self.query_matrix.copy(), "memory_matrix": self.memory_matrix.copy()}

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what was learned; the optimiser begins anew.

        Raises:
            ConfigError: Other shapes, or values that are not finite.
        """
        matrices = [np.asarray(saved.get(name, ()), dtype=np.float64) for name in ("query_matrix", "memory_matrix")]
        if any(matrix.shape != self.query_matrix.shape or not np.isfinite(matrix).all() for matrix in matrices):
            msg = f"these are not two finite matrices of shape {self.query_matrix.shape}, as embeddings of this length need."
            raise ConfigError(msg)
        self.query_matrix, self.memory_matrix = matrices
        self.updates, self._waiting = 0, 0
        self._sum, self._moments = np.zeros_like(self._sum), np.zeros_like(self._moments)


def _check(config: AdapterConfig, dim: int) -> None:
    if min(config.pool, config.shown, config.batch, dim) < 1 or config.temperature <= 0 or config.rate <= 0:
        msg = "the adapter's pool, shown, batch and dim must be at least 1, its temperature and rate above 0."
        raise ConfigError(msg)
    if config.optimiser not in ("sgd", "adam") or (isinstance(config.baseline, str) and config.baseline != "mean"):
        msg = f"optimiser={config.optimiser!r}, baseline={config.baseline!r}: use sgd or adam, and a number or 'mean'."
        raise ConfigError(msg)
