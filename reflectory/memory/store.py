"""The memory itself: journal, view and search behind the four methods of `reflectory.protocols.Memory`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.memory import transfer
from reflectory.memory.admit import adds_nothing, admit, content_id, normal, same_place
from reflectory.memory.corpus import embed
from reflectory.memory.journal import Journal
from reflectory.memory.recall import rank
from reflectory.memory.replica import Replica
from reflectory.memory.state import State
from reflectory.memory.timeline import Timeline
from reflectory.memory.view import search_text
from reflectory.protocols import Embedder
from reflectory.records import Hit, Query, Record
from reflectory.retrieval.hashing import HashingEmbedder
from reflectory.retrieval.hybrid import HybridRanker, Ranker

Mark = Literal["quarantine", "promote", "revoke", "supersede"]


def open_memory(
    path: str | Path | None,
    *,
    embedder: Embedder | None = None,
    ranker: Ranker | None = None,
    read_only: bool = False,
    redact: bool = True,
    index: str | Path = "exact",
) -> JournalMemory:
    """Open a memory, or create one.

    Args:
        path: The journal file, on a local file system; None is a private memory that ends with the object.
        embedder: Makes vectors; None is the hashing embedder, which needs no weights.
        ranker: Orders what is found; None is the min-max hybrid of BM25 and cosine.
        read_only: Never write and never create a file; the memory must exist.
        redact: Replace keys, tokens and passwords by `[redacted:KIND]` before anything is written; see `reflectory.memory.redact`.
        index: How stores search vectors: "exact", "chroma" (a folder beside the file), another folder for Chroma, or the URL of a
            Chroma server. An index only proposes; see `reflectory.memory.nearest`.

    Raises:
        MissingDependency: An index was asked for and Chroma is not installed.
        MemoryFault: The file is absent (read-only), no memory, damaged, on a network file system, or written by a newer version.
    """
    journal = Journal(None if path is None else Path(path), read_only=read_only, redact=redact)
    try:
        memory = JournalMemory(journal, embedder or HashingEmbedder(), ranker or HybridRanker())
        if index != "exact":
            from reflectory.memory.nearest import open_nearest

            memory._replica.nearest = open_nearest(memory._replica, index, memory.embedder)
        return memory
    except BaseException:
        journal.close()
        raise


class JournalMemory(Timeline):
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
    def redactions(self) -> dict[str, int]:
        """How many secrets this object replaced in what it wrote, by kind."""
        redactor = self._replica.journal.redactor
        return {} if redactor is None else dict(redactor.found)

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
        redactor = self._replica.journal.redactor
        records = records if redactor is None else [redactor.record(record) for record in records]
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

    def import_jsonl(self, lines: Iterable[str | bytes], *, source: str) -> dict[str, Any]:
        """Take in the lines of an export as untrusted facts, the good ones in one commit; see `reflectory.memory.transfer`.

        Args:
            lines: One record each, as `export_jsonl` writes them; nothing in them is trusted.
            source: Where they come from; the source of the origin `import` that every record gets.

        Returns:
            The report of `reflectory.memory.transfer.take_in`; lines that were refused are named in it, with their reason.

        Raises:
            MemoryFault: An empty source, or the journal cannot be written.
        """
        return transfer.take_in(self._replica, self.embedder, lines, source)

    def rebuild(self) -> dict[str, Any]:
        """Derive everything again from the journal's first event, with every hash checked, and take it into use, a vector index too.

        Returns:
            events, records, digest (of the content, equal before and after), unchanged (whether it was), seconds.

        Raises:
            MemoryFault: The journal is damaged; what was there stays in use.
        """
        began = time.perf_counter()
        with self._replica.lock:
            before = self.content_digest()
            self._replica.rebuild()
            if self._replica.nearest is not None:
                self._replica.nearest.rebuild()
            after, events, records = self.content_digest(), self._replica.view.seq, sum(1 for _ in self.records())
        seconds = time.perf_counter() - began
        return {"events": events, "records": records, "digest": after, "unchanged": before == after, "seconds": seconds}

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
