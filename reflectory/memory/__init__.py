"""What stays between runs: an append-only journal, the state derived from it, and recall over both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.memory.journal import Journal as Journal
    from reflectory.memory.store import JournalMemory as JournalMemory
    from reflectory.memory.store import open_memory as open_memory

__all__ = ["Journal", "JournalMemory", "open_memory"]

__getattr__ = lazy(
    __name__,
    {
        "Journal": "reflectory.memory.journal",
        "JournalMemory": "reflectory.memory.store",
        "open_memory": "reflectory.memory.store",
    },
)
