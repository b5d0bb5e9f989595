"""A durable store in anybody's LangGraph graph, offline: a node recalls what was said before and keeps what is said now."""

from langgraph.graph import MessagesState, StateGraph
from langgraph.store.base import BaseStore

from reflectory.memory import open_store


def note(state: MessagesState, *, store: BaseStore):
    """Search the notes, then take one."""
    said = state["messages"][-1].text
    found = store.search(("notes",), query=said, limit=1)
    store.put(("notes",), said, {"text": said})
    return {"messages": [("ai", f"I remember: {found[0].value['text'] if found else 'nothing'}")]}


with open_store("notes/journal.sqlite") as store:
    graph = StateGraph(MessagesState).add_node(note).set_entry_point("note").compile(store=store)
    for said in ("The key is under the mat.", "Milk is in the fridge.", "Where is the key?"):
        print(said, "|", graph.invoke({"messages": [("user", said)]})["messages"][-1].text)
