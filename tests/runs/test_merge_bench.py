"""The pairs that merge error is measured on, and the error of the deterministic merger."""

from __future__ import annotations

import pytest

from reflectory.memory.merge import Decision
from reflectory.retrieval.words import words
from reflectory.runs.bench.merge import bench_merge, jaccard
from reflectory.runs.bench.pairs import DIFFERENT, POOLS, SAME, make_pairs


def test_pairs_are_seeded_distinct_and_balanced():
    pairs = make_pairs(600, pool="test", seed=3)
    assert pairs == make_pairs(600, pool="test", seed=3) != make_pairs(600, pool="test", seed=4)
    assert len({(pair.old, pair.new) for pair in pairs}) == len(pairs)
    assert all(pair.old != pair.new for pair in pairs)
    assert {pair.kind for pair in pairs} == {*SAME, *DIFFERENT}
    assert all(pair.same == (pair.kind in SAME) for pair in pairs)
    assert 0.45 < sum(pair.same for pair in pairs) / len(pairs) < 0.55
    assert len(make_pairs(2600, pool="test", seed=0)) >= 2000


def test_tuning_and_test_share_no_statement():
    values = {pool: {value for family in families for value in family.values} for pool, families in POOLS.items()}
    assert not values["tune"] & values["test"]
    tune, test = ({text for pair in make_pairs(1500, pool=pool, seed=0) for text in (pair.old, pair.new)} for pool in ("tune", "test"))
    assert not tune & test


def test_the_rules_merge_far_less_wrongly_than_thresholds_do():
    result = bench_merge(1000, seed=11)
    rules, methods = result["methods"]["rules"], result["methods"]
    assert rules["false_merge_ci"][1] < 0.03
    assert rules["missed_merge_ci"][1] < 0.45
    assert rules["false_merge"] < methods["jaccard_0.9"]["false_merge"]
    assert rules["missed_merge"] < methods["exact"]["missed_merge"]
    assert methods["exact"]["false_merge"] == 0
    assert result["updates"]["false_update_ci"][1] < 0.02
    for figures in methods.values():
        assert figures["false_merge_ci"][0] <= figures["false_merge"] <= figures["false_merge_ci"][1]
        assert figures["different"] + figures["same"] == result["pairs"]


@pytest.mark.parametrize(("act", "false", "missed"), [("merge", 1.0, 0.0), ("add", 0.0, 1.0), ("update", 0.0, 1.0)])
def test_a_further_merger_is_judged_by_what_it_decides(act, false, missed):
    class Fixed:
        async def decide(self, candidate, neighbours):
            return Decision(act=act, index=0, text=neighbours[0].body)

    figures = bench_merge(60, mergers={"fixed": Fixed()})["methods"]["fixed"]
    assert (figures["false_merge"], figures["missed_merge"]) == (false, missed)
    assert set(figures["by_kind"].values()) <= {0.0, 1.0}


def test_jaccard_by_hand():
    assert jaccard("I like tea", "I like tea!") == 1.0
    assert jaccard("a b c", "b c d") == 0.5
    assert words("") == []
