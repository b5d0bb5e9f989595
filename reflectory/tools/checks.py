"""Arguments against a JSON schema, strictly: for tools that come with a schema and no types, such as those of an MCP server."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from reflectory.errors import ToolError, did_you_mean

_log = logging.getLogger(__name__)
#: Keywords that are checked.
CHECKED = frozenset(
    {"type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"}
    | {"items", "minItems", "maxItems", "properties", "required", "additionalProperties", "anyOf", "oneOf", "allOf", "$ref"}
)
#: Keywords that constrain nothing.
_TOLD = frozenset(
    {"title", "description", "default", "examples", "format", "deprecated", "readOnly", "writeOnly"}
    | {"$schema", "$id", "$comment", "$defs", "definitions"}
)
#: Keywords that hold one schema, a list of them, and one by name.
_ONE, _LISTED, _NAMED = ("items", "additionalProperties"), ("anyOf", "oneOf", "allOf"), ("properties", "$defs", "definitions")
#: Characters of a wrong argument that are shown to the model.
_SHOWN = 80
_IS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_BOUNDS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("at least", lambda value, bound: value >= bound),
    "maximum": ("at most", lambda value, bound: value <= bound),
    "exclusiveMinimum": ("more than", lambda value, bound: value > bound),
    "exclusiveMaximum": ("less than", lambda value, bound: value < bound),
}
_SIZES: Mapping[str, tuple[type, str, Callable[[int, int], bool]]] = {
    "minLength": (str, "at least {} characters long", lambda size, bound: size >= bound),
    "maxLength": (str, "at most {} characters long", lambda size, bound: size <= bound),
    "minItems": (list, "at least {} items long", lambda size, bound: size >= bound),
    "maxItems": (list, "at most {} items long", lambda size, bound: size <= bound),
}


class WrongArguments(ToolError):
    """A model's arguments do not fit; the message says which, what was expected and what was given."""


def json_object(given: Any) -> tuple[dict[str, Any], str]:
    """Arguments as JSON.

    Args:
        given: What the model gave.

    Returns:
        A copy that holds JSON values alone, and its text.

    Raises:
        WrongArguments: It is no mapping, or holds what JSON has no form for.
    """
    if not isinstance(given, Mapping):
        msg = f"The arguments must be a JSON object, not {type(given).__name__}."
        raise WrongArguments(msg)
    try:
        text = json.dumps(dict(given), allow_nan=False)
        return json.loads(text), text
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"The arguments have no JSON form: {error}."
        raise WrongArguments(msg) from None


def known_names(given: Mapping[str, Any], names: Iterable[str]) -> None:
    """Whether only these names were given.

    Raises:
        WrongArguments: Another one was.
    """
    names = list(names)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise WrongArguments(" ".join(f'There is no argument "{name}". {did_you_mean(name, names)}' for name in unknown))


