from __future__ import annotations

import numpy as np
import pytest

from reflectory.errors import ConfigError
from reflectory.memory.rmm import AdapterRanker
from reflectory.memory.store import open_memory
from reflectory.records import Query
from reflectory.retrieval import HashingEmbedder, Ranker
from reflectory.retrieval.adapter import AdapterConfig

QUERY = Query(text="where is the mug", namespace=("household",), k=5)


def bodies():
    return [f"the mug number {number} is in cabinet {number % 7}" for number in range(12)] + [f"apple {number}" for number in range(15)]


def open_with(config, rec, **fields):
    embedder = HashingEmbedder(32)
    ranker = AdapterRanker(embedder, config)
    memory = open_memory(None, embedder=embedder, ranker=ranker)
    memory.record([rec(body, **fields) for body in bodies()])
    return memory, ranker


def test_it_ranks_a_memory_by_a_draw_among_the_nearest(rec):
    memory, ranker = open_with(AdapterConfig(pool=6), rec)
    assert isinstance(ranker, Ranker)
    hits = memory.recall(QUERY.model_copy(update={"k": 0}))
    cosine = [hit.parts["cosine"] for hit in hits]
    assert len(hits) == 27
    assert sorted(cosine[:6], reverse=True) == sorted(cosine, reverse=True)[:6]
    assert cosine[6:] == sorted(cosine[6:], reverse=True)
    assert [hit.record.id for hit in memory.recall(QUERY)] == [hit.record.id for hit in hits[:5]]


def test_what_is_cited_again_and_again_rises(rec):
    memory, ranker = open_with(AdapterConfig(batch=1, baseline="mean", optimiser="adam", rate=1e-2, scale=10.0), rec)
    wanted = memory.recall(QUERY)[4].record.id

    def share():
        """Its chance of the first place, without the draw."""
        ids, asked, memories, _ = ranker._rankings[QUERY.text]
        logits = ranker.adapter.scores(asked, memories) * 10.0 / 0.5
        return float((np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum())[ids.index(wanted)])

    before = share()
    for _ in range(30):
        hits = memory.recall(QUERY)
        ranker.learn(QUERY, hits, [wanted])
    assert share() > before + 0.3


def test_untrusted_and_unranked_records_teach_nothing(rec):
    memory, ranker = open_with(AdapterConfig(batch=1), rec, origin="content", kind="fact")
    hits = memory.recall(QUERY)
    assert not ranker.learn(QUERY, hits, [hits[0].record.id])
    assert not ranker.learn(Query(text="never asked"), hits, [hits[0].record.id])
    assert not ranker.adapter.query_matrix.any()


def test_an_empty_memory_is_ranked():
    with open_memory(None, embedder=HashingEmbedder(32), ranker=AdapterRanker(HashingEmbedder(32))) as memory:
        assert memory.recall(QUERY) == []


def test_it_refuses_to_read_at_a_position_it_kept_no_weights_of(rec):
    memory, _ = open_with(AdapterConfig(pool=6), rec)
    with pytest.raises(ConfigError, match="as_of"):
        memory.recall(QUERY.model_copy(update={"as_of": memory.seq}))
