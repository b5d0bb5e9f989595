"""One name → object registry. Names are looked up by builders, Runner and CLI; lower floors get objects."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from reflectory.errors import UnknownName, did_you_mean

#: Kind → name → dotted path "module:attribute". Kept as text so that a look-up imports only what it finds.
BUILTIN: Mapping[str, Mapping[str, str]] = {
    "env": {
        "household": "reflectory.envs.household:HouseholdEnv",
        "code": "reflectory.envs.code:CodeEnv",
        "toolbox": "reflectory.envs.toolbox:ToolboxEnv",
    },
    "tasks": {
        "household": "reflectory.envs.household:household_tasks",
        "code": "reflectory.envs.code:code_tasks",
    },
    "graph": {
        "act": "reflectory.graphs.act:act",
        "reflexion": "reflectory.graphs.reflexion:reflexion",
        "dialogue": "reflectory.graphs.dialogue:dialogue",
    },
    "model": {
        "embedded": "reflectory.models.shipped:embedded",
        "scripted": "reflectory.models.scripted:scripted",
        "hf": "reflectory.models.local:from_name",
    },
    "policy": {
        "household": "reflectory.envs.household:SearchPolicy",
    },
    "prompt": {
        "tracked": "reflectory.agents.views.tracked:TrackedView",
        "tracked-places": "reflectory.agents.views.tracked:PlacesView",
        "raw": "reflectory.agents.views.raw:RawView",
        "code": "reflectory.agents.views.code:CodeView",
        "tools": "reflectory.agents.views.tools:ToolsView",
    },
    # Environment → the view made for it, which `prompt: auto` takes.
    "view": {
        "household": "reflectory.agents.views.tracked:TrackedView",
        "code": "reflectory.agents.views.code:CodeView",
        "toolbox": "reflectory.agents.views.tools:ToolsView",
    },
    "embedder": {
        "hashing": "reflectory.retrieval.hashing:HashingEmbedder",
        "minilm": "reflectory.retrieval.minilm:MiniLMEmbedder",
    },
}


def names(kind: str) -> list[str]:
    """All registered names of a kind, plug-ins (entry points `reflectory.KIND`) included, sorted."""
    return sorted({*BUILTIN.get(kind, {}), *(point.name for point in entry_points(group=f"reflectory.{kind}"))})


def lookup(kind: str, name: str) -> Any:
    """Find what a name stands for.

    Args:
        kind: env, tasks, graph, model, policy, prompt, view or embedder.
        name: A registered name, or a dotted path `package.module:attribute` (`package.module.attribute` works too).

    Returns:
        The object itself, imported on demand.

    Raises:
        UnknownName: Nothing answers to the name; the message says what would have worked.
    """
    path = BUILTIN.get(kind, {}).get(name)
    if path is not None:
        return _load(path)
    for point in entry_points(group=f"reflectory.{kind}"):
        if point.name == name:
            return point.load()
    if ":" in name or "." in name:
        try:
            return _load(name)
        except (ImportError, AttributeError) as error:
            msg = f"no {kind} at {name!r}: {error}. {did_you_mean(name, names(kind))}"
            raise UnknownName(msg) from error
    msg = f"there is no {kind} named {name!r}. {did_you_mean(name, names(kind))} A dotted path `package.module:attribute` works too."
    raise UnknownName(msg)


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":") if ":" in path else path.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
