from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reflectory.protocols import Embedder
from reflectory.retrieval.cached import CachedEmbedder, cache_folder
from reflectory.retrieval.hashing import HashingEmbedder


class Counting(HashingEmbedder):
    def __init__(self, dim=16):
        super().__init__(dim)
        self.asked: list[str] = []

    def embed(self, texts):
        self.asked += texts
        return super().embed(texts)


def test_a_text_is_embedded_once_also_by_the_next_process(tmp_path):
    inner = Counting()
    cached = CachedEmbedder(inner, tmp_path, chunk=2)
    assert isinstance(cached, Embedder)
    texts = ["tea", "milk", "tea", "\ud800", "sun", ""]
    np.testing.assert_array_equal(cached.embed(texts), HashingEmbedder(16).embed(texts))
    assert inner.asked == ["tea", "milk", "\ud800", "sun", ""]
    later = Counting()
    again = CachedEmbedder(later, tmp_path)
    np.testing.assert_array_equal(again.embed(["sun", "moon"]), HashingEmbedder(16).embed(["sun", "moon"]))
    assert later.asked == ["moon"]
    assert again.embed([]).shape == (0, 16)


def test_two_writers_keep_what_the_other_wrote(tmp_path):
    one, two = (CachedEmbedder(Counting(), tmp_path) for _ in range(2))
    one.embed(["a"])
    two.embed(["b"])
    third = Counting()
    CachedEmbedder(third, tmp_path).embed(["a", "b"])
    assert third.asked == []
    assert [path.name for path in tmp_path.iterdir()] == [one.path.name]


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "shape", "pickle"])
def test_a_damaged_file_costs_time_only(tmp_path, damage):
    cached = CachedEmbedder(HashingEmbedder(16), tmp_path)
    expected = cached.embed(["a", "b"])
    data = cached.path.read_bytes()
    if damage == "shape":
        np.savez(cached.path.open("wb"), keys=np.zeros((2, 16), np.uint8), vectors=np.zeros((2, 7), np.float32))
    elif damage == "pickle":
        np.savez(cached.path.open("wb"), keys=np.array([{}], dtype=object), vectors=np.zeros((1, 16), np.float32))
    else:
        cached.path.write_bytes({"cut": data[: len(data) // 2], "text": b"not an archive", "empty": b""}[damage])
    inner = Counting()
    np.testing.assert_array_equal(CachedEmbedder(inner, tmp_path).embed(["a", "b"]), expected)
    assert inner.asked == ["a", "b"]


def test_embedders_do_not_share_a_file(tmp_path):
    assert CachedEmbedder(HashingEmbedder(16), tmp_path).path != CachedEmbedder(HashingEmbedder(32), tmp_path).path


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/reflectory")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "reflectory"
