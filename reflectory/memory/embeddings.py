"""LangChain's embeddings as an embedder of ours, and any embedder as a store uses it: texts or queries, waiting or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError, MemoryFault
from reflectory.memory.corpus import embed
from reflectory.protocols import Embedder

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

#: What `embed` may be: an embedder of ours, LangChain's embeddings, a function from texts to vectors, or LangChain's "provider:model".
Embed: TypeAlias = Any


class LangChainEmbedder:
    """LangChain embeddings as an `Embedder`: vectors are scaled to length 1, so that inner products are cosines. Zero vectors stay zero.

    The id is made of the class, the model's name and the dimension: embeddings say no more about themselves. Whoever changes the model
    behind an unchanged name must give the memory a new file.

    Args:
        embeddings: The embeddings.
        dims: Length of a vector; None asks for one vector to find out.
        name: Name for the id; "" takes class and model.

    Raises:
        ConfigError: They cannot be asked without waiting, and `dims` was not given.
    """

    def __init__(self, embeddings: Embeddings, *, dims: int | None = None, name: str = "") -> None:
        self.embeddings = embeddings
        try:
            self._dim = int(dims) if dims else len(embeddings.embed_query("length"))
        except ValueError as error:  # an async function alone
            msg = f"the length of the vectors is unknown: {error} Give index={{'dims': N, 'embed': …}}."
            raise ConfigError(msg) from error
        self._name = name or _name(embeddings)

    @property
    def id(self) -> str:
        """Class, model and dimension."""
        return f"langchain:{self._name}:dim={self._dim}"

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._dim

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of documents, shape (len(texts), dim), float32."""
        return self.unit(self.embeddings.embed_documents(list(texts)))

    def unit(self, vectors: Sequence[Sequence[float]]) -> NDArray[np.float32]:
        """Scale vectors to length 1.

        Args:
            vectors: What the embeddings returned.

        Returns:
            Shape (n, dim), float32; zero rows stay zero.

        Raises:
            MemoryFault: The vectors have another length than `dim`, or hold numbers that are not finite.
        """
        if not len(vectors):
            return np.empty((0, self._dim), dtype=np.float32)
        matrix = np.asarray(vectors, dtype=np.float64).reshape(len(vectors), -1)
        if matrix.shape[1] != self._dim:
            msg = f"{self._name} returned vectors of length {matrix.shape[1]}, not {self._dim}. Set `dims` to their length."
            raise MemoryFault(msg)
        if not np.isfinite(matrix).all():
            msg = f"{self._name} returned numbers that are not finite."
            raise MemoryFault(msg)
        norms = np.linalg.norm(matrix, axis=1, keepdims=True)
        return np.asarray(matrix / np.where(norms > 0, norms, 1.0), dtype=np.float32)


def as_embedder(source: Embed, *, dims: int | None = None) -> Embedder:
    """Whatever can embed, as an `Embedder`.

    Args:
        source: See `Embed`.
        dims: Length of a vector, for sources that do not tell.

    Raises:
        ConfigError: `dims` differs from what the embedder says.
        ValueError: A provider's name without LangChain, as LangGraph raises it.
    """
    if isinstance(source, Embedder):
        if dims is not None and dims != source.dim:
            msg = f"the index says dims={dims}, but {source.id} makes vectors of length {source.dim}. Leave `dims` out."
            raise ConfigError(msg)
        return source
    from langgraph.store.base import ensure_embeddings

    name = source if isinstance(source, str) else "" if hasattr(source, "embed_documents") else _name(source)
    return LangChainEmbedder(ensure_embeddings(source), dims=dims, name=name)


def vectors_of(embedder: Embedder, texts: Sequence[str], queries: Sequence[str]) -> list[NDArray[np.float32]]:
    """Embed documents and queries, waiting for it.

    Returns:
        One unit vector per text, then per query, each of shape (dim,).
    """
    if not isinstance(embedder, LangChainEmbedder):
        return list(embed(embedder, [*texts, *queries])) if texts or queries else []
    asked = [embedder.embeddings.embed_query(query) for query in queries]
    return [*(embedder.embed(texts) if texts else ()), *embedder.unit(asked)]


async def avectors_of(embedder: Embedder, texts: Sequence[str], queries: Sequence[str]) -> list[NDArray[np.float32]]:
    """`vectors_of` without blocking the event loop."""
    if not isinstance(embedder, LangChainEmbedder):
        return await asyncio.to_thread(vectors_of, embedder, texts, queries) if texts or queries else []
    documents = await embedder.embeddings.aembed_documents(list(texts)) if texts else []
    asked = await asyncio.gather(*(embedder.embeddings.aembed_query(query) for query in queries))
    return [*embedder.unit(documents), *embedder.unit(asked)]


def _name(source: Any) -> str:
    kind = source if hasattr(source, "__qualname__") else type(source)
    model = next((value for key in ("model", "model_name") if isinstance(value := getattr(source, key, None), str)), "")
    return f"{kind.__module__}.{kind.__qualname__}" + (f":{model}" if model else "")
