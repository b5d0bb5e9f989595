"""The operations of a store: a put as an event, a state as an item, and the slots a search finds."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from langgraph.store.base import Item, ListNamespacesOp, MatchCondition, PutOp, SearchOp, get_text_at_path, tokenize_path
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.memory.admit import admit
from reflectory.memory.events import canonical
from reflectory.memory.items import DEEPEST, LONGEST, Items, too_deep
from reflectory.memory.replica import Replica
from reflectory.memory.state import State
from reflectory.records import Origin, Record

#: All items share one source: whatever foreign code puts in corroborates nothing.
ORIGIN = Origin(kind="import", source="store")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Vectors(NamedTuple):
    """Unit vectors by indexed text and by query, each of shape (dim,)."""

    texts: Mapping[str, NDArray[np.float32]]
    queries: Mapping[str, NDArray[np.float32]]


class Extractor:
    """Takes the texts to index out of a value.

    Args:
        fields: Paths in LangGraph's syntax; None or empty is the whole value.
    """

    def __init__(self, fields: Sequence[str] | None) -> None:
        self._fields = [_tokens(path) for path in fields or ("$",)]

    def texts(self, op: PutOp) -> list[str]:
        """The texts of a put, each once; none for `index=False`."""
        if op.value is None or op.index is False:
            return []
        fields = self._fields if op.index is None else [_tokens(path) for path in op.index]
        return list(dict.fromkeys(text for field in fields for text in get_text_at_path(op.value, field)))


def item_id(namespace: tuple[str, ...], key: str) -> str:
    """The id of an item's record: 24 hex digits over namespace and key."""
    return "i" + hashlib.sha256(canonical([list(namespace), key]).encode("ascii")).hexdigest()[:23]


def check_put(op: PutOp) -> None:
    """Refuse a put that could not be kept.

    Raises:
        MemoryFault: The value is nested too deeply, or the time to live is impossible.
    """
    if too_deep(op.value):
        msg = f"the value of {op.key!r} is nested more than {DEEPEST} deep. Flatten it, or keep it as one text."
        raise MemoryFault(msg)
    if op.ttl is not None and not 0 <= op.ttl < LONGEST:
        msg = f"a ttl of {op.ttl} minutes is impossible. Give 0 to {LONGEST:.0e}, or None for no end."
        raise MemoryFault(msg)


def put_event(replica: Replica, op: PutOp, texts: list[str] | None, vectors: Vectors, now: int) -> None:
    """Write a put or delete inside `writing`; deleting what is not there writes nothing.

    An item that was superseded or revoked is replaced: what is put is a new item, not the old one's next version. One that was
    quarantined is refused, puts and deletes alike: whoever writes through a store must not lift what the harness holds back.

    Args:
        replica: Where to.
        op: What to write.
        texts: The indexed texts; None without an index.
        vectors: Vectors of the texts.
        now: Microseconds since 1970.

    Raises:
        MemoryFault: The value has no JSON form, the item is quarantined, or a foreign record took its id.
    """
    namespace = tuple(op.namespace)
    record_id = item_id(namespace, op.key)
    history = replica.view.histories.get(record_id)
    state = None if history is None else history.state(replica.view.seq)
    known = None if history is None else history.last()
    if known is not None and (known.item is None or tuple(known.fields["namespace"]) != namespace):
        msg = f"the id {record_id!r} of the item {op.key!r} belongs to another record of this memory. Give the item another key."
        raise MemoryFault(msg)
    status = None if state is None else state.fields.get("status", "active")
    if status == "quarantined":
        msg = f"the item {op.key!r} is quarantined: promote or forget the record {record_id} first (`reflectory memory audit` says why)."
        raise MemoryFault(msg)
    if state is not None and (op.value is None or status != "active"):
        replica.append("forget", record_id, {"reason": "deleted" if op.value is None else "replaced"})
        state = None
    if op.value is None:
        return
    created, texts = now if state is None or state.item is None else state.item["created"], texts or []
    body, item = _content(op, texts, {"created": created, "updated": now})
    record = Record(id=record_id, namespace=namespace, kind="fact", body=body, origin=ORIGIN)
    vector = np.concatenate([vectors.texts[text] for text in texts]) if texts else None
    replica.append("add", record_id, {**admit(record, replica.view.histories), "item": item}, vector)


