"""From a function's signature and docstring to the schema a model reads, and from a model's arguments to the function's."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from reflectory.errors import ToolError, did_you_mean
from reflectory.tools.checks import WrongArguments, json_object, shown

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns|Return|Raises|Yields|Examples?|Notes?|Attributes|Warnings?|See Also|References):\s*$"
)
_ENTRY = re.compile(r"^(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


class Read(NamedTuple):
    """Arguments that fit.

    Attributes:
        values: The function's keyword arguments, in its own types.
        arguments: The same as JSON values, defaults included: what approval judges.
        given: What the model gave, as JSON values.
    """

    values: dict[str, Any]
    arguments: dict[str, Any]
    given: dict[str, Any]


class Reader(Protocol):
    """Says what a tool may be given, and reads what it was given."""

    @property
    def description(self) -> str:
        """What the tool does."""
        ...

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments, an object."""
        ...

    def read(self, given: Any) -> Read:
        """The arguments in the function's types, and as JSON.

        Raises:
            WrongArguments: They do not fit.
        """
        ...


class Arguments:
    """The named arguments of a function.

    Args:
        function: Typed parameters that can be given by name; Google-style `Args:` of its docstring become descriptions.

    Attributes:
        description: The docstring up to its first section.
        schema: JSON schema of the arguments, an object.

    Raises:
        ToolError: A parameter has no type, cannot be given by name, or has a type without JSON schema.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.description, texts = read_docstring(inspect.getdoc(function) or "")
        where = getattr(function, "__qualname__", type(function).__qualname__)
        fields: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        hints = _hints(function, where)
        for number, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
            _usable(parameter, where, name in hints)
            self._names[f"argument_{number}"] = name  # a name of its own: pydantic keeps some for itself
            fields[f"argument_{number}"] = (hints[name], _field(parameter, texts.get(name)))
        try:
            model = create_model("Arguments", __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)
            self._model: type[BaseModel] = model
            self.schema: dict[str, Any] = object_schema(model.model_json_schema())
        except Exception as error:  # pydantic has a dozen types for this
            msg = f"the arguments of {where} cannot be described: {error}. Use types with a JSON form, such as list[str]."
            raise ToolError(msg) from error

    def read(self, given: Any) -> Read:
        """Check arguments and convert them from JSON to the function's types; a text is no number, and a number no yes or no.

        Args:
            given: What the model gave.

        Returns:
            What was not given is left to the function's defaults.

        Raises:
            WrongArguments: They do not fit.
        """
        if not isinstance(given, Mapping):
            msg = f"The arguments must be a JSON object such as {self._example()}, not {shown(given)}."
            raise WrongArguments(msg)
        plain, text = json_object(given)
        try:
            read = self._model.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise WrongArguments(" ".join(self._problem(item) for item in error.errors(include_url=False, include_context=False))) from None
        values = {name: getattr(read, field) for field, name in self._names.items() if field in read.model_fields_set}
        return Read(values, as_json(read), plain)

    def _problem(self, item: Mapping[str, Any]) -> str:
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "json_invalid":  # half of a surrogate pair, or nested too deep
            return f"The arguments are no valid JSON: {item['msg']}."
        if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
            return f'There is no argument "{place}". {did_you_mean(place, self._names.values())}'
        if item["type"] == "missing":
            kind = self.schema["properties"].get(place, {}).get("type", "a value")
            return f'The argument "{place}" is missing; expected: {kind}.'
        return f'The argument "{place}" does not fit: {item["msg"]}; given: {shown(item["input"])}.'

    def _example(self) -> str:
        return json.dumps({name: "…" for name in self._names.values()}, ensure_ascii=False)


def as_json(read: BaseModel) -> dict[str, Any]:
    """Validated arguments as JSON values, by the names a model knows; a default that has no JSON form as its `repr`."""
    return read.model_dump(mode="json", by_alias=True, warnings=False, fallback=repr)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description of a Google-style docstring, and its arguments' descriptions.

    Args:
        text: The docstring, cleaned of its indentation.

    Returns:
        (what stands before the first section, name → description).
    """
    before: list[str] = []
    arguments: dict[str, str] = {}
    section, last, indent = "", "", 0
    for line in text.splitlines():
        if found := _SECTION.match(line):
            section, last = found[1], ""
        elif not section:
            before.append(line)
        elif section in {"Args", "Arguments", "Parameters"} and line.strip():
            entry = _ENTRY.match(line.strip())
            depth = len(line) - len(line.lstrip())
            if entry and (not last or depth <= indent):
                last, indent = entry[1], depth
                arguments[last] = entry[2]
            elif last:
                arguments[last] = f"{arguments[last]} {line.strip()}".strip()
    return "\n".join(before).strip(), arguments


def object_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object without titles, which only repeat the names: small models read every word."""
    return {"type": "object", "properties": {}, **_without_titles(schema)}


def _without_titles(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    plain = {key: value for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    # Below these, keys are names of the user's, `title` among them.
    named = {"properties", "$defs", "default", "examples", "const", "enum"}
    mapped = {key: {name: _without_titles(inner) for name, inner in plain[key].items()} for key in ("properties", "$defs") if key in plain}
    return {key: value if key in named else _without_titles(value) for key, value in plain.items()} | mapped


def _hints(function: Callable[..., Any], where: str) -> dict[str, Any]:
    source = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(source, include_extras=True)
    except Exception as error:
        msg = f"the types of {where} cannot be read: {error}. Types must be known where the module is, not inside a function."
        raise ToolError(msg) from error


def _usable(parameter: inspect.Parameter, where: str, typed: bool) -> None:
    if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
        msg = f"{where}: the parameter {parameter} cannot be given by name, which is how models call. Name each parameter."
        raise ToolError(msg)
    if not typed:
        msg = f"{where}: the parameter {parameter.name} has no type, so no model can know what to give. Write `{parameter.name}: str`."
        raise ToolError(msg)


def _field(parameter: inspect.Parameter, description: str | None) -> Any:
    told: dict[str, Any] = {"alias": parameter.name} | ({"description": description} if description else {})
    if parameter.default is parameter.empty:
        return Field(**told)
    try:
        json.dumps(parameter.default)
    except (TypeError, ValueError):  # a default of the function's own that a schema cannot show
        return Field(default_factory=lambda: parameter.default, **told)
    return Field(default=parameter.default, **told)
