from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.errors import ConfigError
from reflectory.retrieval.canary import LEAST, Canary
from reflectory.retrieval.features import FEATURES, Ranking
from reflectory.retrieval.learner import CitationLearner
from reflectory.retrieval.linear import LearnerConfig, LinearPolicy, citation_gradient, explore, ranked

F = len(FEATURES)
NOISE = 0.2


def world(rng, size=20, useful=6):
    """Candidates of which the one with the highest hidden score answers; the prior knows only a part of it."""
    features = rng.standard_normal((size, F))
    hidden = 0.5 * features[:, 0] + features[:, 3] - features[:, 7]
    return Ranking(query=f"q{rng.integers(1 << 30)}", prior=-np.arange(size, dtype=float), pool=np.arange(size), features=features), {
        int(hidden.argmax())
    }


def hits(learner, rounds=300, seed=99):
    rng = np.random.default_rng(seed)
    tasks = [world(rng) for _ in range(rounds)]
    return sum(not gold.isdisjoint(ranked(learner.scores(ranking), 5)) for ranking, gold in tasks) / rounds


def teach(learner, rounds, *, seed=1, flip=lambda rng, cited: cited):
    rng, rolled = np.random.default_rng(seed), 0
    for _ in range(rounds):
        ranking, gold = world(rng)
        shown = ranked(learner.scores(ranking), 5)
        cited = flip(rng, {place for place in shown if place in gold})
        update = learner.learn(ranking, shown, {place for place in cited if place in shown} if cited is not None else set())
        rolled += update is not None and update.rolled_back
    return rolled


def noisy(rng, cited, shown=range(20)):
    return {place for place in shown if (place in cited) != (rng.random() < NOISE)}


def objective(features, cited, weights, temperature):
    """Mean chance that a cited document comes before one that was not."""
    scores = features @ weights / temperature
    pairs = [(i, j) for i, j in itertools.product(range(len(scores)), repeat=2) if cited[i] and not cited[j]]
    return sum(1 / (1 + math.exp(scores[j] - scores[i])) for i, j in pairs) / max(len(pairs), 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([0.3, 0.5, 1.0, 2.0]))
def test_the_gradient_equals_finite_differences_of_the_expected_reward(seed, shown, temperature):
    rng = np.random.default_rng(seed)
    features, cited, weights = rng.standard_normal((shown, 4)), rng.random(shown) < 0.5, rng.standard_normal(4)
    numeric = [
        (objective(features, cited, weights + step, temperature) - objective(features, cited, weights - step, temperature)) / 2e-6
        for step in np.eye(4) * 1e-6
    ]
    np.testing.assert_allclose(citation_gradient(features, cited, weights, temperature), numeric, atol=1e-6)


def test_even_noise_shrinks_the_expected_gradient_and_hardly_turns_it():
    rng = np.random.default_rng(0)
    features, weights = rng.standard_normal((5, 4)), rng.standard_normal(4)
    truth = np.array([True, False, False, False, False])
    expected = np.zeros(4)
    for flips in itertools.product([False, True], repeat=5):
        chance = math.prod(NOISE if flip else 1 - NOISE for flip in flips)
        expected += chance * citation_gradient(features, truth ^ np.array(flips), weights, 0.5)
    clean = citation_gradient(features, truth, weights, 0.5)
    assert expected @ clean / (np.linalg.norm(expected) * np.linalg.norm(clean)) > 0.99
    assert 0.3 < np.linalg.norm(expected) / np.linalg.norm(clean) < 1.0


def test_extreme_scores_do_not_overflow():
    gradient = citation_gradient(np.array([[1e6], [-1e6]]), np.array([True, False]), np.array([1e3]), 0.5)
    assert np.isfinite(gradient).all()


def test_learning_begins_at_the_prior_and_steps_once_a_batch():
    policy = LinearPolicy(LearnerConfig(batch=2))
    start = policy.weights.copy()
    assert np.flatnonzero(start).tolist() == [FEATURES.index("prior")]
    features = np.random.default_rng(0).standard_normal((3, F))
    yes = np.array([True, False, False])
    assert policy.learn(features, ~yes | yes, "all") == ()
    assert policy.learn(features, yes & ~yes, "none") == ()
    assert policy.learn(features, yes, "a") == ()
    np.testing.assert_array_equal(policy.weights, start)
    assert policy.learn(features, yes, "b") == ("a", "b")
    assert features[0] @ (policy.weights - start) > max(features[1:] @ (policy.weights - start))


def test_it_learns_what_the_prior_does_not_know_clean_and_with_wrong_citations():
    plain, clean, dirty = (CitationLearner(LearnerConfig()) for _ in range(3))
    teach(clean, 600)
    teach(dirty, 600, flip=noisy)
    base = hits(plain)
    assert hits(clean) > base + 0.3
    assert hits(dirty) > base + 0.25


def test_the_same_seed_gives_the_same_weights():
    made = [CitationLearner(LearnerConfig(exploration=0.5, seed=3)) for _ in range(2)]
    for learner in made:
        teach(learner, 60)
    assert made[0].state() == made[1].state()


