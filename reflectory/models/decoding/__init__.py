"""How tokens are chosen: constrained choice, sampling, batched decoding and scoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.models.decoding.choice import ChoiceTrie
    from reflectory.models.decoding.loop import Batch, Row
    from reflectory.models.decoding.score import score_choices

__all__ = ["Batch", "ChoiceTrie", "Row", "score_choices"]

__getattr__ = lazy(
    __name__,
    {
        "Batch": "reflectory.models.decoding.loop",
        "ChoiceTrie": "reflectory.models.decoding.choice",
        "Row": "reflectory.models.decoding.loop",
        "score_choices": "reflectory.models.decoding.score",
    },
)
