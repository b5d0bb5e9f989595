from __future__ import annotations

import math
import random
import re
from collections import Counter

import numpy as np
import pytest

from reflectory.errors import MemoryFault
from reflectory.memory import corpus, open_memory
from reflectory.records import Query
from reflectory.retrieval import HashingEmbedder

WORDS = "clean cool heat put find cabinet drawer shelf fridge sink soapbar apple mug plate desk lamp bed look"
VOCABULARY = WORDS.split()


def fill(memory, rec, count, seed=0):
    rng = random.Random(seed)
    records = [
        rec(
            " ".join(rng.choices(VOCABULARY, k=rng.randint(3, 12))),
            namespace=rng.choice([("household",), ("household", "lessons"), ("web",)]),
            kind=rng.choice(["fact", "lesson", "episode"]),
            task_key=f"t{rng.randrange(4)}",
            situation_key=f"h{rng.randrange(3)}",
            when_to_use=rng.choice(["", "when cooling"]),
        )
        for _ in range(count)
    ]
    return memory.record(records)


def brute_force(records, query, embedder):
    """The documented ranking, written down once more in plain Python."""
    if not records:
        return []
    split = [re.findall(r"[a-z0-9]+", f"{record.when_to_use}\n{record.body}".lower()) for record in records]
    asked = sorted(set(re.findall(r"[a-z0-9]+", query.lower())))
    mean = sum(map(len, split)) / len(split)
    bm25 = []
    for words in split:
        total = 0.0
        for word in asked:
            df = sum(word in other for other in split)
            tf = Counter(words)[word]
            total += math.log(1 + (len(split) - df + 0.5) / (df + 0.5)) * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(words) / mean))
        bm25.append(total)
    texts = [f"{record.when_to_use}\n{record.body}" if record.when_to_use else record.body for record in records]
    cosine = [float(vector.astype(float) @ embedder.embed([query])[0].astype(float)) for vector in embedder.embed(texts)]

    def scaled(values):
        low, high = min(values), max(values)
        return [(value - low) / (high - low) if high > low else 0.0 for value in values]

    both = zip(records, scaled(bm25), scaled(cosine), bm25, cosine, strict=True)
    return [(record.id, 0.5 * b + 0.5 * c, raw_b, raw_c) for record, b, c, raw_b, raw_c in both]


QUERIES = ["cool the apple in the fridge", "soapbar soapbar drawer", "nothing known here", "", '"mug" AND (plate*) NEAR', "when"]


@pytest.mark.parametrize("direct", [corpus.DIRECT, 0])
@pytest.mark.parametrize("text", QUERIES)
def test_recall_equals_the_documented_ranking(rec, monkeypatch, direct, text):
    """Both ways of finding words, direct counting and FTS5, must give the numbers of the formula."""
    monkeypatch.setattr(corpus, "DIRECT", direct)
    with open_memory(None) as memory:
        fill(memory, rec, 60)
        visible = [record for record in memory.records(("household",)) if record.kind != "fact"]
        expected = brute_force(visible, text, HashingEmbedder())
        hits = memory.recall(Query(text=text, namespace=("household",), kinds=("lesson", "episode"), k=0))
    by_id = {entry[0]: entry for entry in expected}
    assert len(hits) == len(by_id) > 20
    for hit in hits:
        _, score, bm25, cosine = by_id[hit.record.id]
        np.testing.assert_allclose([hit.parts["bm25"], hit.parts["cosine"]], [bm25, cosine], atol=2e-6)
        assert abs(hit.score - score) < 1e-4  # scaling stretches the rounding of the cosines
    assert [(-hit.score, hit.record.id) for hit in hits] == sorted((-hit.score, hit.record.id) for hit in hits)


def test_both_ways_of_finding_words_give_exactly_the_same_hits(rec, monkeypatch):
    with open_memory(None) as memory:
        fill(memory, rec, 300)
        direct = [memory.recall(Query(text=text, k=0)) for text in QUERIES]
        monkeypatch.setattr(corpus, "DIRECT", 0)
        assert [memory.recall(Query(text=text, k=0)) for text in QUERIES] == direct
        memory.record([rec("a brand new walrus")])
        assert memory.recall(Query(text="walrus"))[0].record.body == "a brand new walrus"


def test_k_cuts_the_same_order(rec):
    with open_memory(None) as memory:
        fill(memory, rec, 40)
        everything = memory.recall(Query(text="cool apple", k=0))
        for k in (1, 5, 40, 1000):
            assert memory.recall(Query(text="cool apple", k=k)) == everything[:k]
        assert memory.recall(Query(text="cool apple", k=-1)) == everything


def test_equal_scores_are_ordered_by_id(rec):
    with open_memory(None) as memory:
        stored = memory.record([rec("the same words", task_key=f"t{number}") for number in range(10)])
        hits = memory.recall(Query(text="words", k=0))
        assert len({hit.score for hit in hits}) == 1
        assert [hit.record.id for hit in hits] == sorted(record.id for record in stored)


