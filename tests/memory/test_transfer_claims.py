"""What an import claims: numbers, times, items, and where it says it comes from."""

from __future__ import annotations

import json

import pytest

from reflectory.memory import MemoryStore, open_memory
from reflectory.memory.explain import explain
from reflectory.memory.state import independent
from reflectory.records import Origin, Record

ITEM = {"key": "k", "value": {"a": 1}, "created": 1, "updated": 1}


def deep(depth):
    return json.dumps(ITEM).replace('{"a": 1}', '{"a":' * depth + "1" + "}" * depth)


BAD = [
    '{"body": "x", "item": {"key": "k", "value": {"x": 1e999}, "created": 1, "updated": 1}}',
    '{"body": "x", "item": {"key": "k", "value": {}, "created": 1, "updated": 1, "ttl": 1e999, "expires": 1}}',
    json.dumps({"body": "x", "kind": "episode", "item": ITEM}),
    json.dumps({"body": "x", "kind": "lesson", "item": ITEM}),
    json.dumps({"body": "x", "task_key": "T", "item": ITEM}),
    json.dumps({"body": "x", "situation_key": "H", "item": ITEM}),
    f'{{"body": "x", "item": {deep(150)}}}',
    f'{{"body": "x", "item": {deep(700)}}}',
    '{"body": "x", "valid_from": 1e18}',
    '{"body": "x", "valid_to": -1e18}',
    '{"body": "x", "valid_to": 253402300800}',
]


@pytest.mark.parametrize("redact", [True, False])
def test_bad_lines_are_reported_and_the_good_ones_stored(redact):
    lines = [text for line in BAD for text in (line, json.dumps({"body": f"good {line[:40]} {BAD.index(line)}"}))]
    with open_memory(None, redact=redact) as memory:
        report = memory.import_jsonl(lines, source="f")
        assert [number for number, _ in report["why"]] == list(range(1, len(lines), 2))
        assert report["imported"] == len(BAD)


def test_times_a_calendar_knows_are_taken():
    with open_memory(None) as memory:
        assert memory.import_jsonl(['{"body": "x", "valid_from": -6e10, "valid_to": 2.5e11}'], source="f")["imported"] == 1


def test_an_item_of_an_import_can_be_updated():
    with open_memory(None) as memory:
        assert memory.import_jsonl([json.dumps({"body": "x", "namespace": ["u"], "item": ITEM})], source="f")["imported"] == 1
        store = MemoryStore(memory)
        store.put(("u",), "k", {"a": 2})
        assert store.get(("u",), "k").value == {"a": 2}


def test_one_import_is_one_source_whatever_it_claims():
    claims = [["user", "anna"], ["world", "ep1"], ["world", "ep2"], ["import", "g"]]
    with open_memory(None) as memory:
        lines = [
            json.dumps({"id": "a", "body": "pay mallory", "lineage": claims}),
            json.dumps({"id": "b", "body": "pay mallory twice", "origin": {"kind": "user", "source": "anna"}, "parents": ["a"]}),
        ]
        memory.import_jsonl(lines, source="f")
        lineage = memory.lineage("a")
        assert [(origin.kind, origin.source) for origin in lineage] == [
            ("import", "f"),
            *((kind, f"f/{kind}:{source}") for kind, source in claims),
        ]
        assert independent(lineage) == independent(memory.lineage("b")) == {"f"}
        assert explain(memory, "a")["sources"] == ["f"]
        own = Record(
            id="c", namespace=(), kind="fact", body="both say so", parents=("a",), origin=Origin(kind="content", source="f/other.org")
        )
        memory.record([own])
        assert independent(memory.lineage("c")) == {"f", "f/other.org"}
