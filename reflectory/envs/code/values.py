"""Plain data between host and sandbox, compared on the host: type-exact, nothing a program made is ever called."""

from __future__ import annotations

import math
from typing import Any

#: Nesting that is still compared.
DEEPEST = 200


class NotPlain(ValueError):
    """What came back is no plain data."""


def encode(value: Any) -> Any:
    """Values as JSON that keeps list, tuple, set and dict apart."""
    if isinstance(value, dict):
        return ["dict", [[encode(key), encode(item)] for key, item in value.items()]]
    for kind in (list, tuple, set):
        if isinstance(value, kind):
            return [kind.__name__, [encode(item) for item in value]]
    return value


def decode(value: Any, depth: int = 0) -> Any:
    """What the driver encoded, as values again.

    Raises:
        NotPlain: It is something else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if not isinstance(value, list) or len(value) != 2 or depth > DEEPEST:
        msg = "it is not in the form of an answer"
        raise NotPlain(msg)
    kind, items = value
    if kind == "?":
        msg = f"{str(items)[:60]} is no plain data"
        raise NotPlain(msg)
    if not isinstance(items, list):
        msg = "it is not in the form of an answer"
        raise NotPlain(msg)
    try:
        if kind == "dict":
            return {decode(key, depth + 1): decode(item, depth + 1) for key, item in items}
        makers: dict[str, Any] = {"list": list, "tuple": tuple, "set": set}
        return makers[kind]([decode(item, depth + 1) for item in items])
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        msg = f"it is not in the form of an answer: {type(error).__name__}"
        raise NotPlain(msg) from None


def same(got: Any, expected: Any, tolerance: float | None = None) -> bool:
    """Whether two plain values are equal in value and type; True is not 1, a tuple no list; floats may differ by the tolerance."""
    if type(got) is not type(expected):
        return False
    if isinstance(expected, float) and tolerance is not None:
        return math.isclose(got, expected, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(same(one, other, tolerance) for one, other in zip(got, expected, strict=True))
    if isinstance(expected, dict):
        kinds = {(type(key), key) for key in got} == {(type(key), key) for key in expected}
        return kinds and all(same(got[key], item, tolerance) for key, item in expected.items())
    if isinstance(expected, set):
        return {(type(item), item) for item in got} == {(type(item), item) for item in expected}
    return bool(got == expected)
