"""Retrospective reflection: the order of what is recalled learns from what was cited.

Method: RMM (arXiv 2503.08026), reranking taught by citations. Changed: a linear reranker over a hybrid prior instead of two matrices over
one embedder's vectors, the reward centred within each query, candidates always from the fixed prior, and a guard that takes back what made
it worse. The published adapter is `reflectory.retrieval.adapter`.

A record is a turn of a conversation to this ranker: `situation_key` is its thread (records of one namespace and situation are neighbours),
`valid_from`, then the number in its first step id, then its age give the place in the thread; a body "Name: words" says who speaks. All of
them may be missing; the features they feed are 0 then.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ConfigError, MemoryFault
from reflectory.memory.view import search_text
from reflectory.records import UNTRUSTED, Hit, Origin, Query, Record
from reflectory.retrieval.collection import Collection
from reflectory.retrieval.documents import Document, speaker_of
from reflectory.retrieval.features import Ranking, candidates
from reflectory.retrieval.hybrid import HybridRanker
from reflectory.retrieval.learner import CitationLearner, WeightsUpdate, merged
from reflectory.retrieval.linear import LearnerConfig, ranked


@runtime_checkable
class WeightLog(Protocol):
    """Where versions of what was learned are kept: a memory's journal."""

    def learn(self, name: str, payload: Mapping[str, Any]) -> Any:
        """Write a version."""
        ...

    def learned(self, name: str, as_of: int | None = None) -> Mapping[str, Any] | None:
        """The newest version, or the newest at a position; None without one."""
        ...

    def lineage(self, record_id: str) -> tuple[Origin, ...]:
        """The origins a record goes back to."""
        ...


