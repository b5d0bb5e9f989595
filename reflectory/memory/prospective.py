"""Prospective reflection: what a session taught is added to memory, or merged with what is known, so that it can be undone.

Method: RMM (arXiv 2503.08026), Add and Merge against the nearest records. Changed: a merge writes a new record and keeps both parents,
superseded, in one transaction; a fact that has changed supersedes the old one with its time of validity; records of different users,
namespaces or kinds of origin are never merged, so trust never rises; nothing is deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, runtime_checkable

from reflectory.errors import MemoryFault
from reflectory.memory.events import canonical
from reflectory.memory.merge import Decision, Merger, cue
from reflectory.protocols import Memory
from reflectory.records import Frozen, Query, Record

#: Why a record was superseded; stands in the event.
MERGED, UPDATED = "merged", "updated"
P = ParamSpec("P")
Result = TypeVar("Result")
_STATUS_EVENTS = frozenset(("supersede", "quarantine", "revoke", "forget", "undo", "rollback"))


@runtime_checkable
class Ledger(Memory, Protocol):
    """A memory that can change a record's status and write several things as one."""

    def mark(
        self, record_id: str, event: Literal["quarantine", "promote", "revoke", "supersede"], *, reason: str = "", by: str = ""
    ) -> Record:
        """Change a record's status."""
        ...

    def together(self) -> AbstractContextManager[Any]:
        """Everything written inside becomes durable together, or nothing."""
        ...


class Written(Frozen):
    """What became of a candidate.

    Attributes:
        act: add, same, merge, update; `known` when this very candidate was written before.
        id: The record that now holds what it says.
        other: The record it was merged with, or that it superseded; "" without one.
    """

    act: Literal["add", "same", "merge", "update", "known"]
    id: str
    other: str = ""


async def consolidate(memory: Memory, found: Sequence[Record], merger: Merger, *, k: int = 8) -> list[Written]:
    """Write candidates, one after another, each against its neighbours.

    The memory is used on threads. Doing it again after a kill writes only what is missing.
    A memory without `mark` and `together` gets every candidate as it is.

    Args:
        memory: Where to.
        found: Candidates with ids, as `reflectory.memory.extract.candidates` makes them.
        merger: Decides between Add and Merge.
        k: How many neighbours it is shown.

    Returns:
        One entry per candidate.

    Raises:
        MemoryFault: The memory cannot be written.
    """
    written: list[Written] = []
    for candidate in found:
        if not isinstance(memory, Ledger):
            [stored] = await in_thread(memory.record, [candidate])
            written.append(Written(act="add", id=stored.id))
        elif await in_thread(_events, memory, candidate.id):
            written.append(Written(act="known", id=candidate.id))
        else:
            near = await in_thread(neighbours, memory, candidate, k)
            decision = await merger.decide(candidate, near) if near else Decision(act="add")
            written.append(await in_thread(_write, memory, candidate, near, decision))
    return written


