"""What stays between runs: an append-only journal, the state derived from it, and recall over both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.memory.journal import Journal as Journal
    from reflectory.memory.langgraph_store import MemoryStore as MemoryStore
    from reflectory.memory.langgraph_store import open_store as open_store
    from reflectory.memory.retrospective import Retrospective as Retrospective
    from reflectory.memory.store import JournalMemory as JournalMemory
    from reflectory.memory.store import open_memory as open_memory

__all__ = ["Journal", "JournalMemory", "MemoryStore", "Retrospective", "open_memory", "open_store"]

__getattr__ = lazy(
    __name__,
    {
        "Journal": "reflectory.memory.journal",
        "JournalMemory": "reflectory.memory.store",
        "MemoryStore": "reflectory.memory.langgraph_store",
        "Retrospective": "reflectory.memory.retrospective",
        "open_memory": "reflectory.memory.store",
        "open_store": "reflectory.memory.langgraph_store",
    },
)
