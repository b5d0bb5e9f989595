"""A text embedder without weights: hashed words and character n-grams.

Source: feature hashing with signs (Weinberger et al., 2009) over word and sub-word features (Bojanowski et al., 2017).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError
from reflectory.retrieval.words import words

#: English words that say little about a topic count `_FAINT` times as much as others: without document frequencies they would dominate.
_FUNCTION_WORDS = (
    "a an and are as at be been but by did do does for from had has have he her his i if in into is it its me my not of on or our she"
    " so that the their them then there they this to up us was we were what when where which who will with you your"
)
_FAINT = 0.25

_Features = tuple[NDArray[np.intp], NDArray[np.float64]]


class HashingEmbedder:
    """Deterministic embedder: the same text gives the same vector in every process and on every machine.

    A word counts with the square root of its frequency, English function words a quarter of that. Half of a word's squared weight is
    the word itself, half its character n-grams ("<" and ">" mark its ends), so that inflected and misspelt forms stay near.

    Args:
        dim: Length of a vector.
        shortest: Shortest character n-gram.
        longest: Longest character n-gram.

    Raises:
        ConfigError: `dim` below 8, or n-gram lengths that do not satisfy 1 <= shortest <= longest.
    """

    #: Words remembered with their features; the cache starts afresh beyond, which costs time and changes nothing.
    CACHE = 65_536

    def __init__(self, dim: int = 512, *, shortest: int = 3, longest: int = 4) -> None:
        if dim < 8 or not 1 <= shortest <= longest:
            msg = f"dim={dim}, shortest={shortest}, longest={longest}: dim must be at least 8 and 1 <= shortest <= longest."
            raise ConfigError(msg)
        self._dim, self._shortest, self._longest = dim, shortest, longest
        self._faint = frozenset(_FUNCTION_WORDS.split())
        self._cache: dict[str, _Features] = {}

    @property
    def id(self) -> str:
        """Name, version of the recipe and parameters."""
        return f"hashing-1:dim={self._dim},chars={self._shortest}-{self._longest}"

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._dim

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: Any texts; one without words gets a fixed unit vector of its own.

        Returns:
            Unit vectors, shape (len(texts), dim), float32.
        """
        vectors = np.empty((len(texts), self._dim), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self._embed(text)
        return vectors

    def _embed(self, text: str) -> NDArray[np.float64]:
        # Sorted, so that the order of words cannot change the order of the sum.
        counts = sorted(Counter(words(text)).items())
        if not counts:
            return self._nothing()
        features = [self._word(word) for word, _ in counts]
        weights = [values * count**0.5 for (_, values), (_, count) in zip(features, counts, strict=True)]
        vector = np.bincount(np.concatenate([places for places, _ in features]), np.concatenate(weights), self._dim)
        norm = float(np.linalg.norm(vector))
        if norm < 1e-9:  # features that cancel out exactly: as good as no words
            return self._nothing()
        return vector / norm

    def _nothing(self) -> NDArray[np.float64]:
        vector = np.zeros(self._dim)
        vector[0] = 1.0
        return vector

    def _word(self, word: str) -> _Features:
        known = self._cache.get(word)
        if known is not None:
            return known
        marked = f"<{word}>"
        grams = [marked[at : at + size] for size in range(self._shortest, self._longest + 1) for at in range(len(marked) - size + 1)]
        names = ["w " + word, *("c " + gram for gram in grams)]
        values = np.full(len(names), (0.5 / len(grams)) ** 0.5 if grams else 0.0)
        values[0] = 0.5**0.5 if grams else 1.0
        values *= _FAINT if word in self._faint else 1.0
        hashes = [int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") for name in names]
        places = np.array([(value >> 1) % self._dim for value in hashes], dtype=np.intp)
        signs = np.array([1.0 if value & 1 else -1.0 for value in hashes])
        if len(self._cache) >= self.CACHE:
            self._cache = {}
        self._cache[word] = features = (places, values * signs)
        return features
