from __future__ import annotations

import io

import numpy as np
import pytest

from reflectory.errors import ConfigError
from reflectory.retrieval.adapter import AdapterConfig, RMMAdapter


def unit(rng, *shape):
    made = rng.standard_normal(shape)
    return made / np.linalg.norm(made, axis=-1, keepdims=True)


def log_likelihood(adapter, query, memories, drawn, advantage):
    """Written out from the paper, candidate by candidate."""
    shown, noise = drawn
    adapted = query + adapter.query_matrix @ query
    scores = np.array([adapted @ (memory + adapter.memory_matrix @ memory) for memory in memories])
    logits = (adapter.config.scale * scores + noise) / adapter.config.temperature
    return sum(gain * (logits[place] - np.log(np.exp(logits).sum())) for place, gain in zip(shown, advantage, strict=True))


@pytest.mark.parametrize("config", [AdapterConfig(), AdapterConfig.sane()])
def test_the_gradient_equals_finite_differences(config):
    rng = np.random.default_rng(0)
    adapter = RMMAdapter(5, config)
    adapter.query_matrix, adapter.memory_matrix = 0.3 * rng.standard_normal((2, 5, 5))
    query, memories = unit(rng, 5), unit(rng, 8, 5)
    drawn, advantage = adapter.sample(query, memories), np.array([0.5, -1.5, -1.5, 0.5, -1.5])
    gradient = adapter.gradient(query, memories, drawn, advantage)
    for which, matrix in enumerate((adapter.query_matrix, adapter.memory_matrix)):
        for place in np.ndindex(5, 5):
            kept, values = matrix[place], []
            for step in (1e-6, -1e-6):
                matrix[place] = kept + step
                values.append(log_likelihood(adapter, query, memories, drawn, advantage))
            matrix[place] = kept
            assert gradient[which][place] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-5)


def test_published_settings_are_the_defaults():
    config = AdapterConfig()
    assert (config.pool, config.shown, config.temperature, config.rate) == (20, 5, 0.5, 1e-3)
    assert (config.batch, config.baseline, config.optimiser, config.scale) == (4, 0.5, "sgd", 1.0)


def test_it_begins_with_the_order_of_the_cosines_and_updates_once_a_batch():
    rng = np.random.default_rng(1)
    adapter, query, memories = RMMAdapter(6), unit(rng, 6), unit(rng, 9, 6)
    np.testing.assert_allclose(adapter.scores(query, memories), memories @ query)
    cited = np.array([True, False, False, False, False])
    done = [adapter.learn(query, memories, adapter.sample(query, memories), cited) for _ in range(8)]
    assert done == [False, False, False, True] * 2
    assert adapter.updates == 2


def test_the_first_sgd_step_is_the_rate_times_the_mean_gradient():
    rng = np.random.default_rng(2)
    adapter = RMMAdapter(4, AdapterConfig(batch=1, rate=0.25))
    query, memories, cited = unit(rng, 4), unit(rng, 6, 4), np.array([True, False, True, False, False])
    drawn = adapter.sample(query, memories)
    expected = 0.25 * adapter.gradient(query, memories, drawn, np.where(cited, 1.0, -1.0) - 0.5)
    adapter.learn(query, memories, drawn, cited)
    np.testing.assert_allclose(adapter.query_matrix, expected[0])
    np.testing.assert_allclose(adapter.memory_matrix, expected[1])


def _found(adapter, tasks):
    return np.mean([gold in np.argsort(-adapter.scores(query, memories))[:5] for query, memories, gold in tasks])


def _tasks(rng, count):
    """What answers lies in the direction the query turns to when its first two axes are swapped."""
    tasks = []
    for _ in range(count):
        query, memories = unit(rng, 8), unit(rng, 20, 8)
        turned = query.copy()
        turned[[0, 1]] = query[[1, 0]]
        tasks.append((query, memories, int((memories @ turned).argmax())))
    return tasks


def test_sane_settings_learn_a_turn_of_the_space():
    adapter = RMMAdapter(8, AdapterConfig(rate=3e-3, baseline="mean", optimiser="adam", scale=10.0))
    rng = np.random.default_rng(3)
    held_out = _tasks(rng, 300)
    before = _found(adapter, held_out)
    for query, memories, gold in _tasks(rng, 1500):
        drawn = adapter.sample(query, memories)
        adapter.learn(query, memories, drawn, drawn[0] == gold)
    assert _found(adapter, held_out) > before + 0.1


def test_samples_follow_the_softmax_of_the_scores():
    adapter = RMMAdapter(3, AdapterConfig(scale=1.0, shown=1))
    query, memories = np.array([1.0, 0.0, 0.0]), np.array([[1.0, 0, 0], [0.0, 1, 0], [-1.0, 0, 0]])
    counted = np.bincount([adapter.sample(query, memories)[0][0] for _ in range(20_000)], minlength=3) / 20_000
    expected = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
    np.testing.assert_allclose(counted, expected, atol=0.012)


def test_matrices_are_saved_and_loaded_without_pickle():
    rng = np.random.default_rng(4)
    adapter, other = RMMAdapter(4, AdapterConfig(batch=1, rate=0.1)), RMMAdapter(4)
    query, memories = unit(rng, 4), unit(rng, 6, 4)
    adapter.learn(query, memories, adapter.sample(query, memories), np.array([True, False, False, False, False]))
    file = io.BytesIO()
    np.savez(file, **adapter.save())
    file.seek(0)
    with np.load(file, allow_pickle=False) as saved:
        other.load(dict(saved))
    np.testing.assert_array_equal(other.scores(query, memories), adapter.scores(query, memories))
    for wrong in (
        {},
        {"query_matrix": np.zeros((3, 3)), "memory_matrix": np.zeros((3, 3))},
        {**adapter.save(), "query_matrix": np.full((4, 4), np.nan)},
    ):
        with pytest.raises(ConfigError, match="two finite matrices"):
            other.load(wrong)


@pytest.mark.parametrize("wrong", [{"pool": 0}, {"temperature": 0.0}, {"rate": -1.0}, {"optimiser": "lbfgs"}, {"baseline": "median"}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        RMMAdapter(4, AdapterConfig(**wrong))
