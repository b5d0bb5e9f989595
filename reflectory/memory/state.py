"""What one record is after an event: a pure function from (state, event) to state.

Payloads: `add` and `merge` {record, lineage}; `cite` {shown, cited, helped}; `undo` and `rollback` {seq, records};
`weights` {name, …}; `supersede` {by, reason};
`quarantine`, `promote`, `revoke`, `forget` {reason}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from reflectory.errors import MemoryFault
from reflectory.memory.events import Event
from reflectory.records import UNTRUSTED, Origin, Record, RecordStatus

_STATUS: Mapping[str, RecordStatus] = {
    "supersede": "superseded",
    "quarantine": "quarantined",
    "promote": "active",
    "revoke": "revoked",
}


class State(NamedTuple):
    """A record between two events.

    Attributes:
        record: The record; its counters, revision and seq are filled in by the view.
        lineage: Origins it goes back to, each once, in order of arrival.
        text: Position of the event its text comes from.
        counts: shown, cited, helped, harmed.
    """

    record: Record
    lineage: tuple[Origin, ...]
    text: int
    counts: tuple[int, int, int, int] = (0, 0, 0, 0)


def advance(state: State | None, event: Event, record_id: str) -> State | None:
    """Apply one event to one record.

    Args:
        state: The record before; None when it does not exist or was forgotten.
        event: Any event but `undo` and `rollback`, which the view resolves from the record's own history.
        record_id: Whose state it is (`cite` is about several).

    Returns:
        The record after; None when it does not exist.

    Raises:
        MemoryFault: The payload is not of a form this version knows.
    """
    if event.kind == "add":
        incoming = _incoming(event)
        return incoming if state is None else _union(incoming, state)._replace(text=event.seq, counts=state.counts)
    if event.kind == "merge":
        incoming = _incoming(event)
        return incoming if state is None else _union(state, incoming)
    if state is None or event.kind == "forget":
        return None
    if event.kind == "cite":
        return state._replace(counts=_count(state.counts, event.payload, record_id))
    return state._replace(record=state.record.model_copy(update={"status": _STATUS[event.kind]}))


def merge_origin(lineage: Iterable[Origin]) -> Origin:
    """The origin shown for a lineage: its first untrusted member, else its first. Merging never launders an origin."""
    origins = list(lineage)
    return next((origin for origin in origins if origin.kind in UNTRUSTED), origins[0])


def _incoming(event: Event) -> State:
    try:
        record = Record.model_validate({**event.payload["record"], "id": event.record_id})
        lineage = tuple(Origin(kind=kind, source=source) for kind, source in event.payload["lineage"])
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        msg = f"event {event.seq} holds a record this version cannot read: {error}. Upgrade: pip install -U reflectory"
        raise MemoryFault(msg) from error
    return State(record.model_copy(update={"origin": merge_origin(lineage)}), lineage, event.seq)


def _union(text: State, other: State) -> State:
    """`text` gives the words; lineage, steps and parents are united in order of arrival; trust is the minimum.

    The status is the older one's: writing the same text again neither frees a quarantined record nor activates a candidate.
    """
    older, newer = (text, other) if text.text < other.text else (other, text)
    lineage = tuple(dict.fromkeys((*older.lineage, *newer.lineage)))
    update = {
        "steps": tuple(dict.fromkeys((*older.record.steps, *newer.record.steps))),
        "parents": tuple(dict.fromkeys((*older.record.parents, *newer.record.parents))),
        "trust": min(older.record.trust, newer.record.trust),
        "origin": merge_origin(lineage),
        "status": older.record.status,
    }
    return text._replace(record=text.record.model_copy(update=update), lineage=lineage)


def _count(counts: tuple[int, int, int, int], payload: Mapping[str, Any], record_id: str) -> tuple[int, int, int, int]:
    shown, cited, helped, harmed = counts
    used = record_id in payload["cited"]
    return (
        shown + (record_id in payload["shown"]),
        cited + used,
        helped + (used and payload["helped"] is True),
        harmed + (used and payload["helped"] is False),
    )
