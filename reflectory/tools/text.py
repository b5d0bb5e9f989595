"""What a tool returned as text for a model: always encodable, cut in the middle when it is long, hashed when it was cut."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import inspect
import json
import time
from collections.abc import Iterator, Set
from typing import Any

from pydantic import BaseModel

from reflectory.errors import ToolError
from reflectory.execution import ToolResult
from reflectory.records import OriginKind

#: Characters hashed at a time, so that a long text is not copied whole.
_CHUNK = 2**20
#: Bytes of binary data that are shown.
_SHOWN = 32


class NoText(ToolError):
    """A result has no form a model could read."""


def cut(text: str, most: int) -> tuple[str, bool, str]:
    """Shorten a text to its beginning and its end.

    Args:
        text: Any text; what UTF-8 cannot hold (lone surrogates) becomes an escape.
        most: Bytes of UTF-8 that are kept, half of them from the beginning and half from the end.

    Returns:
        The text with a line in the place of what was left out, whether it lacks something, and the sha256 of the whole.
    """
    digest, total = hashlib.sha256(), 0
    for start in range(0, len(text), _CHUNK):
        part = text[start : start + _CHUNK].encode("utf-8", "backslashreplace")
        digest.update(part)
        total += len(part)
    if total <= most:
        return text.encode("utf-8", "backslashreplace").decode("utf-8"), False, digest.hexdigest()
    half = max(1, most // 2)
    head = text[:half].encode("utf-8", "backslashreplace")[:half].decode("utf-8", "ignore")
    tail = text[-half:].encode("utf-8", "backslashreplace")[-half:].decode("utf-8", "ignore")
    lost = total - len(head.encode()) - len(tail.encode())
    return f"{head}\n[… {lost} bytes left out, sha256 of all {total} bytes {digest.hexdigest()} …]\n{tail}", True, digest.hexdigest()


def answer(text: str, *, most: int, began: float, error: str = "", origin: OriginKind = "content") -> ToolResult:
    """A ToolResult with its text cut.

    Args:
        text: The whole text.
        most: Bytes that are kept.
        began: `time.monotonic()` when the call began.
        error: Kind of error; "" for none.
        origin: Who could have written the text.
    """
    shown, truncated, sha256 = cut(text, most)
    seconds = time.monotonic() - began
    return ToolResult(text=shown, ok=not error, error=error, origin=origin, truncated=truncated, sha256=sha256, seconds=seconds)


def render(value: Any) -> str:
    """A function's result as text: strings as they are, bytes decoded or described, all else as JSON.

    Raises:
        NoText: It is a generator, a coroutine, or holds what JSON cannot.
    """
    if value is None:
        return "(nothing)"
    if isinstance(value, str):
        return exact(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, Iterator) or inspect.isawaitable(value) or inspect.isasyncgen(value):
        msg = f"it returned a {type(value).__name__}, which is no result yet. The tool must return a value, a list for example."
        raise NoText(msg)
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except Exception as error:  # a value's own code runs here
        if isinstance(error, NoText):
            raise
        msg = f"it returned a {type(value).__name__} that has no JSON form: {said(error)}"
        raise NoText(msg) from error


def said(error: BaseException) -> str:
    """Type and message of an exception, without its traceback; also where the exception cannot print itself."""
    try:
        message = exact(str(error))
    except BaseException:
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def exact(text: str) -> str:
    """A plain `str`: the methods of a subclass are somebody's code, and may do anything.

    Raises:
        TypeError: It is no text.
    """
    return str.__str__(text)


def _plain(value: Any) -> Any:
    """What `json` cannot write, as what it can.

    Raises:
        NoText: There is no such form.
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Set):
        return sorted(value, key=repr)
    if isinstance(value, enum.Enum):
        return value.value
    if callable(listed := getattr(value, "tolist", None)):  # NumPy's arrays and numbers
        return listed()
    if type(value).__module__ in {"datetime", "pathlib", "uuid", "decimal", "fractions", "ipaddress"}:
        return str(value)
    msg = f"it returned a {type(value).__name__}, which has no JSON form. The tool must return text, numbers, lists or dicts."
    raise NoText(msg)


def _bytes(data: bytes) -> str:
    """Bytes that are text as text; others by size, hash and beginning."""
    try:
        if b"\0" not in data:
            return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    begin = data[:_SHOWN].hex(" ")
    return f"({len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}, begins {begin}{' …' if len(data) > _SHOWN else ''})"
