"""Vectors remembered on disk by what they are vectors of, so that a text is embedded once and never again."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reflectory.protocols import Embedder


def cache_folder() -> Path:
    """The user's cache folder of this project: `$XDG_CACHE_HOME/reflectory`, or `~/.cache/reflectory`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reflectory"


class CachedEmbedder:
    """An embedder that looks a text up before it embeds it. The file is a cache: losing it, or a race for it, costs time only.

    Args:
        embedder: Makes the vectors that are not there yet.
        folder: Where the file lies, one per embedder id; None is `cache_folder()`.
        chunk: Texts embedded between two writes of the file, so that an interrupted run keeps what it did.
    """

    def __init__(self, embedder: Embedder, folder: Path | None = None, *, chunk: int = 512) -> None:
        self._embedder, self._chunk = embedder, chunk
        name = hashlib.sha256(embedder.id.encode()).hexdigest()[:16]
        self.path = (cache_folder() if folder is None else folder) / f"vectors-{name}.npz"
        self._known = self._read()

    @property
    def id(self) -> str:
        """The embedder's own id: the vectors are the same."""
        return self._embedder.id

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._embedder.dim

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts; see `reflectory.protocols.Embedder.embed`.

        Args:
            texts: Any texts.

        Returns:
            Unit vectors, shape (len(texts), dim), float32.
        """
        keys = [_key(text) for text in texts]
        todo = [text for key, text in dict(zip(keys, texts, strict=True)).items() if key not in self._known]
        for begin in range(0, len(todo), self._chunk):
            part = todo[begin : begin + self._chunk]
            self._known.update(zip(map(_key, part), self._embedder.embed(part), strict=True))
            self._write()
        return np.stack([self._known[key] for key in keys]) if keys else np.empty((0, self.dim), dtype=np.float32)

    def _read(self) -> dict[bytes, NDArray[np.float32]]:
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                keys, vectors = stored["keys"], stored["vectors"]
        except Exception:  # absent, cut off, or no archive, which zip and NumPy say in a dozen ways: the vectors are made again
            return {}
        if keys.shape != (len(vectors), 16) or vectors.ndim != 2 or vectors.shape[1] != self.dim or not np.isfinite(vectors).all():
            return {}
        return {key.tobytes(): vector for key, vector in zip(keys, vectors.astype(np.float32), strict=True)}

    def _write(self) -> None:
        """Replace the file by one that also has what another process put there meanwhile."""
        self._known = self._read() | self._known
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                keys = np.frombuffer(b"".join(self._known), dtype=np.uint8).reshape(-1, 16)
                np.savez(file, keys=keys, vectors=np.stack(list(self._known.values())))
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
