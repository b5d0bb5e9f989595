from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.errors import MemoryFault
from reflectory.memory import open_memory
from reflectory.memory.parcel import LINE, lines_of
from reflectory.records import UNTRUSTED, Query


def told(memory):
    """What must survive a round trip: texts, places, parents by text, lineage."""
    by_id = {record.id: record.body for record in memory.records()}
    return {
        record.body: (
            record.namespace,
            record.when_to_use,
            record.task_key,
            record.situation_key,
            record.steps,
            record.status,
            {by_id[parent] for parent in record.parents},
            {(origin.kind, origin.source) for origin in memory.lineage(record.id)},
        )
        for record in memory.records()
    }


def fill(memory, rec):
    one, two, _ = memory.record(
        [
            rec("the mug is hot", source="e1", steps=("r/1/main/3",), task_key="t"),
            rec("the plate is cold", kind="fact", origin="content", source="example.com", trust=0.3, when_to_use="cooling"),
            rec("with an id of its own", id="my note", kind="episode", situation_key="house 7"),
        ]
    )
    memory.record([rec("mug hot, plate cold", kind="fact", parents=(one.id, two.id), namespace=("web", "x"))])
    memory.record([rec("the mug is hot", source="e2", task_key="t")])
    memory.mark(two.id, "quarantine")
    memory.cite([one.id], shown=[one.id], helped=True)


def test_an_export_comes_back_as_untrusted_facts(rec):
    with open_memory(None) as memory, open_memory(None) as other:
        fill(memory, rec)
        lines = list(memory.export_jsonl())
        assert not any("vector" in line or "embedder" in line for line in lines)
        report = other.import_jsonl(lines, source="friend.jsonl")
        assert {key: report[key] for key in ("lines", "imported", "known", "demoted", "renamed", "orphans", "refused", "why")} == {
            **{"lines": 4, "imported": 4, "known": 0, "demoted": 1, "renamed": 1, "orphans": 0, "refused": 0, "why": []}
        }
        before, after = told(memory), told(other)
        assert set(before) == set(after)
        for body in before:
            assert before[body][:-1] == after[body][:-1]
            assert after[body][-1] == {(kind, f"friend.jsonl/{kind}:{source}") for kind, source in before[body][-1]} | {
                ("import", "friend.jsonl")
            }
        for record in other.records():
            assert record.origin.kind in UNTRUSTED
            assert record.trust <= 0.5
            assert (record.shown, record.cited, record.helped) == (0, 0, 0)
            assert record.kind in ("fact", "episode")
        assert other.find("my note").body == "with an id of its own"
        note = [event["payload"]["imported"] for record in other.records() for event in other.audit(record.id)]
        assert {entry["kind"] for entry in note} == {"lesson", "fact", "episode"}
        assert other.recall(Query(text="hot mug"))[0].record.body == "the mug is hot"


def test_importing_twice_adds_nothing(rec):
    with open_memory(None) as memory, open_memory(None) as other:
        fill(memory, rec)
        lines = list(memory.export_jsonl())
        other.import_jsonl(lines, source="a")
        seq = other.seq
        assert other.import_jsonl(lines, source="b")["known"] == 4
        assert other.seq == seq


def test_an_import_neither_taints_nor_changes_what_is_known(rec):
    with open_memory(None) as memory:
        fill(memory, rec)
        digest = memory.content_digest()
        memory.import_jsonl(
            [line.replace('"trust":1.0', '"trust":0.0') for line in memory.export_jsonl() if "is hot" not in line], source="x"
        )
        assert memory.content_digest() == digest
        lesson = next(record for record in memory.records() if record.kind == "lesson")
        memory.import_jsonl([line for line in memory.export_jsonl() if "is hot" in line], source="x")
        assert memory.find(lesson.id) == lesson
        assert {record.kind for record in memory.records() if record.body == lesson.body} == {"lesson", "fact"}


