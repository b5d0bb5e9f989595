"""Taking in records from somewhere else. Nothing in a line is trusted: not its form, not its kind, not its id, not its trust."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.memory.admit import DERIVED, content_id, normal, same_place
from reflectory.memory.corpus import embed
from reflectory.memory.parcel import Parcel, unpack
from reflectory.memory.redact import Redactor
from reflectory.memory.replica import Replica
from reflectory.memory.state import State
from reflectory.protocols import Embedder
from reflectory.records import Record

#: Trust at most; refused lines named in a report at most.
TRUST, NAMED = 0.5, 1000
_HASH = re.compile(r"[0-9a-f]{24}|i[0-9a-f]{23}")  # the forms of `content_id` and `item_id`


def take_in(replica: Replica, embedder: Embedder, lines: Iterable[str | bytes], source: str) -> dict[str, Any]:
    """Store the good lines in one commit and report the others.

    Every record gets the origin import:SOURCE in its lineage; what it claims beside that becomes kind:SOURCE/kind:claimed, so that the
    whole import is one independent source (`reflectory.memory.state.independent`). It gets a trust of at most `TRUST`, and the
    kind `fact` when it was advice. Its id is kept when it is free and cannot be mistaken for the hash of another text; else it is derived
    from the content. A text that is here already is left alone: an import neither taints nor changes what the memory knows.

    Args:
        replica: The memory to write.
        embedder: Makes the vectors; those of an export are never read.
        lines: Text or UTF-8; blank ones count and are skipped.
        source: Where they come from.

    Returns:
        Numbers of `lines` read, records `imported` and `known` already; of these records, how many were `demoted` to facts (their event
        says what they were) and `renamed`; `orphans`: parents that are in neither place; `refused` lines; `why`: [[line, reason], …] for
        the first `NAMED` of those; `seq` afterwards.

    Raises:
        MemoryFault: An empty source, or the journal cannot be written.
    """
    if not source.strip():
        msg = "an import needs a source: whoever reads its records later must see where they came from. Give a file name or a host."
        raise MemoryFault(msg)
    number, parcels, refused = _read(lines, source, replica.journal.redactor)
    texts = list(dict.fromkeys(text for parcel in parcels for text in parcel.texts))
    vectors = dict(zip(texts, embed(embedder, texts), strict=True)) if texts else {}
    counted: Counter[str] = Counter()
    with replica.writing():
        ids: dict[str, str] = {}
        begun = replica.view.seq
        for parcel in _parents_first(parcels):
            counted.update(_keep(replica, parcel, ids, begun, [vectors[text] for text in parcel.texts]))
        seq = replica.view.seq
    numbers = {name: counted[name] for name in ("imported", "known", "demoted", "renamed", "orphans")}
    return {"lines": number, **numbers, "refused": len(refused), "why": refused[:NAMED], "seq": seq}


def _read(lines: Iterable[str | bytes], source: str, redactor: Redactor | None) -> tuple[int, list[Parcel], list[list[Any]]]:
    """How many lines there are, what the good ones hold, without secrets, and why the others are refused."""
    parcels: list[Parcel] = []
    refused: list[list[Any]] = []
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            parcel = unpack(number, line, source)
            if parcel is not None and redactor is not None:
                item = parcel.item and redactor.payload(dict(parcel.item))
                parcel = replace(parcel, record=redactor.record(parcel.record), item=item)
        except (ValueError, RecursionError) as error:
            refused.append([number, " ".join(str(error).split())[:200]])
        else:
            parcels += [] if parcel is None else [parcel]
    return number, parcels, refused


def _keep(replica: Replica, parcel: Parcel, ids: dict[str, str], begun: int, vectors: Sequence[NDArray[np.float32]]) -> Counter[str]:
    """Store one record, unless its text is here already.

    Args:
        replica: The memory, being written.
        parcel: What to store.
        ids: Ids of the import → ids here; gets this one's.
        begun: The position before the import: parents from before it pass on their lineage, those of the import say theirs themselves.
        vectors: Of its texts, each of shape (dim,).

    Returns:
        What to count.
    """
    parents = [ids.get(parent, parent) for parent in parcel.record.parents]
    found = {parent: state for parent in parents if (state := _state(replica, parent)) is not None}
    trust = min([parcel.record.trust, TRUST, *(state.record.trust for state in found.values())])
    record = parcel.record.model_copy(update={"trust": trust, "parents": tuple(found)})
    record_id, known = _choose_id(replica, parcel, record)
    if parcel.given:
        ids[parcel.given] = record_id
    if known:
        return Counter(known=1)
    inherited = [(origin.kind, origin.source) for state in found.values() if state.text <= begun for origin in state.lineage]
    claims = [(kind, f"{parcel.source}/{kind}:{source}") for kind, source in parcel.claims]
    lineage = [list(pair) for pair in dict.fromkeys([("import", parcel.source), *claims, *inherited])]
    fields = record.model_dump(mode="json", exclude={"id", *DERIVED})
    note = {"source": parcel.source, "line": parcel.line, "id": parcel.given, "kind": parcel.was}
    item = {} if parcel.item is None else {"item": parcel.item}
    vector = np.concatenate(vectors) if vectors else None
    replica.append("add", record_id, {"record": fields, "lineage": lineage, "imported": note, **item}, vector)
    return Counter(
        imported=1,
        demoted=int(parcel.was != record.kind),
        renamed=int(parcel.given not in ("", record_id)),
        orphans=len(parents) - len([parent for parent in parents if parent in found]),
    )


def _choose_id(replica: Replica, parcel: Parcel, record: Record) -> tuple[str, bool]:
    """The id to store under, and whether the text is there already: the given id, the content's, or one of the content in this import."""
    if parcel.item is not None:
        from reflectory.memory.store_items import item_id  # brings LangGraph's store along, so only where an item comes

        item = item_id(record.namespace, parcel.item["key"])
        return item, item in replica.view.histories and _state(replica, item) is not None
    derived = content_id(record)
    given = [parcel.given] if _may_stay(parcel, derived) else []
    salted = (hashlib.sha256(f"{derived}|{parcel.source}|{number}".encode()).hexdigest()[:24] for number in itertools.count())
    for candidate in itertools.chain(given, [derived], salted):
        history = replica.view.histories.get(candidate)
        last = None if history is None else history.last()
        if last is None:
            return candidate, False
        if same_place(record, last.record) and normal(last.record.body) == normal(record.body):
            return candidate, _state(replica, candidate) is not None
    raise AssertionError  # the numbers never end


def _may_stay(parcel: Parcel, derived: str) -> bool:
    """Whether the given id could stay: one that looks like a hash would keep another text from being stored under its own."""
    given = parcel.given
    return bool(given) and len(given) <= 200 and given.isprintable() and (given == derived or not _HASH.fullmatch(given))


def _state(replica: Replica, record_id: str) -> State | None:
    history = replica.view.histories.get(record_id)
    return None if history is None else history.state(replica.view.seq)


def _parents_first(parcels: Sequence[Parcel]) -> list[Parcel]:
    """The parcels in their order, but each after its parents; a ring is cut where it is met first."""
    by_id = {parcel.given: parcel for parcel in reversed(parcels) if parcel.given}
    entered: set[int] = set()
    ordered: list[Parcel] = []
    for start in parcels:
        stack = [(start, False)]
        while stack:
            parcel, left = stack.pop()
            if left:
                ordered.append(parcel)
            elif parcel.line not in entered:
                entered.add(parcel.line)
                stack.append((parcel, True))
                stack.extend((by_id[parent], False) for parent in reversed(parcel.record.parents) if parent in by_id)
    return ordered
