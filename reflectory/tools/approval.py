"""Who says whether a call may be made: nobody (`auto`), a person (`ask`), or an ordered list of rules in a YAML file."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reflectory.errors import ConfigError
from reflectory.execution import ToolResult
from reflectory.protocols import Tool
from reflectory.tools.prepared import prepare
from reflectory.tools.rules import Call, RuleFile, Verdict, read_rules

#: Asked with a text; True, "y" or "yes" allows, "always" allows this tool from now on, all else denies.
Ask = Callable[[str], "bool | str | Awaitable[bool | str]"]


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
            said = await _on_thread(self._ask, question)
        return await said if inspect.isawaitable(said) else said


async def _on_thread(ask: Callable[[str], Any], question: str) -> Any:
    """Ask on a thread that keeps nothing from ending: who presses Ctrl-C at a question wants the program to end, not the question."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def deliver(said: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(said)
        else:
            answer.set_exception(error)

    def body() -> None:
        said, failed = None, None
        try:
            said = ask(question)
        except BaseException as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # nobody waits any more: the loop is closed
            loop.call_soon_threadsafe(deliver, said, failed)

    threading.Thread(target=body, daemon=True, name="ask").start()
    return await answer


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


def open_policy(approvals: str, ask: Ask | None = None) -> Policy:
    """The policy of `RunConfig.approvals`.

    Args:
        approvals: `auto`, `ask`, or the path of a YAML file.
        ask: Who is asked. With `auto`, somebody to ask means `ask`: whoever names a person wants them asked.

    Raises:
        ConfigError: There is nobody to ask, or the file does not fit.
    """
    if approvals == "auto":
        return Policy() if ask is None else Human(ask)
    if approvals != "ask":
        return Rules(read_rules(approvals), approvals, ask)
    if ask is None:
        msg = "approvals: ask needs somebody to ask. Pass `approve=` to the Runner, or use the command line."
        raise ConfigError(msg)
    return Human(ask)


async def call_approved(tool: Tool, arguments: Mapping[str, Any], policy: Policy) -> ToolResult:
    """Read the arguments, ask about what was read, then call with it.

    Returns:
        The tool's answer, or one with the error `denied` that says which rule denied it.
    """
    ready = prepare(tool, arguments)
    if ready.refusal is not None:
        return ready.refusal
    call = Call(tool.name, tool.effect, ready.arguments)
    decision = await policy.decide(call)
    return await ready.call() if decision.allowed else decision.refusal(call)


def console(question: str) -> str:
    """Ask on the terminal: yes, no, or always for this tool. Without a terminal the answer is no; a file is no person."""
    # Signs that could play tricks on a terminal are shown as escapes. Standard output is for results.
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in question)
    if not sys.stdin.isatty():
        print(f"Do {shown}\nThere is no terminal to ask on: no.", file=sys.stderr, flush=True)
        return "no"
    print(f"Do {shown}\n[y]es, [n]o, always for this tool? ", end="", file=sys.stderr, flush=True)
    # Read past Python's buffer: a thread that waits in it would keep the interpreter from ending.
    return os.read(sys.stdin.fileno(), 4096).decode("utf-8", "replace").strip() or "no"
