"""What several commands share: options to settings, task sets, models."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from reflectory.config import RunConfig, load
from reflectory.errors import ConfigError
from reflectory.records import Task
from reflectory.registry import lookup, names


def settings(given: Sequence[str], **options: Any) -> RunConfig:
    """The settings: a YAML file, then `key=value` overrides, then the named options that were given.

    Args:
        given: The `-c` values.
        **options: Dotted keys with `__` for the dot; None means not given.

    Raises:
        ConfigError: More than one file, an unknown key, a value that does not fit.
    """
    files = [item for item in given if "=" not in item]
    if len(files) > 1:
        msg = f"one file of settings at most: {', '.join(files)}."
        raise ConfigError(msg)
    config = load(files[0] if files else None, [item for item in given if "=" in item])
    named: dict[str, Any] = {}
    for key, value in options.items():
        if value is not None:
            part, _, rest = key.partition("__")
            if rest:
                named.setdefault(part, {})[rest] = value
            else:
                named[part] = value
    base = config.model_dump(mode="json")
    return load({key: {**base[key], **value} if isinstance(value, dict) else value for key, value in {**base, **named}.items()})


def task_set(name: str, source: str | None, *, limit: int | None, seed: int, goals: str) -> list[Task]:
    """The tasks of a set.

    Args:
        name: A registered set, or a dotted path; `SET:SOURCE` is the set with a source, such as `code:repair` or `household:quirky:dev`.
        source: Where they come from; None lets the set choose.
        limit: At most so many.
        seed: Seeds the choice.
        goals: `template`, or a file of goals in people's words.

    Raises:
        ConfigError: The set needs a source, or takes no such option.
    """
    name, part = split_set(name)
    if part is not None and source is not None:
        msg = f"{name}:{part} already says where the tasks are; leave --tasks {source} out."
        raise ConfigError(msg)
    source = source if part is None else part
    make = lookup("tasks", name)
    takes = inspect.signature(make).parameters
    options = {key: value for key, value in {"limit": limit, "seed": seed, "goals": goals}.items() if key in takes}
    if goals != "template" and "goals" not in takes:
        msg = f"the task set {name!r} has no other goals than its own; leave --goals out."
        raise ConfigError(msg)
    if source is not None and "source" not in takes:
        msg = f"the task set {name!r} has one source only; leave --tasks out."
        raise ConfigError(msg)
    if source is None and "source" in takes and takes["source"].default is inspect.Parameter.empty:
        msg = f"the task set {name!r} needs --tasks: where its tasks are."
        raise ConfigError(msg)
    return list(make(**({} if source is None else {"source": source}), **options))


def split_set(name: str) -> tuple[str, str | None]:
    """A registered set and the source behind its name: `code:repair` is ("code", "repair"); other names have None."""
    head, colon, rest = name.partition(":")
    return (head, rest) if colon and head in names("tasks") else (name, None)


def models(given: Sequence[str]) -> str | dict[str, str]:
    """One model, or role → model. `=` stands between role and model; a lone value is the model of all roles."""
    if len(given) == 1 and not _has_role(given[0]):
        return given[0]
    roles: dict[str, str] = {}
    for item in given:
        role, _, name = item.partition("=") if _has_role(item) else ("solver", "", item)
        if role in roles:
            msg = f"the role {role!r} has two models: {roles[role]!r} and {name!r}."
            raise ConfigError(msg)
        roles[role] = name
    return roles


def _has_role(item: str) -> bool:
    return item.partition("=")[0].isidentifier() and "=" in item
