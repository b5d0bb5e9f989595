"""What a store must refuse, and what two users of one store must not do to each other."""

from __future__ import annotations

import asyncio
import threading

import pytest

from reflectory.errors import MemoryFault
from reflectory.memory import MemoryStore, open_memory, open_store
from reflectory.memory.store_items import item_id

ID = item_id(("u",), "k")


@pytest.fixture
def store():
    with MemoryStore(open_memory(None), owned=True) as made:
        yield made


def nested(depth):
    value = {"x": 1}
    for _ in range(depth):
        value = {"a": value}
    return value


def test_a_read_does_not_give_an_end_to_what_was_put_without_one_meanwhile(store, monkeypatch):
    store.clock = lambda: 1e9
    store.put(("u",), "k", {"a": 1}, ttl=10)
    replica, writing, once = store.memory._replica, store.memory._replica.writing, []

    def late():
        if not once:
            once.append(threading.Thread(target=lambda: store.put(("u",), "k", {"a": 2}, ttl=None)))
            once[0].start()
            once[0].join(30)
        return writing()

    monkeypatch.setattr(replica, "writing", late)
    store.clock = lambda: 1e9 + 300
    store.get(("u",), "k", refresh_ttl=True)
    store.clock = lambda: 1e9 + 4000
    assert store.sweep_ttl() == 0
    assert store.get(("u",), "k").value == {"a": 2}


def test_a_put_on_a_quarantined_item_is_refused(store):
    store.put(("u",), "k", {"a": 1})
    store.memory.mark(ID, "quarantine")
    for value in ({"a": 2}, None):
        with pytest.raises(MemoryFault, match="quarantine"):
            store.put(("u",), "k", value) if value else store.delete(("u",), "k")
    store.memory.mark(ID, "promote")
    store.put(("u",), "k", {"a": 3})
    assert store.get(("u",), "k").value == {"a": 3}


@pytest.mark.parametrize("event", ["supersede", "revoke"])
def test_a_put_on_a_withdrawn_item_replaces_it(store, event):
    store.put(("u",), "k", {"a": 1})
    store.memory.mark(ID, event)
    store.put(("u",), "k", {"a": 2})
    assert store.get(("u",), "k").value == {"a": 2}
    assert [item.value for item in store.search(("u",), query="a")] == [{"a": 2}]
    assert store.memory.find(ID).status == "active"


async def test_a_put_of_another_task_is_not_lost_with_a_group_that_fails(store):
    begun = asyncio.Event()

    async def fails():
        with store.memory.together():
            await store.aput(("a",), "1", {"x": 1})
            begun.set()
            for number in range(5):
                await asyncio.gather(store.aput(("a",), str(number), {"x": number}))  # tasks begun inside take part
                await asyncio.sleep(0)
            raise ZeroDivisionError

    async def other():
        await begun.wait()
        await store.aput(("b",), "1", {"important": 1})

    first, second = await asyncio.gather(fails(), other(), return_exceptions=True)
    assert isinstance(first, ZeroDivisionError)
    assert second is None
    assert store.get(("b",), "1").value == {"important": 1}
    assert store.search(("a",)) == []


async def test_a_group_of_another_task_does_not_join_a_running_one(store):
    begun, done = asyncio.Event(), asyncio.Event()

    async def first():
        with store.memory.together():
            begun.set()
            await done.wait()

    async def second():
        await begun.wait()
        try:
            with pytest.raises(MemoryFault, match="another task"), store.memory.together():
                pass
        finally:
            done.set()

    await asyncio.gather(first(), second())
    await store.aput(("a",), "1", {"x": 1})  # what was marked ends with the group
    assert store.get(("a",), "1").value == {"x": 1}


@pytest.mark.parametrize("ttl", [float("inf"), float("nan"), 1e300, -1.0])
def test_impossible_lifetimes_are_refused(store, ttl):
    with pytest.raises(MemoryFault, match="ttl"):
        store.put(("u",), "k", {"a": 1}, ttl=ttl)
    assert store.get(("u",), "k") is None


@pytest.mark.parametrize("depth", [120, 330, 5000])
def test_values_nested_too_deeply_are_refused(store, depth):
    with pytest.raises(MemoryFault, match="nested"):
        store.put(("u",), "k", nested(depth))
    store.put(("u",), "k", nested(90))
    assert store.get(("u",), "k").value == nested(90)
    with pytest.raises(MemoryFault, match="nested"):
        store.memory.learn("x", nested(depth * 10))


def test_a_sweeper_started_right_after_a_stop_runs():
    with open_store(None) as store:
        inside, leave, again = threading.Event(), threading.Event(), threading.Event()
        turns = []

        def sweep():
            turns.append(1)
            (inside if len(turns) == 1 else again).set()
            leave.wait(30)

        store._sweeper._sweep = sweep
        store.start_ttl_sweeper(0.0001)
        assert inside.wait(30)
        assert not store.stop_ttl_sweeper(0)
        store.start_ttl_sweeper(0.0001)
        leave.set()
        assert again.wait(10)
        assert store.stop_ttl_sweeper(30)