def test_inverted_citations_are_rolled_back_and_without_the_canary_they_ruin_it():
    def inverted(_, cited):
        return set(range(20)) - cited

    guarded, bare = CitationLearner(LearnerConfig()), CitationLearner(LearnerConfig(canary=0))
    for learner in (guarded, bare):
        teach(learner, 500)
    before = hits(guarded)
    rolled = teach(guarded, 600, seed=2, flip=inverted)
    assert teach(bare, 600, seed=2, flip=inverted) == 0
    assert rolled >= 1
    assert hits(guarded) > before - 0.1
    assert hits(bare) < before - 0.3


def test_canary_keeps_every_fourth_query_until_full_and_never_changes():
    canary, rng = Canary(5), np.random.default_rng(0)
    kept = [canary.offer(f"q{n}", rng.standard_normal((30, F)), [0, 12, 3, 4, 29], [12]) is not None for n in range(40)]
    assert [n for n, yes in enumerate(kept) if yes] == [3, 7, 11, 15, 19]
    first = canary.queries[0]
    assert first.features.shape == (12, F)  # ten rivals, and two of the shown beyond them
    assert int(first.cited.sum()) == 1
    assert first.cut == 2
    assert canary.recall(np.zeros(F)) is None
    again = Canary(5)
    again.load(json.loads(json.dumps([query.state() for query in canary.queries])))
    np.testing.assert_array_equal(again.queries[2].features, canary.queries[2].features)
    assert again.offer("late", first.features, [0, 1], [0]) is None


def test_canary_recall_is_the_share_of_cited_among_the_first_places():
    canary = Canary(LEAST)
    for number in range(4 * LEAST):
        features = np.zeros((10, F))
        features[:, 0] = -np.arange(10)
        features[:, 1] = np.arange(10)
        canary.offer(f"q{number}", features, [0, 1, 2, 3, 4], [1, 4])
    down, up = np.eye(F)[0], np.eye(F)[1]
    assert canary.recall(down) == 0.5
    assert canary.recall(up) == 0.0
    assert canary.fell(up, down, 0.02) == (True, False)
    assert canary.fell(down, up, 0.02) == (False, True)
    assert canary.fell(up, down, 0.6) == (False, False)


def test_a_fall_that_chance_explains_is_no_reason_to_roll_back():
    canary = Canary(LEAST)
    for number in range(4 * LEAST):
        features = np.zeros((3, F))
        features[:, 0], features[:, 1] = (3, 2, 1), ((1, 2, 3) if number % (2 * LEAST) == 3 else (3, 2, 1))
        canary.offer("q", features, [0, 1, 2], [0])
    assert canary.fell(np.eye(F)[1], np.eye(F)[0], 0.02) == (False, False)  # 1 or 2 of 32: more than 0.02, and no certainty


def test_states_go_through_json_and_go_on_alike():
    one, two = CitationLearner(LearnerConfig(canary=0)), CitationLearner(LearnerConfig(canary=0))
    teach(one, 50)
    two.load(json.loads(json.dumps(one.state())))
    teach(one, 30, seed=5)
    teach(two, 30, seed=5)
    assert one.state() == two.state()
    assert one.version == two.version > 0


@pytest.mark.parametrize("spoil", ["missing", "foreign", "nan", "text"])
def test_foreign_states_are_refused_and_change_nothing(spoil):
    learner = CitationLearner(LearnerConfig())
    state = json.loads(json.dumps(learner.state()))
    weights = state["policy"]["weights"]
    if spoil == "missing":
        del weights["bm25"]
    elif spoil == "foreign":
        weights["charm"] = 1.0
    elif spoil == "nan":
        weights["bm25"] = math.nan
    else:
        state["policy"] = "weights"
    with pytest.raises(ConfigError, match=r"ranker|learner"):
        learner.load(state)
    assert learner.state() == CitationLearner(LearnerConfig()).state()


def test_documents_that_were_no_candidates_stay_below_in_the_priors_order():
    ranking = Ranking("q", np.array([5.0, 1.0, 4.0, 3.0, 2.0]), np.array([0, 2]), np.random.default_rng(0).standard_normal((2, F)))
    order = ranked(CitationLearner(LearnerConfig()).scores(ranking))
    assert set(order[:2]) == {0, 2}
    assert order[2:] == [3, 4, 1]


def test_what_was_never_shown_or_no_candidate_moves_nothing():
    learner = CitationLearner(LearnerConfig(batch=1))
    ranking, _ = world(np.random.default_rng(0))
    assert learner.learn(ranking, [0, 1, 2], {7}) is None
    assert learner.learn(ranking, [50, 51], {50}) is None
    assert learner.learn(ranking, [0, 1, 2], {1}) is not None


def test_gumbel_exploration_draws_from_plackett_luce():
    rng, scores = np.random.default_rng(0), np.array([1.0, 0.0, -1.0])
    first = np.bincount([ranked(explore(scores, 0.5, rng), 1)[0] for _ in range(20_000)], minlength=3) / 20_000
    expected = np.exp(scores / 0.5) / np.exp(scores / 0.5).sum()
    np.testing.assert_allclose(first, expected, atol=0.01)
    assert explore(scores, 0.0, rng) is scores


@pytest.mark.parametrize(
    "wrong", [{"rate": 0.0}, {"batch": 0}, {"temperature": -1.0}, {"pool": 0}, {"exploration": math.inf}, {"rate": math.nan}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LearnerConfig(**wrong)
