"""The memory itself: journal, view and search behind the four methods of `reflectory.protocols.Memory`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.memory import export
from reflectory.memory.admit import adds_nothing, admit, content_id, normal, same_place
from reflectory.memory.corpus import embed
from reflectory.memory.journal import Journal
from reflectory.memory.recall import rank
from reflectory.memory.replica import Replica
from reflectory.memory.state import State
from reflectory.memory.view import search_text
from reflectory.protocols import Embedder
from reflectory.records import Hit, Origin, Query, Record
from reflectory.retrieval.hashing import HashingEmbedder
from reflectory.retrieval.hybrid import HybridRanker, Ranker

Mark = Literal["quarantine", "promote", "revoke", "supersede"]


def open_memory(
    path: str | Path | None, *, embedder: Embedder | None = None, ranker: Ranker | None = None, read_only: bool = False
) -> JournalMemory:
    """Open a memory, or create one.

    Args:
        path: The journal file, on a local file system; None is a private memory that ends with the object.
        embedder: Makes vectors; None is the hashing embedder, which needs no weights.
        ranker: Orders what is found; None is the min-max hybrid of BM25 and cosine.
        read_only: Never write and never create a file; the memory must exist.

    Raises:
        MemoryFault: The file is absent (read-only), no memory, damaged, or written by a newer version.
    """
    journal = Journal(None if path is None else Path(path), read_only=read_only)
    try:
        return JournalMemory(journal, embedder or HashingEmbedder(), ranker or HybridRanker())
    except BaseException:
        journal.close()
        raise


class JournalMemory:
    """A memory over one journal. Usable from several threads, and from several processes through an object each.

    Nothing is ever removed from the file: `forget` and `undo` are events like all others.

    Args:
        journal: The source of truth; closed together with the memory.
        embedder: Makes vectors.
        ranker: Orders what is found.

    Raises:
        MemoryFault: The journal is damaged.
    """

    #: Query texts whose vectors are remembered.
    QUERIES = 1024

    def __init__(self, journal: Journal, embedder: Embedder, ranker: Ranker) -> None:
        self.embedder = embedder
        self.ranker = ranker
        self._replica = Replica(journal, embedder)
        self._queries: dict[str, NDArray[np.float32]] = {}

    @property
    def seq(self) -> int:
        """The current journal position, events of other processes included."""
        with self._replica.lock:
            return self._replica.position(None)

    def recall(self, query: Query) -> list[Hit]:
        """The active records that fit best.

        Args:
            query: With `as_of`, the answer is the same for ever, whatever is written afterwards. `k <= 0` returns all that pass the
                filter. Scope `task` and `house` compare keys exactly; an empty key in the query finds nothing.

        Returns:
            Hits, best first, equal scores by id; `parts` holds the raw "bm25" and "cosine" scores.

        Raises:
            MemoryFault: `as_of` is not a position of this journal, or the journal cannot be read.
        """
        if query.scope == "none":
            return []
        vector = self._query_vector(query.text)
        with self._replica.lock:
            seq = self._replica.position(query.as_of)
            return rank(query, self._replica.view.select(query, seq), self._replica.corpus, vector, self.ranker)

    def record(self, records: Sequence[Record]) -> list[Record]:
        """Store records, all or none, durable on return.

        A record without id gets a hash of its content. The same text again under the same keys is merged: steps, parents and lineage are
        united, trust is the minimum, the status stays; when it adds nothing, nothing is written. A known id with other text is a new
        revision of that record. Counters, revision and seq are the journal's, never the caller's.

        Args:
            records: What to store, in order; parents come before their children.

        Returns:
            The records as stored, in the same order.

        Raises:
            MemoryFault: A record breaks a rule of `reflectory.memory.admit`, its id belongs to another namespace, kind or key, or the
                journal cannot be written.
        """
        if not records:
            return []
        vectors = self._embed_new(records)
        with self._replica.writing():
            ids = [self._store(record, vectors) for record in records]
            return [self._replica.record(record_id) for record_id in ids]

    def cite(self, ids: Sequence[str], *, shown: Sequence[str] = (), helped: bool | None = None) -> None:
        """Count that records were shown and used, each once per call.

        Args:
            ids: The records used.
            shown: The records shown.
            helped: Whether the attempt succeeded; counted for the used ones; None counts neither way.

        Raises:
            MemoryFault: An id that never was in this memory, or the journal cannot be written.
        """
        used, seen = list(dict.fromkeys(ids)), list(dict.fromkeys(shown))
        if not used and not seen:
            return
        with self._replica.writing():
            for record_id in (*used, *seen):
                self._replica.history(record_id)
            self._replica.append("cite", "", {"cited": used, "shown": seen, "helped": helped})

    def mark(self, record_id: str, event: Mark, *, reason: str = "", by: str = "") -> Record:
        """Change a record's status: `quarantine`, `promote` (to active), `revoke`, or `supersede`.

        Args:
            record_id: Which record.
            event: What happens to it.
            reason: Why, for the audit.
            by: With `supersede`, the id of the record that takes its place.

        Returns:
            The record afterwards.

        Raises:
            MemoryFault: An unknown or forgotten id, or the journal cannot be written.
        """
        with self._replica.writing():
            self._replica.record(record_id)
            if by:
                self._replica.record(by)
            self._replica.append(event, record_id, {"reason": reason, "by": by})
            return self._replica.record(record_id)

    def forget(self, record_id: str, *, reason: str = "") -> None:
        """Take a record out of every view; its events stay in the file.

        Raises:
            MemoryFault: An unknown or forgotten id, or the journal cannot be written.
        """
        with self._replica.writing():
            self._replica.record(record_id)
            self._replica.append("forget", record_id, {"reason": reason})

    def undo(self, seq: int) -> None:
        """Make the records an event touched what they would be without it. Reading before this moment is unaffected.

        Args:
            seq: The event's position.

        Raises:
            MemoryFault: No such event, undone already, or itself an undo.
        """
        with self._replica.writing():
            if not 1 <= seq <= self._replica.view.seq:
                msg = f"there is no event {seq}; the journal has 1 to {self._replica.view.seq}."
                raise MemoryFault(msg)
            event = self._replica.journal.fetch([seq])[0]
            if event.kind == "undo" or seq in self._replica.view.undone:
                msg = f"event {seq} is {'an undo' if event.kind == 'undo' else 'undone already'}. To have its effect again, write it again."
                raise MemoryFault(msg)
            self._replica.append("undo", "", {"seq": seq, "records": list(event.touched())})

    def audit(self, record_id: str) -> list[dict[str, Any]]:
        """Every event that touched a record, oldest first.

        Returns:
            Mappings with seq, at (seconds since 1970), event, payload, embedder and undone.

        Raises:
            MemoryFault: An id that never was in this memory.
        """
        with self._replica.lock:
            self._replica.position(None)
            events = self._replica.journal.fetch(self._replica.history(record_id).events)
            return [
                {"seq": event.seq, "at": event.at / 1e6, "event": event.kind, "payload": event.payload, "embedder": event.embedder}
                | {"undone": event.seq in self._replica.view.undone}
                for event in events
            ]

    def records(self, namespace: tuple[str, ...] = (), *, as_of: int | None = None) -> Iterator[Record]:
        """All records at or below a namespace, of every status, in order of arrival.

        Raises:
            MemoryFault: `as_of` is not a position of this journal.
        """
        return iter([record for record, _ in self._pairs(namespace, as_of)])

    def lineage(self, record_id: str, *, as_of: int | None = None) -> tuple[Origin, ...]:
        """The origins a record goes back to, each once; their distinct sources are its independent sources.

        Raises:
            MemoryFault: An unknown id, or one that does not exist at `as_of`.
        """
        with self._replica.lock:
            return self._replica.state(record_id, self._replica.position(as_of)).lineage

    def content_digest(self, as_of: int | None = None) -> str:
        """Hash of the whole visible state, for run manifests; see `reflectory.memory.export.content_digest`."""
        return export.content_digest(self._pairs((), as_of))

    def export_jsonl(self, as_of: int | None = None) -> Iterator[str]:
        """All records as lines of JSON; see `reflectory.memory.export.jsonl`."""
        return export.jsonl(self._pairs((), as_of))

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        self._replica.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _store(self, record: Record, vectors: dict[str, NDArray[np.float32]]) -> str:
        payload = admit(record, self._replica.view.histories)
        record_id = record.id or content_id(record)
        history = self._replica.view.histories.get(record_id)
        known = None if history is None else history.last()
        if known is not None and not same_place(record, known.record):
            msg = (
                f"the id {record_id!r} belongs to a {known.record.kind} in {'/'.join(known.record.namespace)!r} with other keys. "
                "Leave the id empty, or use a new one."
            )
            raise MemoryFault(msg)
        state: State | None = None if history is None else history.state(self._replica.view.seq)
        if state is None or normal(state.record.body) != normal(record.body):
            text = search_text(record)
            vector = vectors[text] if text in vectors else embed(self.embedder, [text])[0]
            self._replica.append("add", record_id, payload, vector)
        elif not adds_nothing(payload, state):
            self._replica.append("merge", record_id, payload)
        return record_id

    def _embed_new(self, records: Sequence[Record]) -> dict[str, NDArray[np.float32]]:
        """Vectors of the texts not known yet, made before the write lock is taken: an embedder may be slow."""
        with self._replica.lock:
            known = self._replica.view.histories
            texts = list(dict.fromkeys(search_text(record) for record in records if (record.id or content_id(record)) not in known))
        return dict(zip(texts, embed(self.embedder, texts), strict=True)) if texts else {}

    def _query_vector(self, text: str) -> NDArray[np.float32]:
        vector = self._queries.get(text)
        if vector is None:
            if len(self._queries) >= self.QUERIES:
                self._queries = {}
            vector = self._queries[text] = embed(self.embedder, [text])[0]
        return vector

    def _pairs(self, namespace: tuple[str, ...], as_of: int | None) -> list[tuple[Record, State]]:
        with self._replica.lock:
            return list(self._replica.view.all(namespace, self._replica.position(as_of)))
