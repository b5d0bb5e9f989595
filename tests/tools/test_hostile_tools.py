"""Tools that raise, hang, crash, flood, fork and leak: the model reads an error, in time, and this process hardly grows."""

from __future__ import annotations

import pytest

from reflectory.runs.bench import hostile
from reflectory.runs.bench.tools import OUTSIDE, attempt, bench_tools, find_sandbox

WHY = find_sandbox(OUTSIDE)[1]


def test_there_are_more_than_thirty_kinds_with_names_of_their_own():
    names = [kind.name for kind in hostile.KINDS]
    assert len(set(names)) == len(names) >= 30


@pytest.mark.parametrize("kind", hostile.KINDS, ids=lambda kind: kind.name)
async def test_the_model_reads_an_answer_in_time(kind):
    tried = await attempt(kind)
    if tried is None:
        pytest.skip(WHY)
    assert tried.right(kind), tried.result
    assert "Traceback" not in tried.result.text or kind.bearer == "python"
    assert tried.seconds <= tried.limit + 2
    assert tried.rss_mb <= 50


def test_the_bench_counts_what_it_tried():
    few = [kind for kind in hostile.KINDS if kind.name in {"raise", "generator", "binary"}]
    wrong = hostile.Kind("wrongly judged", "inside", hostile.raising(ValueError), ("time",))
    found = bench_tools([*few, wrong])
    assert (found["kinds"], found["answered"]) == (4, 0.75)
    assert found["by_kind"]["wrongly judged"]["error"] == "raised"
    assert found["slowest_over_limit_s"] == max(one["over_limit_s"] for one in found["by_kind"].values())
