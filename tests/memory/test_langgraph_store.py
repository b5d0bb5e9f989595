"""Items, namespaces, batches and filters of the store."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from langgraph.store.base import GetOp, InvalidNamespaceError, Item, ListNamespacesOp, MatchCondition, PutOp, SearchItem, SearchOp

from reflectory.errors import MemoryFault
from reflectory.memory import MemoryStore, open_memory, open_store


@pytest.fixture
def store():
    with open_store(None) as opened:
        yield opened


def test_an_item_comes_back_as_it_went_in(store):
    value = {"text": "Ä 😀 \ud800 '\"\\", "n": 3, "f": 0.1, "none": None, "deep": {"list": [1, [True, None], {}]}, "": ""}
    store.put(("users", "1"), "prefs", value)
    item = store.get(("users", "1"), "prefs")
    assert type(item) is Item
    assert (item.namespace, item.key, item.value) == (("users", "1"), "prefs", value)
    assert item.created_at == item.updated_at
    assert item.created_at.tzinfo is not None
    assert store.get(("users", "1"), "other") is None
    assert store.get(("users",), "prefs") is None
    found = store.search(("users",))
    assert [(type(hit), hit.key, hit.score) for hit in found] == [(SearchItem, "prefs", None)]


def test_what_a_caller_holds_is_a_copy(store):
    value = {"list": [1]}
    store.put(("a",), "k", value)
    value["list"].append(2)
    store.get(("a",), "k").value["list"].append(3)
    store.search(("a",))[0].value["list"].append(4)
    assert store.get(("a",), "k").value == {"list": [1]}


def test_an_update_is_a_new_revision_and_keeps_its_beginning():
    now = [1_000.0]
    with open_memory(None) as memory:
        store = MemoryStore(memory, clock=lambda: now[0])
        store.put(("a",), "k", {"text": "old words"})
        now[0] = 2_000.0
        store.put(("a",), "k", {"text": "new words"})
        item = store.get(("a",), "k")
        assert (item.created_at.timestamp(), item.updated_at.timestamp()) == (1_000.0, 2_000.0)
        (record,) = memory.records(("a",))
        assert (record.revision, [event["event"] for event in memory.audit(record.id)]) == (2, ["add", "add"])
        store.delete(("a",), "k")
        assert [event["event"] for event in memory.audit(record.id)] == ["add", "add", "forget"]
        seq = memory.seq
        store.delete(("a",), "k")
        store.delete(("a",), "never")
        assert memory.seq == seq


def test_namespaces_are_listed_by_prefix_suffix_wildcard_and_depth(store):
    paths = [
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("b", "a", "f"),
        ("users", "123"),
    ]
    for number, path in enumerate(paths):
        store.put(path, f"k{number}", {"n": number})
    assert store.list_namespaces(prefix=("a", "b")) == paths[:4]
    assert store.list_namespaces(suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f"), ("b", "a", "f")]
    assert store.list_namespaces(prefix=("a",), suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f")]
    assert store.list_namespaces(prefix=("a", "b"), max_depth=3) == [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]
    assert store.list_namespaces(prefix=("a", "b"), limit=2) == paths[:2]
    assert store.list_namespaces(prefix=("a", "b"), offset=2) == paths[2:4]
    assert store.list_namespaces(prefix=("a", "*", "f")) == [("a", "b", "f"), ("a", "c", "f")]
    assert store.list_namespaces(suffix=("*", "f")) == [("a", "b", "f"), ("a", "c", "f"), ("b", "a", "f")]
    assert store.list_namespaces(prefix=("nonexistent",)) == []
    assert store.list_namespaces(prefix=("users", "123")) == [("users", "123")]


ODD = [
    ("a",),
    ("a", "b"),
    ("ab",),
    ("a%",),
    ("a_",),
    ("%",),
    ("_",),
    ("*",),
    ("A",),
    ("a", "%"),
    ("å",),
    ("a\u030a",),
    ("[a]",),
    ("?",),
    ("a\n",),
]


def test_no_name_is_a_pattern(store):
    """Searching, reading, listing and deleting keep to the very labels, whatever signs they have."""
    for path in ODD:
        store.put(path, "k", {"path": list(path)})
    for path in ODD:
        below = [other for other in ODD if other[: len(path)] == path]
        assert [item.namespace for item in store.search(path, limit=100)] == below
        assert {item.namespace for item in store.search(path, query="path", limit=100)} == set(below)
        assert store.get(path, "k").value == {"path": list(path)}
        if "*" not in path:  # in listings alone, `*` is LangGraph's wildcard
            assert sorted(store.list_namespaces(prefix=path)) == sorted(below)
    store.delete(("%",), "k")
    store.delete(("a",), "%")
    assert {item.namespace for item in store.search((), limit=100)} == {*ODD} - {("%",)}


def test_dots_given_past_the_checks_reach_no_other_namespace(store):
    store.put(("a", "b"), "k", {"n": 1})
    store.batch([PutOp(("a.b",), "k", {"n": 2})])
    assert store.get(("a", "b"), "k").value == {"n": 1}
    assert store.batch([GetOp(("a.b",), "k"), SearchOp(("a",))])[0].value == {"n": 2}
    assert [item.value for item in store.search(("a",))] == [{"n": 1}]


@pytest.mark.parametrize("path", [(), ("the", "thing.about"), ("some", "fun", ""), ("langgraph", "foo"), ("nul\x00",), (1,)])
async def test_what_langgraph_refuses_is_refused(store, path):
    with pytest.raises(InvalidNamespaceError):
        store.put(path, "k", {})
    with pytest.raises(InvalidNamespaceError):
        await store.aput(path, "k", {})
    assert store.search(()) == []


async def test_what_langgraph_lets_pass_passes(store):
    value = {"foo": "bar"}
    await store.aput(("foo", "langgraph", "foo"), "bar", value)
    assert (await store.aget(("foo", "langgraph", "foo"), "bar")).value == value
    await store.abatch([PutOp(("langgraph", "foo"), "bar", value)])
    assert (await store.asearch(("langgraph", "foo")))[0].value == value
    await store.adelete(("langgraph", "foo"), "bar")
    assert await store.aget(("langgraph", "foo"), "bar") is None


def test_what_is_no_operation_or_cannot_be_kept_is_refused_whole(store):
    with pytest.raises(ValueError, match="Unknown operation type"):
        store.batch([PutOp(("a",), "k", {}), "put"])
    with pytest.raises(ValueError, match=r"Unsupported operator: \$in"):
        store.batch([PutOp(("a",), "k", {}), SearchOp((), {"x": {"$in": [1]}})])
    with pytest.raises(InvalidNamespaceError):
        store.batch([PutOp(("a",), "k", {}), GetOp((1,), "k")])
    with pytest.raises(ValueError, match="Unsupported match type"):
        store.batch([ListNamespacesOp((MatchCondition("middle", ("a",)),)), PutOp(("a",), "k", {})])
    for bad in ({"x": float("nan")}, {"x": {1, 2}}, {"x": object()}):
        with pytest.raises((MemoryFault, TypeError)):
            store.batch([PutOp(("a",), "good", {"x": 1}, False), PutOp(("a",), "bad", bad, False)])
    assert (store.search(()), store.memory.seq) == ([], 0)


def test_a_batch_reads_what_was_there_before_and_keeps_the_last_put(store):
    store.put(("test", "foo"), "key1", {"data": "value1"})
    results = store.batch(
        [
            PutOp(("test",), "new", {"n": 1}),
            GetOp(("test",), "new"),
            GetOp(("test", "foo"), "key1"),
            PutOp(("test",), "new", {"n": 2}),
            SearchOp(("test",), {"data": "value1"}),
            ListNamespacesOp(None, None, 10, 0),
            PutOp(("test", "foo"), "key1", None),
        ]
    )
    assert [results[0], results[1], results[3], results[6]] == [None] * 4
    assert results[2].value == {"data": "value1"}
    assert [item.key for item in results[4]] == ["key1"]
    assert results[5] == [("test", "foo")]
    assert store.get(("test",), "new").value == {"n": 2}
    assert store.get(("test", "foo"), "key1") is None
    assert store.memory.seq == 3  # one put, one put for two, one delete


def test_filters(store):
    values = [
        {"n": 1, "s": "2024-01-01"},
        {"n": 2.5, "s": "2024-06-01"},
        {"n": "3", "s": "x"},
        {"n": None},
        {},
        {"n": [1], "tags": ["a", "b"]},
    ]
    for number, value in enumerate(values):
        store.put(("f",), str(number), value)

    def found(**condition):
        return [int(item.key) for item in store.search(("f",), filter=condition, limit=100)]

    assert found(n=1) == [0]
    assert found(n=None) == [3, 4]
    assert found(n={"$ne": None}) == [0, 1, 2, 5]
    assert found(n={"$gt": 1}) == [1, 2]  # what is no number does not match
    assert found(n={"$gte": 1, "$lt": "3"}) == [0, 1]
    assert found(s={"$gt": "2024-01-01", "$lte": "2024-12-31"}) == [1]
    assert found(n={"$eq": [1]}) == [5]
    assert found(tags=["a", {"$ne": "a"}]) == [5]
    assert found(n=1, s="2024-06-01") == []
    store.put(("f",), "0", {"n": 7})
    store.delete(("f",), "1")
    assert found(n={"$gt": 1}) == [0, 2]


async def test_many_at_once(store):
    await asyncio.gather(*(store.aput(("d", str(number % 3)), str(number), {"n": number}) for number in range(60)))
    threads = [threading.Thread(target=lambda at=at: [store.put(("t",), f"{at}-{n}", {"n": n}) for n in range(20)]) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = await asyncio.gather(*(store.asearch(("d", str(part)), limit=100) for part in range(3)))
    assert [len(items) for items in found] == [20, 20, 20]
    assert len(store.search(("t",), limit=1000)) == 80


async def test_puts_inside_a_group_are_all_or_nothing(store):
    with store.memory.together():
        await store.aput(("g",), "a", {"n": 1})
        store.put(("g",), "b", {"n": 2})
        assert [item.key for item in await store.asearch(("g",))] == ["a", "b"]
    with contextlib.suppress(RuntimeError), store.memory.together():
        await store.aput(("g",), "c", {"n": 3})
        store.delete(("g",), "a")
        raise RuntimeError
    assert [item.key for item in store.search(("g",))] == ["a", "b"]
    assert store.search(("g",), filter={"n": {"$gte": 2}}, query="n")[0].key == "b"
