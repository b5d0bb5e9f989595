"""The store in graphs and under memory tools."""

from __future__ import annotations

import subprocess
import sys

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from reflectory.memory import open_store


@pytest.fixture
def store():
    with open_store(None) as opened:
        yield opened


class State(TypedDict):
    said: str
    found: list[str]


async def test_three_lines_in_anybodys_graph(tmp_path):
    from langgraph.config import get_store
    from langgraph.store.base import BaseStore

    def remember(state: State, *, store: BaseStore) -> State:
        store.put(("user", "7"), "said", {"text": state["said"]})
        return state

    async def look(state: State) -> State:
        hits = await get_store().asearch(("user", "7"), query="favourite drink", limit=1)
        return {**state, "found": [hit.value["text"] for hit in hits]}

    builder = StateGraph(State)
    builder.add_node("remember", remember)
    builder.add_node("look", look)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", "look")

    with open_store(tmp_path / "memory.sqlite") as store:
        graph = builder.compile(store=store)
        assert (await graph.ainvoke({"said": "my favourite drink is tea"}))["found"] == ["my favourite drink is tea"]
    with open_store(tmp_path / "memory.sqlite") as store:
        assert store.get(("user", "7"), "said").value == {"text": "my favourite drink is tea"}


def manage_memory(store, namespace, content, action="create", key=None):
    """What LangMem's memory tool does with its store, by hand."""
    if action == "delete":
        store.delete(namespace, key)
        return None
    key = key or f"id-{len(store.search(namespace, limit=10**6))}"
    store.put(namespace, key=key, value={"content": content})
    return key


def test_a_memory_tool_written_by_hand(store):
    place = ("memories", "u1")
    tea = manage_memory(store, place, "likes tea")
    manage_memory(store, ("memories", "u2"), "likes beer")
    manage_memory(store, place, "likes green tea", "update", tea)
    assert [item.dict()["value"] for item in store.search(place, query="what to drink, tea?", limit=5)] == [{"content": "likes green tea"}]
    manage_memory(store, place, "", "delete", tea)
    assert store.search(place) == []


def test_langmems_tools():
    langmem = pytest.importorskip("langmem")
    with open_store(None) as store:
        manage = langmem.create_manage_memory_tool(namespace=("memories", "{user}"), store=store)
        search = langmem.create_search_memory_tool(namespace=("memories", "{user}"), store=store)
        config = {"configurable": {"user": "u1"}}
        manage.invoke({"content": "likes tea", "action": "create"}, config)
        assert "likes tea" in str(search.invoke({"query": "tea"}, config))
        assert "likes tea" not in str(search.invoke({"query": "tea"}, {"configurable": {"user": "u2"}}))
        (item,) = store.search(("memories", "u1"))
        manage.invoke({"content": "likes green tea", "action": "update", "id": item.key}, config)
        assert store.get(("memories", "u1"), item.key).value["content"] == "likes green tea"


def test_opening_a_store_loads_no_heavy_library():
    code = (
        "import sys; from reflectory.memory import open_store; store = open_store(None); store.put(('a',), 'k', {'t': 'x'}); "
        "store.search((), query='x'); print({'torch', 'chromadb', 'sentence_transformers', 'transformers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
