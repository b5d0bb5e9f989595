"""From what a user names to a Model."""

from __future__ import annotations

import inspect
from typing import Any

from reflectory.models.adapter import as_model
from reflectory.protocols import Model
from reflectory.registry import lookup, names


def resolve_model(spec: Any) -> Model:
    """Find the model a user means.

    Args:
        spec: `embedded`, `embedded:novice`, `scripted:random`, `hf:NAME`, a plug-in's `name:argument`, a dotted path
            `package.module:attribute`
            to a model or to a function or class that makes one without arguments, or the object itself.

    Returns:
        The model.

    Raises:
        UnknownName: Nothing answers to the name; the message says what would have worked.
        ModelUnavailable: The model is known but cannot be loaded.
        ConfigError: The object is no model.
    """
    if not isinstance(spec, str):
        return as_model(spec)
    kind, _, argument = spec.partition(":")
    if kind in names("model"):
        return as_model(lookup("model", kind)(argument))
    found = lookup("model", spec)
    return as_model(found() if inspect.isclass(found) or inspect.isroutine(found) else found)
