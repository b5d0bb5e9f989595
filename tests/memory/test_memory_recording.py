from __future__ import annotations

import json
import math
import threading

import pytest

from reflectory.errors import MemoryFault
from reflectory.memory import open_memory
from reflectory.protocols import Memory
from reflectory.records import Origin, Query


@pytest.fixture
def memory():
    with open_memory(None) as opened:
        yield opened


def bodies(memory, **query):
    return {hit.record.body for hit in memory.recall(Query(text="mug", k=0, **query))}


def test_it_is_a_memory_and_starts_empty(memory):
    assert isinstance(memory, Memory)
    assert memory.seq == 0
    assert memory.recall(Query(text="anything")) == []
    assert list(memory.records()) == []
    assert memory.record([]) == []


def test_the_id_is_a_hash_of_place_and_normal_text(memory, rec):
    first, same, other_task, other_kind, other_place = memory.record(
        [
            rec("The Mug  is\nin cabinet 3"),
            rec("the mug is in CABINET 3"),
            rec(task_key="t1"),
            rec(kind="fact"),
            rec(namespace=("web",)),
        ]
    )
    assert first.id == same.id
    assert len({first.id, other_task.id, other_kind.id, other_place.id}) == 4
    assert memory.seq == 4
    with open_memory(None) as elsewhere:
        assert elsewhere.record([rec()])[0].id == first.id


def test_the_same_text_again_merges_lineage_and_keeps_the_lower_trust(memory, rec):
    memory.record([rec(steps=("r/1/main/4",), source="e1", trust=0.9)])
    merged = memory.record([rec(steps=("r/2/main/7", "r/1/main/4"), source="e2", trust=0.6)])[0]
    assert merged.steps == ("r/1/main/4", "r/2/main/7")
    assert merged.trust == 0.6
    assert merged.revision == 2
    assert {origin.source for origin in memory.lineage(merged.id)} == {"e1", "e2"}
    assert memory.record([rec(source="e3", trust=1.0)])[0].trust == 0.6
    assert [event["event"] for event in memory.audit(merged.id)] == ["add", "merge", "merge"]
    assert len(list(memory.records())) == 1


def test_writing_exactly_the_same_again_writes_nothing(memory, rec):
    """A node that is repeated after a kill must leave the memory as if it had run once."""
    once = memory.record([rec(steps=("r/1/main/4",))])
    assert memory.record([rec(steps=("r/1/main/4",))]) == once
    assert memory.seq == 1


def test_a_merge_never_changes_the_status(memory, rec):
    candidate = memory.record([rec("a", status="candidate")])[0]
    quarantined = memory.record([rec("b")])[0]
    memory.mark(quarantined.id, "quarantine", reason="deviates")
    after = memory.record([rec("a", source="e2"), rec("b", source="e2"), rec("b", source="e3")])
    assert [record.status for record in after] == ["candidate", "quarantined", "quarantined"]
    assert candidate.id == after[0].id


def test_callers_cannot_set_what_the_journal_counts(memory, rec):
    stored = memory.record([rec(helped=50, shown=3, revision=9, seq=77)])[0]
    assert (stored.helped, stored.shown, stored.revision, stored.seq) == (0, 0, 1, 1)


@pytest.mark.parametrize("kind", ["lesson", "guideline", "skill"])
@pytest.mark.parametrize("origin", ["content", "peer_agent", "import"])
def test_untrusted_text_never_becomes_advice(memory, rec, kind, origin):
    with pytest.raises(MemoryFault, match="untrusted origin"):
        memory.record([rec("fine"), rec(kind=kind, origin=origin)])
    assert memory.seq == 0
    assert list(memory.records()) == []
    fact = memory.record([rec(kind="fact", origin=origin, trust=0.2)])[0]
    with pytest.raises(MemoryFault, match="untrusted origin"):
        memory.record([rec("a summary of it", kind=kind, parents=(fact.id,))])
    summary = memory.record([rec("a summary of it", kind="fact", parents=(fact.id,))])[0]
    assert summary.trust == 0.2
    with pytest.raises(MemoryFault, match="untrusted origin"):
        memory.record([rec("two removes", kind=kind, parents=(summary.id,))])


def test_merging_trusted_and_untrusted_shows_the_untrusted_origin(memory, rec):
    for order in (("world", "content"), ("content", "world")):
        stored = [memory.record([rec(f"fact {order}", kind="fact", origin=kind, source=kind)])[0] for kind in order][-1]
        assert stored.origin == Origin(kind="content", source="content")