def _content(op: PutOp, texts: list[str], times: Mapping[str, int]) -> tuple[str, dict[str, Any]]:
    """The body of the record of a put, and what is kept beside it."""
    value = dict(op.value or {})
    body = "\n".join(texts)
    if not body.strip():
        body = json.dumps(json.loads(canonical(value)), sort_keys=True, ensure_ascii=False)
    item: dict[str, Any] = {"key": op.key, "value": value, **times}
    if texts != [body]:
        item["texts"] = texts
    if op.ttl is not None:
        item |= {"ttl": op.ttl, "expires": times["updated"] + int(op.ttl * 60e6)}
    return body, item


def item_of(state: State) -> Item:
    """A state as LangGraph's item, its value a copy."""
    item = state.item or {}
    return Item(
        value=copy.deepcopy(item["value"]),
        key=item["key"],
        namespace=tuple(state.fields["namespace"]),
        created_at=_EPOCH + timedelta(microseconds=item["created"]),
        updated_at=_EPOCH + timedelta(microseconds=item["updated"]),
    )


def search_slots(replica: Replica, op: SearchOp, vector: NDArray[np.float32] | None, now: int | None) -> list[tuple[int, float | None]]:
    """The slots a search finds, with their scores.

    Args:
        replica: Where to look; its lock is held.
        op: Prefix, filter, limit and offset count.
        vector: The query's unit vector, shape (dim,); None orders by arrival.
        now: Leave out what has expired by then, microseconds since 1970; None leaves nothing out.

    Returns:
        Best first; equal scores by namespace and arrival, items without a vector last and with score None.
    """
    items, prefix = replica.view.items, tuple(op.namespace_prefix)
    page = slice(op.offset, op.offset + op.limit)
    count = op.offset + op.limit if min(op.offset, op.limit) >= 0 else len(items)  # negative bounds count from the end, as in a list
    if vector is None and not op.filter and now is None:
        return [(slot, None) for slot in list(islice(items.walk(prefix), count))[page]]
    mask = items.mask(prefix, op.filter, now)
    if vector is None:
        return [(slot, None) for slot in items.ordered(np.flatnonzero(mask))[page].tolist()]
    found = _scored(replica, mask, vector, count)
    if len(found) < count:
        found += [(slot, None) for slot in items.ordered(np.flatnonzero(mask & items.unindexed())).tolist()]
    return found[page]


def list_namespaces(items: Items, op: ListNamespacesOp, now: int | None) -> list[tuple[str, ...]]:
    """Namespaces that hold items, matched label by label; `*` in a condition stands for any one label."""
    spaces = list(items.spaces)
    if now is not None:
        live = items.mask((), None, now)
        spaces = [space for space in spaces if any(live[slot] for slot in items.spaces[space].values())]
    for condition in op.match_conditions or ():
        spaces = [space for space in spaces if _matches(condition, space)]
    if op.max_depth is not None:
        spaces = list({space[: op.max_depth] for space in spaces})
    return sorted(spaces)[op.offset : op.offset + op.limit]


def _scored(replica: Replica, mask: NDArray[np.bool_], vector: NDArray[np.float32], count: int) -> list[tuple[int, float | None]]:
    """The best `count` slots of those in the mask that have vectors, each with the best of its cosines."""
    items = replica.view.items
    owners = items.owners()
    allowed = np.append(mask, False)[owners]  # -1, no item's, reads the False at the end
    rows = np.flatnonzero(allowed) if replica.nearest is None else replica.nearest.rows(vector, count, allowed)
    slots, scores = _pooled(replica, rows, vector)
    if len(slots) < count and len(rows) < np.count_nonzero(allowed):  # several vectors of the same few items
        slots, scores = _pooled(replica, np.flatnonzero(allowed), vector)
    if 0 < count < len(slots):
        keep = scores >= np.partition(scores, len(scores) - count)[len(scores) - count]
        slots, scores = slots[keep], scores[keep]
    order = items.rank(slots, scores)
    return list(zip(slots[order].tolist(), scores[order].tolist(), strict=True))


def _pooled(replica: Replica, rows: NDArray[np.intp], vector: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Slots of rows, each once, and the best cosine of each."""
    items, scores = replica.view.items, replica.corpus.cosines(vector, rows)
    slots = items.owners()[rows]
    if not items.multiple:
        return slots, scores
    best = np.full(len(items.states), -np.inf)
    np.maximum.at(best, slots, scores)
    found = np.flatnonzero(best > -np.inf)
    return found, best[found]


def _tokens(path: str) -> list[str] | str:
    return path if path == "$" else tokenize_path(path)


def _matches(condition: MatchCondition, space: tuple[str, ...]) -> bool:
    path = tuple(condition.path)
    if len(space) < len(path):
        return False
    part = space[: len(path)] if condition.match_type == "prefix" else space[len(space) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
