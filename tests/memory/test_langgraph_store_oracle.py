"""The store against LangGraph's own in-memory store, given the same random batches.

The oracle is that store with four of its faults taken out, each of them a documented difference: vectors of an old version stay behind
after an update, one text twice in a batch raises, namespaces are made by reading and outlive their items, and its items without a vector
are on every page.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from reflectory.memory import open_store
from reflectory.retrieval import HashingEmbedder

EMBEDDER = HashingEmbedder(64)


def embed(texts):
    return [[float(value) for value in vector] for vector in EMBEDDER.embed(texts)]


class Oracle(InMemoryStore):
    def _extract_texts(self, put_ops):
        for namespace, key in put_ops:
            self._vectors[namespace].pop(key, None)
        return super()._extract_texts(put_ops)

    def _insertinmem_store(self, to_embed, embeddings):
        for places, embedding in zip(to_embed.values(), embeddings, strict=True):
            for namespace, key, path in places:
                self._vectors[namespace][key][path] = embedding

    def _prepare_ops(self, ops):
        self._data = Shelf(self._data)
        return super()._prepare_ops(ops)

    def _apply_put_ops(self, put_ops):
        self._data = defaultdict(dict, self._data)
        for place, op in put_ops.items():
            super()._apply_put_ops({place: op})
            if not self._data[place[0]]:
                del self._data[place[0]]


class Shelf(dict):
    """A dictionary that answers for what it lacks without keeping it."""

    def __missing__(self, key):
        return {}


LABELS = st.sampled_from(["a", "b", "%", "_", "*", "a%", "Ä", "ab", "A", "[a]"])
PATHS = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["k", "l", "K", "%", "ключ"])
WORDS = st.sampled_from(["cool the mug", "heat the apple", "the mug is in cabinet 3", "lamp", "cool cool plate", ""])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, -2.25, 1e300, 10**20]), WORDS)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "text": WORDS,
        "n": st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 2.5])),
        "any": SCALARS,
        "tags": st.lists(WORDS, max_size=3),
        "deep": st.fixed_dictionaries({"x": SCALARS}, optional={"y": WORDS}),
    },
)
INDEX = st.sampled_from([None, None, False, ["text"], ["tags[*]"], ["text", "deep.y"], ["deep"], []])
FILTERS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "text": WORDS,
            "any": st.one_of(SCALARS, st.fixed_dictionaries({"$ne": SCALARS}), st.fixed_dictionaries({"$eq": SCALARS})),
            "tags": st.lists(WORDS, max_size=2),
            "deep": st.one_of(st.fixed_dictionaries({"x": SCALARS}), st.fixed_dictionaries({"x": st.fixed_dictionaries({"$ne": SCALARS})})),
        },
    ),
    # The oracle raises where a compared value is no number, so comparisons go to a field that is one, with items that all have it.
    st.fixed_dictionaries({"n": st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.integers(-2, 2), min_size=1)}),
)
PUTS = st.builds(lambda path, key, value, index: PutOp(path, key, value, index), PATHS, KEYS, VALUES, INDEX)
DELETES = st.builds(lambda path, key: PutOp(path, key, None), PATHS, KEYS)
GETS = st.builds(GetOp, PATHS, KEYS)
SEARCHES = st.builds(
    lambda path, wanted, limit, offset, query: SearchOp(path, wanted, limit, offset, query),
    st.one_of(st.just(()), PATHS),
    FILTERS,
    st.integers(0, 5),
    st.integers(0, 4),
    st.one_of(st.none(), WORDS),
)
MATCHES = st.lists(st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), PATHS), max_size=2).map(tuple)
LISTS = st.builds(ListNamespacesOp, MATCHES, st.one_of(st.none(), st.integers(1, 3)), st.integers(0, 6), st.integers(0, 3))
OPS = st.one_of(PUTS, PUTS, PUTS, DELETES, GETS, SEARCHES, SEARCHES, LISTS)


def numbered(op):
    return op._replace(value={"n": 0, **op.value}) if isinstance(op, PutOp) and op.value is not None else op


def plain(item):
    return None if item is None else (item.namespace, item.key, item.value)


def expected(oracle, op, result):
    """The oracle's answer in the form to compare; a ranked search is asked for whole, and the page cut out of it."""
    if isinstance(op, SearchOp) and op.query and oracle.index_config is not None:
        whole = oracle.batch([op._replace(limit=10**6, offset=0)])[0]
        return whole[op.offset : op.offset + op.limit]
    return result


def check(op, ours, theirs):
    if not isinstance(op, SearchOp):
        assert (plain(ours) if isinstance(op, GetOp) else ours) == (plain(theirs) if isinstance(op, GetOp) else theirs)
        return
    scores = [item.score for item in ours], [item.score for item in theirs]
    assert len(scores[0]) == len(scores[1])
    for mine, other in zip(*scores, strict=True):
        assert mine == other or math.isclose(mine, other, abs_tol=2e-6)
    mine, other = ([score or 0 for score in part] for part in scores)
    near = any(0 < abs(a - b) < 4e-6 or (a == b) != (c == d) for (a, b), (c, d) in zip(pairwise(other), pairwise(mine), strict=True))
    if not near:  # float32 here, float64 there: only the order of what differs by rounding may differ
        assert [plain(item) for item in ours] == [plain(item) for item in theirs]


def run(batches, index):
    oracle = Oracle(index=None if index is None else {"dims": 64, "embed": embed, **index})
    settings_ = {"index": False} if index is None else {"index": index or None, "embed": EMBEDDER}
    with open_store(None, **settings_) as store:
        for number, batch in enumerate(batches):
            batch = [numbered(op) for op in batch]
            before = [expected(oracle, op, None) for op in batch]
            theirs = oracle.batch(batch)
            ours = store.batch(batch) if number % 2 == 0 else asyncio.run(store.abatch(batch))
            for op, mine, other, paged in zip(batch, ours, theirs, before, strict=True):
                check(op, mine, other if paged is None else paged)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(OPS, min_size=1, max_size=8), min_size=1, max_size=6))
def test_the_same_answers_without_an_index(batches):
    run(batches, None)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(OPS, min_size=1, max_size=8), min_size=1, max_size=6), st.sampled_from([{}, {"fields": ["text", "tags[*]"]}]))
def test_the_same_answers_with_semantic_search(batches, index):
    run(batches, index)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(st.lists(st.lists(OPS, min_size=1, max_size=12), min_size=1, max_size=12), st.sampled_from([None, {}, {"fields": ["text"]}]))
def test_the_same_answers_at_length(batches, index):
    run(batches, index)