def test_a_record_made_from_others_adds_no_source_of_its_own(memory, rec):
    one, two = memory.record([rec("a", source="e1", trust=0.8), rec("b", source="e2")])
    child = memory.record([rec("a and b", source="e9", parents=(one.id, two.id))])[0]
    assert {origin.source for origin in memory.lineage(child.id)} == {"e1", "e2"}
    assert child.trust == 0.8
    with pytest.raises(MemoryFault, match="parent 'nobody'"):
        memory.record([rec("c", parents=("nobody",))])


def test_parents_may_come_in_the_same_batch(memory, rec):
    parent, child = memory.record([rec("a", id="p"), rec("b", parents=("p",))])
    assert child.parents == (parent.id,)


def test_a_known_id_with_new_text_is_a_new_revision(memory, rec):
    memory.record([rec("mug in cabinet 1", id="x", trust=0.5)])
    before = memory.seq
    revised = memory.record([rec("mug in drawer 2", id="x", source="e2")])[0]
    assert (revised.body, revised.revision, revised.trust) == ("mug in drawer 2", 2, 0.5)
    assert bodies(memory) == {"mug in drawer 2"}
    assert bodies(memory, as_of=before) == {"mug in cabinet 1"}


def test_an_id_cannot_be_taken_over_from_another_place(memory, rec):
    memory.record([rec(id="x")])
    for change in ({"namespace": ("other",)}, {"kind": "fact"}, {"task_key": "t"}, {"situation_key": "h"}):
        with pytest.raises(MemoryFault, match="other keys"):
            memory.record([rec(id="x", **change)])
    memory.forget("x")
    with pytest.raises(MemoryFault, match="other keys"):
        memory.record([rec(id="x", namespace=("other",))])


def test_a_batch_is_stored_whole_or_not_at_all(memory, rec):
    kept = memory.record([rec("kept")])[0]
    with pytest.raises(MemoryFault, match="body"):
        memory.record([rec("one"), rec("two"), rec("  ")])
    assert [record.id for record in memory.records()] == [kept.id]
    assert memory.seq == 1
    with pytest.raises(MemoryFault, match="finite"):
        memory.record([rec("one"), rec("three", valid_to=math.inf)])
    assert memory.record([rec("one")])[0].seq == 2


def test_odd_text_comes_back_as_it_was(memory, rec):
    texts = ["NUL \x00 inside", "lone \ud800 surrogate", "\u202eright to left", "emoji 🫠", '"; DROP TABLE events; --', "x" * 200_000]
    for stored, text in zip(memory.record([rec(text) for text in texts]), texts, strict=True):
        assert stored.body == text
    for text in texts:
        assert len(memory.recall(Query(text=text, k=0))) == len(texts)
    assert len(list(memory.export_jsonl())) == len(texts)


def test_citations_are_counted_once_per_call(memory, rec):
    a, b = (record.id for record in memory.record([rec("a"), rec("b")]))
    memory.cite([a, a], shown=[a, b, b], helped=True)
    memory.cite([b], shown=[a, b], helped=False)
    memory.cite([], shown=[b])
    memory.cite([a])
    memory.cite([])
    counts = {record.id: (record.shown, record.cited, record.helped, record.harmed) for record in memory.records()}
    assert counts == {a: (2, 2, 1, 0), b: (3, 1, 0, 1)}
    assert {record.revision for record in memory.records()} == {1}
    assert memory.seq == 6
    with pytest.raises(MemoryFault, match="no record 'zzz'"):
        memory.cite(["zzz"])
    assert memory.seq == 6


def test_marks_decide_what_is_recalled(memory, rec):
    a, b = memory.record([rec("mug a"), rec("mug b")])
    for event, status in (("quarantine", "quarantined"), ("promote", "active"), ("revoke", "revoked"), ("promote", "active")):
        assert memory.mark(a.id, event, reason="test").status == status
        assert ("mug a" in bodies(memory)) == (status == "active")
    assert memory.mark(a.id, "supersede", by=b.id).status == "superseded"
    assert bodies(memory) == {"mug b"}
    assert {record.id for record in memory.records()} == {a.id, b.id}
    assert memory.audit(a.id)[1]["payload"]["reason"] == "test"
    with pytest.raises(MemoryFault, match="no record"):
        memory.mark("nobody", "revoke")


