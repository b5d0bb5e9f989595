"""Scoring what a query may see: BM25 and cosine as parts, one ranker over them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.memory.corpus import Corpus
from reflectory.memory.history import Selection
from reflectory.records import Hit, Query
from reflectory.retrieval.bm25 import bm25
from reflectory.retrieval.hybrid import Ranker
from reflectory.retrieval.words import query_words


def rank(query: Query, found: Selection, corpus: Corpus, vector: NDArray[np.float32], ranker: Ranker) -> list[Hit]:
    """Order candidates.

    BM25 statistics are those of the candidates, so a score depends on nothing outside the query's namespace, scope and position.

    Args:
        query: Its text and k count here.
        found: What it may see.
        corpus: Where the rows are.
        vector: The query's unit vector, shape (dim,).
        ranker: Combines the parts.

    Returns:
        At most k hits (all for k <= 0), best first, equal scores by id. `parts` holds the raw retriever scores.

    Raises:
        MemoryFault: The ranker returned something else than one finite score per candidate.
    """
    rows, records = found
    if not len(rows):
        return []
    parts = {"bm25": bm25(corpus.postings(query_words(query.text), rows), corpus.lengths(rows)), "cosine": corpus.cosines(vector, rows)}
    scores = np.asarray(ranker.rank(query, records, parts), dtype=np.float64)
    if scores.shape != (len(records),) or not np.isfinite(scores).all():
        msg = f"the ranker {ranker.id} returned shape {scores.shape} for {len(records)} records, or scores that are not finite."
        raise MemoryFault(msg)
    wanted = query.k if 0 < query.k < len(records) else len(records)
    # Whatever equals the last wanted score stays in: between equal scores the id decides.
    places = np.flatnonzero(scores >= np.partition(scores, len(scores) - wanted)[len(scores) - wanted]).tolist()
    places.sort(key=lambda place: (-scores[place], records.histories[place].id))
    return [
        Hit(record=records[place], score=float(scores[place]), parts={name: float(part[place]) for name, part in parts.items()})
        for place in places[:wanted]
    ]
