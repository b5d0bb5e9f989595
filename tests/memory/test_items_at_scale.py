"""The columns behind selecting and filtering, against plain loops; and that nothing is built that nobody asked for."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import PutOp

from reflectory.memory import open_memory, open_store, state
from reflectory.memory.columns import Column, Paths
from reflectory.records import Query
from reflectory.retrieval import HashingEmbedder, cosines, top_k
from reflectory.retrieval.scan import cosines_of


@given(st.lists(st.integers(-5, 5)), st.integers(0, 300))
def test_a_column_grows_like_a_list(values, zeros):
    column, plain = Column(np.int64), []
    for value in values:
        assert column.append(value) == len(plain)
        plain.append(value)
    column.extend(zeros)
    plain += [0] * zeros
    assert column.values.tolist() == plain
    wide = Column(np.float32, 3)
    for value in values:
        wide.append([value, 0, 1])
    assert wide.values.shape == (len(values), 3)
    assert wide.values[:, 0].tolist() == values


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=3).map(tuple), max_size=30), st.lists(st.sampled_from("abc"), max_size=3).map(tuple)
)
def test_paths_below(paths, asked):
    numbered = Paths()
    for path in paths:
        numbered.below(asked)  # asked again while it grows
        assert numbered.names[numbered.code(path)] == path
    assert numbered.below(asked).tolist() == [name[: len(asked)] == asked for name in numbered.names]
    assert len({*numbered.names}) == len(numbered.names)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
def test_a_share_of_the_rows_scores_as_all_of_them_would(share):
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((3000, 64)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    rows = np.sort(rng.choice(3000, int(3000 * share), replace=False))
    whole = cosines(matrix, matrix[7])
    assert np.array_equal(cosines_of(matrix, matrix[7], rows), whole[rows])
    mask = np.zeros(3000, dtype=bool)
    mask[rows] = True
    found, scores = top_k(matrix, matrix[7], 9, mask)
    order = sorted(rows.tolist(), key=lambda row: (-whole[row], row))[:9]
    assert (found.tolist(), scores.tolist()) == (order, whole[order].tolist())


def test_many_items_are_found_as_a_plain_scan_finds_them():
    rng, embedder = random.Random(5), HashingEmbedder(32)
    words = ["cool", "heat", "apple", "mug", "plate", "drawer", "shelf", "lamp", "desk", "sink"]
    held = {}
    with open_store(None, embed=embedder, index={"fields": ["text"]}) as store:
        for _ in range(12):
            ops = []
            for _ in range(400):
                place = ("u", str(rng.randrange(7))), str(rng.randrange(900))
                value = {"text": " ".join(rng.choices(words, k=6)) + f" {rng.randrange(10**6)}", "n": rng.randrange(50)}
                ops.append(PutOp(*place, value if rng.random() < 0.8 else None))
            store.batch(ops)
            for op in {(op.namespace, op.key): op for op in ops}.values():
                if op.value is None:
                    held.pop((op.namespace, op.key), None)
                else:
                    held[op.namespace, op.key] = op.value
        places = list(held)
        vectors = embedder.embed([held[place]["text"] for place in places]).astype(np.float64)
        for query in ("cool mug", "lamp 17"):
            scores = vectors @ embedder.embed([query])[0].astype(np.float64)
            for prefix, limit in (((), 50), (("u", "3"), None), (("u",), 2)):
                allowed = [
                    at
                    for at, place in enumerate(places)
                    if place[0][: len(prefix)] == prefix and (limit is None or held[place]["n"] < limit)
                ]
                best = sorted(allowed, key=lambda at: -scores[at])[:20]
                found = store.search(prefix, query=query, filter=None if limit is None else {"n": {"$lt": limit}}, limit=20)
                assert [item.score for item in found] == pytest.approx([scores[at] for at in best], abs=2e-6)
                assert all(held[item.namespace, item.key] == item.value for item in found)


def test_opening_builds_no_record(tmp_path, rec, monkeypatch):
    with open_memory(tmp_path / "m.sqlite") as memory:
        kept = memory.record([rec(f"line {number}") for number in range(30)])
        memory.cite([kept[0].id])
        memory.mark(kept[1].id, "quarantine")
    built = []
    original = state.Record.model_validate
    monkeypatch.setattr(state.Record, "model_validate", lambda *arguments, **more: built.append(1) or original(*arguments, **more))
    with open_memory(tmp_path / "m.sqlite", read_only=True) as memory:
        assert built == []
        assert len(memory.recall(Query(text="line 7", k=3))) == 3
        assert len(built) == 3
        assert len(list(memory.records())) == 30


def test_recall_with_thousands_of_candidates_grows_with_what_is_added(rec):
    """Word counts remembered per query word must follow what comes in later."""
    rng = random.Random(0)
    words = ["cool", "heat", "apple", "mug", "plate", "drawer"]
    with open_memory(None, embedder=HashingEmbedder(16)) as memory:
        memory.record([rec(" ".join(rng.choices(words, k=5)) + f" {number}") for number in range(2100)])
        before = memory.seq
        first = memory.recall(Query(text="cool mug", k=0))
        memory.record([rec(" ".join(rng.choices(words, k=5)) + f" new {number}") for number in range(60)])
        assert memory.recall(Query(text="cool mug", k=0, as_of=before)) == first
        grown = memory.recall(Query(text="cool mug", k=0))
        memory._replica.rebuild()
        assert memory.recall(Query(text="cool mug", k=0)) == grown
        assert len(grown) == 2160