def test_forgetting_hides_and_keeps_the_audit(memory, rec):
    stored = memory.record([rec("mug")])[0]
    memory.cite([stored.id], shown=[stored.id])
    before = memory.seq
    memory.forget(stored.id, reason="asked to")
    assert list(memory.records()) == []
    assert bodies(memory, as_of=before) == {"mug"}
    assert [event["event"] for event in memory.audit(stored.id)] == ["add", "cite", "forget"]
    with pytest.raises(MemoryFault, match="no record"):
        memory.forget(stored.id)
    memory.cite([stored.id])
    again = memory.record([rec("mug")])[0]
    assert (again.id, again.cited) == (stored.id, 0)


def test_undo_makes_it_as_if_the_event_had_not_been(memory, rec):
    stored = memory.record([rec("mug", source="e1", trust=0.9)])[0]
    memory.record([rec("mug", source="bad", trust=0.1, steps=("s",))])
    memory.cite([stored.id], shown=[stored.id], helped=True)
    before = memory.seq
    memory.undo(2)
    now = next(memory.records())
    assert (now.trust, now.steps, now.cited) == (0.9, (), 1)
    assert {origin.source for origin in memory.lineage(stored.id)} == {"e1"}
    assert next(memory.records(as_of=before)).trust == 0.1
    memory.undo(3)
    assert next(memory.records()).cited == 0
    for wrong in (2, 4, 0, 99):
        with pytest.raises(MemoryFault):
            memory.undo(wrong)
    assert [event["undone"] for event in memory.audit(stored.id)] == [False, True, True, False, False]


def test_undoing_the_first_of_two_sources_leaves_the_second(memory, rec):
    first = memory.record([rec("the mug is hot", source="e1", trust=0.3)])[0]
    memory.record([rec("the mug is hot", source="e2", trust=0.8)])
    memory.undo(first.seq)
    assert [(record.body, record.trust) for record in memory.records()] == [("the mug is hot", 0.8)]
    assert bodies(memory) == {"the mug is hot"}
    memory.undo(2)
    assert list(memory.records()) == []
    assert memory.record([rec("the mug is hot", source="e3")])[0].trust == 1.0
    assert bodies(memory) == {"the mug is hot"}


def test_undoing_a_forget_brings_the_record_back(memory, rec):
    stored = memory.record([rec("mug")])[0]
    memory.forget(stored.id)
    memory.undo(2)
    assert bodies(memory) == {"mug"}


def test_export_and_digest_describe_the_visible_state(memory, rec):
    a, b = memory.record([rec("a", source="e1"), rec("b", source="e2")])
    memory.record([rec("a", source="e3")])
    lines = [json.loads(line) for line in memory.export_jsonl()]
    assert [line["body"] for line in lines] == ["a", "b"]
    assert lines[0]["lineage"] == [["own_reasoning", "e1"], ["own_reasoning", "e3"]]
    assert [json.loads(line)["revision"] for line in memory.export_jsonl(as_of=2)] == [1, 1]
    with open_memory(None) as other:  # the same content in another order
        other.record([rec("b", source="e2"), rec("a", source="e3")])
        other.record([rec("a", source="e1")])
        assert other.content_digest() == memory.content_digest()
        assert other.content_digest(2) != memory.content_digest(2)
        other.cite([b.id], shown=[a.id])
        assert other.content_digest() != memory.content_digest()


def test_threads_share_one_memory(memory, rec):
    def work(name):
        for number in range(25):
            stored = memory.record([rec(f"mug {name} {number}", source=name), rec("a shared mug", source=f"{name}{number}")])
            memory.cite([stored[0].id], shown=[stored[0].id])
            memory.recall(Query(text="mug", k=3))

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(memory.records())) == 101
    shared = next(record for record in memory.records() if record.body == "a shared mug")
    assert len(memory.lineage(shared.id)) == 100
    assert sum(record.cited for record in memory.records()) == 100


def test_a_closed_memory_says_so(rec):
    memory = open_memory(None)
    memory.record([rec()])
    memory.close()
    memory.close()
    for use in (
        lambda: memory.recall(Query(text="x", as_of=1)),
        lambda: memory.record([rec("b")]),
        lambda: memory.seq,
        lambda: memory.undo(1),
    ):
        with pytest.raises(MemoryFault, match="closed"):
            use()
