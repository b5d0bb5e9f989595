"""The session: numbered actions, coming back after a kill, sync and async and blocking worlds."""

from __future__ import annotations

import threading

import pytest
import toyworld

from reflectory.errors import EnvError, EnvLost
from reflectory.records import Observation, StepResult
from reflectory.runs.session import Caller, EnvPool, EnvSession

TASK = toyworld.tasks(1)[0]


def session(env=None, **options):
    return EnvSession(Caller(env or toyworld.ToyEnv()), TASK, **options)


async def test_an_action_already_applied_returns_the_recorded_result():
    one = session()
    await one.reset()
    first = await one.step(0, "open box 1")
    again = await one.step(0, "open box 1")
    assert again is first
    assert one.ref()["actions"] == ["open box 1"]
    with pytest.raises(EnvError, match="already"):
        await one.step(0, "open box 2")
    with pytest.raises(EnvError, match="left out"):
        await one.step(2, "open box 2")


async def test_replay_rebuilds_world_and_tracker():
    one = session(durable=True)
    await one.reset()
    for number, action in enumerate(["open box 2", "wait", "open box 3"]):
        await one.step(number, action)
    other = session()
    await other.attach(one.ref())
    assert (other.observation, other.work(), other.ref()["actions"]) == (one.observation, one.work(), one.ref()["actions"])
    assert await other.step(3, "open box 1") == await one.step(3, "open box 1")


class NoTracker:
    """The toy world without a tracker."""

    blocking = False

    def __init__(self):
        self.inner = toyworld.ToyEnv()
        self.stepped = 0
        self.reset, self.close, self.snapshot, self.restore = self.inner.reset, self.inner.close, self.inner.snapshot, self.inner.restore

    def step(self, action):
        self.stepped += 1
        return self.inner.step(action)


async def test_a_snapshot_is_restored_instead_of_replayed():
    one = session(NoTracker(), durable=True)
    await one.reset()
    await one.step(0, "open box 2")
    env = NoTracker()
    other = session(env)
    await other.attach(one.ref())
    assert (env.stepped, other.observation) == (0, one.observation)
    assert await other.step(1, "open box 4") == await one.step(1, "open box 4")


async def test_a_world_that_went_elsewhere_is_lost():
    one = session(durable=True)
    await one.reset()
    await one.step(0, "open box 2")
    other = EnvSession(Caller(toyworld.ToyEnv()), TASK.model_copy(update={"inputs": {**TASK.inputs, "where": 2, "boxes": 9}}))
    with pytest.raises(EnvLost, match="coin/0"):
        await other.attach(one.ref())


async def test_blocking_worlds_run_on_one_thread_of_their_own_and_async_ones_are_awaited():
    seen = []

    class Blocking(toyworld.ToyEnv):
        blocking = True

        def reset(self, task, *, seed):
            seen.append(threading.get_ident())
            return super().reset(task, seed=seed)

        def step(self, action):
            seen.append(threading.get_ident())
            return super().step(action)

    class Async(toyworld.ToyEnv):
        async def reset(self, task, *, seed):
            return super().reset(task, seed=seed)

        async def step(self, action):
            return super().step(action)

    plain = session()
    expected = [await plain.reset(), await plain.step(0, "open box 1")]
    for env in (Blocking(), Async()):
        one = session(env)
        assert [await one.reset(), await one.step(0, "open box 1")] == expected
    assert len(set(seen)) == 1
    assert threading.get_ident() not in seen


async def test_what_breaks_in_a_world_is_an_env_error():
    class Broken(toyworld.ToyEnv):
        def step(self, action):
            raise RuntimeError("cable")

    class BreaksOff(toyworld.ToyEnv):
        def step(self, action):
            return StepResult(observation=Observation("?"), truncated=True)

    for env, says in ((Broken(), "RuntimeError: cable"), (BreaksOff(), "broke off")):
        one = session(env)
        await one.reset()
        with pytest.raises(EnvError, match=says):
            await one.step(0, "wait")


async def test_the_pool_reuses_what_was_given_back():
    made = []
    pool = EnvPool(lambda name: lambda: made.append(name) or toyworld.ToyEnv())
    first = pool.take("a")
    second = pool.take("a")
    assert first is not second
    pool.give("a", first)
    assert pool.take("a") is first
    assert made == ["a", "a"]
