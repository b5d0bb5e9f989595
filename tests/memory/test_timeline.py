"""Undo, rollback, snapshots, bisect: against a plain list of events that is played again."""

from __future__ import annotations

import contextlib
import copy
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.errors import MemoryFault
from reflectory.memory import open_memory
from reflectory.records import Origin, Query, Record

IDS = ("a", "b", "c")


class Plain:
    """The journal as a list of plain events, and its meaning by the longest way round: everything is played again from the start.

    An undo of event n plays all that counted before it again, without n; a rollback plays what counted at its target.
    """

    def __init__(self):
        self.events = []

    def counting(self, upto, without=frozenset()):
        """The plain events that count at a position, oldest first."""
        kept, seq = [], upto
        while seq > 0:
            name, *rest = self.events[seq - 1]
            if seq not in without and name == "undo":
                without = without | {rest[0]}
            elif seq not in without and name == "rollback":
                return [*self.counting(rest[0], without), *reversed(kept)]
            elif seq not in without:
                kept.append(seq)
            seq -= 1
        return list(reversed(kept))

    def state(self, upto=None):
        upto = len(self.events) if upto is None else upto
        records, learned = {}, None
        for seq in self.counting(upto):
            name, *rest = self.events[seq - 1]
            if name == "record":
                record_id, body, source = rest
                entry = records.setdefault(record_id, {"status": "active", "cited": 0, "sources": set()})
                entry["body"] = body
                entry["sources"] = entry["sources"] | {source}
            elif name == "learn":
                learned = rest[0]
            elif rest[0] not in records:
                continue
            elif name == "forget":
                del records[rest[0]]
            elif name == "cite":
                records[rest[0]]["cited"] += 1
            else:
                records[rest[0]]["status"] = {"quarantine": "quarantined", "promote": "active", "revoke": "revoked"}[name]
        return records, learned


def seen(memory, as_of=None):
    records = {
        record.id: {
            "body": record.body,
            "status": record.status,
            "cited": record.cited,
            "sources": {origin.source for origin in memory.lineage(record.id, as_of=as_of)},
        }
        for record in memory.records(as_of=as_of)
    }
    return records, memory.learned("w", as_of)


def expected_diff(old, new):
    """Added, removed, body changes and status changes between two plain states."""
    both = sorted(set(old) & set(new))
    return {
        "added": sorted(set(new) - set(old)),
        "removed": sorted(set(old) - set(new)),
        "body": {key: (old[key]["body"], new[key]["body"]) for key in both if old[key]["body"] != new[key]["body"]},
        "status": {key: (old[key]["status"], new[key]["status"]) for key in both if old[key]["status"] != new[key]["status"]},
        "cited": {key: (old[key]["cited"], new[key]["cited"]) for key in both if old[key]["cited"] != new[key]["cited"]},
    }


def told_diff(memory, a, b):
    found = memory.diff(a, b)
    json.dumps(found)
    return {
        "added": sorted(item["id"] for item in found["added"]),
        "removed": sorted(item["id"] for item in found["removed"]),
        "body": {
            item["id"]: (item["fields"]["body"]["old"], item["fields"]["body"]["new"])
            for item in found["changed"]
            if "body" in item["fields"]
        },
        "status": {item["id"]: (item["old"], item["new"]) for item in found["status"]},
        "cited": {item["id"]: (item["cited"]["old"], item["cited"]["new"]) for item in found["counts"] if "cited" in item},
    }


def write(memory, record_id, body, source):
    memory.record([Record(id=record_id, namespace=("n",), kind="lesson", body=body, origin=Origin(kind="world", source=source))])


