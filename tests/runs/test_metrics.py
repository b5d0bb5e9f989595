"""Metrics against closed forms and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.runs import paired_bootstrap, wilson
from reflectory.runs.metrics import summarize


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_ends_solve_their_equation(case):
    successes, n = case
    low, high = wilson(successes, n)
    share, z = successes / n, 1.959963984540054
    # The ends are the p whose score test statistic is exactly z.
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert math.isclose(abs(share - end), z * math.sqrt(end * (1 - end) / n), rel_tol=1e-6, abs_tol=1e-9)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


def test_wilson_known_values():
    assert wilson(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-5)
    assert wilson(140, 140)[0] == pytest.approx(0.973, abs=5e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_matches_all_samples_enumerated():
    a, b = [0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]
    difference = [y - x for x, y in zip(a, b, strict=True)]
    means = [sum(sample) / 4 for sample in itertools.product(difference, repeat=4)]
    mean, low, high = paired_bootstrap(a, b, seed=1, rounds=40_000)
    assert mean == 0.5
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1e-9)
    assert paired_bootstrap(a, b, seed=1) == paired_bootstrap(a, b, seed=1)
    with pytest.raises(ValueError, match="same tasks"):
        paired_bootstrap([1.0], [1.0, 2.0], seed=0)


def line(task, trial, outcome, steps):
    return {
        "task": task,
        "trial": trial,
        "outcome": outcome,
        "won": outcome == "solved",
        "steps": steps,
        "usage": {"prompt_tokens": 2, "output_tokens": 1},
    }


def test_summary_of_a_small_run_by_hand():
    lines = [
        line("a", 1, "solved", 3),
        line("b", 1, "limit:steps", 10),
        line("c", 1, "infra:env", 1),
        line("a", 2, "failed", 5),
        line("b", 2, "solved", 4),
        line("c", 2, "failed", 6),
    ]
    metrics = summarize(lines, tasks=3, trials=2, wall_s=2.0, run_dir="x")
    # Trial 1 counts a and b only: infrastructure is no reward of 0.
    assert metrics.success_in_trial == pytest.approx((1 / 2, 1 / 3))
    assert metrics.success_by_trial == pytest.approx((1 / 2, 2 / 3))
    assert metrics.steps_by_trial == pytest.approx((6.5, 5.0))
    assert (metrics.mean_steps, metrics.steps_per_s, metrics.tokens, metrics.errors) == (28 / 5, 14.0, 18, 1)
