"""Approval rules: what a call is, which rule fits it, and the file that holds them."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from reflectory.errors import ConfigError, did_you_mean
from reflectory.execution import EffectKind
from reflectory.records import Frozen

Verdict = Literal["allow", "ask", "deny"]
EFFECTS: tuple[str, ...] = get_args(EffectKind)
#: A part of a path that leads upwards.
_UP = re.compile(r"(?<![\w.-])\.\.(?![\w.-])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Call:
    """What is about to be done.

    Attributes:
        tool: Name of the tool; for an action of an environment, the environment's.
        effect: What it can do to the world.
        arguments: JSON values by name; for an action of an environment {"action": TEXT}.
        text: What a person is asked; "" says tool, effect and arguments.
    """

    tool: str
    effect: EffectKind
    arguments: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def question(self) -> str:
        """What a person is asked."""
        return self.text or f"{self.tool} ({self.effect}) {_json(dict(self.arguments), readable=False)}"


class Rule(Frozen):
    """One rule: it fits a call that fits all its patterns.

    The values are those that the tool gets: read, checked, with defaults. A rule that allows does not fit a text with a `..` part, or
    with control signs, which its pattern does not have itself: `notes/*` does not allow `notes/../keys`.

    Attributes:
        effect: One of the effects, or several.
        tool: Glob pattern of the tool's name.
        arguments: Name → glob pattern of the argument's text (JSON where it is no text, whole numbers without `.0`); an argument that is
            not there never fits.
        decision: What then.
    """

    effect: tuple[EffectKind, ...] = ()
    tool: str = "*"
    arguments: dict[str, str] = Field(default_factory=dict)
    decision: Verdict

    @field_validator("effect", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _narrow(self) -> Rule:
        if self.decision == "allow" and not self.effect and not self.tool.strip("*?["):
            msg = "a rule that allows must say what: an effect, or the name of a tool"
            raise ValueError(msg)
        return self

    def fits(self, call: Call) -> bool:
        """Whether the rule speaks of this call."""
        if (self.effect and call.effect not in self.effect) or not fnmatch.fnmatchcase(call.tool, self.tool):
            return False
        return all(name in call.arguments and self._matches(call.arguments[name], pattern) for name, pattern in self.arguments.items())

    def _matches(self, value: Any, pattern: str) -> bool:
        if self.decision == "allow" and not set().union(*map(_tricks, _texts(value))) <= _tricks(pattern):
            return False
        return fnmatch.fnmatchcase(text_of(value), pattern)


class RuleFile(Frozen):
    """The form of an approvals file.

    ```yaml
    format: 1
    default: ask
    rules:
      - {effect: [none, read], decision: allow}
      - {tool: shell, arguments: {command: "*rm *"}, decision: deny}
    ```

    Attributes:
        format: Version of this form.
        default: What holds where no rule fits; never `allow`.
        rules: The first that fits decides.
    """

    format: Literal[1] = 1
    default: Literal["ask", "deny"] = "ask"
    rules: tuple[Rule, ...] = ()


def read_rules(path: str | Path) -> RuleFile:
    """Read an approvals file.

    Raises:
        ConfigError: It cannot be read, has an unknown key (the message names the nearest) or one twice, or allows by default.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        _once(yaml.compose(text, Loader=yaml.SafeLoader), set())
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        msg = f"cannot read the approvals {path}: {error}."
        raise ConfigError(msg) from error
    if not isinstance(data, Mapping):
        msg = f"the approvals {path} must be a mapping with `default` and `rules`, not {type(data).__name__}."
        raise ConfigError(msg)
    _known(data, RuleFile, f"{path}")
    for number, rule in enumerate(data.get("rules") or (), start=1):
        _known(rule if isinstance(rule, Mapping) else {}, Rule, f"{path}, rule {number}")
    if data.get("default") == "allow":
        msg = f"{path}: `default: allow` would allow whatever nobody thought of. Use ask or deny, and rules that allow."
        raise ConfigError(msg)
    try:
        return RuleFile.model_validate({key: value for key, value in data.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        msg = f"the approvals {path} do not fit: {problems}. Effects: {', '.join(EFFECTS)}; decisions: allow, ask, deny."
        raise ConfigError(msg) from error


def text_of(value: Any) -> str:
    """An argument as the text that patterns are compared with; of every value there is one."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _json(value)


def _once(node: yaml.Node | None, seen: set[int]) -> None:
    """Whether no key stands twice in a YAML file, where the last one would win in silence.

    Raises:
        YAMLError: One does.
    """
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            msg = f"the key {twice!r} stands twice{node.start_mark}"
            raise yaml.YAMLError(msg)
        for pair in node.value:
            for part in pair:
                _once(part, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _once(item, seen)


def _json(value: Any, *, readable: bool = True) -> str:
    """A value as JSON, or else as Python shows it, or else by its type."""
    try:
        return json.dumps(value, ensure_ascii=not readable, sort_keys=readable, default=repr)
    except Exception:
        try:
            return repr(value)
        except Exception:
            return f"({type(value).__name__})"


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for pair in value.items() for part in pair for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in _texts(item))


def _tricks(text: str) -> set[str]:
    """What in a text could lead elsewhere than its beginning says: control signs, and `..` as a part of a path."""
    return {*_CONTROL.findall(text), *_UP.findall(text)}


def _known(data: Mapping[Any, Any], form: type[Frozen], where: str) -> None:
    for key in data:
        if key not in form.model_fields:
            msg = f"{where}: there is no key {str(key)!r}. {did_you_mean(str(key), form.model_fields)}"
            raise ConfigError(msg)
