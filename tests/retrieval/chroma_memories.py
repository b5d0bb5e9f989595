"""Memories with a Chroma index, small enough to be made in a moment, and what is asked of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from langgraph.store.base import PutOp

from reflectory.memory import MemoryStore, nearest, open_memory

INSTALLED = importlib.util.find_spec("chromadb") is not None
DIM = 16
FIELDS = {"fields": ["text"]}


class Numbers:
    """Texts are numbers; a number's vector is drawn from it."""

    id, dim = "numbers", DIM

    def embed(self, texts):
        vectors = np.array([np.random.default_rng(int(text.split()[-1])).standard_normal(DIM) for text in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Clusters:
    """Texts are numbers; their vectors lie in clusters as sentence embeddings do, cosines of about 0.7 within one."""

    def __init__(self, count, dim):
        rng = np.random.default_rng(count)
        centres = rng.standard_normal((max(8, count // 100), dim), dtype=np.float32)
        vectors = centres[rng.integers(len(centres), size=count)] + np.float32(0.65) * rng.standard_normal((count, dim), dtype=np.float32)
        self.id, self.dim, self.vectors = "clusters", dim, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed(self, texts):
        return self.vectors[[int(text.split()[-1]) for text in texts]]


def small(monkeypatch):
    """Let an index serve small memories, too."""
    monkeypatch.setattr(nearest, "EXACT", 20)
    monkeypatch.setattr(nearest, "TAIL", 50)


def opened(path, index="chroma", embedder=None):
    return MemoryStore(open_memory(path, embedder=embedder or Numbers(), index=index), index=FIELDS, owned=True)


def fill(store, numbers, text="no {}"):
    store.batch([PutOp(("n", str(number % 3)), str(number), {"text": text.format(number), "n": number}) for number in numbers])


def found(store, query, prefix=(), wanted=None):
    return [(item.namespace, item.key, item.score) for item in store.search(prefix, query=query, filter=wanted, limit=7)]


def answers(store):
    return [
        found(store, f"no {number}", prefix, wanted)
        for number in (3, 77, 1000)
        for prefix in ((), ("n", "1"))
        for wanted in (None, {"n": {"$lt": 90}})
    ]


def exact(path):
    with opened(path, "exact") as store:
        return answers(store)


def generation(path):
    folder = Path(f"{path}-chroma")
    return folder / (folder / "CURRENT").read_text()


def watched(store, monkeypatch):
    """A list that gets an entry for every search that the index was asked for."""
    seen, index = [], store.memory._replica.nearest._index
    search = index.search
    monkeypatch.setattr(index, "search", lambda *arguments: seen.append(arguments) or search(*arguments))
    return seen
