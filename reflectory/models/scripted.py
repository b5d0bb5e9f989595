"""Deterministic models: every page of the docs and every user's test runs offline with them.

Token counts in their usage are words between white space; ids and log-probabilities they have none.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reflectory.errors import ModelError, UnknownName, UnsupportedTask, did_you_mean
from reflectory.models.quote import quote
from reflectory.models.script import ScriptFile
from reflectory.protocols import Model
from reflectory.records import Message, Reply, Request, Usage
from reflectory.registry import lookup

#: What `noop` looks for, in this order: whole choices first, then first words.
HARMLESS = ("noop", "wait", "look", "inventory", "help", "none")
HARMLESS_VERBS = ("look", "examine", "read", "check", "wait")


def scripted(name: str) -> Model:
    """A deterministic model.

    With choices on offer:

    * `random` draws uniformly with the request's seed;
    * `first` takes the first;
    * `noop` takes one that changes nothing (noop, wait, look, inventory, …, else the first that starts with look or examine, else the
    first);
    * `search` asks the scripted policy of the world named in `request.work["world"]`;
    * `oracle` asks the environment for the next action of a proved plan, once `bind_env` has told it which;
    * `extractive` takes the one that shares most words with the last user message.

    Without choices `extractive` answers with the sentence of the prompt that shares most words with the last user message; as an
    `answerer` it quotes the numbered memory that does, and cites it. The others have nothing to say and answer with an empty text. A
    `reader` that asks `search` or `oracle` gets what `extractive` would choose.
    `PATH.yaml` replays the answers of a file (see `ScriptFile`).

    Args:
        name: One of the names above, or the path of a YAML file.

    Returns:
        The model; counts calls and words.

    Raises:
        UnknownName: There is no such script.
        ConfigError: The file cannot be read.
    """
    if name.endswith((".yaml", ".yml")):
        return Replay(Path(name))
    if name == "oracle":
        return Oracle()
    if name == "search":
        return Search()
    if name not in _CHOOSERS:
        known = [*_CHOOSERS, "oracle", "search"]
        msg = f"there is no scripted model named {name!r}. {did_you_mean(name, known)} A path that ends in .yaml replays a file."
        raise UnknownName(msg)
    return Scripted(name, _CHOOSERS[name])


class Scripted:
    """A model that answers by a rule.

    Args:
        name: The script's name; the model is called `scripted:NAME`.
        rule: Request → text.
    """

    def __init__(self, name: str, rule: Callable[[Request], str]) -> None:
        self.name, self._rule = f"scripted:{name}", rule

    async def generate(self, request: Request) -> Reply:
        """Answer by the rule.

        Raises:
            ModelError: The rule cannot answer.
        """
        return reply(request, self._rule(request), self.name)


class Search:
    """Plays with the scripted policy of the world, looked up as `policy` in the registry."""

    name = "scripted:search"

    def __init__(self) -> None:
        self._policies: dict[str, Any] = {}

    async def generate(self, request: Request) -> Reply:
        """Choose as the world's policy does.

        Raises:
            UnsupportedTask: The request carries no typed state with the name of a world.
            UnknownName: The world has no policy.
            ModelError: The policy chose something that is not on offer.
        """
        if request.role == "reader":
            return reply(request, extract(request), self.name)
        world = (request.work or {}).get("world")
        if not isinstance(world, str):
            msg = "scripted:search needs a world with a tracker: the request has no work['world']. Use scripted:random or scripted:first."
            raise UnsupportedTask(msg)
        if world not in self._policies:
            self._policies[world] = lookup("policy", world)()
        if request.choices is None:
            reflect = getattr(self._policies[world], "reflect", None)
            return reply(request, reflect(request.work) if reflect is not None and request.role == "reflector" else "", self.name)
        return reply(request, self._policies[world].choose(request.work, request.choices, seed=request.seed), self.name)


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


class Replay:
    """Replays the answers of a file.

    Args:
        path: The YAML file.

    Raises:
        ConfigError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._path = f"scripted:{path}", path
        self._script = ScriptFile.load(path)
        self._used: dict[str, int] = {}

    async def generate(self, request: Request) -> Reply:
        """Answer with the first entry of the role whose `when` stands in the prompt, else with the role's next entry without `when`.

        Raises:
            ModelError: The script has no answer, or one that is not on offer.
        """
        for role in (request.role, "any"):
            entries = self._script.replies.get(role, ())
            prompt = "\n".join(message.content for message in request.messages)
            matched = next((entry for entry in entries if entry.when and entry.when in prompt), None)
            if matched is not None:
                return reply(request, matched.text, self.name)
            queue = [entry for entry in entries if not entry.when]
            used = self._used.get(role, 0)
            if used < len(queue):
                self._used[role] = used + 1
                return reply(request, queue[used].text, self.name)
        asked = request.messages[-1].content if request.messages else ""
        msg = (
            f"{self._path} has no answer left for role {request.role!r} ({self._used.get(request.role, 0)} used); asked was "
            f"{asked[-80:]!r}. "
            f"Add one under replies.{request.role} or replies.any."
        )
        raise ModelError(msg)


def reply(request: Request, text: str, name: str) -> Reply:
    """A scripted answer with its cost in words.

    Args:
        request: What was asked.
        text: The answer.
        name: The model's name, for the message.

    Returns:
        The reply.

    Raises:
        ModelError: The answer is not among the request's choices.
    """
    if request.choices is not None and text not in request.choices:
        msg = f"{name} answers {text!r}, which is not on offer. {did_you_mean(text, request.choices)}"
        raise ModelError(msg)
    read = sum(len(message.content.split()) for message in request.messages)
    usage = Usage(calls=1, prompt_tokens=read, output_tokens=len(text.split()))
    return Reply(text=text, finish="stop" if request.choices is None else "choice", usage=usage)


def extract(request: Request) -> str:
    """What shares most words with the last user message: a choice, or without choices a sentence of the rest of the prompt.

    A shared word counts with its length, so that "the" weighs less than "book".

    Args:
        request: The request. When the user message is the whole prompt, its last sentence is the question and the others are searched.

    Returns:
        The choice or sentence; the shortest, then the first of equals; "" for an empty prompt.
    """
    if request.role == "answerer" and request.choices is None:
        return quote(request)
    last = max((index for index, message in enumerate(request.messages) if message.role == "user"), default=len(request.messages) - 1)
    query = request.messages[last].content if request.messages else ""
    candidates: Sequence[str] = request.choices or _sentences([*request.messages[:last], *request.messages[last + 1 :]])
    if not candidates and request.messages:
        *candidates, query = _sentences([request.messages[last]]) or [""]
    wanted = _words(query)
    return min(candidates, key=lambda text: (-sum(map(len, _words(text) & wanted)), len(text)), default=query)


def _sentences(messages: Sequence[Message]) -> list[str]:
    parts = (part.strip() for message in messages for part in re.split(r"(?<=[.!?])\s+|\n+", message.content))
    return [part for part in parts if part]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _random(request: Request) -> str:
    return "" if request.choices is None else random.Random(request.seed).choice(request.choices)


def _first(request: Request) -> str:
    return "" if request.choices is None else request.choices[0]


def _noop(request: Request) -> str:
    choices = request.choices or ("",)
    whole = next((choice for word in HARMLESS for choice in choices if choice.casefold() == word), None)
    return whole or next((choice for choice in choices if choice.casefold().startswith(HARMLESS_VERBS)), choices[0])


_CHOOSERS: dict[str, Callable[[Request], str]] = {"extractive": extract, "first": _first, "noop": _noop, "random": _random}
