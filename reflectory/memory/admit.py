"""What may enter a memory, under which id, and what it inherits."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any

from reflectory.errors import MemoryFault
from reflectory.memory.events import canonical
from reflectory.memory.state import State
from reflectory.memory.view import History
from reflectory.records import UNTRUSTED, Origin, Record, RecordKind

#: Kinds that are read as advice before acting: third-party text must never become one.
ADVICE: frozenset[RecordKind] = frozenset({"lesson", "guideline", "skill"})
#: Fields the journal derives; a caller's values are not taken over.
DERIVED = frozenset({"revision", "seq", "shown", "cited", "helped", "harmed"})


def normal(text: str) -> str:
    """A text's form for comparison: NFKC, case folded, runs of white space as one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def content_id(record: Record) -> str:
    """The id of a record that brings none: a hash over namespace, kind, keys and normal body, 24 hex digits."""
    key = [record.namespace, record.kind, record.task_key, record.situation_key, normal(record.body)]
    return hashlib.sha256(canonical(key).encode("ascii")).hexdigest()[:24]


def admit(record: Record, histories: Mapping[str, History]) -> dict[str, Any]:
    """Check a record and make the payload of its event.

    Lineage: a record made from others goes back to their origins and adds no source of its own, unless its own origin is untrusted;
    a record without parents goes back to its own origin. Trust is the minimum of its own and its parents'.

    Args:
        record: What the caller wants stored.
        histories: What is known.

    Returns:
        {"record": fields, "lineage": [[kind, source], …]}.

    Raises:
        MemoryFault: Empty body, unknown parent, or advice with an untrusted origin in its lineage.
    """
    if not record.body.strip():
        msg = "a record without text cannot be found again. Give it a body."
        raise MemoryFault(msg)
    parents = [_parent(parent, histories) for parent in record.parents]
    own = (record.origin,) if not parents or record.origin.kind in UNTRUSTED else ()
    lineage = tuple(dict.fromkeys((*(origin for parent in parents for origin in parent.lineage), *own)))
    tainted = next((origin for origin in lineage if origin.kind in UNTRUSTED), None)
    if tainted is not None and record.kind in ADVICE:
        raise _refuse(record.kind, tainted)
    trust = min([record.trust, *(parent.record.trust for parent in parents)])
    fields = record.model_copy(update={"trust": trust}).model_dump(mode="json", exclude={"id", *DERIVED})
    return {"record": fields, "lineage": [[origin.kind, origin.source] for origin in lineage]}


def same_place(record: Record, known: Record) -> bool:
    """Whether two records of one id share namespace, kind and keys, as they must."""
    keys = ("namespace", "kind", "task_key", "situation_key")
    return all(getattr(record, key) == getattr(known, key) for key in keys)


def adds_nothing(payload: Mapping[str, Any], state: State) -> bool:
    """Whether merging would change nothing: the same write again, for example by a node that was repeated after a kill."""
    fields, lineage = payload["record"], {(origin.kind, origin.source) for origin in state.lineage}
    return (
        {*fields["steps"]} <= {*state.record.steps}
        and {*fields["parents"]} <= {*state.record.parents}
        and {(kind, source) for kind, source in payload["lineage"]} <= lineage
        and fields["trust"] >= state.record.trust
    )


def _parent(record_id: str, histories: Mapping[str, History]) -> State:
    history = histories.get(record_id)
    state = None if history is None else history.last()
    if state is None:
        msg = f"the parent {record_id!r} is not in this memory, so its trust is unknown. Record the parent first, or leave it out."
        raise MemoryFault(msg)
    return state


def _refuse(kind: RecordKind, origin: Origin) -> MemoryFault:
    return MemoryFault(
        f"a {kind} cannot go back to the untrusted origin {origin.kind}:{origin.source}. Rule: text of origin content, peer_agent or "
        "import is kept as evidence, never as advice. Store it as kind `fact` or `episode`."
    )
