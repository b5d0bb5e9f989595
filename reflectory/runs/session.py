"""The session around an environment: numbers the actions, runs the tracker, comes back after a kill; and a pool of environments."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from reflectory.errors import EnvError, EnvLost, ReflectoryError
from reflectory.protocols import Env, Snapshots, Tracked, Tracker
from reflectory.records import Observation, StepResult, Task

Result = TypeVar("Result")


class Caller:
    """Calls the methods of one environment where they belong.

    Async methods are awaited; a sync method of an environment that never waits (`blocking = False`) is called directly; any other
    sync method runs on one thread of its own, always the same.

    Args:
        env: The environment.
    """

    def __init__(self, env: Env) -> None:
        self.env = env
        self._thread: ThreadPoolExecutor | None = None

    async def __call__(self, method: Callable[..., Result | Awaitable[Result]], *args: Any, **kwargs: Any) -> Result:
        """Call a method of the environment.

        Raises:
            ReflectoryError: As raised by the environment.
            EnvError: Anything else it raised.
        """
        try:
            if getattr(self.env, "blocking", True) and not inspect.iscoroutinefunction(method):
                if self._thread is None:
                    self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="env")
                loop = asyncio.get_running_loop()
                answer = await loop.run_in_executor(self._thread, lambda: method(*args, **kwargs))
            else:
                answer = method(*args, **kwargs)
            return cast("Result", await answer if inspect.isawaitable(answer) else answer)
        except ReflectoryError:
            raise
        except Exception as error:
            msg = f"{type(self.env).__name__}.{getattr(method, '__name__', 'call')} failed: {type(error).__name__}: {error}."
            raise EnvError(msg) from error

    async def close(self) -> None:
        """Close the environment and its thread."""
        await self(self.env.close)
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    async def abandon(self) -> None:
        """Close an environment that has already failed; that it fails again here tells nothing new."""
        with contextlib.suppress(EnvError):
            await self.close()


class EnvSession:
    """One world, one task, one lane.

    Args:
        caller: The environment, ready to be called.
        task: What is played; its seed is the world's seed, the same in every attempt.
        durable: Keep in `ref()` what a killed process needs: the observation's hash, and a snapshot where the world has them.
    """

    def __init__(self, caller: Caller, task: Task, *, durable: bool = False) -> None:
        self._call, self._env, self._task, self._durable = caller, caller.env, task, durable
        self._tracker: Tracker | None = None
        self._actions: list[str] = []
        self._results: list[StepResult] = []
        self._observation: Observation | None = None

    @property
    def world(self) -> Env:
        """The environment itself: for scripted oracles, never for a role."""
        return self._env

    @property
    def observation(self) -> Observation:
        """The last thing the world showed.

        Raises:
            EnvError: Nothing was started yet.
        """
        if self._observation is None:
            msg = "the world was not started; call reset() first."
            raise EnvError(msg)
        return self._observation

    async def reset(self) -> Observation:
        """Start the task from its beginning, with a fresh tracker."""
        observation = await self._call(self._env.reset, self._task, seed=self._task.seed)
        self._actions, self._results = [], []
        self._tracker = self._env.tracker() if isinstance(self._env, Tracked) else None
        self._see(None, observation)
        return observation

    async def step(self, number: int, action: str) -> StepResult:
        """Apply action `number` (0-based); a number already applied returns the recorded result.

        Raises:
            EnvError: The world broke off (truncated), a number was left out, or it was applied with another action.
        """
        if number < len(self._actions):
            if self._actions[number] != action:
                msg = f"action {number} was already {self._actions[number]!r}; it cannot become {action!r}."
                raise EnvError(msg)
            return self._results[number]
        if number > len(self._actions):
            msg = f"action {number} cannot follow {len(self._actions)} actions: one was left out."
            raise EnvError(msg)
        result = await self._call(self._env.step, action)
        self._actions.append(action)
        self._results.append(result)
        self._see(action, result.observation)
        if result.truncated:
            msg = f"the world broke off: {result.effect.detail or 'no reason given'}."
            raise EnvError(msg)
        return result

    def work(self) -> dict[str, Any] | None:
        """The tracker's typed state; None where the world has no tracker."""
        return None if self._tracker is None else self._tracker.work()

    def ref(self) -> dict[str, Any]:
        """Env, task, seed and the actions so far; when durable also the observation's hash and a snapshot token."""
        ref: dict[str, Any] = {"env": self._task.env, "task": self._task.key, "seed": self._task.seed, "actions": list(self._actions)}
        if self._durable:
            ref["digest"] = self.observation.digest()
            # A tracker is rebuilt from all observations, so a tracked world is always replayed.
            if isinstance(self._env, Snapshots) and self._tracker is None:
                ref["snapshot"] = self._env.snapshot()
        return ref

    async def attach(self, ref: Mapping[str, Any]) -> None:
        """Come back to where `ref` was taken: by its snapshot, or by doing its actions again.

        Raises:
            EnvLost: The world then shows something else than it did.
        """
        actions = list(ref["actions"])
        if "snapshot" in ref and isinstance(self._env, Snapshots):
            await self._call(self._env.reset, self._task, seed=self._task.seed)
            self._observation = await self._call(self._env.restore, ref["snapshot"])
            unknown = StepResult(observation=self._observation)
            self._actions, self._results = actions, [unknown] * len(actions)
        else:
            await self.reset()
            for number, action in enumerate(actions):
                await self.step(number, action)
        if "digest" in ref and self.observation.digest() != ref["digest"]:
            msg = f"after {len(actions)} actions the world of task {self._task.key!r} shows something else than before the restart."
            raise EnvLost(msg)

    def _see(self, action: str | None, observation: Observation) -> None:
        self._observation = observation
        if self._tracker is not None:
            self._tracker.observe(action, observation)


class EnvPool:
    """Environments by name, reused from episode to episode.

    Args:
        find: Name → what makes an environment; asked once per name.
    """

    def __init__(self, find: Callable[[str], Callable[[], Env]]) -> None:
        self._find = find
        self._makers: dict[str, Callable[[], Env]] = {}
        self._free: dict[str, list[Caller]] = {}

    def take(self, name: str) -> Caller:
        """A free environment of this name, or a new one."""
        free = self._free.setdefault(name, [])
        if free:
            return free.pop()
        if name not in self._makers:
            self._makers[name] = self._find(name)
        return Caller(self._makers[name]())

    def give(self, name: str, caller: Caller) -> None:
        """Hand an environment back for the next episode."""
        self._free.setdefault(name, []).append(caller)

    async def close(self) -> None:
        """Close all environments that were handed back."""
        for free in self._free.values():
            while free:
                await free.pop().close()
