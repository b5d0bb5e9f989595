"""What a memory says about a record: where it comes from, what happened, why it is found or not."""

from __future__ import annotations

import json

import pytest

from reflectory.errors import MemoryFault
from reflectory.memory import open_memory
from reflectory.memory.explain import explain, judge
from reflectory.records import Query


def test_explain_tells_where_it_comes_from_and_what_happened(rec):
    with open_memory(None) as memory:
        [stored] = memory.record([rec("heat the mug", steps=("r/1/main/4",), source="e1")])
        memory.record([rec("heat the mug", source="e2")])
        memory.cite([stored.id], shown=[stored.id], helped=True)
        memory.cite([], shown=[stored.id])
        memory.mark(stored.id, "quarantine", reason="deviates")
        memory.undo(5)
        told = explain(memory, stored.id)
        json.dumps(told)
        assert told["sources"] == ["e1", "e2"]
        assert told["steps"] == ["r/1/main/4"]
        words = [chapter["words"] for chapter in told["story"]]
        for number, part in enumerate(
            [
                "written as lesson, from own_reasoning:e1",
                "the same text again, from own_reasoning:e2",
                "that succeeded",
                "shown and not used",
            ]
        ):
            assert part in words[number]
        assert words[4] == "quarantined: deviates (undone since)"
        assert [chapter["counts"] for chapter in told["story"]] == [True] * 4 + [False, True]
        memory.forget(stored.id)
        assert explain(memory, stored.id)["record"] is None
        with pytest.raises(MemoryFault, match="no record"):
            explain(memory, "nobody")


def test_explain_says_why_a_query_finds_a_record_or_not(rec):
    """Verdict, place and score must be those of an actual recall; every reason for a rejection must be named."""
    with open_memory(None) as memory:
        bodies = ["heat the mug", "cool the mug", "put the plate on the shelf", "look at the lamp"]
        stored = memory.record([rec(body, task_key="t1", situation_key="h1") for body in bodies])
        query = Query(text="heat mug", k=2)
        hits = memory.recall(query.model_copy(update={"k": 0}))
        for rank, hit in enumerate(hits, 1):
            told = judge(memory, hit.record.id, query)
            assert (told["rank"], told["score"], told["parts"], told["candidates"]) == (rank, hit.score, hit.parts, 4)
            assert told["verdict"] == ("retrieved" if rank <= 2 else "outranked")
            assert [rival["id"] for rival in told["ahead"]] == [other.record.id for other in hits[: rank - 1]]
        for change, check in (
            ({"namespace": ("web",)}, "namespace"),
            ({"scope": "task", "task_key": "t2"}, "scope"),
            ({"scope": "house"}, "scope"),
            ({"scope": "none"}, "scope"),
            ({"kinds": ("fact",)}, "kinds"),
            ({"as_of": 0}, "exists"),
        ):
            told = judge(memory, stored[0].id, query.model_copy(update=change))
            assert told["verdict"] == "rejected"
            assert [entry["check"] for entry in told["checks"] if not entry["ok"]] == [check]
            assert memory.recall(query.model_copy(update={**change, "k": 0})) == []
        memory.mark(stored[0].id, "revoke")
        assert "revoked" in judge(memory, stored[0].id, query)["why"]
        assert judge(memory, stored[0].id, query.model_copy(update={"as_of": 4}))["verdict"] == "retrieved"
