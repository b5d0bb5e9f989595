"""Scripted models that know what no agent may know: bound to an environment, for upper bounds and for checks."""

from __future__ import annotations

import asyncio
import inspect
import random
from typing import Any

from reflectory.errors import UnsupportedTask
from reflectory.models.answers import extract, reply
from reflectory.records import Reply, Request


class Oracle:
    """Plays a proved plan of the environment; has to be bound to it first.

    Args:
        env: The environment; None until `bind_env`.
    """

    name = "scripted:oracle"
    wants_env = True

    def __init__(self, env: Any = None) -> None:
        self._env = env

    def bind_env(self, env: Any) -> Oracle:
        """The model for one environment.

        Args:
            env: An environment with `oracle() -> str` (or a coroutine): the next action of a plan.

        Returns:
            A bound model; this one stays as it is.

        Raises:
            UnsupportedTask: The environment has no oracle.
        """
        if not callable(getattr(env, "oracle", None)):
            msg = (
                f"{type(env).__name__} has no oracle(): scripted:oracle plays only worlds that can prove a plan. Use scripted:search or "
                f"scripted:random."
            )
            raise UnsupportedTask(msg)
        return Oracle(env)

    async def generate(self, request: Request) -> Reply:
        """Choose the plan's next action.

        Raises:
            UnsupportedTask: The model is not bound to an environment.
            ModelError: The plan's action is not on offer.
        """
        if request.role == "reader" and request.choices is not None:
            return reply(request, extract(request), self.name)
        if request.role != "solver":
            return reply(request, "" if request.choices is None else request.choices[0], self.name)
        if self._env is None:
            msg = "scripted:oracle is not bound to an environment: call bind_env(env), or give the model to a Runner, which does."
            raise UnsupportedTask(msg)
        action = self._env.oracle() if not getattr(self._env, "blocking", True) else await asyncio.to_thread(self._env.oracle)
        return reply(request, str(await action if inspect.isawaitable(action) else action), self.name)


class Cheat:
    """Plays a way to cheat that the environment knows of, to show that it earns nothing; has to be bound to an environment first.

    Args:
        env: The environment; None until `bind_env`.
    """

    name = "scripted:cheat"
    wants_env = True

    def __init__(self, env: Any = None) -> None:
        self._env = env
        self._left: list[str] | None = None

    def bind_env(self, env: Any) -> Cheat:
        """The model for one environment.

        Args:
            env: An environment with `cheats() -> {name: actions}`.

        Returns:
            A bound model; this one stays as it is.

        Raises:
            UnsupportedTask: The environment names no cheats.
        """
        if not callable(getattr(env, "cheats", None)):
            msg = f"{type(env).__name__} has no cheats(): scripted:cheat plays only worlds that say how one might cheat. Use scripted:noop."
            raise UnsupportedTask(msg)
        return Cheat(env)

    async def generate(self, request: Request) -> Reply:
        """The next action of the cheat; an empty text when it is at its end.

        Raises:
            UnsupportedTask: The model is not bound to an environment.
            ModelError: The action is not on offer.
        """
        if request.role != "solver":
            return reply(request, "" if request.choices is None else request.choices[0], self.name)
        if self._env is None:
            msg = "scripted:cheat is not bound to an environment: call bind_env(env), or give the model to a Runner, which does."
            raise UnsupportedTask(msg)
        if self._left is None:
            ways = self._env.cheats()
            self._left = list(ways[random.Random(request.seed).choice(sorted(ways))]) if ways else []
        return reply(request, self._left.pop(0) if self._left else "", self.name)
