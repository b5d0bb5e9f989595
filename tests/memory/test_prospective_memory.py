"""Add, Merge and update on the journal: what is kept, what is undone, what never happens."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.errors import MemoryFault
from reflectory.memory import open_memory
from reflectory.memory.extract import identified
from reflectory.memory.merge import Decision, RuleMerger, agrees
from reflectory.memory.prospective import consolidate, neighbours, timeline, undo_merge
from reflectory.records import Hit, Origin, Query, Record

SPACE = ("assistant", "users", "ann")


def fact(body, *, at=1.0, source="ann", kind="user", step="s/1", namespace=SPACE, trust=1.0):
    record = Record(
        id="",
        namespace=namespace,
        kind="fact",
        body=body,
        steps=(step,),
        origin=Origin(kind=kind, source=source),
        trust=trust,
        valid_from=at,
    )
    return identified(record)


@pytest.fixture
def memory(tmp_path):
    with open_memory(tmp_path / "journal.sqlite") as opened:
        yield opened


def active(memory, namespace=SPACE):
    return sorted(record.body for record in memory.records(namespace) if record.status == "active")


async def test_a_merge_keeps_both_parents_and_is_undone(memory):
    [old] = await consolidate(memory, [fact("I live in Paris.", at=1.0)], RuleMerger())
    [merged] = await consolidate(memory, [fact("I live in Paris with my cat.", at=2.0, step="s/2", trust=0.5)], RuleMerger())
    assert (old.act, merged.act, merged.other) == ("add", "merge", old.id)
    assert active(memory) == ["I live in Paris with my cat."]
    by_id = {record.id: record for record in memory.records(SPACE)}
    stored = by_id[merged.id]
    assert len(by_id) == 3
    assert {by_id[parent].status for parent in stored.parents} == {"superseded"}
    assert (stored.trust, stored.valid_from, stored.steps) == (0.5, 1.0, ("s/1", "s/2"))
    assert memory.recall(Query(text="Paris", namespace=SPACE))[0].record.id == merged.id
    parents = undo_merge(memory, merged.id)
    assert active(memory) == sorted(record.body for record in parents) == ["I live in Paris with my cat.", "I live in Paris."]
    with pytest.raises(MemoryFault, match="taken back"):
        undo_merge(memory, merged.id)
    with pytest.raises(MemoryFault, match="no merge made it"):
        undo_merge(memory, old.id)


async def test_a_merge_of_a_merge_is_undone_from_the_top(memory):
    texts = ["I like tea.", "I like tea with milk.", "I like tea with milk and honey."]
    written = [(await consolidate(memory, [fact(text, step=f"s/{n}")], RuleMerger()))[0] for n, text in enumerate(texts)]
    with pytest.raises(MemoryFault, match="Undo that first"):
        undo_merge(memory, written[1].id)
    undo_merge(memory, written[2].id)
    undo_merge(memory, written[1].id)
    assert active(memory) == sorted(texts)


async def test_a_change_supersedes_and_both_stay_readable(memory):
    for at, body in ((10.0, "I live in Paris."), (20.0, "I moved to Berlin."), (30.0, "I live in Oslo now.")):
        [last] = await consolidate(memory, [fact(body, at=at, step=f"s/{at}")], RuleMerger())
    assert active(memory) == ["I live in Oslo now."]
    told = timeline(memory, last.id)
    assert [(item.body, item.valid_from, item.valid_to) for item in told] == [
        ("I live in Paris.", 10.0, 20.0),
        ("I moved to Berlin.", 20.0, 30.0),
        ("I live in Oslo now.", 30.0, None),
    ]
    assert [item.body for item in undo_merge(memory, last.id)] == ["I moved to Berlin."]
    assert active(memory) == ["I live in Oslo now.", "I moved to Berlin."]
    with pytest.raises(MemoryFault):
        timeline(memory, "never")


async def test_a_fact_that_is_true_again_is_active_again(memory):
    for number, body in enumerate(["I live in Paris.", "I moved to Berlin.", "I live in Paris."]):
        await consolidate(memory, [fact(body, step=f"s/{number}", at=number)], RuleMerger())
    assert active(memory) == ["I live in Paris."]


async def test_the_same_words_again_add_a_step_and_no_record(memory):
    [first] = await consolidate(memory, [fact("I like green tea.")], RuleMerger())
    [again] = await consolidate(memory, [fact("i like GREEN tea", step="s/9")], RuleMerger())
    assert (again.act, again.id) == ("same", first.id)
    [record] = memory.records(SPACE)
    assert (record.steps, record.body) == (("s/1", "s/9"), "I like green tea.")


async def test_doing_it_again_changes_nothing(memory):
    found = [
        fact(body, step=f"s/{n}", at=n)
        for n, body in enumerate(["I live in Paris.", "I live in Paris in May.", "I moved to Rome.", "I sail."])
    ]
    for candidate in found:
        await consolidate(memory, [candidate], RuleMerger())
    before = memory.content_digest()
    # As after a kill: the first two were written, and the whole session is filed again.
    again = await consolidate(memory, found, RuleMerger())
    assert {item.act for item in again} == {"known"}
    assert memory.content_digest() == before


class Always:
    """A merger that merges whatever it is shown."""

    async def decide(self, candidate, neighbours):
        return Decision(act="merge", index=0, text=f"{neighbours[0].body} {candidate.body}")


@pytest.mark.parametrize(
    "other",
    [
        {"source": "bob"},
        {"kind": "content", "source": "example.org"},
        {"kind": "import", "source": "ann"},
        {"kind": "own_reasoning", "source": "ann"},
        {"namespace": ("assistant", "users", "bob")},
        {"namespace": ("assistant", "users", "ann", "deeper")},
    ],
)
async def test_other_users_origins_and_namespaces_never_merge(memory, other):
    await consolidate(memory, [fact("I live in Paris.")], Always())
    [written] = await consolidate(memory, [fact("I live in Paris.", **other)], Always())
    assert written.act == "add"
    assert [record.status for record in memory.records(("assistant",))] == ["active", "active"]
    [mine] = [
        record for record in memory.records(SPACE) if record.origin == Origin(kind="user", source="ann") and record.namespace == SPACE
    ]
    assert (mine.trust, memory.lineage(mine.id)) == (1.0, (Origin(kind="user", source="ann"),))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ann", "bob"]), st.floats(0, 1), st.integers(0, 5)), min_size=2, max_size=8))
async def test_merging_never_raises_trust(drawn):
    with open_memory(None) as memory:
        trusts, sources = {}, {}
        for number, (source, trust, topic) in enumerate(drawn):
            candidate = fact(f"I like topic {topic} item {number}.", source=source, trust=trust, step=f"s/{number}")
            trusts[candidate.id], sources[candidate.id] = trust, source
            await consolidate(memory, [candidate], Always())
        records = {record.id: record for record in memory.records(SPACE)}
        for record in records.values():
            for parent in record.parents:
                assert record.trust <= records[parent].trust
            assert {origin.source for origin in memory.lineage(record.id)} == {record.origin.source}


async def test_a_neighbour_that_another_writer_superseded_meanwhile_is_left_alone(memory):
    [first] = await consolidate(memory, [fact("I live in Paris.")], RuleMerger())

    class Late(RuleMerger):
        async def decide(self, candidate, near):
            memory.mark(first.id, "quarantine", reason="somebody else")
            return await super().decide(candidate, near)

    [written] = await consolidate(memory, [fact("I live in Paris with my cat.", step="s/2")], Late())
    assert written.act == "add"
    assert {record.id: record.status for record in memory.records(SPACE)} == {first.id: "quarantined", written.id: "active"}


async def test_a_merge_that_breaks_off_leaves_nothing_behind(memory, monkeypatch):
    await consolidate(memory, [fact("I live in Paris.")], RuleMerger())
    before, mark = memory.content_digest(), memory.mark

    def breaks(record_id, event, **options):
        mark(record_id, event, **options)
        raise MemoryFault("the disk is full")

    monkeypatch.setattr(memory, "mark", breaks)
    with pytest.raises(MemoryFault):
        await consolidate(memory, [fact("I live in Paris with my cat.", step="s/2")], RuleMerger())
    monkeypatch.undo()
    assert memory.content_digest() == before
    [written] = await consolidate(memory, [fact("I live in Paris with my cat.", step="s/2")], RuleMerger())
    assert written.act == "merge"


async def test_what_a_fact_replaces_is_found_among_many(memory):
    noise = [fact(f"I saw film number {n} in Berlin with friend {n}.", step=f"n/{n}") for n in range(60)]
    memory.record([fact("I live in Paris."), *noise])
    assert "I live in Paris." in [item.body for item in neighbours(memory, fact("I moved to Berlin.", step="s/2"), 8)]


async def test_a_memory_with_four_methods_gets_the_candidates_as_they_are():
    class Plain:
        def __init__(self):
            self.kept = []

        def recall(self, query):
            return [Hit(record=item, score=1.0) for item in self.kept]

        def record(self, records):
            self.kept += records
            return list(records)

        def cite(self, ids, *, shown=(), helped=None): ...

        def audit(self, record_id):
            return []

    plain = Plain()
    written = await consolidate(plain, [fact("I like tea."), fact("I like tea with milk.", step="s/2")], RuleMerger())
    assert [item.act for item in written] == ["add", "add"]
    assert len(plain.kept) == 2


@pytest.mark.parametrize(
    ("old", "new", "act"),
    [
        ("I have two dogs.", "I have 2 dogs", "merge"),
        ("I'm fond of tea", "I love tea!", "merge"),
        ("My phone number is 555-1234.", "My new phone number is 555-9876.", "update"),
        ("I like tea.", "I don't like tea anymore.", "update"),
        ("I don't like tea.", "I like tea.", "update"),
        ("I live in Paris.", "I used to live in Paris.", "update"),
        ("The team meeting is on Monday.", "The team meeting is on Tuesday.", "update"),
        ("I live in Paris.", "My sister moved to Berlin.", "add"),
        ("I live in Paris.", "I want to move to Berlin.", "add"),
        ("My dog is called Rex.", "My dog is called Max.", "add"),
        ("I like tea.", "I like tea less than coffee.", "add"),
        ("I prefer cats to dogs.", "I prefer dogs to cats.", "add"),
        ("Anna lent Tom a book.", "Tom lent Anna a book.", "add"),
        ("I swim on Monday.", "I swim on Friday.", "add"),
        ("I paid 20 euros.", "I paid 30 euros.", "add"),
    ],
)
def test_what_the_rules_decide(old, new, act):
    assert RuleMerger().judge(new, ["The sky is blue.", old]).act == act


def test_a_merged_text_may_bring_nothing_of_its_own():
    parents = ["I live in Paris.", "I live in Paris with Tom."]
    assert agrees("I live in Paris with Tom.", parents)
    for invented in ("I live in Paris with Tom and Eve.", "I have lived in Paris for 3 years with Tom.", "I live in Paris with my sister."):
        assert not agrees(invented, parents)
    assert not agrees("I have dogs.", ["I have 2 dogs.", "I have 3 dogs."])
    assert not agrees("I like tea.", ["I like tea.", "I don't like tea."])
