"""What a set of results amounts to, and how sure one may be of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from reflectory.records import Frozen


class Metrics(Frozen):
    """The result of an evaluation. Shares are fractions 0..1; infrastructure failures count in `errors` and nowhere else.

    Attributes:
        tasks: Number of tasks.
        trials: Trials per task.
        success_by_trial: Share of tasks solved in any trial up to this one.
        success_in_trial: Share of tasks solved in this trial.
        steps_by_trial: Mean number of actions in this trial, over all tasks, solved or not.
        mean_steps: Mean number of actions over all trials.
        steps_per_s: Actions per second of wall time.
        wall_s: Wall time in seconds, of all sittings of a resumed run together.
        tokens: Prompt and output tokens of all model calls.
        errors: Trials that infrastructure ended.
        run_dir: The run directory.
        sandbox: Tier of the sandbox that kept the agents' code in; "none" when nothing did, None when the worlds run no code.
    """

    tasks: int
    trials: int
    success_by_trial: tuple[float, ...]
    success_in_trial: tuple[float, ...]
    steps_by_trial: tuple[float, ...]
    mean_steps: float
    steps_per_s: float
    wall_s: float
    tokens: int
    errors: int
    run_dir: str
    sandbox: str | None = None


def summarize(results: Iterable[Mapping[str, Any]], *, tasks: int, trials: int, wall_s: float, run_dir: str) -> Metrics:
    """Metrics of result lines, one line per (task, trial)."""
    lines = list(results)
    counted = [line for line in lines if not str(line["outcome"]).startswith("infra:")]
    by_trial = [[line for line in counted if line["trial"] == trial] for trial in range(1, trials + 1)]
    solved: set[str] = set()
    seen: set[str] = set()
    cumulative = []
    for of_trial in by_trial:
        seen |= {line["task"] for line in of_trial}
        solved |= {line["task"] for line in of_trial if line["won"]}
        cumulative.append(len(solved) / len(seen) if seen else 0.0)
    steps = [int(line["steps"]) for line in counted]
    return Metrics(
        tasks=tasks,
        trials=trials,
        success_by_trial=tuple(cumulative),
        success_in_trial=tuple(mean([float(line["won"]) for line in of_trial]) for of_trial in by_trial),
        steps_by_trial=tuple(mean([float(line["steps"]) for line in of_trial]) for of_trial in by_trial),
        mean_steps=mean(steps),
        steps_per_s=sum(steps) / wall_s if wall_s > 0 else 0.0,
        wall_s=wall_s,
        tokens=sum(int(line["usage"]["prompt_tokens"]) + int(line["usage"]["output_tokens"]) for line in lines),
        errors=len(lines) - len(counted),
        run_dir=run_dir,
    )


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def wilson(successes: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927).

    Args:
        successes: How many of `n` succeeded.
        n: Number of independent tries; 0 gives (0, 1).
        z: Normal quantile; the default is for 95 %.

    Returns:
        Lower and upper end, fractions 0..1.
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], *, seed: int, rounds: int = 10_000, level: float = 0.95
) -> tuple[float, float, float]:
    """Mean difference b - a of paired results and its percentile bootstrap interval (pairs drawn with replacement).

    Args:
        a: One value per task, of the control.
        b: One value per task, of the treatment; the same tasks in the same order.
        seed: Seeds the draws.
        rounds: Number of bootstrap samples.
        level: Coverage, 0..1.

    Returns:
        (difference, lower end, upper end).

    Raises:
        ValueError: The lengths differ or are 0.
    """
    if len(a) != len(b) or not a:
        msg = f"paired results must be of the same tasks: {len(a)} and {len(b)} values."
        raise ValueError(msg)
    difference = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(difference), size=(rounds, len(difference)))
    low, high = np.quantile(difference[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(difference.mean()), float(low), float(high)
