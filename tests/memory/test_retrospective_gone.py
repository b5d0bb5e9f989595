"""Learning from what was shown, when some of it has gone meanwhile."""

from __future__ import annotations

from reflectory.memory import Retrospective, open_memory
from reflectory.records import Query
from reflectory.retrieval.linear import LearnerConfig


def test_a_record_forgotten_or_taken_back_meanwhile_teaches_nothing(rec):
    ranker = Retrospective(LearnerConfig(batch=1))
    with open_memory(None, ranker=ranker) as memory:
        ranker.attach(memory)
        memory.record([rec(f"mug number {number} is in cabinet {number % 3}", kind="fact") for number in range(6)])
        query = Query(text="which mug is in cabinet 1", k=4)
        hits = memory.recall(query)
        memory.forget(hits[0].record.id)
        memory.rollback(0)
        assert ranker.learn(query, hits, [hits[0].record.id]) is None
        memory.undo(memory.seq)
        memory.cite([hits[1].record.id], shown=[hit.record.id for hit in hits])
        assert ranker.learn(query, hits, [hits[1].record.id]) is not None