def checked(schema: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that fit a schema, with its defaults filled in.

    Names that the schema does not have are refused, unless it says `additionalProperties` itself. A whole number is no `1.0`.

    Args:
        schema: JSON schema of an object.
        given: JSON values by name.

    Raises:
        WrongArguments: They do not fit.
    """
    try:
        if "additionalProperties" not in schema:
            known_names(given, list(dict.fromkeys(_names(schema, schema))))
        wrong = list(misfits(schema, given))
    except RecursionError:
        wrong = ["The arguments, or their schema, are nested too deep."]
    if wrong:
        raise WrongArguments(" ".join(wrong))
    defaults = {
        name: inner["default"]
        for name, inner in schema.get("properties", {}).items()
        if name not in given and isinstance(inner, Mapping) and "default" in inner and not any(misfits(inner, inner["default"], "", schema))
    }
    return {**given, **defaults}


def misfits(schema: Any, value: Any, place: str = "", root: Mapping[str, Any] | None = None) -> Iterator[str]:
    """What of a value does not fit a schema, one sentence each.

    Args:
        schema: A JSON schema; of its keywords those in `CHECKED` count.
        value: JSON values.
        place: Where the value stands, names with points between.
        root: The schema that `$ref` looks into; None is `schema`.
    """
    if schema is False:
        yield f'The argument "{place}" may not be given.'
    if not isinstance(schema, Mapping):
        return
    root = schema if root is None else root
    yield from (f'The argument "{place}" does not fit: it must be {must}; given: {shown(value)}.' for must in _musts(schema, value))
    if isinstance(value, dict):
        yield from _members(schema, value, place, root)
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from misfits(schema["items"], item, _below(place, str(number)), root)
    if "$ref" in schema:
        yield from misfits(_resolved(schema["$ref"], root), value, place, root)
    for inner in schema.get("allOf", ()):
        yield from misfits(inner, value, place, root)
    for word in ("anyOf", "oneOf"):
        found = [list(misfits(inner, value, place, root)) for inner in schema.get(word, ())]
        fits = sum(not one for one in found)
        if found and not fits:
            yield from min(found, key=len)
        elif word == "oneOf" and fits > 1:
            yield f'The argument "{place}" fits several of its forms, and may fit one.'


def unchecked(schema: Any) -> set[str]:
    """Keywords of a schema that constrain and are not checked, `pattern` for example."""
    if not isinstance(schema, Mapping):
        return set()
    found = set(schema) - CHECKED - _TOLD
    inner = [schema[word] for word in _ONE if word in schema]
    inner += [one for word in _LISTED for one in schema.get(word, ())]
    inner += [one for word in _NAMED for one in schema.get(word, {}).values()]
    return found.union(*map(unchecked, inner))


def report_unchecked(tool: str, schema: Any) -> None:
    """Say in the log which keywords of a tool's schema are left to the tool."""
    if words := unchecked(schema):
        _log.warning("of the arguments of %s these keywords are not checked: %s", tool, ", ".join(sorted(words)))


def shown(value: Any) -> str:
    """A value for an error message, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=True)
    except Exception:
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _musts(schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    """What the value by itself must be and is not."""
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_IS[kind](value) for kind in types if kind in _IS):
            yield " or ".join(map(str, types))
    for word, among in (("enum", schema.get("enum")), ("const", [schema.get("const")])):
        # Compared as text: True is not 1.
        if word in schema and _text(value) not in map(_text, among or ()):
            yield " or ".join(map(_text, among or ())) or "one of nothing"
    if _IS["number"](value):
        for word, (must, holds) in _BOUNDS.items():
            if _IS["number"](schema.get(word)) and not holds(value, schema[word]):
                yield f"{must} {schema[word]}"
    for word, (kind, says, fits) in _SIZES.items():
        if isinstance(value, kind) and _IS["number"](schema.get(word)) and not fits(len(value), schema[word]):  # type: ignore[arg-type]
            yield says.format(schema[word])


def _members(schema: Mapping[str, Any], value: dict[str, Any], place: str, root: Mapping[str, Any]) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f'The argument "{_below(place, name)}" is missing.'
    for name, inner in value.items():
        if name in properties:
            yield from misfits(properties[name], inner, _below(place, name), root)
        elif schema.get("additionalProperties") is False:
            yield f'There is no argument "{_below(place, name)}". {did_you_mean(name, properties)}'
        else:
            yield from misfits(schema.get("additionalProperties", True), inner, _below(place, name), root)


def _resolved(reference: Any, root: Mapping[str, Any]) -> Any:
    """What a reference within the schema leads to; nothing fits one that leads nowhere."""
    found: Any = root if str(reference).startswith("#") else None
    for part in str(reference).removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return False if found is None else found


def _names(schema: Any, root: Mapping[str, Any]) -> Iterator[str]:
    """Names that an object may have, by whatever form."""
    if not isinstance(schema, Mapping):
        return
    yield from schema.get("properties", {})
    for inner in [one for word in _LISTED for one in schema.get(word, ())]:
        yield from _names(inner, root)
    if "$ref" in schema:
        yield from _names(_resolved(schema["$ref"], root), root)


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=repr)