def test_ids_that_conflict_or_squat_are_derived_again(rec):
    with open_memory(None) as memory:
        memory.record([rec("mine", id="x", kind="fact")])
        with open_memory(None) as elsewhere:
            squatted = elsewhere.record([rec("a lesson I will learn")])[0].id
        lines = [
            json.dumps({"id": "x", "body": "theirs"}),
            json.dumps({"id": squatted, "body": "something else"}),
            json.dumps({"id": "y", "body": "free"}),
            json.dumps({"id": "y", "body": "twice"}),
            json.dumps({"id": "bell \x07", "body": "unprintable"}),
            json.dumps({"id": "child", "body": "child", "parents": ["x"]}),
        ]
        report = memory.import_jsonl(lines, source="s")
        assert (report["imported"], report["renamed"]) == (6, 4)
        assert memory.find("x").body == "mine"
        assert memory.find("y").body == "free"
        assert memory.find(squatted) is None
        child = memory.find("child")
        assert [memory.find(parent).body for parent in child.parents] == ["theirs"]
        memory.record([rec("a lesson I will learn")])
        assert memory.find(squatted).kind == "lesson"


def test_parents_may_come_later_in_a_ring_or_not_at_all():
    with open_memory(None) as memory:
        lines = [
            json.dumps({"id": "c", "body": "child", "parents": ["p", "nowhere"], "trust": 0.4}),
            json.dumps({"id": "p", "body": "parent", "parents": ["g"], "lineage": [["user", "ann"]]}),
            json.dumps({"id": "g", "body": "grandparent", "trust": 0.1}),
            json.dumps({"id": "r1", "body": "ring 1", "parents": ["r2"]}),
            json.dumps({"id": "r2", "body": "ring 2", "parents": ["r1"]}),
            json.dumps({"id": "self", "body": "its own parent", "parents": ["self"]}),
        ]
        report = memory.import_jsonl(lines, source="s")
        assert (report["imported"], report["orphans"]) == (6, 3)
        assert memory.find("c").parents == ("p",)
        assert memory.find("c").trust == 0.1
        assert [(origin.kind, origin.source) for origin in memory.lineage("p")] == [("import", "s"), ("user", "s/user:ann")]


HOSTILE = [
    "{",
    "[]",
    "null",
    '"text"',
    "12",
    b"\xff\xfe\x00",
    '{"body": ""}',
    '{"body": "  "}',
    '{"kind": "fact"}',
    '{"body": 3}',
    '{"body": ["x"]}',
    '{"body": "x", "trust": NaN}',
    '{"body": "x", "trust": 2}',
    '{"body": "x", "trust": "0.5"}',
    '{"body": "x", "valid_to": 1e999}',
    '{"body": "x", "valid_to": Infinity}',
    '{"body": "x", "kind": "law"}',
    '{"body": "x", "kind": ["fact"]}',
    '{"body": "x", "namespace": "root"}',
    '{"body": "x", "namespace": [1]}',
    '{"body": "x", "status": "god"}',
    '{"body": "x", "id": 7}',
    '{"body": "x", "id": null}',
    '{"body": "x", "unknown": 1}',
    '{"body": "x", "lineage": [["user"]]}',
    '{"body": "x", "lineage": [["owner", "me"]]}',
    '{"body": "x", "lineage": {"user": "me"}}',
    '{"body": "x", "lineage": 5}',
    '{"body": "x", "origin": "user"}',
    '{"body": "half \\ud800 pair"}',
    "half \ud800 pair",
    '{"body": "x", "task_key": "\\udfff"}',
    '{"body": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"body": "x", "unknown": ' + "[" * 900 + "]" * 900 + "}",
    '{"body": "' + "x" * LINE + '"}',
    '{"body": "x", "trust": ' + "9" * 6000 + "}",
    '{"body": "x"} {"body": "y"}',
]


def test_hostile_lines_are_refused_by_number_and_the_good_ones_stored():
    with open_memory(None) as memory:
        lines = []
        for line in HOSTILE:
            lines += [line, "", json.dumps({"body": f"good {len(lines)}", "revision": "no", "seq": [], "shown": 9})]
        report = memory.import_jsonl(lines, source="s")
        assert report["lines"] == 3 * len(HOSTILE)
        assert [number for number, _ in report["why"]] == list(range(1, len(lines), 3))
        assert all(reason and len(reason) <= 200 and "\n" not in reason for _, reason in report["why"])
        assert (report["refused"], report["imported"]) == (len(HOSTILE), len(HOSTILE))
        assert len(list(memory.records())) == len(HOSTILE)
        assert all(record.shown == 0 for record in memory.records())


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = "id namespace kind body when_to_use task_key situation_key steps origin trust status parents valid_from lineage x".split()  # noqa: SIM905
LINES = (
    st.text(max_size=60)
    | st.binary(max_size=60)
    | st.dictionaries(st.sampled_from(FIELDS), JSONISH).map(json.dumps)
    | JSONISH.map(json.dumps)
)


