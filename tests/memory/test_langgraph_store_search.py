"""Semantic search of the store, and the embedders it takes."""

from __future__ import annotations

import pytest
from langchain_core.embeddings import Embeddings

from reflectory.errors import ConfigError, MemoryFault
from reflectory.memory import open_store
from reflectory.retrieval import HashingEmbedder


class Letters(Embeddings):
    """Counts of letters, not of length 1; queries and documents apart, as some models have it."""

    def __init__(self):
        self.asked = []

    def embed_documents(self, texts):
        self.asked.append(("documents", list(texts)))
        return [[float(text.count(letter)) for letter in "abcdefghij"] for text in texts]

    def embed_query(self, text):
        self.asked.append(("query", text))
        return [3.0 * text.count(letter) for letter in "abcdefghij"]


def test_semantic_search_over_the_fields_of_each_put():
    with open_store(None, index={"fields": ["text", "notes[*]"]}) as store:
        store.put(("d",), "one", {"text": "cool the apple", "other": "walrus"})
        store.put(("d",), "many", {"text": "lamp", "notes": ["find the desk", "a walrus on ice"]})
        store.put(("d",), "own", {"text": "lamp", "title": {"main": "walrus"}}, index=["title.main"])
        store.put(("d",), "none", {"text": "walrus walrus"}, index=False)
        hits = store.search(("d",), query="walrus")
        assert [hit.key for hit in hits] == ["own", "many", "one", "none"]
        assert hits[0].score == 1.0
        assert hits[3].score is None
        embedder = HashingEmbedder()
        best = max(float(vector @ embedder.embed(["walrus"])[0]) for vector in embedder.embed(["lamp", "find the desk", "a walrus on ice"]))
        assert hits[1].score == pytest.approx(best, abs=1e-6)
        store.put(("d",), "many", {"text": "lamp"})
        scores = {hit.key: hit.score for hit in store.search(("d",), query="a walrus on ice")}
        assert scores["many"] < 0.5  # the vectors of what it was are gone
        pages = [store.search(("d",), query="walrus", limit=1, offset=at)[0].key for at in range(4)]
        assert sorted(pages) == ["many", "none", "one", "own"]
        assert store.search(("d",), query="walrus", limit=1, offset=4) == []


def test_without_an_index_a_query_is_ignored():
    with open_store(None, index=False) as store:
        for key in "abc":
            store.put(("d",), key, {"text": key})
        assert [(hit.key, hit.score) for hit in store.search(("d",), query="c", limit=2)] == [("a", None), ("b", None)]


def test_langchain_embeddings_functions_and_ours():
    letters = Letters()
    with open_store(None, embed=letters, index={"dims": 10, "fields": ["text"]}) as store:
        store.put(("d",), "x", {"text": "aab"})
        store.put(("d",), "y", {"text": "zzz"})  # a zero vector
        hits = store.search(("d",), query="a")
        assert [(hit.key, hit.score) for hit in hits] == [("x", pytest.approx(2 / 5**0.5, abs=1e-6)), ("y", 0.0)]
        assert letters.asked == [("documents", ["aab"]), ("documents", ["zzz"]), ("query", "a")]
    with open_store(
        None, index={"embed": lambda texts: [[1.0, float(len(text))] for text in texts], "dims": 2, "fields": ["text"]}
    ) as store:
        store.put(("d",), "x", {"text": "a"})
        assert store.search(("d",), query="b")[0].score == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(ConfigError, match="both embed"):
        open_store(None, embed=letters, index={"embed": letters})
    with pytest.raises(ConfigError, match="dims=3"):
        open_store(None, embed=HashingEmbedder(), index={"dims": 3})
    with open_store(None, embed=letters, index={"dims": 7}) as store, pytest.raises(MemoryFault, match="length 10"):
        store.put(("d",), "x", {"text": "a"})
    with pytest.raises(ConfigError, match="Give index"):
        open_store(None, embed=Letters().aembed_documents)


async def test_an_async_function_alone_serves_the_async_calls():
    async def embed(texts):
        return Letters().embed_documents(texts)

    with open_store(None, embed=embed, index={"dims": 10, "fields": ["text"]}) as store:
        await store.aput(("d",), "x", {"text": "aab"})
        assert (await store.asearch(("d",), query="ab"))[0].score == pytest.approx(3 / 10**0.5, abs=1e-6)
        with pytest.raises(ValueError, match="async function"):
            store.search(("d",), query="ab")


def test_another_embedder_makes_its_own_vectors(tmp_path):
    with open_store(tmp_path / "m.sqlite", index={"fields": ["text", "more"]}) as store:
        store.put(("d",), "one", {"text": "aab"})
        store.put(("d",), "two", {"text": "zzz", "more": "ab"})
        store.put(("d",), "none", {"text": "ab"}, index=False)
    with open_store(tmp_path / "m.sqlite", embed=Letters(), index={"dims": 10}) as store:
        hits = store.search(("d",), query="ab")
        assert [(hit.key, hit.score and round(hit.score, 4)) for hit in hits] == [("two", 1.0), ("one", 0.9487), ("none", None)]


def test_secrets_are_replaced_before_anything_is_made_of_them():
    embedder = Counting()
    with open_store(None, embed=embedder, index={"fields": ["text"]}) as store:
        store.put(("u",), "k", {"text": "my password=hunter2secret is long", "n": 1})
        assert "hunter2secret" not in str(store.get(("u",), "k").value)
        assert store.memory.redactions == {"password": 1}
        assert not any("hunter2secret" in text for text in embedder.asked)


class Counting(HashingEmbedder):
    def __init__(self):
        super().__init__(64)
        self.asked = []

    def embed(self, texts):
        self.asked += texts
        return super().embed(texts)
