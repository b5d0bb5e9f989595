"""Finding text again: embedders, BM25, exact scan and the hybrid prior ranker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.retrieval.adapter import RMMAdapter as RMMAdapter
    from reflectory.retrieval.fts import WordIndex as WordIndex
    from reflectory.retrieval.hashing import HashingEmbedder as HashingEmbedder
    from reflectory.retrieval.hybrid import HybridRanker as HybridRanker
    from reflectory.retrieval.hybrid import Ranker as Ranker
    from reflectory.retrieval.linear import LearnerConfig as LearnerConfig
    from reflectory.retrieval.minilm import MiniLMEmbedder as MiniLMEmbedder
    from reflectory.retrieval.scan import cosines as cosines
    from reflectory.retrieval.scan import top_k as top_k

__all__ = [
    "HashingEmbedder",
    "HybridRanker",
    "LearnerConfig",
    "MiniLMEmbedder",
    "RMMAdapter",
    "Ranker",
    "WordIndex",
    "cosines",
    "top_k",
]

__getattr__ = lazy(
    __name__,
    {
        "HashingEmbedder": "reflectory.retrieval.hashing",
        "HybridRanker": "reflectory.retrieval.hybrid",
        "LearnerConfig": "reflectory.retrieval.linear",
        "MiniLMEmbedder": "reflectory.retrieval.minilm",
        "RMMAdapter": "reflectory.retrieval.adapter",
        "Ranker": "reflectory.retrieval.hybrid",
        "WordIndex": "reflectory.retrieval.fts",
        "cosines": "reflectory.retrieval.scan",
        "top_k": "reflectory.retrieval.scan",
    },
)
