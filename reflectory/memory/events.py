"""What the journal says: events, their canonical form and their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault

EventKind = Literal[
    "add", "merge", "supersede", "cite", "quarantine", "promote", "revoke", "forget", "undo", "rollback", "weights", "snapshot", "touch"
]
KINDS: frozenset[str] = frozenset(get_args(EventKind))
_quoted = json.encoder.encode_basestring_ascii
_encoder = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
#: Hash "before the first event".
GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal.

    Attributes:
        seq: Position, from 1, without gaps.
        at: When it was written, microseconds since 1970; for people only, nothing is derived from it.
        kind: What happened.
        record_id: The record it is about; "" for events about several (`cite`, `undo`, `rollback`) or none (`weights`, `snapshot`).
        payload: JSON values; their form depends on `kind`, see `reflectory.memory.state`.
        sha256: Hash over this event and the hash of the one before: a changed, missing or moved event breaks the chain.
        embedder: Id of the embedder that made `vector`; "" without one.
        vector: The text's unit vector as little-endian float32.
    """

    seq: int
    at: int
    kind: EventKind
    record_id: str
    payload: dict[str, Any]
    sha256: bytes
    embedder: str = ""
    vector: bytes | None = field(default=None, repr=False)

    def touched(self) -> tuple[str, ...]:
        """Ids of all records the event is about, each once."""
        if self.kind == "cite":
            return tuple(dict.fromkeys((*self.payload["shown"], *self.payload["cited"])))
        if self.kind in ("weights", "snapshot"):
            return ()
        return tuple(self.payload["records"]) if self.kind in ("undo", "rollback") else (self.record_id,)

    def embedding(self) -> NDArray[np.float32] | None:
        """The vector, shape (dim,); None without one."""
        return None if self.vector is None else np.frombuffer(self.vector, dtype="<f4").astype(np.float32)


class Correction(NamedTuple):
    """An event about other events: an undo of the event `target`, or a rollback to the position `target`."""

    seq: int
    kind: EventKind
    target: int


class Standing(NamedTuple):
    """Which events count at a position.

    Attributes:
        undone: Positions of events taken out by an undo that counts itself.
        skipped: Ranges (after, last) taken back by rollbacks that count: events after + 1 … last.
    """

    undone: frozenset[int]
    skipped: tuple[tuple[int, int], ...]

    def counts(self, seq: int) -> bool:
        """Whether the event still has its effect."""
        return seq not in self.undone and not any(after < seq <= last for after, last in self.skipped)


def standing(corrections: Iterable[Correction], seq: int) -> Standing:
    """Read the corrections backwards from a position.

    Backwards, because a rollback that counts makes whatever lies between its target and itself, undos included, unsaid, and a later
    undo may take out the rollback.

    Args:
        corrections: All corrections of a journal, newest first.
        seq: The position to read at; later ones are left out.

    Returns:
        What counts there.
    """
    undone: set[int] = set()
    skipped: list[tuple[int, int]] = []
    for correction in corrections:
        if correction.seq > seq or correction.seq in undone:
            continue
        if correction.kind == "undo":
            undone.add(correction.target)
        else:
            skipped.append((correction.target, correction.seq - 1))  # the rollback itself may be undone
            seq = correction.target
    return Standing(frozenset(undone), tuple(skipped))


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: ASCII only, sorted keys, no spaces.

    Raises:
        MemoryFault: The value has no JSON form (NaN, infinity, foreign objects).
    """
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError) as error:
        msg = f"cannot write this to the memory: {error}. Records hold finite numbers, text, lists and mappings only."
        raise MemoryFault(msg) from error


def chain(before: bytes, row: tuple[int, int, str, str, str, str, bytes | None]) -> bytes:
    """Hash of an event.

    Args:
        before: Hash of the event before, `GENESIS` for the first.
        row: seq, at, kind, record id, payload as canonical JSON, embedder id, vector.

    Returns:
        32 bytes.
    """
    seq, at, kind, record_id, payload, embedder, vector = row
    digest = hashlib.sha256(before)
    # The canonical JSON of the list [seq, at, kind, record_id, embedder, len(payload), …], written out: a journal is opened event by event.
    texts = f"{_quoted(kind)},{_quoted(record_id)},{_quoted(embedder)}"
    head = f"[{int.__repr__(seq)},{int.__repr__(at)},{texts},{len(payload)},{-1 if vector is None else len(vector)}]"
    digest.update(head.encode("ascii"))
    digest.update(payload.encode("ascii"))
    digest.update(vector or b"")
    return digest.digest()