async def in_thread(work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """Work that may wait, such as a memory that another process is writing, on a thread: the event loop goes on.

    A caller that is cancelled waits for its end: what is tried again must find all or nothing of it.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def neighbours(memory: Memory, candidate: Record, k: int) -> list[Record]:
    """The active records a candidate may be merged with, nearest first: `mergeable` ones, found by its words and by what it is about."""
    found: dict[str, Record] = {}
    for text in filter(None, (candidate.body, cue(candidate.body))):
        # More than k, because records of another origin are left out afterwards and must not crowd out the rest.
        query = Query(text=text, namespace=candidate.namespace, k=4 * k, kinds=(candidate.kind,))
        fitting = [hit.record for hit in memory.recall(query) if mergeable(candidate, hit.record)]
        found.update({item.id: item for item in fitting[:k] if item.id not in found})
    return list(found.values())


def mergeable(a: Record, b: Record) -> bool:
    """Whether two records may ever be merged: same namespace, kind, keys, kind of origin and, unless the agent said both, same source."""
    keys = ("namespace", "kind", "task_key", "situation_key")
    if any(getattr(a, key) != getattr(b, key) for key in keys) or a.origin.kind != b.origin.kind:
        return False
    return a.origin.kind == "own_reasoning" or a.origin.source == b.origin.source


def undo_merge(memory: Ledger, record_id: str) -> list[Record]:
    """Take back a merge or an update: the parents are active again; a merged record is revoked, an update stays beside the old fact.

    Args:
        memory: Where it was written.
        record_id: The record that was made by the merge, or that superseded another.

    Returns:
        The parents as they are now.

    Raises:
        MemoryFault: No merge made the record, it was taken back before, or the record was itself merged on: undo that first.
    """
    with memory.together():
        events = _events(memory, record_id)
        parents = [(parent, reason) for parent in _parents(events) for reason in _superseded_by(memory, parent, record_id)]
        if not parents:
            msg = f"the record {record_id!r} stands for no other: no merge made it, or it was taken back. `memory audit` shows its events."
            raise MemoryFault(msg)
        later = _last_status(events)
        if later is not None and later["event"] == "supersede":
            by = later["payload"]["by"]
            msg = f"the record {record_id!r} was itself superseded by {by!r}. Undo that first."
            raise MemoryFault(msg)
        if any(reason == MERGED for _, reason in parents):
            memory.mark(record_id, "revoke", reason="merge undone")
        return [memory.mark(parent, "promote", reason=f"undo of {reason} into {record_id}") for parent, reason in parents]


def timeline(memory: Memory, record_id: str) -> list[Record]:
    """A fact with the facts it superseded, oldest first, each with the time it held: `valid_to` of one is `valid_from` of the next.

    Args:
        memory: A memory whose `audit` tells events and payloads, as the journal's does.
        record_id: The newest of them.

    Raises:
        MemoryFault: An id that never was in this memory.
    """
    chain: list[Record] = []
    until: float | None = None
    current: str | None = record_id
    while current is not None:
        events = memory.audit(current)
        record = _stored(events, current).model_copy(update={"valid_to": until})
        chain.append(record)
        older = [parent for parent in record.parents if UPDATED in _superseded_by(memory, parent, current)]
        until, current = record.valid_from, older[0] if older else None
    return chain[::-1]


def _write(memory: Ledger, candidate: Record, near: Sequence[Record], decision: Decision) -> Written:
    other = near[decision.index] if decision.act != "add" else None
    with memory.together():
        if other is None or _changed(memory, other):
            [stored] = memory.record([candidate])
            return Written(act="add", id=stored.id)
        if decision.act == "same":
            # The memory unites steps and lineage of equal texts by itself; trust becomes the minimum.
            memory.record([candidate.model_copy(update={"id": other.id, "body": other.body, "when_to_use": other.when_to_use})])
            return Written(act="same", id=other.id, other=other.id)
        if decision.act == "update":
            [stored] = memory.record([candidate.model_copy(update={"parents": (other.id,)})])
            memory.mark(other.id, "supersede", by=stored.id, reason=UPDATED)
            return Written(act="update", id=stored.id, other=other.id)
        memory.record([candidate])
        [stored] = memory.record([merged_record(other, candidate, decision.text)])
        for parent in (other.id, candidate.id):
            memory.mark(parent, "supersede", by=stored.id, reason=MERGED)
        return Written(act="merge", id=stored.id, other=other.id)


def merged_record(old: Record, new: Record, text: str) -> Record:
    """The record two others become: both are its parents, its trust is the lower one, it holds since the older one."""
    since = [item.valid_from for item in (old, new) if item.valid_from is not None]
    return new.model_copy(
        update={
            "id": hashlib.sha256(canonical(["merge", old.id, new.id]).encode("ascii")).hexdigest()[:24],
            "body": text,
            "steps": tuple(dict.fromkeys((*old.steps, *new.steps))),
            "parents": (old.id, new.id),
            "trust": min(old.trust, new.trust),
            "valid_from": min(since) if since else None,
        }
    )


def _events(memory: Memory, record_id: str) -> list[dict[str, Any]]:
    """The events of a record; none for an id that never was in the memory."""
    try:
        return memory.audit(record_id)
    except MemoryFault:
        return []


def _changed(memory: Memory, seen: Record) -> bool:
    """Whether another writer changed a record's status since it was read."""
    return any(event["seq"] > seen.seq and event["event"] in _STATUS_EVENTS for event in memory.audit(seen.id))


def _stored(events: Sequence[dict[str, Any]], record_id: str) -> Record:
    added = next(event for event in reversed(events) if event["event"] == "add")
    return Record.model_validate({**added["payload"]["record"], "id": record_id})


def _parents(events: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(parent for event in events if event["event"] == "add" for parent in event["payload"]["record"]["parents"]))


def _last_status(events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    told = ("supersede", "promote", "revoke", "quarantine", "forget")
    return next((event for event in reversed(events) if event["event"] in told and not event["undone"]), None)


def _superseded_by(memory: Memory, parent: str, record_id: str) -> list[str]:
    """The reason, in a list, when the last thing that happened to the parent's status is that this record superseded it; else nothing."""
    last = _last_status(_events(memory, parent))
    if last is None or last["event"] != "supersede" or last["payload"]["by"] != record_id:
        return []
    return [str(last["payload"]["reason"])]
