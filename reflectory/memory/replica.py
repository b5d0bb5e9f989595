"""A journal and the state derived from it, kept together: what was read is applied, what fails is rolled back in both."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.memory.corpus import Corpus
from reflectory.memory.events import EventKind
from reflectory.memory.journal import Journal
from reflectory.memory.state import State
from reflectory.memory.steps import step
from reflectory.memory.view import History, View
from reflectory.protocols import Embedder
from reflectory.records import Record

if TYPE_CHECKING:
    from reflectory.memory.nearest import Nearest


class Replica:
    """The newest known state of a journal. Callers hold `lock` while they use `view` and `corpus`.

    Args:
        journal: The source of truth.
        embedder: Makes the vectors that the journal lacks.

    Attributes:
        journal: The journal.
        view: State of all records.
        corpus: Their texts.
        lock: Re-entrant; also taken by `writing`.
        nearest: An index over the vectors, where one is used; closed together with this.

    Raises:
        MemoryFault: The journal is damaged.
    """

    def __init__(self, journal: Journal, embedder: Embedder) -> None:
        self.journal = journal
        self.lock = threading.RLock()
        self._embedder = embedder
        self.corpus: Corpus
        self.view: View
        self.nearest: Nearest | None = None
        self._fresh()
        self.advance()

    def advance(self) -> None:
        """Apply what the journal has gained, also from other processes.

        Raises:
            MemoryFault: The journal is damaged.
        """
        with _no_collection():
            events = self.journal.read(self.view.seq, self.view.digest)
            try:
                for event in events:
                    self.view.apply(event)
            except BaseException:
                self._fresh()  # half an event may have been applied
                raise

    def position(self, as_of: int | None) -> int:
        """The journal position to read at.

        Args:
            as_of: A position; None is the newest.

        Raises:
            MemoryFault: There is no such position, or the memory is closed.
        """
        self.journal.check_open()
        if as_of is None or as_of > self.view.seq:
            self.advance()
        if as_of is not None and not 0 <= as_of <= self.view.seq:
            msg = f"there is no journal position {as_of}; this memory has 0 to {self.view.seq}."
            raise MemoryFault(msg)
        return self.view.seq if as_of is None else as_of

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock and the journal's write lock over an up-to-date view; all appends become durable together, or none.

        May be nested: what is inside is all or nothing as well, and becomes durable with the outermost.

        Raises:
            MemoryFault: Read-only, locked too long, disk full, damaged.
        """
        with self.lock:
            applied, nested = self.view.seq, self.journal.in_transaction
            try:
                with self.journal.transaction():
                    if not nested:
                        self.advance()
                        applied = self.view.seq
                    yield
            except BaseException:
                if self.view.seq != applied:
                    self._fresh()  # it holds events that were rolled back
                    if nested:
                        self.advance()  # the outer transaction goes on, with what it wrote before
                raise

    def append(self, kind: EventKind, record_id: str, payload: dict[str, Any], vector: NDArray[np.float32] | None = None) -> None:
        """Write an event inside `writing` and apply it.

        Args:
            kind: What happened.
            record_id: The record it is about, "" for several.
            payload: JSON values.
            vector: The text's unit vector by this replica's embedder, shape (dim,).
        """
        stored = None if vector is None else vector.astype("<f4").tobytes()
        embedder = "" if vector is None else self._embedder.id
        event = self.journal.append(kind, record_id, payload, embedder=embedder, vector=stored)
        step("apply")
        try:
            self.view.apply(event)
        except BaseException:
            self._fresh()  # half an event may have been applied
            raise

    def history(self, record_id: str) -> History:
        """All states of a record.

        Raises:
            MemoryFault: An id that never was in this memory.
        """
        history = self.view.histories.get(record_id)
        if history is None:
            raise unknown(record_id)
        return history

    def state(self, record_id: str, seq: int) -> State:
        """The state of a record at a position.

        Raises:
            MemoryFault: It does not exist there.
        """
        state = self.history(record_id).state(seq)
        if state is None:
            raise unknown(record_id)
        return state

    def record(self, record_id: str) -> Record:
        """A record as it is now.

        Raises:
            MemoryFault: It does not exist, or was forgotten.
        """
        record = self.history(record_id).record(self.view.seq)
        if record is None:
            raise unknown(record_id)
        return record

    def rebuild(self) -> None:
        """Derive everything again from the first event on, each checked against its hash; what was there stays when that fails.

        Raises:
            MemoryFault: The journal is damaged.
        """
        with self.lock:
            view, corpus = self.view, self.corpus
            self._fresh()
            try:
                self.advance()
                step("rebuild.swap")
            except BaseException:
                self.corpus.close()
                self.view, self.corpus = view, corpus
                raise
            corpus.close()

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        with self.lock:
            if self.nearest is not None:
                self.nearest.close()
            self.journal.close()
            self.corpus.close()

    def _fresh(self) -> None:
        self.corpus = Corpus(self._embedder)
        self.view = View(self.corpus, self.journal.fetch)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without garbage collection: a big memory makes millions of objects that all stay, and looking through them takes half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def unknown(record_id: str) -> MemoryFault:
    """The error for an id that is not there."""
    return MemoryFault(f"there is no record {record_id!r} in this memory at this position. `reflectory memory list` shows what there is.")
