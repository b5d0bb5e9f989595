"""Reading a memory at any position: records, where they come from, and what happened to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reflectory.errors import MemoryFault, did_you_mean
from reflectory.memory import export
from reflectory.memory.events import Event, Standing, standing
from reflectory.memory.replica import Replica
from reflectory.memory.state import State
from reflectory.records import Origin, Record


class Reader:
    """What can be read of a memory without searching; `reflectory.memory.JournalMemory` has it."""

    _replica: Replica

    @property
    def seq(self) -> int:
        """The current journal position, events of other processes included."""
        with self._replica.lock:
            return self._replica.position(None)

    def position(self, at: int | str | None = None) -> int:
        """The journal position that a number or the name of a snapshot means; None is the newest.

        Raises:
            MemoryFault: There is no such position or snapshot.
        """
        with self._replica.lock:
            if not isinstance(at, str):
                return self._replica.position(at)
            self._replica.position(None)
            known = self._names()
            if at not in known:
                msg = f"there is no snapshot {at!r}. {did_you_mean(at, known)}"
                raise MemoryFault(msg)
            return known[at]

    def find(self, record_id: str, as_of: int | str | None = None) -> Record | None:
        """A record of any status.

        Args:
            record_id: Which one.
            as_of: Position to read at; None is the newest.

        Returns:
            None where it does not exist.

        Raises:
            MemoryFault: No such position.
        """
        with self._replica.lock:
            seq = self.position(as_of)
            history = self._replica.view.histories.get(record_id)
            return None if history is None else history.record(seq)

    def records(self, namespace: tuple[str, ...] = (), *, as_of: int | str | None = None) -> Iterator[Record]:
        """All records at or below a namespace, of every status, in order of arrival.

        Raises:
            MemoryFault: `as_of` is not a position of this journal.
        """
        return iter([record for record, _ in self._pairs(namespace, as_of)])

    def lineage(self, record_id: str, *, as_of: int | str | None = None) -> tuple[Origin, ...]:
        """The origins a record goes back to, each once; its independent sources are `reflectory.memory.state.independent`.

        Raises:
            MemoryFault: An unknown id, or one that does not exist at `as_of`.
        """
        with self._replica.lock:
            return self._replica.state(record_id, self.position(as_of)).lineage

    def content_digest(self, as_of: int | str | None = None) -> str:
        """Hash of the whole visible state, for run manifests; see `reflectory.memory.export.content_digest`."""
        return export.content_digest(self._pairs((), as_of))

    def export_jsonl(self, as_of: int | str | None = None) -> Iterator[str]:
        """All records as lines of JSON; see `reflectory.memory.export.jsonl`."""
        return export.jsonl(self._pairs((), as_of))

    def audit(self, record_id: str) -> list[dict[str, Any]]:
        """Every event that touched a record, oldest first.

        Returns:
            Mappings with seq, at (seconds since 1970), event, payload, embedder, and whether the event is undone or rolled_back.

        Raises:
            MemoryFault: An id that never was in this memory.
        """
        with self._replica.lock:
            stands = self._standing(self._replica.position(None))
            return [tell(event, stands) for event in self._replica.journal.fetch(self._replica.history(record_id).events)]

    def _standing(self, seq: int) -> Standing:
        return standing(reversed(self._replica.view.corrections), seq)

    def _names(self) -> dict[str, int]:
        freed = self._freed()
        return {name: position for seq, name, position in self._replica.view.snapshots if seq not in freed}

    def _freed(self) -> set[int]:
        """Events undone at any time: a rollback leads from one named position to another, so it neither takes nor gives names."""
        return {correction.target for correction in self._replica.view.corrections if correction.kind == "undo"}

    def _pairs(self, namespace: tuple[str, ...], as_of: int | str | None) -> list[tuple[Record, State]]:
        with self._replica.lock:
            return list(self._replica.view.all(namespace, self.position(as_of)))


def tell(event: Event, stands: Standing) -> dict[str, Any]:
    """An event as `Reader.audit` gives it."""
    told = {"seq": event.seq, "at": event.at / 1e6, "event": event.kind, "payload": event.payload, "embedder": event.embedder}
    undone = event.seq in stands.undone
    return {**told, "undone": undone, "rolled_back": not undone and not stands.counts(event.seq)}
