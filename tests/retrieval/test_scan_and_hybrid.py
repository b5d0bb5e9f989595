from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reflectory.errors import ConfigError
from reflectory.records import Query
from reflectory.retrieval import HybridRanker, Ranker, cosines, top_k
from reflectory.retrieval.hybrid import min_max

GRID = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0])


def _brute(matrix, query, k, allowed):
    scores = [(-round(math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True)), 6), n) for n, row in enumerate(matrix)]
    return sorted(pair for pair in scores if allowed[pair[1]])[: max(k, 0)]


@settings(max_examples=200)
@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 20), st.just(4)), elements=GRID), st.integers(-1, 25), st.data())
def test_top_k_equals_sorting_everything(matrix, k, data):
    query = data.draw(hnp.arrays(np.float32, 4, elements=GRID))
    mask = data.draw(st.none() | hnp.arrays(np.bool_, len(matrix)))
    rows, scores = top_k(matrix, query, k, mask)
    expected = _brute(matrix, query, k, np.ones(len(matrix), bool) if mask is None else mask)
    assert rows.tolist() == [row for _, row in expected]
    np.testing.assert_allclose(scores, [-score for score, _ in expected])


def test_a_row_scores_the_same_whatever_stands_beside_it():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((997, 384)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    query = matrix[3]
    whole = cosines(matrix, query)
    for size in (1, 2, 7, 64):
        np.testing.assert_array_equal(cosines(matrix[:size], query), whole[:size])
    assert whole[3] == 1.0
    np.testing.assert_allclose(whole, matrix.astype(np.float64) @ query.astype(np.float64), atol=2e-6)


def test_min_max_scales_to_the_unit_interval_and_ignores_constants():
    np.testing.assert_allclose(min_max(np.array([2.0, 4.0, 3.0])), [0.0, 1.0, 0.5])
    assert min_max(np.array([7.0, 7.0])).tolist() == [0.0, 0.0]
    assert min_max(np.empty(0)).shape == (0,)


def test_hybrid_is_the_weighted_sum_of_scaled_parts():
    parts = {"bm25": np.array([0.0, 10.0, 5.0]), "cosine": np.array([0.9, 0.1, 0.5])}
    records = [None, None, None]
    query = Query(text="x")
    assert isinstance(HybridRanker(), Ranker)
    np.testing.assert_allclose(HybridRanker().rank(query, records, parts), [0.5, 0.5, 0.5])
    np.testing.assert_allclose(HybridRanker({"bm25": 1.0, "cosine": 3.0}).rank(query, records, parts), [3.0, 1.0, 2.0])
    np.testing.assert_allclose(HybridRanker({"bm25": 2.0}).rank(query, records, parts), [0.0, 2.0, 1.0])


def test_weights_are_named_in_the_id_and_checked():
    assert HybridRanker().id == "minmax:bm25=0.5,cosine=0.5"
    with pytest.raises(ConfigError, match="Did you mean cosine"):
        HybridRanker({"cosin": 1.0})
    for wrong in ({"bm25": -1.0}, {"bm25": math.nan}, {"bm25": math.inf}, {"bm25": 0.0}, {}):
        with pytest.raises(ConfigError):
            HybridRanker(wrong)
