"""Who says whether a call may be made: nobody (`auto`), a person (`ask`), or an ordered list of rules in a YAML file."""

from __future__ import annotations

import asyncio
import fnmatch
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from reflectory.errors import ConfigError, did_you_mean
from reflectory.execution import EffectKind, ToolResult
from reflectory.protocols import Tool
from reflectory.records import Frozen

Verdict = Literal["allow", "ask", "deny"]
#: Asked with a text; True, "y" or "yes" allows, "always" allows this tool from now on, all else denies.
Ask = Callable[[str], "bool | str | Awaitable[bool | str]"]
EFFECTS: tuple[str, ...] = get_args(EffectKind)


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
        return self.text or f"{self.tool} ({self.effect}) {json.dumps(dict(self.arguments), default=repr)}"


@dataclass(frozen=True)
class Decision:
    """Whether a call may be made, and who says so."""

    allowed: bool
    by: str

    def refusal(self, call: Call) -> ToolResult:
        """What the model reads instead of an answer."""
        text = f"The call of {call.tool} was not approved: {self.by}. Nothing was done."
        return ToolResult(text=text, ok=False, error="denied", origin="world")


class Policy:
    """Allows everything; the other policies say more. As a function (text of an action → bool) it is what `RunContext.approve` takes."""

    async def decide(self, call: Call) -> Decision:
        """Whether a call may be made. Asked before it is made."""
        return Decision(True, "everything is allowed")

    async def __call__(self, action: str) -> bool:
        """Whether an action may be done, of which only its text is known."""
        return (await self.decide(Call("action", "write", {"action": action}, action))).allowed


class Human(Policy):
    """Asks a person, one question at a time.

    Args:
        ask: Asked with `Call.question`; sync ones run on a thread. What is neither yes nor `always` is no.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._always: set[str] = set()
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    async def decide(self, call: Call) -> Decision:
        """Ask, unless this tool was allowed for always."""
        loop = asyncio.get_running_loop()
        if self._turn is None or self._turn[0] is not loop:
            self._turn = loop, asyncio.Lock()
        async with self._turn[1]:
            if call.tool in self._always:
                return Decision(True, "a person allowed it for always")
            said = await self._answer(call.question)
        if isinstance(said, str):
            word = said.strip().lower()
            if word == "always":
                self._always.add(call.tool)
            said = word in {"y", "yes", "always"}
        return Decision(said is True, "a person said yes" if said is True else "a person said no")

    async def _answer(self, question: str) -> bool | str:
        if inspect.iscoroutinefunction(self._ask) or inspect.iscoroutinefunction(getattr(self._ask, "__call__", None)):  # noqa: B004
            said = self._ask(question)
        else:
            said = await asyncio.to_thread(self._ask, question)
        return await said if inspect.isawaitable(said) else said


class Rule(Frozen):
    """One rule: it fits a call that fits all its patterns.

    Attributes:
        effect: One of the effects, or several.
        tool: Glob pattern of the tool's name.
        arguments: Name → glob pattern of the argument's text (JSON where it is no text); an argument that is not given never fits.
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
        return all(
            name in call.arguments and fnmatch.fnmatchcase(_text(call.arguments[name]), pattern) for name, pattern in self.arguments.items()
        )


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


class Rules(Policy):
    """Decides by rules; where they say `ask`, a person does.

    Args:
        rules: The rules.
        name: What they are called in refusals, a file's name for example.
        ask: Who is asked; None where no rule asks.

    Raises:
        ConfigError: Rules ask and there is nobody.
    """

    def __init__(self, rules: RuleFile, name: str = "the rules", ask: Ask | None = None) -> None:
        asks = rules.default == "ask" or any(rule.decision == "ask" for rule in rules.rules)
        if asks and ask is None:
            msg = f"{name} needs somebody to ask. Pass `approve=` to the Runner, or write `default: deny` and no rule with `ask`."
            raise ConfigError(msg)
        self._rules, self._name = rules, name
        self._human = None if ask is None else Human(ask)

    async def decide(self, call: Call) -> Decision:
        """By the first rule that fits."""
        number = next((number for number, rule in enumerate(self._rules.rules, start=1) if rule.fits(call)), None)
        decision: Verdict = self._rules.default if number is None else self._rules.rules[number - 1].decision
        if decision == "ask" and self._human is not None:
            return await self._human.decide(call)
        said = f"the default of {self._name} says {decision}" if number is None else f"rule {number} of {self._name} says {decision}"
        return Decision(decision == "allow", said)


def read_rules(path: str | Path) -> RuleFile:
    """Read an approvals file.

    Raises:
        ConfigError: It cannot be read, has an unknown key (the message names the nearest), or allows by default.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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


def open_policy(approvals: str, ask: Ask | None = None) -> Policy:
    """The policy of `RunConfig.approvals`.

    Args:
        approvals: `auto`, `ask`, or the path of a YAML file.
        ask: Who is asked.

    Raises:
        ConfigError: There is nobody to ask, or the file does not fit.
    """
    if approvals == "auto":
        return Policy()
    if approvals != "ask":
        return Rules(read_rules(approvals), approvals, ask)
    if ask is None:
        msg = "approvals: ask needs somebody to ask. Pass `approve=` to the Runner, or use the command line."
        raise ConfigError(msg)
    return Human(ask)


async def call_approved(tool: Tool, arguments: Mapping[str, Any], policy: Policy) -> ToolResult:
    """Ask, then call.

    Returns:
        The tool's answer, or one with the error `denied` that says which rule denied it.
    """
    call = Call(tool.name, tool.effect, arguments)
    decision = await policy.decide(call)
    return await tool.call(arguments) if decision.allowed else decision.refusal(call)


def console(question: str) -> str:
    """Ask on the terminal: yes, no, or always for this tool. Without a terminal the answer is no."""
    # Signs that could play tricks on a terminal are shown as escapes. Standard output is for results.
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in question)
    print(f"Do {shown}\n[y]es, [n]o, always for this tool? ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or "no"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=repr)


def _known(data: Mapping[Any, Any], form: type[Frozen], where: str) -> None:
    for key in data:
        if key not in form.model_fields:
            msg = f"{where}: there is no key {str(key)!r}. {did_you_mean(str(key), form.model_fields)}"
            raise ConfigError(msg)
