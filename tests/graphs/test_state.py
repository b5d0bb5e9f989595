"""State: reducers that bear repetition, and nodes that cannot lose a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from reflectory.errors import ConfigError, UnknownName
from reflectory.graphs import END, State, StateGraph
from reflectory.graphs.state import key_max, merge_keys, reducers, set_once, union_by_id
from reflectory.records import Verdict

counts = st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.sampled_from(["calls", "tokens"]), st.integers(0, 99)))
items = st.lists(st.fixed_dictionaries({"id": st.sampled_from("xyz"), "v": st.integers()}))


@given(counts, counts, counts)
def test_key_max_repeats_and_reorders_without_a_difference(a, b, c):
    assert key_max(key_max(a, b), b) == key_max(a, b)
    assert key_max(a, b) == key_max(b, a)
    assert key_max(key_max(a, b), c) == key_max(a, key_max(b, c))


@given(items, items)
def test_union_by_id_holds_each_id_once(a, b):
    both = union_by_id(a, b)
    assert union_by_id(both, b) == both
    if b:
        assert [item["id"] for item in both] == list(dict.fromkeys(item["id"] for item in a + b))
        assert {item["id"]: item for item in both} == {**{i["id"]: i for i in a}, **{i["id"]: i for i in b}}


@given(st.dictionaries(st.text(), st.integers()), st.dictionaries(st.text(), st.integers()))
def test_merge_keys(a, b):
    assert merge_keys(a, b) == {**a, **b}
    assert merge_keys(merge_keys(a, b), b) == merge_keys(a, b)


def test_outcome_is_set_once():
    assert set_once(None, "solved") == "solved"
    assert set_once("solved", "solved") == "solved"
    assert set_once("solved", None) == "solved"
    with pytest.raises(ConfigError, match="failed"):
        set_once("solved", "failed")


def run_one(node, schema=State):
    builder = StateGraph(schema)
    builder.add_node("n", node)
    builder.set_entry_point("n")
    builder.add_edge("n", END)
    return builder.compile().invoke({"task": {"goal": "g"}})


def test_unknown_keys_raise_in_sync_nodes():
    with pytest.raises(UnknownName, match="Did you mean answer"):
        run_one(lambda state: {"anwser": "x"})


async def test_unknown_keys_raise_in_async_nodes_and_callable_objects():
    class Node:
        async def __call__(self, state, runtime):
            return {"anwser": runtime.context}

    builder = StateGraph()
    builder.add_node("n", Node())
    builder.set_entry_point("n")
    with pytest.raises(UnknownName, match="Did you mean answer"):
        await builder.compile().ainvoke({"task": {}})


def test_live_objects_are_refused_and_messages_are_not():
    with pytest.raises(ConfigError, match="JSON"):
        run_one(lambda state: {"answer": Verdict(id="a", by="b", source="env")})
    with pytest.raises(ConfigError, match="mapping"):
        run_one(lambda state: 3)
    assert run_one(lambda state: {"messages": [HumanMessage("hi")]})["messages"][0].content == "hi"
    assert run_one(lambda state: None)["task"] == {"goal": "g"}


def test_users_add_keys_by_subclassing():
    class Mine(State, total=False):
        extra: int

    assert run_one(lambda state: {"extra": 3}, Mine)["extra"] == 3
    assert set(reducers(Mine)) == {*reducers(State), "extra"}


def test_a_nested_graph_does_not_count_twice():
    inner = StateGraph()
    inner.add_node("spend", lambda state: {"spent": {"main": {"calls": 2}}, "verdicts": [{"id": "v", "ok": True}]})
    inner.set_entry_point("spend")
    outer = StateGraph()
    outer.add_node("inner", inner.compile())
    outer.set_entry_point("inner")
    result = outer.compile().invoke({"task": {}, "spent": {"main": {"calls": 1}}, "verdicts": []})
    assert result["spent"] == {"main": {"calls": 2}}
    assert result["verdicts"] == [{"id": "v", "ok": True}]