class Retrospective:
    """A `reflectory.retrieval.Ranker` with a memory of its own. Usable from several threads.

    `learn` after an answer; `attach` to a memory to keep every version in its journal, to go on where another run stopped, and to read old
    positions with the weights of then. Without it, everything learned ends with the object, or is kept by `state` and `load`.

    Args:
        config: Settings of the learner.
        name: Under which versions are kept; two rankers of one memory need two names.
    """

    #: Beyond so many records only the best by the plain hybrid are looked at closely.
    REACH = 5_000
    #: Rankings remembered for `learn`, and record sets kept ready.
    RANKINGS, COLLECTIONS = 256, 4

    def __init__(self, config: LearnerConfig | None = None, *, name: str = "ranker") -> None:
        self.config, self.name = config or LearnerConfig(), name
        self._learner = CitationLearner(self.config)
        self._log: WeightLog | None = None
        self._seen: Mapping[str, Any] | None = None  # the version in the journal that this object holds
        self._writing = self._written = 0  # journal writes under way, and done
        self._learning = threading.Lock()  # versions reach the journal in their order; never taken in `rank`
        self._lock = threading.RLock()  # never held while the journal is asked: its owner may be waiting in `rank`
        self._plain = HybridRanker()
        self._rankings: OrderedDict[tuple[Any, ...], tuple[dict[str, int], Ranking]] = OrderedDict()
        self._collections: OrderedDict[tuple[Any, ...], Collection] = OrderedDict()
        self._past: OrderedDict[int, CitationLearner] = OrderedDict()

    @property
    def id(self) -> str:
        """Name and size of the candidate pool; the version of the weights is a matter of the journal position."""
        return f"retrospective-1:{self.name},pool={self.config.pool}"

    @property
    def version(self) -> int:
        """Of the weights, from 0."""
        return self._learner.version

    def attach(self, log: WeightLog) -> None:
        """Keep versions in a memory's journal, and take over the newest that is there.

        Args:
            log: The memory that this ranker orders.

        Raises:
            ConfigError: What is there was learned over other features; choose another name.
            MemoryFault: The journal cannot be read.
        """
        self._log = log
        frozen: list[Mapping[str, Any]] = []
        while len(frozen) < self.config.canary and (entry := log.learned(self._canary_name(len(frozen)))) is not None:
            frozen.append(entry)
        self._learner.canary.load(frozen)
        self._take_over()

    def rank(self, query: Query, records: Sequence[Record], parts: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Score records; see `reflectory.retrieval.Ranker.rank`.

        The candidates are the best of the fixed prior, ordered by what was learned; everything else stays below them. With `query.as_of`
        the weights are those of that position.
        """
        learner = self._learner_at(query.as_of)
        plain = self._plain.rank(query, records, parts)
        near = np.sort(np.array(ranked(plain, self.REACH), dtype=np.intp))
        chosen = [records[place] for place in near.tolist()]
        with self._lock:
            ranking = candidates(self._collection(chosen), query.text, parts["cosine"][near], size=self.config.pool)
            self._remember(query, chosen, ranking)
            scores = learner.scores(ranking)
        if len(near) == len(plain):
            return scores
        pool = near[ranking.pool]
        return merged(Ranking(query.text, plain, pool, ranking.features), scores[ranking.pool])

    def learn(self, query: Query, shown: Sequence[Hit], cited: Sequence[str]) -> WeightsUpdate | None:
        """Take in which of the shown records an answer used.

        Records with an untrusted origin in their lineage, or gone since, take no part: neither their citation nor its absence moves a
        weight. Hits that this object did not rank teach nothing. Not to be called inside `memory.together()`: one thread at a
        time learns and writes.

        Args:
            query: What was asked; its text counts.
            shown: What was shown, in order.
            cited: Ids of what was used.

        Returns:
            The last new version that came of it; None for none.

        Raises:
            MemoryFault: The journal cannot be read or written.
        """
        with self._learning:
            return self._learn(query, shown, cited)

    def _learn(self, query: Query, shown: Sequence[Hit], cited: Sequence[str]) -> WeightsUpdate | None:
        self._take_over()
        ids = [hit.record.id for hit in shown if self._trusted(hit.record)]
        written: list[tuple[str, Mapping[str, Any]]] = []
        last: WeightsUpdate | None = None
        with self._lock:
            for places, ranking in self._rankings_of(query.text):
                group = [name for name in ids if name in places]
                ids = [name for name in ids if name not in places]
                update = self._learner.learn(ranking, [places[name] for name in group], {places[name] for name in group if name in cited})
                if self._learner.kept is not None:
                    written.append((self._canary_name(len(self._learner.canary.queries) - 1), self._learner.kept.state()))
                if update is not None:
                    last, self._seen = update, self._payload(update)
                    written.append((self.name, self._seen))
            self._writing += 1
        try:
            for name, payload in written:
                if self._log is not None:
                    self._log.learn(name, payload)
        finally:
            with self._lock:
                self._writing -= 1
                self._written += 1
        return last

    def state(self) -> dict[str, Any]:
        """Everything learned, the canary set included, as JSON values."""
        with self._lock:
            return {"learner": self._learner.state(), "canary": [query.state() for query in self._learner.canary.queries]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ConfigError: It is not one of `state`, or of other features.
        """
        fresh = CitationLearner(self.config)
        try:
            fresh.load(state["learner"])
            fresh.canary.load(state["canary"])
        except (KeyError, TypeError) as error:
            msg = f"this is not the state of a retrospective ranker: {error!r}."
            raise ConfigError(msg) from error
        with self._lock:
            self._learner = fresh

    def _payload(self, update: WeightsUpdate) -> dict[str, Any]:
        about = {"version": update.version, "queries": list(update.queries), "rolled_back": update.rolled_back, "canary": update.canary}
        return {**about, "learner": self._learner.state()}

    def _take_over(self) -> None:
        """Load what another process learned meanwhile; of two that learn at once the later wins."""
        before = self._written
        newest = None if self._log is None else self._log.learned(self.name)
        with self._lock:
            # What another thread of this object is writing, or wrote meanwhile, is newer than what was just read.
            if self._writing or self._written != before or newest == self._seen:
                return
            self._learner.load(CitationLearner(self.config).state() if newest is None else newest["learner"])
            self._seen = newest

    def _learner_at(self, as_of: int | None) -> CitationLearner:
        if self._log is None:
            return self._learner
        if as_of is None:
            self._take_over()
            return self._learner
        with self._lock:
            known = self._past.get(as_of)
        if known is None:
            known, payload = CitationLearner(self.config), self._log.learned(self.name, as_of)
            if payload is not None:
                known.load(payload["learner"])
            with self._lock:
                _keep(self._past, as_of, known, self.COLLECTIONS)
        return known

    def _collection(self, records: Sequence[Record]) -> Collection:
        key = tuple((record.id, record.revision) for record in records)
        made = self._collections.get(key) or Collection([document_of(record) for record in records])
        _keep(self._collections, key, made, self.COLLECTIONS)
        return made

    def _remember(self, query: Query, records: Sequence[Record], ranking: Ranking) -> None:
        pool = ranking.pool.tolist()
        # Only the candidates are kept, renumbered: the rest of a large memory is not needed to learn.
        small = replace(ranking, prior=ranking.prior[ranking.pool], pool=np.arange(len(pool), dtype=np.intp))
        key = (query.text, query.namespace, query.scope, query.task_key, query.situation_key, query.kinds)
        _keep(self._rankings, key, ({records[place].id: row for row, place in enumerate(pool)}, small), self.RANKINGS)

    def _rankings_of(self, text: str) -> list[tuple[dict[str, int], Ranking]]:
        return [made for key, made in reversed(self._rankings.items()) if key[0] == text]

    def _trusted(self, record: Record) -> bool:
        try:
            lineage = () if self._log is None else self._log.lineage(record.id)
        except MemoryFault:  # forgotten or taken back since it was shown: where it came from cannot be said any more
            return False
        return not any(origin.kind in UNTRUSTED for origin in (record.origin, *lineage))

    def _canary_name(self, number: int) -> str:
        return f"{self.name}/canary/{number:04d}"


def document_of(record: Record) -> Document:
    """A record as the ranker sees it."""
    thread = "/".join((*record.namespace, record.situation_key)) if record.situation_key else ""
    number = record.steps[0].rpartition("/")[2] if record.steps else ""
    position = (record.valid_from if record.valid_from is not None else 0.0, float(number) if number.isdecimal() else 0.0)
    return Document(search_text(record), speaker=speaker_of(record.body), thread=thread, position=position, time=record.valid_from)


def _keep(into: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Put under a key as the newest; the oldest go."""
    into[key] = value
    into.move_to_end(key)
    while len(into) > most:
        into.popitem(last=False)
