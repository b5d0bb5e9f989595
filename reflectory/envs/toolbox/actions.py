"""From what a model wrote to a call of a tool or an answer."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reflectory.errors import ParseError, did_you_mean

FORM = 'Write one JSON object and nothing else: {"tool": NAME, "arguments": {…}} to call a tool, or {"answer": TEXT} to end.'
#: A longer action is not read.
MOST = 1_000_000
#: Python's own parser is asked about calls no longer than this.
_MOST_CALL = 10_000
#: A fence around the whole action.
_FENCED = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
#: Larger numbers are no argument; a float holds no larger ones either.
_MOST_BITS = 1024
_CALL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\(.*\)", re.DOTALL)


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool by its name, with arguments by name."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The answer that ends the episode."""

    text: str


def read_action(text: str, parameters: Mapping[str, Sequence[str]] | None = None) -> ToolCall | Answer:
    """Read an action: a JSON object, or a call such as `search(query="x")` with JSON values. A fence may stand around the whole of it.

    What stands beside a fence, or in an argument, is never looked into: a fence that a model quotes is no action of its own.

    Args:
        text: What the model wrote.
        parameters: Tool → names of its arguments, for calls that give them by position.

    Returns:
        What is meant; whether there is such a tool is not looked at.

    Raises:
        ParseError: It is none of these; the message says what form is expected.
    """
    if len(text) > MOST:
        msg = f"An action of {len(text)} characters is not read. {FORM}"
        raise ParseError(msg)
    plain = text.strip()
    if fence := _FENCED.fullmatch(plain):
        plain = fence[1].strip()
    if _CALL.fullmatch(plain) and len(plain) <= _MOST_CALL:
        return _from_call(plain, parameters or {})
    try:
        data = json.loads(plain)
        _json_value(data)
    except (ValueError, RecursionError) as error:
        msg = f"This is no JSON object ({error}). {FORM}"
        raise ParseError(msg) from None
    return _from_json(data)


def read_answer(action: str) -> str | None:
    """The text of an action that answers; None for any other. For a task's own check: `read_answer(state["answer"])`."""
    try:
        read = read_action(action)
    except ParseError:
        return None
    return read.text if isinstance(read, Answer) else None


def _from_json(data: Any) -> ToolCall | Answer:
    if not isinstance(data, dict):
        msg = f"This is JSON, but no object. {FORM}"
        raise ParseError(msg)
    if set(data) == {"answer"}:
        said = data["answer"]
        return Answer(said if isinstance(said, str) else json.dumps(said, ensure_ascii=False))
    if "tool" not in data or not set(data) <= {"tool", "arguments"}:
        wrong = next((key for key in data if key not in {"tool", "arguments", "answer"}), None)
        hint = "" if wrong is None else f"There is no key {wrong!r}. {did_you_mean(wrong, ['tool', 'arguments', 'answer'])} "
        msg = f"{hint}{FORM}"
        raise ParseError(msg)
    arguments = data.get("arguments", {})
    if not isinstance(data["tool"], str) or not isinstance(arguments, dict):
        msg = f'"tool" is a name and "arguments" is an object. {FORM}'
        raise ParseError(msg)
    return ToolCall(data["tool"], arguments)


def _from_call(text: str, parameters: Mapping[str, Sequence[str]]) -> ToolCall:
    """A call written as Python; its arguments are literals, nothing of it is run."""
    try:
        tree = ast.parse(text, mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            msg = "it is no call of a tool"
            raise ValueError(msg)
        name = tree.func.id
        arguments = dict(zip(parameters.get(name, ()), map(ast.literal_eval, tree.args), strict=False))
        if len(arguments) < len(tree.args):
            msg = "give arguments by name"
            raise ValueError(msg)
        for keyword in tree.keywords:
            if keyword.arg is None or keyword.arg in arguments:
                msg = "give each argument once, by name"
                raise ValueError(msg)
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        _json_value(arguments)
        return ToolCall(name, arguments)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        msg = f"This call cannot be read ({error}). {FORM}"
        raise ParseError(msg) from None


def _json_value(value: Any) -> None:
    """Whether a value is one that JSON has, with numbers of a size that everybody can read.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            msg = "the keys of an object are texts"
            raise ValueError(msg)
        for inner in value.values():
            _json_value(inner)
    elif isinstance(value, list):
        for inner in value:
            _json_value(inner)
    elif isinstance(value, int | float):
        if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and value.bit_length() > _MOST_BITS):
            msg = "a number is too large, or is none"
            raise ValueError(msg)
    elif value is not None and not isinstance(value, str):
        msg = f"a {type(value).__name__} is no JSON value"
        raise ValueError(msg)