def test_scopes(rec):
    with open_memory(None) as memory:
        fill(memory, rec, 80)
        memory.record([rec("belongs nowhere")])
        everything = list(memory.records())
        expectations = {
            ("task", "t1", "h1"): {record.id for record in everything if record.task_key == "t1"},
            ("house", "t1", "h1"): {record.id for record in everything if record.situation_key == "h1"},
            ("all", "t1", "h1"): {record.id for record in everything},
            ("none", "t1", "h1"): set(),
            ("task", "", ""): set(),
            ("house", "", ""): set(),
            ("task", "t", "h"): set(),
            ("task", "t%", "h%"): set(),
        }
        for (scope, task, house), expected in expectations.items():
            hits = memory.recall(Query(text="apple", scope=scope, task_key=task, situation_key=house, k=0))
            assert {hit.record.id for hit in hits} == expected, scope


def test_namespaces_are_exact_path_prefixes(rec):
    paths = [("a",), ("a", "b"), ("a", "bc"), ("ab",), ("a%",), ("a", "b", "c"), ("a/b",), ()]
    with open_memory(None) as memory:
        memory.record([rec(f"record {number}", namespace=path) for number, path in enumerate(paths)])
        for asked in [*paths, ("A",), ("_",), ("%",), ("b",), ("a", "")]:
            expected = {path for path in paths if path[: len(asked)] == asked}
            assert {hit.record.namespace for hit in memory.recall(Query(text="record", namespace=asked, k=0))} == expected
            assert {record.namespace for record in memory.records(asked)} == expected


def test_records_outside_the_filter_do_not_move_scores(rec):
    """Statistics of other namespaces would leak what is in them."""
    query = Query(text="cool apple", namespace=("mine",), k=0)
    with open_memory(None) as memory:
        memory.record([rec(text, namespace=("mine",)) for text in ("cool apple", "hot apple", "cool plate")])
        before = [(hit.record.id, hit.score, hit.parts) for hit in memory.recall(query)]
        memory.record([rec(f"cool apple {number}", namespace=("yours",)) for number in range(50)])
        assert [(hit.record.id, hit.score, hit.parts) for hit in memory.recall(query)] == before


def test_positions_that_do_not_exist_are_refused(rec):
    with open_memory(None) as memory:
        memory.record([rec()])
        assert memory.recall(Query(text="mug", as_of=0)) == []
        assert len(memory.recall(Query(text="mug", as_of=1))) == 1
        for wrong in (-1, 2):
            with pytest.raises(MemoryFault, match="0 to 1"):
                memory.recall(Query(text="mug", as_of=wrong))


class Counting:
    """An embedder that notes what it was asked."""

    def __init__(self, name, dim=8):
        self.id, self.dim, self.asked = name, dim, []

    def embed(self, texts):
        self.asked.extend(texts)
        return HashingEmbedder(self.dim).embed(texts)


def test_vectors_of_another_embedder_are_never_compared(rec, tmp_path):
    first, second = Counting("one", 8), Counting("two", 16)
    with open_memory(tmp_path / "m.sqlite", embedder=first) as memory:
        memory.record([rec("mug", task_key="t"), rec("plate"), rec("mug", task_key="t")])
        assert first.asked == ["mug", "plate"]
        memory.recall(Query(text="cup"))
        memory.recall(Query(text="cup"))
        assert first.asked == ["mug", "plate", "cup"]
    with open_memory(tmp_path / "m.sqlite", embedder=second) as memory:
        cosine = memory.recall(Query(text="mug", scope="task", task_key="t"))[0].parts["cosine"]
        assert second.asked == ["mug", "mug"]  # the query and the one candidate
        assert cosine == 1.0
    with open_memory(tmp_path / "m.sqlite", embedder=(again := Counting("one", 8))) as memory:
        memory.recall(Query(text="mug", k=0))
        assert again.asked == ["mug"]  # stored vectors serve


def test_a_broken_embedder_is_named(rec):
    class Wrong(Counting):
        def embed(self, texts):
            return np.full((len(texts), self.dim + self.off), self.value, dtype=np.float32)

    for off, value in ((1, 0.5), (0, math.nan)):
        embedder = Wrong("wrong")
        embedder.off, embedder.value = off, value
        with open_memory(None, embedder=embedder) as memory, pytest.raises(MemoryFault, match="embedder wrong"):
            memory.record([rec()])


def test_the_ranker_is_a_part_that_can_be_replaced(rec):
    class ByUse:
        id = "by-use"
        answer = None

        def rank(self, query, records, parts):
            assert set(parts) == {"bm25", "cosine"}
            return np.array([record.cited for record in records], dtype=float) if self.answer is None else self.answer

    ranker = ByUse()
    with open_memory(None, ranker=ranker) as memory:
        a, b = memory.record([rec("a"), rec("b")])
        memory.cite([b.id])
        assert [(hit.record.id, hit.score) for hit in memory.recall(Query(text="a"))] == [(b.id, 1.0), (a.id, 0.0)]
        for wrong in (np.zeros(3), np.array([0.0, math.nan])):
            ranker.answer = wrong
            with pytest.raises(MemoryFault, match="by-use"):
                memory.recall(Query(text="a"))
