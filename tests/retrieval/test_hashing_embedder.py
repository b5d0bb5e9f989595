from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.errors import ConfigError
from reflectory.protocols import Embedder
from reflectory.retrieval import HashingEmbedder

SCRIPT = """
import hashlib
from reflectory.retrieval import HashingEmbedder
texts = ["put a clean mug in cabinet 3", "Ünïcode 中文 ١٢", "", "a a a b"]
print(hashlib.sha256(HashingEmbedder().embed(texts).tobytes()).hexdigest())
"""


def _digest_in_process(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_every_process_makes_the_same_vectors():
    assert len({_digest_in_process(seed) for seed in ("0", "1", "4242")}) == 1


def test_the_recipe_behind_the_id_is_pinned():
    """Stored vectors are compared with new ones of the same id: whoever changes the recipe must change the id, and then this test."""
    embedder = HashingEmbedder()
    assert embedder.id == "hashing-1:dim=512,chars=3-4"
    vector = embedder.embed(["put a clean mug in cabinet 3"])[0]
    assert hashlib.sha256(np.round(vector, 5).astype("<f4").tobytes()).hexdigest()[:16] == "0c591e03323f2724"


@given(st.lists(st.text(max_size=60), max_size=5))
def test_vectors_are_finite_unit_and_independent_of_the_batch(texts):
    embedder = HashingEmbedder(dim=64)
    together = embedder.embed(texts)
    assert together.shape == (len(texts), 64)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together.astype(np.float64), axis=1), 1.0, atol=1e-6)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(HashingEmbedder(dim=64).embed([text])[0], vector)


@given(st.permutations(["clean", "mug", "cabinet", "fridge", "clean"]))
def test_word_order_and_case_do_not_count(order):
    embedder = HashingEmbedder()
    np.testing.assert_array_equal(embedder.embed([" ".join(order).upper()])[0], embedder.embed(["clean clean mug cabinet fridge"])[0])


def test_shared_words_and_shared_stems_bring_texts_together():
    embedder = HashingEmbedder()
    base, same_words, same_stems, other = embedder.embed(
        ["cool the apple in the fridge", "the fridge cools an apple", "cooling apples, fridges", "examine a pillow with the desklamp"]
    )
    assert base @ same_words > base @ other + 0.2
    assert base @ same_stems > base @ other + 0.1


def test_unrelated_vocabularies_are_nearly_orthogonal():
    """Signed hashing keeps the expected cosine at 0; 100 disjoint pairs must average out to it."""
    embedder = HashingEmbedder()
    left = embedder.embed([f"{hashlib.sha256(f'l{i}'.encode()).hexdigest()} {i * 7919}" for i in range(100)])
    right = embedder.embed([f"{hashlib.md5(f'r{i}'.encode()).hexdigest()}" for i in range(100)])
    cosines = np.einsum("ij,ij->i", left, right)
    assert abs(cosines.mean()) < 0.03
    assert np.sqrt((cosines**2).mean()) < 0.1  # 512 signed cells: about 1/sqrt(512) = 0.044, more where a whole word collides


def test_a_full_cache_changes_nothing():
    small = HashingEmbedder()
    small.CACHE = 2
    texts = ["one two three four", "five six one two", "one two three four"]
    np.testing.assert_array_equal(small.embed(texts), HashingEmbedder().embed(texts))


def test_parameters_are_part_of_the_id_and_checked():
    assert isinstance(HashingEmbedder(), Embedder)
    ids = {HashingEmbedder().id, HashingEmbedder(128).id, HashingEmbedder(shortest=2).id, HashingEmbedder(longest=5).id}
    assert len(ids) == 4
    for wrong in ({"dim": 4}, {"shortest": 0}, {"shortest": 5, "longest": 4}):
        with pytest.raises(ConfigError):
            HashingEmbedder(**wrong)
