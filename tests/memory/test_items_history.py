"""The history of items: what a store keeps beside the text counts."""

from __future__ import annotations

import pytest

from reflectory.memory import MemoryStore, open_memory


def store():
    return MemoryStore(open_memory(None), index={"fields": ["text"]}, owned=True, clock=lambda: 1e9)


def test_a_value_that_changed_beside_its_text_is_a_difference():
    with store() as one:
        one.put(("u",), "k", {"text": "hello", "balance": 1})
        start = one.memory.seq
        one.put(("u",), "k", {"text": "hello", "balance": 1000}, ttl=5)
        [changed] = one.memory.diff(start)["changed"]
        both = changed["fields"]["item"]
        assert (both["old"]["value"]["balance"], both["new"]["value"]["balance"]) == (1, 1000)
        assert ("expires" in both["old"], "expires" in both["new"]) == (False, True)
        [record] = one.memory.bisect(lambda seq: seq >= 2)["records"]
        assert record["before"]["item"]["value"] != record["after"]["item"]["value"]
        assert one.memory.diff(0, start)["added"][0]["item"]["key"] == "k"
        assert one.memory.diff(2, 2)["changed"] == []


@pytest.mark.parametrize("other", [({"text": "hello", "balance": 2}, None), ({"text": "hello", "balance": 1}, 5)])
def test_the_digest_sees_values_and_ends_but_not_when_they_were_written(other):
    with store() as one, store() as same, store() as different:
        one.put(("u",), "k", {"text": "hello", "balance": 1})
        same.clock = lambda: 2e9
        same.put(("u",), "k", {"balance": 1, "text": "hello"})
        different.put(("u",), "k", other[0], ttl=other[1])
        assert one.memory.content_digest() == same.memory.content_digest() != different.memory.content_digest()
