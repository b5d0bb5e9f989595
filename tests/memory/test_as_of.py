from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.errors import MemoryFault
from reflectory.memory import open_memory
from reflectory.records import Origin, Query, Record

BODIES = ["cool the apple", "heat the mug", "the mug is in cabinet 3", "look at the lamp", "cool cool plate"]
INDEX = st.integers(0, 7)
OPERATIONS = st.one_of(
    st.tuples(st.just("record"), st.integers(0, len(BODIES) - 1), INDEX, st.sampled_from(["t1", "t2"])),
    st.tuples(st.just("revise"), INDEX, INDEX, st.just("")),
    st.tuples(st.just("cite"), INDEX, INDEX, st.sampled_from([True, False, None])),
    st.tuples(st.just("mark"), INDEX, st.sampled_from(["quarantine", "promote", "revoke", "supersede"]), st.just("")),
    st.tuples(st.just("forget"), INDEX, INDEX, st.just("")),
    st.tuples(st.just("undo"), st.integers(1, 30), INDEX, st.just("")),
)
QUERIES = [
    Query(text="cool the mug", k=0),
    Query(text="mug", scope="task", task_key="t1", k=3),
    Query(text="lamp", namespace=("n",), kinds=("lesson",), k=2),
]


def record(body, source, task, id=""):
    return Record(id=id, namespace=("n",), kind="lesson", body=body, task_key=task, origin=Origin(kind="world", source=f"e{source}"))


def perform(memory, operation):
    """One write; operations that make no sense at this point are refused by the memory and leave no trace."""
    name, first, second, third = operation
    known = list(memory.records())
    if name == "record":
        memory.record([record(BODIES[first], second, third)])
    elif name == "undo":
        with contextlib.suppress(MemoryFault):  # an undo, or undone already
            memory.undo(1 + first % max(memory.seq, 1))
    elif known:
        chosen = known[first % len(known)]
        if name == "revise":
            memory.record([record(f"revised {second} cool", second, chosen.task_key, chosen.id)])
        elif name == "cite":
            memory.cite([chosen.id], shown=[chosen.id, known[second % len(known)].id], helped=third)
        elif name == "mark":
            memory.mark(chosen.id, second)
        else:
            memory.forget(chosen.id)


def seen(memory, as_of):
    hits = [memory.recall(query.model_copy(update={"as_of": as_of})) for query in QUERIES]
    return hits, list(memory.records(as_of=as_of)), memory.content_digest(as_of), list(memory.export_jsonl(as_of))


@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATIONS, max_size=14))
def test_what_a_position_shows_never_changes(tmp_path_factory, operations):
    """Recall, listing, digest and export at a position are the same before later writes, after them, and in a fresh process's replay."""
    path = tmp_path_factory.mktemp("as_of") / "m.sqlite"
    with open_memory(path) as memory:
        history = {0: seen(memory, None)}
        for operation in operations:
            perform(memory, operation)
            history[memory.seq] = seen(memory, None)
        for seq, expected in history.items():
            assert seen(memory, seq) == expected
    with open_memory(path, read_only=True) as again:
        for seq, expected in sorted(history.items(), reverse=True):
            assert seen(again, seq) == expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["record", "forget", "quarantine", "promote", "cite"]), st.integers(0, 4), st.integers(0, 3)), max_size=25
    )
)
def test_the_view_agrees_with_a_plain_model(operations):
    """A dictionary that is changed in place, with none of the machinery, must say the same at the end."""
    plain = {}
    with open_memory(None) as memory:
        for name, which, source in operations:
            body = BODIES[which]
            ids = {item.body: item.id for item in memory.records()}
            if name == "record":
                memory.record([record(body, source, "t")])
                plain.setdefault(body, {"sources": set(), "status": "active", "cited": 0})["sources"].add(f"e{source}")
            elif body in plain and name == "forget":
                memory.forget(ids[body])
                del plain[body]
            elif body in plain and name == "cite":
                memory.cite([ids[body]])
                plain[body]["cited"] += 1
            elif body in plain:
                memory.mark(ids[body], name)
                plain[body]["status"] = {"quarantine": "quarantined", "promote": "active"}[name]
        found = {
            item.body: {"sources": {o.source for o in memory.lineage(item.id)}, "status": item.status, "cited": item.cited}
            for item in memory.records()
        }
        assert found == plain
        visible = {hit.record.body for hit in memory.recall(Query(text="cool", k=0))}
        assert visible == {body for body, entry in plain.items() if entry["status"] == "active"}
