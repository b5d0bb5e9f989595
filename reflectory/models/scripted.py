"""Deterministic models: every page of the docs and every user's test runs offline with them.

Token counts in their usage are words between white space; ids and log-probabilities they have none.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reflectory.errors import ModelError, UnknownName, UnsupportedTask, did_you_mean
from reflectory.models.answers import extract, reply
from reflectory.models.bound import Cheat, Oracle
from reflectory.models.script import ScriptFile
from reflectory.protocols import Model
from reflectory.records import Reply, Request
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
    * `cheat` plays one of the ways to cheat that the environment names, drawn with the seed of its first request;
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
    if name == "cheat":
        return Cheat()
    if name == "search":
        return Search()
    if name not in _CHOOSERS:
        known = [*_CHOOSERS, "cheat", "oracle", "search"]
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


def _random(request: Request) -> str:
    return "" if request.choices is None else random.Random(request.seed).choice(request.choices)


def _first(request: Request) -> str:
    return "" if request.choices is None else request.choices[0]


def _noop(request: Request) -> str:
    choices = request.choices or ("",)
    whole = next((choice for word in HARMLESS for choice in choices if choice.casefold() == word), None)
    return whole or next((choice for choice in choices if choice.casefold().startswith(HARMLESS_VERBS)), choices[0])


_CHOOSERS: dict[str, Callable[[Request], str]] = {"extractive": extract, "first": _first, "noop": _noop, "random": _random}