@settings(max_examples=100, deadline=None)
@given(st.lists(LINES, max_size=8))
def test_any_line_is_taken_or_refused_never_more(lines):
    with open_memory(None) as memory:
        report = memory.import_jsonl(lines, source="s")
        assert report["imported"] + report["known"] + report["refused"] <= len(lines)
        assert len(list(memory.records())) == report["imported"]
        assert all(record.origin.kind in UNTRUSTED and record.kind in ("fact", "episode") for record in memory.records())


def test_a_long_line_of_a_file_does_not_fill_the_memory():
    class Endless(io.RawIOBase):
        """A line of 64 MiB, then a good one; counts the largest read asked for."""

        left, largest = 64 << 20, 0

        def readline(self, size=-1):
            self.largest = max(self.largest, size)
            if self.left > 0:
                self.left -= size
                return b"x" * size
            rest, self.left = (b"\n" if self.left > -(1 << 40) else b""), self.left - (1 << 41)
            return rest

    file = Endless()
    first, *others = lines_of(file)
    assert len(first) == LINE + 2
    assert others == []
    assert 0 < file.largest <= LINE + 2
    assert list(lines_of(io.BytesIO(b"a\nb\n\nc"))) == [b"a", b"b", b"", b"c"]


def test_items_of_a_store_come_back_as_items(tmp_path):
    from reflectory.memory import open_store

    values = {"a": {"text": "the mug is hot", "n": 1}, "b": {"title": "one", "text": "two"}, "c": {"text": "not indexed"}}
    with open_store(tmp_path / "a.sqlite", index={"fields": ["title", "text"]}) as store:
        for key, item in values.items():
            store.put(("user", "ann"), key, item, index=False if key == "c" else None)
        found = store.search(("user",), query="hot mug")
    with open_memory(tmp_path / "a.sqlite") as memory, open_memory(tmp_path / "b.sqlite") as other:
        lines = list(memory.export_jsonl())
        assert other.import_jsonl(lines, source="s")["imported"] == 3
        assert other.import_jsonl(lines, source="s")["known"] == 3
        stolen = json.loads(lines[0]) | {"namespace": ["user", "bob"], "body": "stolen"}
        assert other.import_jsonl([json.dumps(stolen)], source="s")["renamed"] == 1
        squat = {"body": "x", "id": json.loads(lines[1])["id"][:-1] + "0"}
        assert other.import_jsonl([json.dumps(squat)], source="s")["renamed"] == 1
    with open_store(tmp_path / "b.sqlite", index={"fields": ["title", "text"]}) as store:
        again = store.search(("user", "ann"), query="hot mug")
        assert [(item.key, item.value, item.score, item.created_at) for item in again] == [
            (item.key, item.value, item.score, item.created_at) for item in found
        ]
        store.put(("user", "ann"), "a", {"text": "changed"})
        assert store.get(("user", "ann"), "a").value == {"text": "changed"}


BAD_ITEMS = [
    {"key": 1},
    {"value": []},
    {"created": -1},
    {"updated": 1 << 60},
    {"ttl": 5.0},
    {"ttl": -1, "expires": 3},
    {"texts": ["x", 2]},
    {"texts": "x"},
    {"created": True},
    {"more": 1},
]


@pytest.mark.parametrize("change", BAD_ITEMS)
def test_items_that_no_store_wrote_are_refused(change):
    item = {"key": "k", "value": {"text": "x"}, "created": 1, "updated": 1}
    with open_memory(None) as memory:
        lines = [json.dumps({"body": "x", "item": wrong}) for wrong in (item, {**item, **change}, [], {})]
        report = memory.import_jsonl(lines, source="s")
        assert [number for number, _ in report["why"]] == [2, 3, 4]


def test_an_import_needs_a_source_and_a_writable_memory(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        with pytest.raises(MemoryFault, match="source"):
            memory.import_jsonl(['{"body": "x"}'], source=" ")
        assert memory.seq == 0
    with open_memory(path, read_only=True) as memory, pytest.raises(MemoryFault, match="read-only"):
        memory.import_jsonl(['{"body": "x"}'], source="s")
