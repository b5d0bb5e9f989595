"""The conformance suite finds what is broken and nothing else."""

from __future__ import annotations

import pytest
import toyworld

from reflectory.errors import ConfigError
from reflectory.records import Effect, StepResult
from reflectory.testing import check_env

TASKS = toyworld.tasks(3)


def oracle(env, task):
    return "take coin" if env.box == env.where else f"open box {env.where}"


class Generous(toyworld.ToyEnv):
    def step(self, action):
        return super().step(action).model_copy(update={"reward": 1.0})


class Moody(toyworld.ToyEnv):
    count = 0

    def reset(self, task, *, seed):
        Moody.count += 1
        super().reset(task, seed=seed)
        return self._observe(f"Day {Moody.count}.")


class Forgetful(toyworld.ToyEnv):
    def restore(self, token):
        return self._observe("Where am I?")


class Stingy(toyworld.ToyEnv):
    def step(self, action):
        return super().step(action).model_copy(update={"reward": 0.0})


class Boastful(toyworld.ToyEnv):
    def step(self, action):
        result = super().step(action)
        return StepResult(**{**dict(result), "effect": Effect(changed=True)})


def test_a_sound_world_has_no_problems():
    assert check_env(toyworld.ToyEnv, TASKS, oracle) == []


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (Generous, "nonsense actions earn"),
        (Moody, "same seed"),
        (Forgetful, "restore"),
        (Stingy, "oracle's"),
        (Boastful, "changed something"),
    ],
)
def test_each_broken_promise_is_named(env, says):
    problems = check_env(env, TASKS[:1], oracle)
    assert any(says in problem for problem in problems)


def test_it_needs_tasks_and_solutions():
    with pytest.raises(ConfigError, match="task"):
        check_env(toyworld.ToyEnv, [], oracle)
    with pytest.raises(ConfigError, match="oracle"):
        check_env(toyworld.ToyEnv, TASKS)