def do(memory, plain, operation):
    """One operation on both; what the memory refuses must have no place in the plain list either."""
    name, which, number = operation
    record_id, before = IDS[which % 3], memory.seq
    event = (name, record_id)
    with contextlib.suppress(MemoryFault):
        if name == "record":
            event = ("record", record_id, f"text {record_id} {number % 3}", f"e{number % 4}")
            write(memory, *event[1:])
        elif name == "cite":
            memory.cite([record_id])
        elif name == "forget":
            memory.forget(record_id)
        elif name == "learn":
            event = ("learn", number)
            memory.learn("w", number)
        elif name in ("undo", "rollback"):
            event = (name, number % (before + 2))
            getattr(memory, name)(event[1])
        else:
            memory.mark(record_id, name)
    if memory.seq > before:
        plain.events.append(event)
    assert memory.seq == len(plain.events)


NAMES = ("record",) * 3 + ("cite", "forget", "learn", "quarantine", "promote", "revoke") + ("undo",) * 3 + ("rollback",) * 2
OPERATIONS = st.tuples(
    st.sampled_from(NAMES),
    st.integers(0, 2),
    st.integers(0, 40),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(OPERATIONS, max_size=22), st.data())
def test_history_agrees_with_playing_it_again(tmp_path_factory, operations, data):
    """Undo, rollback, undone rollbacks, undos that were rolled back: any mixture gives what the plain list gives, at every position."""
    path, plain = tmp_path_factory.mktemp("timeline") / "m.sqlite", Plain()
    with open_memory(path) as memory:
        for operation in operations:
            do(memory, plain, operation)
            assert seen(memory) == plain.state()
        for seq in range(memory.seq + 1):
            assert seen(memory, seq) == plain.state(seq)
        a, b = (data.draw(st.integers(0, memory.seq)) for _ in range(2))
        assert told_diff(memory, a, b) == expected_diff(plain.state(a)[0], plain.state(b)[0])
        counting = set(plain.counting(memory.seq))
        plainly = [seq for seq, event in enumerate(plain.events, 1) if event[0] not in ("undo", "rollback", "learn")]
        told = {event["seq"]: not event["undone"] and not event["rolled_back"] for record in IDS for event in audit(memory, record)}
        assert {seq for seq in plainly if told[seq]} == counting & set(plainly)
        assert memory.rebuild()["unchanged"] is True
        last = seen(memory)
    with open_memory(path, read_only=True) as again:
        assert seen(again) == last


def audit(memory, record_id):
    try:
        return memory.audit(record_id)
    except MemoryFault:
        return []


def test_undoing_an_event_after_a_rollback_leaves_the_target_without_it(rec):
    with open_memory(None) as memory:
        write(memory, "a", "one", "e1")
        for source in ("e2", "bad", "e4"):
            write(memory, "a", "one", source)
        memory.forget("a")
        memory.rollback(4)
        memory.undo(3)
        assert {origin.source for origin in memory.lineage("a")} == {"e1", "e2", "e4"}
        with pytest.raises(MemoryFault, match="rolled back already"):
            memory.undo(5)


def test_a_rollback_loses_nothing_and_can_be_undone(rec):
    with open_memory(None) as memory:
        write(memory, "a", "first", "e1")
        memory.learn("w", [1.0])
        memory.snapshot("good")
        write(memory, "a", "second", "e2")
        write(memory, "b", "mug", "e2")
        memory.learn("w", [2.0])
        before = memory.seq
        digest = memory.content_digest()
        seq = memory.rollback("good")
        assert [record.body for record in memory.records()] == ["first"]
        assert memory.learned("w") == [1.0]
        assert memory.learned("w", before) == [2.0]
        assert memory.content_digest(before) == digest
        assert memory.recall(Query(text="mug"))[0].record.body == "first"
        memory.undo(seq)
        assert seen(memory) == seen(memory, before)
        assert memory.learned("w") == [2.0]
        assert memory.snapshots() == {"good": 2}
        with pytest.raises(MemoryFault, match="Did you mean good"):
            memory.rollback("goood")


