"""Items of the store that end."""

from __future__ import annotations

import threading

from reflectory.memory import MemoryStore, open_memory


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


def timed(ttl=None, **more):
    clock = Clock()
    return MemoryStore(open_memory(None), ttl=ttl, owned=True, clock=clock, **more), clock


def test_items_end():
    store, clock = timed({"default_ttl": 10, "refresh_on_read": False})
    store.put(("t",), "default", {"n": 1})
    store.put(("t",), "short", {"n": 2}, ttl=1)
    store.put(("t",), "never", {"n": 3}, ttl=None)
    clock.now += 59
    assert store.sweep_ttl() == 0
    clock.now += 2
    assert store.get(("t",), "short") is not None  # until it is swept, as LangGraph's stores do
    assert store.sweep_ttl() == 1
    assert store.get(("t",), "short") is None
    clock.now += 600
    assert (store.sweep_ttl(), store.sweep_ttl()) == (1, 0)
    assert [item.key for item in store.search(("t",))] == ["never"]
    store.close()


def test_reading_moves_the_end():
    store, clock = timed({"refresh_on_read": True})
    for key in ("got", "searched", "left", "refused"):
        store.put(("t",), key, {"key": key}, ttl=1)
    clock.now += 40
    store.get(("t",), "got")
    store.get(("t",), "refused", refresh_ttl=False)
    assert len(store.search(("t",), filter={"key": "searched"})) == 1
    clock.now += 40
    assert store.sweep_ttl() == 2
    assert {item.key for item in store.search(("t",), refresh_ttl=False)} == {"got", "searched"}
    seq = store.memory.seq
    for _ in range(50):
        store.get(("t",), "got")
    assert store.memory.seq <= seq + 1  # one commit, not one per read
    (record,) = (item for item in store.memory.records(("t",)) if "got" in item.body)
    assert record.revision == 1
    store.close()


def test_expired_items_can_be_left_out():
    store, clock = timed({"default_ttl": 5, "omit_expired": True})
    store.put(("omit", "expired"), "e", {"data": "gone"})
    store.put(("omit", "kept"), "c", {"data": "keep"}, ttl=None)
    clock.now += 301
    assert store.get(("omit", "expired"), "e", refresh_ttl=True) is None
    assert [item.key for item in store.search(("omit",))] == ["c"]
    assert [item.key for item in store.search(("omit",), query="gone")] == ["c"]
    assert store.list_namespaces(prefix=("omit",)) == [("omit", "kept")]
    assert store.sweep_ttl() == 1
    store.close()


def test_a_sweeper_runs_until_it_is_stopped():
    swept = threading.Event()
    store, clock = timed({"default_ttl": 1, "sweep_interval_minutes": 1})
    store.put(("t",), "k", {})
    clock.now += 100
    original = store.sweep_ttl

    def sweep():
        count = original()
        swept.set()
        return count

    store._sweeper._sweep = sweep
    store.start_ttl_sweeper(0.0001)
    assert swept.wait(30)
    assert store.stop_ttl_sweeper(30)
    assert store.get(("t",), "k") is None
    store.close()


def test_ends_are_durable(tmp_path):
    clock = Clock()
    with MemoryStore(open_memory(tmp_path / "m.sqlite"), owned=True, clock=clock) as store:
        store.put(("t",), "k", {"n": 1}, ttl=1)
        clock.now += 50
        store.get(("t",), "k")
    with MemoryStore(open_memory(tmp_path / "m.sqlite"), owned=True, clock=clock) as store:
        clock.now += 50
        assert store.sweep_ttl() == 0
        clock.now += 20
        assert store.sweep_ttl() == 1
