"""What one record is after an event: a pure function from (state, event) to state.

Payloads: `add` and `merge` {record, lineage}, `add` of a store's item also {item}; `cite` {shown, cited, helped}; `undo` and `rollback`
{seq, records}; `weights` {name, …}; `touch` {expires}; `supersede` {by, reason}; `quarantine`, `promote`, `revoke`, `forget` {reason}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, get_args

from pydantic import ValidationError

from reflectory.errors import MemoryFault
from reflectory.memory.events import Event
from reflectory.records import UNTRUSTED, Origin, Record, RecordKind, RecordStatus

_STATUS: Mapping[str, RecordStatus] = {
    "supersede": "superseded",
    "quarantine": "quarantined",
    "promote": "active",
    "revoke": "revoked",
}
#: What a payload may hold; checked when an event is read, so that a newer version's record is refused at once.
_FIELDS: Final = frozenset(Record.model_fields)
_TEXTS: Final = ("body", "when_to_use", "task_key", "situation_key")
_KINDS: Final = frozenset(get_args(RecordKind))
_STATUSES: Final = frozenset(get_args(RecordStatus))


class State(NamedTuple):
    """A record between two events. The record itself is built on demand: opening a memory builds none.

    Attributes:
        id: The record's id.
        fields: Its fields as JSON values, without id, origin, revision, seq and counters.
        pairs: (kind, source) of the origins it goes back to, each once, in order of arrival.
        text: Position of the event its text comes from.
        counts: shown, cited, helped, harmed.
        item: What a store keeps beside the text; None for a record that is no item. See `reflectory.memory.items`.
    """

    id: str
    fields: Mapping[str, Any]
    pairs: tuple[tuple[str, str], ...]
    text: int
    counts: tuple[int, int, int, int] = (0, 0, 0, 0)
    item: Mapping[str, Any] | None = None

    @property
    def record(self) -> Record:
        """The record, with its counters; revision and seq are filled in by the view."""
        return self.build(1, 0)

    @property
    def lineage(self) -> tuple[Origin, ...]:
        """Origins it goes back to, each once, in order of arrival."""
        return tuple(_origin(kind, source) for kind, source in self.pairs)

    def build(self, revision: int, seq: int) -> Record:
        """The record as a value.

        Args:
            revision: How many events made it what it is.
            seq: Journal position of the last event that touched it.

        Raises:
            MemoryFault: Its fields are not of a form this version knows.
        """
        shown, cited, helped, harmed = self.counts
        derived = {"id": self.id, "revision": revision, "seq": seq, "shown": shown, "cited": cited, "helped": helped, "harmed": harmed}
        try:
            return Record.model_validate({**self.fields, **derived, "origin": merge_origin(self.lineage)})
        except (ValidationError, TypeError, ValueError, IndexError) as error:
            raise _unreadable(self.text, error) from error


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
    if event.kind == "touch":
        return state if state.item is None else state._replace(item={**state.item, "expires": event.payload["expires"]})
    return state._replace(fields={**state.fields, "status": _STATUS[event.kind]})


def merge_origin(lineage: Iterable[Origin]) -> Origin:
    """The origin shown for a lineage: its first untrusted member, else its first. Merging never launders an origin."""
    origins = list(lineage)
    return next((origin for origin in origins if origin.kind in UNTRUSTED), origins[0])


def independent(lineage: Iterable[Origin]) -> set[str]:
    """The independent sources of a lineage: its distinct ones, but what an import claims, "SOURCE/kind:source", is that import's."""
    origins = list(lineage)
    imports = [origin.source for origin in origins if origin.kind == "import"]
    return {origin.source for origin in origins if not any(origin.source.startswith(f"{name}/{origin.kind}:") for name in imports)}


@lru_cache(maxsize=65_536)
def _origin(kind: Any, source: Any) -> Origin:
    return Origin(kind=kind, source=source)


def _incoming(event: Event) -> State:
    try:
        fields, item = event.payload["record"], event.payload.get("item")
        if not (
            fields.keys() <= _FIELDS
            and fields["kind"] in _KINDS
            and fields.get("status", "active") in _STATUSES
            and {type(fields.get(name, "")) for name in _TEXTS} == {str}
            and {*map(type, fields["namespace"])} <= {str}
        ):
            raise _unreadable(event.seq, f"fields {', '.join(sorted(fields))}")
        pairs = tuple((kind, source) for kind, source in event.payload["lineage"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(event.seq, repr(error)) from error
    if not pairs:
        raise _unreadable(event.seq, "no lineage")
    return State(event.record_id, fields, pairs, event.seq, item=item)


def _unreadable(seq: int, why: object) -> MemoryFault:
    return MemoryFault(f"event {seq} holds a record this version cannot read: {why}. Upgrade: pip install -U reflectory")


def _union(text: State, other: State) -> State:
    """`text` gives the words; lineage, steps and parents are united in order of arrival; trust is the minimum.

    The status is the older one's: writing the same text again neither frees a quarantined record nor activates a candidate.
    """
    older, newer = (text, other) if text.text < other.text else (other, text)
    update = {
        "steps": list(dict.fromkeys((*older.fields.get("steps", ()), *newer.fields.get("steps", ())))),
        "parents": list(dict.fromkeys((*older.fields.get("parents", ()), *newer.fields.get("parents", ())))),
        "trust": min(older.fields.get("trust", 1.0), newer.fields.get("trust", 1.0)),
        "status": older.fields.get("status", "active"),
    }
    return text._replace(fields={**text.fields, **update}, pairs=tuple(dict.fromkeys((*older.pairs, *newer.pairs))))


def _count(counts: tuple[int, int, int, int], payload: Mapping[str, Any], record_id: str) -> tuple[int, int, int, int]:
    shown, cited, helped, harmed = counts
    used = record_id in payload["cited"]
    return (
        shown + (record_id in payload["shown"]),
        cited + used,
        helped + (used and payload["helped"] is True),
        harmed + (used and payload["helped"] is False),
    )
