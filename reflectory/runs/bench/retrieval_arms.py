"""The rankers that the retrieval bench compares, on conversations made ready once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reflectory.protocols import Embedder
from reflectory.retrieval.adapter import AdapterConfig, RMMAdapter
from reflectory.retrieval.collection import Collection, Floats, bm25
from reflectory.retrieval.features import Ranking, candidates
from reflectory.retrieval.hybrid import min_max
from reflectory.retrieval.learner import CitationLearner
from reflectory.retrieval.linear import LearnerConfig, ranked
from reflectory.retrieval.scan import cosines
from reflectory.retrieval.words import words
from reflectory.runs.bench.locomo import LabelledConversation

SHOWN = 5
BASELINES = ("cosine", "bm25", "reference_prior", "prior")
#: The stop words of Lucene's English analyser: those of the frozen reference.
_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with"
)
_STOP = frozenset(_STOP_WORDS.split())


@dataclass(slots=True)
class Prepared:
    """A conversation, ready to be ranked.

    Attributes:
        name: Of the conversation.
        gold: Per question, places of the answering turns.
        rankings: Per question, the prior's candidates with their features.
        vectors: Of the turns, shape (turns, dim).
        queries: Of the questions, shape (questions, dim).
        recalls: recall@5 of each of `BASELINES`, per question.
        seconds: Spent on candidates, features and scores of all questions.
    """

    name: str
    gold: list[frozenset[int]]
    rankings: list[Ranking]
    vectors: Floats
    queries: Floats
    recalls: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0


def prepare(conversation: LabelledConversation, embedder: Embedder) -> Prepared:
    """Embed a conversation and rank it by everything that does not learn.

    Args:
        conversation: Turns and questions.
        embedder: Makes the vectors.

    Returns:
        The conversation with candidates for every question.
    """
    vectors = embedder.embed([document.text for document in conversation.documents])
    queries = embedder.embed([question.text for question in conversation.questions])
    collection, reference = Collection(conversation.documents), ReferenceWords([item.text for item in conversation.documents])
    untaught = CitationLearner(LearnerConfig(canary=0))
    made = Prepared(
        name=conversation.name,
        gold=[frozenset(question.gold) for question in conversation.questions],
        rankings=[],
        vectors=vectors.astype(np.float64),
        queries=queries.astype(np.float64),
        recalls={arm: [] for arm in BASELINES},
    )
    for question, vector, gold in zip(conversation.questions, queries, made.gold, strict=True):
        cosine = cosines(vectors, vector)
        began = time.perf_counter()
        ranking = candidates(collection, question.text, cosine, size=untaught.config.pool)
        untaught.scores(ranking)
        made.seconds += time.perf_counter() - began
        made.rankings.append(ranking)
        plain = reference.scores(question.text)
        scores = {"cosine": cosine, "bm25": plain, "reference_prior": 0.5 * min_max(cosine) + 0.5 * min_max(plain), "prior": ranking.prior}
        for arm in BASELINES:
            made.recalls[arm].append(recall(ranked(scores[arm], SHOWN), gold))
    return made


class ReferenceWords:
    """The frozen reference's BM25 (k1 1.5, b 0.75): words of at least two letters, stop words left out, no stemming.

    Args:
        texts: All turns.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(_plain(text)) for text in texts]
        self._lengths = np.array([count.total() for count in self._counts], dtype=np.float64)

    def scores(self, query: str) -> Floats:
        """BM25 of every text, shape (texts,)."""
        terms = sorted(set(_plain(query)))
        dense = np.array([[count[term] for count in self._counts] for term in terms], dtype=np.float64)
        return bm25(dense.reshape(len(terms), len(self._counts)), self._lengths)


def recall(shown: Sequence[int], gold: frozenset[int]) -> float:
    """Share of the gold turns that were shown."""
    return len(gold.intersection(shown)) / len(gold)


