"""Looking at a memory after a kill, in a process of its own, and saying what is wrong with it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reflectory.errors import MemoryFault
from reflectory.memory import JournalMemory, open_memory
from reflectory.records import Query
from reflectory.runs.bench.crash_model import SPACE, store_of
from reflectory.runs.bench.crash_process import spawn

#: Newest vectors that are compared with freshly made ones, and texts that are searched for.
VECTORS, SEARCHES = 12, 4
#: Items of the store that a search is to find.
NEAREST = 5


def observe(opener: Callable[[Path], JournalMemory], folder: Path, how: Mapping[str, bool]) -> dict[str, Any]:
    """Open a memory in a process of its own and tell what it holds.

    Args:
        opener: Opens it for writing.
        folder: Where it is.
        how: `read_only`: open it read-only first; `close`: close it, else the process ends as it stands.

    Returns:
        records, learned, snapshots (as in the plain model), bodies, active and served (ids), vectors_ok, top_ok, items_ok (what the
        store serves, through an index where there is one); `refused` when read-only opening was; `error` alone when it could not be read.
    """

    def look(fd: int) -> None:
        refused = False
        if how["read_only"]:
            try:
                with open_memory(folder / "journal.sqlite", read_only=True) as memory:
                    first: Any = _holds(memory)
            except MemoryFault:
                refused = True
        memory = opener(folder)
        found = _holds(memory)
        if how["read_only"] and not refused and first != found:
            found["error"] = "a read-only opening and a writing one differ"
        found["refused"] = refused
        found |= _vectors(memory, folder) | {"items_ok": _items(memory)}
        os.write(fd, json.dumps(found).encode() + b"\n")
        if how["close"]:
            memory.close()

    said, status = spawn(look)
    if status != 0 or not said or not said[0].startswith("{"):
        return {"error": f"exit status {status}: {' '.join(said)[:500]}"}
    return dict(json.loads(said[0]))


def verdict(found: Mapping[str, Any], possible: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """What is wrong.

    Args:
        found: From `observe`.
        possible: What would be right: without and, if one was running, with the last operation.

    Returns:
        Numbers of lost, duplicated, stale_index, wrong; empty when all is right.
    """
    if "error" in found:
        return Counter(wrong=1)
    wrong: Counter[str] = Counter()
    if not any(all(found[key] == value for key, value in right.items()) for right in possible):
        held = found["records"]
        lost = set.intersection(*({*right["records"]} for right in possible)) - set(held)
        wrong["lost"] = len(lost)
        wrong["wrong"] = not lost
    wrong["duplicated"] = len(found["bodies"]) - len(set(found["bodies"]))
    wrong["stale_index"] = len({*found["active"]} ^ {*found["served"]}) + (not found["top_ok"]) + (not found["items_ok"])
    wrong["wrong"] += not found["vectors_ok"]
    return +wrong


def _holds(memory: JournalMemory) -> dict[str, Any]:
    """What the memory says it holds, and what it serves."""
    records = list(memory.records())
    held = {
        record.id: {
            "body": record.body,
            "status": record.status,
            "shown": record.shown,
            "cited": record.cited,
            "sources": sorted(f"{origin.kind}:{origin.source}" for origin in memory.lineage(record.id)),
        }
        for record in records
    }
    active = [record for record in records if record.status == "active"]
    # A text finds itself first: its words are its own, because a number in it is.
    own = [memory.recall(Query(text=record.body, k=1)) for record in active[-SEARCHES:]]
    top = all(hits and hits[0].record.body == record.body for hits, record in zip(own, active[-SEARCHES:], strict=True))
    served = [hit.record.id for hit in memory.recall(Query(text="a mug", k=0))]
    weights = memory.learned("weights")
    return {
        "records": held,
        "learned": {} if weights is None else {"weights": weights},
        "snapshots": sorted(memory.snapshots()),
        "bodies": [record.body for record in records],
        "active": sorted(record.id for record in active),
        "served": sorted(served),
        "top_ok": top,
    }


def _vectors(memory: JournalMemory, folder: Path) -> dict[str, bool]:
    """Whether the newest vectors in the file are those of their texts, and the scores those of the vectors; read without our own code."""
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        rows = connection.execute("SELECT payload, vector FROM events WHERE kind = 'add' ORDER BY seq DESC LIMIT ?", (VECTORS,)).fetchall()
    texts = [json.loads(payload)["record"]["body"] for payload, _ in rows]
    stored = all(
        vector is not None and np.array_equal(np.frombuffer(vector, dtype="<f4"), fresh)
        for (_, vector), fresh in zip(rows, memory.embedder.embed(texts), strict=True)
    )
    hits = memory.recall(Query(text="a mug", k=VECTORS))
    asked = memory.embedder.embed(["a mug", *(hit.record.body for hit in hits)])
    scored = all(abs(hit.parts["cosine"] - float(vector @ asked[0])) < 1e-5 for hit, vector in zip(hits, asked[1:], strict=True))
    return {"vectors_ok": stored and scored}


def _items(memory: JournalMemory) -> bool:
    """Whether the store serves the active items and no others, and those nearest to a query first: compared with freshly made vectors."""
    store = store_of(memory)
    texts = [record.body for record in memory.records(SPACE) if record.origin.source == "store" and record.status == "active"]
    if sorted(item.value["text"] for item in store.search(SPACE, limit=len(texts) + 1)) != sorted(texts):
        return False
    if not texts:
        return True
    queries = [*texts[-SEARCHES:], "a mug"]
    cosines = memory.embedder.embed(queries) @ memory.embedder.embed(texts).T
    for query, row in zip(queries, cosines, strict=True):
        found = store.search(SPACE, query=query, limit=NEAREST)
        scores = np.array([item.score for item in found])
        own = row[[texts.index(item.value["text"]) for item in found]]
        best = np.sort(row)[::-1][:NEAREST]
        if scores.shape != best.shape or not np.allclose(scores, best, atol=1e-5) or not np.allclose(scores, own, atol=1e-5):
            return False
    return True
