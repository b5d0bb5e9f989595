"""The features of the learned reranker: what may tell a document that answers from one that only sounds alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reflectory.retrieval.collection import Collection, Floats, bm25, rarity
from reflectory.retrieval.documents import Question, question
from reflectory.retrieval.words import words

#: In the order of the columns. Where nothing else is said, of the document itself; "thread" is its whole session.
FEATURES = (
    "prior",  # the fixed prior's score: where learning begins
    "cosine",
    "cosine_previous",
    "cosine_following",
    "cosine_thread",  # the highest in the thread
    "bm25",
    "bm25_previous",
    "bm25_before_previous",
    "bm25_following",
    "bm25_thread",  # the highest in the thread
    "bm25_window",  # the document and both neighbours as one text
    "bm25_session",  # the whole thread as one text
    "coverage",  # share of the query's weight that it mentions at all
    "coverage_window",
    "pairs",  # neighbouring words of the query that are neighbours here
    "speaker",  # 1 said by somebody the query names, -1 by another when it names one
    "question",
    "question_previous",
    "length",
    "numbers",
    "dates",
    "names",
    "dates_asked",  # dates, where the query asks when
    "names_asked",  # names, where it asks who, where, which or what
    "month",  # it is from the month that the query names
    "day",  # and from a day near the one it names
)
#: A day counts as near within so many days: what happened is told soon after.
NEAR = 3


@dataclass(frozen=True, slots=True)
class Ranking:
    """One query's candidates: the best of the prior, whatever was learned since.

    Attributes:
        query: Its text.
        prior: Prior scores of all documents, shape (n,).
        pool: Places of the candidates, best first, shape (K,).
        features: Standardised over the candidates, shape (K, len(FEATURES)).
    """

    query: str
    prior: Floats
    pool: NDArray[np.intp]
    features: Floats


def candidates(collection: Collection, query: str, cosine: Floats, *, size: int) -> Ranking:
    """Take the best of the fixed prior and describe them.

    Args:
        collection: Where to look.
        query: What is asked.
        cosine: Cosines of all documents with it, shape (n,).
        size: How many candidates.

    Returns:
        The candidates; equal prior scores in the collection's order.
    """
    asked = question(query)
    prior = collection.prior(cosine, asked)
    pool = np.argsort(-prior, kind="stable")[:size].astype(np.intp)
    raw = np.stack([prior[pool], *_matching(collection, asked, cosine, pool), *_surface(collection, asked, pool)], axis=1)
    return Ranking(query=query, prior=prior, pool=pool, features=standardise(raw))


def standardise(raw: Floats) -> Floats:
    """Mean 0 and standard deviation 1 per column; a column of equal values becomes 0, because it tells nothing apart."""
    if not len(raw):
        return raw
    spread = raw.std(axis=0)
    return np.where(spread > 1e-9, (raw - raw.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0), 0.0)


def _matching(collection: Collection, asked: Question, cosine: Floats, pool: NDArray[np.intp]) -> list[Floats]:
    """Columns from `cosine` to `pairs`."""
    before, after, threads = collection.previous, collection.following, collection.threads
    counts = collection.counts(asked.terms)
    own = bm25(counts, collection.lengths)
    window = counts + collection.beside(counts, before) + collection.beside(counts, after)
    spans = collection.lengths + collection.beside(collection.lengths, before) + collection.beside(collection.lengths, after)
    size = int(threads.max()) + 1 if len(threads) else 0
    # The first row counts the terms of whole threads, the others single terms.
    by_thread = np.array([np.bincount(threads, row, size) for row in (collection.lengths, *counts)], dtype=np.float64)
    previous = collection.beside(own, before)
    weights = rarity(counts)
    columns = [
        cosine,
        collection.beside(cosine, before),
        collection.beside(cosine, after),
        _highest(cosine, threads, size),
        own,
        previous,
        collection.beside(previous, before),
        collection.beside(own, after),
        _highest(own, threads, size),
        bm25(window, spans),
        bm25(by_thread[1:], by_thread[0])[threads],
        _covered(counts, weights),
        _covered(window, weights),
    ]
    rare = dict(zip(asked.terms, weights.tolist(), strict=True))
    pairs = [sum(min(rare[a], rare[b]) for a, b in sorted(asked.pairs & collection.analyses[place].pairs)) for place in pool.tolist()]
    return [*(column[pool] for column in columns), np.array(pairs, dtype=np.float64)]


def _surface(collection: Collection, asked: Question, pool: NDArray[np.intp]) -> list[Floats]:
    """Columns from `speaker` to `day`."""
    chosen = pool.tolist()
    shown = [collection.analyses[place] for place in chosen]
    speakers = {document.speaker for document in collection.documents if document.speaker}
    named = {name for name in speakers if set(words(name)) & asked.words}
    said = [collection.documents[place].speaker for place in chosen]
    asks = [collection.analyses[place].question if place >= 0 else 0.0 for place in collection.previous[pool].tolist()]
    known = {part for name in speakers for part in words(name)}
    names = np.array([float(sum(name.casefold() not in known for name in analysis.names)) for analysis in shown])
    dates = np.array([analysis.dates for analysis in shown])
    month, day = collection.calendar[pool, 0], collection.calendar[pool, 1]
    in_month = np.isin(month, sorted(asked.months)) if asked.months else np.zeros(len(pool), dtype=bool)
    near = np.array([any(abs(day_ - wanted) <= NEAR for wanted in asked.days) for day_ in day.tolist()], dtype=bool)
    return [
        np.array([0.0 if not named or not name else 1.0 if name in named else -1.0 for name in said]),
        np.array([analysis.question for analysis in shown]),
        np.array(asks, dtype=np.float64),
        np.array([analysis.length for analysis in shown]),
        np.array([analysis.numbers for analysis in shown]),
        dates,
        names,
        dates * asked.when,
        names * asked.open,
        in_month.astype(np.float64),
        (in_month & near).astype(np.float64),
    ]


def _highest(scores: Floats, threads: NDArray[np.intp], size: int) -> Floats:
    best = np.full(size, -np.inf)
    np.maximum.at(best, threads, scores)
    return best[threads]


def _covered(counts: Floats, weights: Floats) -> Floats:
    whole = float(weights.sum())
    return np.asarray(((counts > 0) * weights[:, None]).sum(axis=0) / whole) if whole > 0 else np.zeros(counts.shape[1])
