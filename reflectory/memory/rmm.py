"""RMM's reranker as published, over a memory: an option, for comparison.

Method: RMM (arXiv 2503.08026), retrospective reflection: the nearest K by cosine, residual adapters, a Gumbel draw of M, REINFORCE from
citations. Kept: all of that, with the published settings as defaults. Changed: the draw is seeded by the question and the number of
updates, so that ranking again gives the same order; untrusted records teach nothing. `reflectory.memory.retrospective` finds more.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError
from reflectory.memory.view import search_text
from reflectory.protocols import Embedder
from reflectory.records import UNTRUSTED, Hit, Query, Record
from reflectory.retrieval.adapter import AdapterConfig, RMMAdapter

Floats = NDArray[np.float64]


class AdapterRanker:
    """A `reflectory.retrieval.Ranker` with RMM's adapters. Usable from several threads.

    It has its newest weights only, so it cannot order what a memory said at an earlier position: a query with `as_of` is refused, as the
    same question would get another answer after every update. `reflectory.memory.Retrospective` keeps all versions in the journal.

    Args:
        embedder: The memory's own.
        config: Settings; None is as published, `AdapterConfig.sane()` learns from less.

    Raises:
        ConfigError: A setting out of range.

    Attributes:
        adapter: What is learned; `adapter.save()` and `adapter.load()` keep it.
    """

    #: Vectors and rankings remembered.
    VECTORS, RANKINGS = 4096, 256

    def __init__(self, embedder: Embedder, config: AdapterConfig | None = None) -> None:
        self.embedder = embedder
        self.adapter = RMMAdapter(embedder.dim, config)
        self._lock = threading.RLock()
        self._vectors: OrderedDict[str, Floats] = OrderedDict()
        self._rankings: OrderedDict[str, tuple[list[str], Floats, Floats, Floats]] = OrderedDict()

    @property
    def id(self) -> str:
        """Name with parameters."""
        config = self.adapter.config
        return f"rmm-1:pool={config.pool},shown={config.shown},rate={config.rate:g},baseline={config.baseline},{config.optimiser}"

    def rank(self, query: Query, records: Sequence[Record], parts: Mapping[str, Floats]) -> Floats:
        """Score records: a draw over the nearest, everything else below in the order of its cosine; see `reflectory.retrieval.Ranker`.

        Raises:
            ConfigError: The query has an `as_of`.
        """
        if query.as_of is not None:
            msg = "AdapterRanker keeps no earlier weights, so it cannot rank as_of a position. Ask without as_of, or use Retrospective."
            raise ConfigError(msg)
        cosine, config = parts["cosine"], self.adapter.config
        scores = cosine - 2.0
        if not len(records):
            return scores
        pool = np.argsort(-cosine, kind="stable")[: config.pool]
        near = [records[place] for place in pool.tolist()]
        with self._lock:
            asked, *vectors = self._embed([query.text, *map(search_text, near)])
            memories = np.stack(vectors)
            noise = self._rng(query.text).gumbel(size=len(near))
            drawn = config.scale * self.adapter.scores(asked, memories) + noise
            self._rankings[query.text] = ([record.id for record in near], asked, memories, noise)
            self._rankings.move_to_end(query.text)
            while len(self._rankings) > self.RANKINGS:
                self._rankings.popitem(last=False)
        scores += min(float(drawn.min()), 0.0)
        scores[pool] = drawn
        return scores

    def learn(self, query: Query, shown: Sequence[Hit], cited: Sequence[str]) -> bool:
        """Take in which of the shown records an answer used.

        Args:
            query: What was asked; its text counts, of its last ranking.
            shown: What was shown; untrusted records and what was no candidate are left out.
            cited: Ids of what was used.

        Returns:
            Whether the weights were updated.
        """
        with self._lock:
            known = self._rankings.get(query.text)
            if known is None:
                return False
            ids, asked, memories, noise = known
            trusted = [hit.record.id for hit in shown if hit.record.origin.kind not in UNTRUSTED and hit.record.id in ids]
            if not trusted:
                return False
            rows = np.array([ids.index(name) for name in trusted], dtype=np.intp)
            return self.adapter.learn(asked, memories, (rows, noise), np.array([name in cited for name in trusted]))

    def _embed(self, texts: Sequence[str]) -> list[Floats]:
        found = {text: self._vectors[text] for text in texts if text in self._vectors}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            found.update(zip(new, self.embedder.embed(new).astype(np.float64), strict=True))
        for text in dict.fromkeys(texts):
            self._vectors[text] = found[text]
            self._vectors.move_to_end(text)
        while len(self._vectors) > self.VECTORS:
            self._vectors.popitem(last=False)
        return [found[text] for text in texts]

    def _rng(self, query: str) -> np.random.Generator:
        key = f"{self.adapter.config.seed}|{self.adapter.updates}|{query}".encode("utf-8", "surrogatepass")
        return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest()[:8], "little"))