def learned_recall(learnt: Sequence[Prepared], tested: Sequence[Prepared], noise: float, seed: int) -> tuple[list[float], int]:
    """Learn from some conversations, then rank others.

    Args:
        learnt: To learn from, every question once, in an order drawn with the seed.
        tested: To be ranked; nothing is learned from them.
        noise: Chance that a shown turn's citation is flipped.
        seed: Seeds order and noise.

    Returns:
        recall@5 per test question, and how often the canary rolled the weights back.
    """
    rng = np.random.default_rng(seed)
    learner = CitationLearner(LearnerConfig(seed=seed))
    questions = [(item.rankings[number], item.gold[number]) for item in learnt for number in range(len(item.gold))]
    rollbacks = 0
    for place in rng.permutation(len(questions)).tolist():
        ranking, gold = questions[place]
        rollbacks += _teach(learner, ranking, gold, noise, rng)
    pairs = [pair for item in tested for pair in zip(item.rankings, item.gold, strict=True)]
    return [recall(ranked(learner.scores(ranking), SHOWN), gold) for ranking, gold in pairs], rollbacks


def prequential(stream: Sequence[Prepared], noise: float, seed: int) -> list[float]:
    """Go through conversations one after another with a ranker that knows nothing yet; every question is scored before it is learned from.

    Args:
        stream: In order; weights are carried over.
        noise: Chance that a shown turn's citation is flipped.
        seed: Seeds the noise.

    Returns:
        recall@5 per question.
    """
    rng, learner = np.random.default_rng(seed), CitationLearner(LearnerConfig(seed=seed))
    recalls = []
    for item in stream:
        for ranking, gold in zip(item.rankings, item.gold, strict=True):
            recalls.append(recall(ranked(learner.scores(ranking), SHOWN), gold))
            _teach(learner, ranking, gold, noise, rng)
    return recalls


def adapter_recall(learnt: Sequence[Prepared], tested: Sequence[Prepared], config: AdapterConfig, noise: float) -> list[float]:
    """As `learned_recall`, by an RMM adapter over the nearest turns by cosine.

    Args:
        learnt: To learn from.
        tested: To be ranked.
        config: The adapter's settings.
        noise: Chance that a shown turn's citation is flipped.

    Returns:
        recall@5 per test question.
    """
    rng = np.random.default_rng(config.seed)
    adapter = RMMAdapter(learnt[0].vectors.shape[1] if learnt else tested[0].vectors.shape[1], config)
    questions = [(item, number) for item in learnt for number in range(len(item.gold))]
    for place in rng.permutation(len(questions)).tolist():
        item, number = questions[place]
        pool, vectors = _nearest(item, number, config.pool)
        drawn = adapter.sample(item.queries[number], vectors)
        cited = np.array([int(pool[row]) in item.gold[number] for row in drawn[0]])
        adapter.learn(item.queries[number], vectors, drawn, cited ^ (rng.random(len(cited)) < noise))
    recalls = []
    for item in tested:
        for number, gold in enumerate(item.gold):
            pool, vectors = _nearest(item, number, config.pool)
            best = ranked(adapter.scores(item.queries[number], vectors), SHOWN)
            recalls.append(recall([int(pool[row]) for row in best], gold))
    return recalls


def _teach(learner: CitationLearner, ranking: Ranking, gold: frozenset[int], noise: float, rng: np.random.Generator) -> bool:
    """Show five turns and say which were cited; returns whether the weights rolled back."""
    shown = ranked(learner.scores(ranking), SHOWN)
    flipped = rng.random(len(shown)) < noise
    cited = {place for place, wrong in zip(shown, flipped.tolist(), strict=True) if (place in gold) != wrong}
    update = learner.learn(ranking, shown, cited)
    return update is not None and update.rolled_back


def _nearest(item: Prepared, number: int, size: int) -> tuple[NDArray[np.intp], Floats]:
    pool = np.argsort(-(item.vectors @ item.queries[number]), kind="stable")[:size].astype(np.intp)
    return pool, item.vectors[pool]


def _plain(text: str) -> list[str]:
    return [word for word in words(text) if len(word) > 1 and word not in _STOP]
