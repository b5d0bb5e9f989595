"""Plain data between host and sandbox, compared on the host: type-exact, nothing a program made is ever called."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

#: Nesting that is still compared.
DEEPEST = 50
#: Sets and dictionaries with more than this are not built: whoever chooses their numbers can make all of them collide.
MOST_KEYS = 2000
#: A string of JSON; also one that does not end, so that no text makes the search slow.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")


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
        if kind in {"dict", "set"} and len(items) > MOST_KEYS:
            raise ValueError
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


def plain_json(data: bytes, *, most: int, deepest: int) -> Any:
    """Bytes of a program as a JSON value; size and nesting are looked at before anything is built.

    Args:
        data: UTF-8.
        most: Largest size, in bytes.
        deepest: Deepest nesting of brackets.

    Raises:
        NotPlain: Too large, too deep, or no JSON; NaN and infinities are none.
    """
    if len(data) > most:
        msg = f"it is larger than {most} bytes"
        raise NotPlain(msg)
    brackets = _BRACKET.findall(_STRING.sub(b"", data))
    if max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0) > deepest:
        msg = f"it is nested deeper than {deepest}"
        raise NotPlain(msg)
    try:
        return json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        msg = f"it is no JSON: {type(error).__name__}"
        raise NotPlain(msg) from None


def _refuse(constant: str) -> Any:
    raise NotPlain(constant)


def written(value: Any, most: int | None = None) -> str:
    """A plain value as Python writes it, sets in order, so that it is the same in every process.

    Args:
        value: To be written.
        most: Longest text, in characters; what is longer ends with "…" and is never built. None means no end.
    """
    pieces: list[str] = []
    size = 0
    for piece in _pieces(value, most):
        pieces.append(piece)
        size += len(piece)
        if most is not None and size > most:
            return "".join(pieces)[:most] + "…"
    return "".join(pieces)


def _pieces(value: Any, most: int | None) -> Iterator[str]:
    if isinstance(value, str):
        yield repr(value if most is None else value[: most + 1])
        return
    if not isinstance(value, list | tuple | set | dict) or not value:
        yield repr(value)
        return
    one_tuple = isinstance(value, tuple) and len(value) == 1
    ends = {list: "[]", tuple: ("(", ",)" if one_tuple else ")")}.get(type(value), "{}")
    for number, item in enumerate(_in_order(value) if isinstance(value, set) else value):
        yield ", " if number else ends[0]
        yield from _pieces(item, most)
        if isinstance(value, dict):
            yield ": "
            yield from _pieces(value[item], most)
    yield ends[1]


def _in_order(items: set[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=repr)