def test_names_of_snapshots(rec):
    with open_memory(None) as memory:
        assert memory.snapshots() == {}
        assert memory.snapshot("empty") == 0
        write(memory, "a", "x", "e")
        assert memory.snapshot("one") == 2
        for wrong in ("one", "", " ", "12", "-3"):
            with pytest.raises(MemoryFault):
                memory.snapshot(wrong)
        memory.rollback("empty")
        assert memory.snapshots() == {"empty": 0, "one": 2}
        memory.undo(3)
        assert memory.snapshots() == {"empty": 0}
        memory.snapshot("one")
        assert memory.position("one") == 5
        assert memory.diff("empty", "one")["added"] == []


def test_what_was_learned_is_json_and_a_copy():
    with open_memory(None) as memory:
        assert memory.learned("ranker") is None
        value = {"w": [0.5, -1.25], "canary": {"score": 3}}
        assert memory.learn("ranker", value) == 1
        memory.learned("ranker")["w"].append(9)
        assert memory.learned("ranker") == value
        memory.learn("ranker", None)
        assert memory.learned("ranker") is None
        assert memory.learned("ranker", 1) == value
        for wrong in (math.nan, {1, 2}, object()):
            with pytest.raises(MemoryFault, match="finite"):
                memory.learn("ranker", [wrong])
        with pytest.raises(MemoryFault, match="name"):
            memory.learn(" ", 1)
        assert memory.seq == 2
        memory.undo(2)
        assert memory.learned("ranker") == value


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 60), st.data())
def test_bisect_finds_the_first_bad_event_in_few_questions(count, data):
    culprit = data.draw(st.integers(1, count))
    with open_memory(None) as memory:
        for number in range(1, count + 1):
            write(memory, f"r{number}", f"line {number}", "e")
        asked = []

        def fails(position):
            asked.append(position)
            return memory.find(f"r{culprit}", position) is not None

        found = memory.bisect(fails)
        assert found["seq"] == culprit
        assert found["event"]["payload"]["record"]["body"] == f"line {culprit}"
        assert [(entry["id"], entry["before"]) for entry in found["records"]] == [(f"r{culprit}", None)]
        assert found["records"][0]["after"]["body"] == f"line {culprit}"
        assert len(asked) == found["calls"] <= 2 + math.ceil(math.log2(count))
        json.dumps(found)


def test_bisect_refuses_answers_that_cannot_be():
    with open_memory(None) as memory:
        write(memory, "a", "x", "e")
        write(memory, "b", "y", "e")
        with pytest.raises(MemoryFault, match="fails at position 0, given as good"):
            memory.bisect(lambda position: True)
        with pytest.raises(MemoryFault, match="does not fail at position 2, given as bad"):
            memory.bisect(lambda position: False)
        with pytest.raises(MemoryFault, match="nothing between 2 and 1"):
            memory.bisect(lambda position: True, good=2, bad=1)
        with pytest.raises(MemoryFault, match="no journal position"):
            memory.bisect(lambda position: True, bad=7)


def test_rebuild_gives_the_same_and_notices_damage(tmp_path, rec):
    import sqlite3

    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        memory.record([rec("a"), rec("mug b")])
        memory.cite([next(memory.records()).id])
        report = memory.rebuild()
        assert (report["events"], report["records"], report["unchanged"]) == (3, 2, True)
        connection = sqlite3.connect(path)
        connection.executescript("DROP TRIGGER events_stay; UPDATE events SET payload = replace(payload, 'mug', 'gun') WHERE seq = 2")
        connection.close()
        with pytest.raises(MemoryFault, match="damaged at event 2"):
            memory.rebuild()
        assert [record.body for record in memory.records()] == ["a", "mug b"]


def test_the_plain_list_is_what_it_claims():
    """The oracle itself, on a case worked out by hand."""
    plain = Plain()
    plain.events = [("record", "a", "x", "e1"), ("record", "a", "x", "e2"), ("undo", 1), ("rollback", 2), ("undo", 2)]
    assert plain.state(3)[0]["a"]["sources"] == {"e2"}
    assert plain.state(4)[0]["a"]["sources"] == {"e1", "e2"}
    assert plain.state(5)[0]["a"]["sources"] == {"e1"}
    assert copy.deepcopy(plain.state(0)) == ({}, None)
