"""The visible state of a memory as a hash and as lines of JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reflectory.memory.events import canonical
from reflectory.memory.state import State
from reflectory.records import Record


def content_digest(pairs: Iterable[tuple[Record, State]]) -> str:
    """Hash of what a memory holds, whatever the order in which it came in.

    Args:
        pairs: Records with their states, in any order.

    Returns:
        64 hex digits. Journal positions and the order within lineages, steps and parents do not count; everything else does, of a
        store's item all but the times of writing.
    """
    digest = hashlib.sha256()
    for line in sorted(canonical(_unordered(record, state)) for record, state in pairs):
        digest.update(line.encode("ascii") + b"\n")
    return digest.hexdigest()


def jsonl(pairs: Iterable[tuple[Record, State]]) -> Iterator[str]:
    """One line of JSON per record: its fields, `lineage`, a list of [kind, source], and with a store's item `item`. No vectors.

    Args:
        pairs: Records with their states.

    Yields:
        Lines without line feed, ASCII, keys sorted.
    """
    for record, state in pairs:
        item = {} if state.item is None else {"item": state.item}
        yield canonical({**record.model_dump(mode="json"), "lineage": [[origin.kind, origin.source] for origin in state.lineage], **item})


def content_of(item: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What counts of a store's item: all but when it was written, which counts for no record."""
    return None if item is None else {name: value for name, value in item.items() if name not in ("created", "updated")}


def _unordered(record: Record, state: State) -> dict[str, Any]:
    fields = record.model_dump(mode="json", exclude={"seq", "origin"})  # the lineage says all that the origin says
    fields["steps"], fields["parents"] = sorted(fields["steps"]), sorted(fields["parents"])
    item = {} if state.item is None else {"item": content_of(state.item)}
    return {**fields, "lineage": sorted([origin.kind, origin.source] for origin in state.lineage), **item}
