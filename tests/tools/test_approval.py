"""Approval: before the effect, by a person or by rules; never allowed by default."""

from __future__ import annotations

import asyncio
import io
import itertools

import pytest

from reflectory.config import RunConfig, load
from reflectory.errors import ConfigError
from reflectory.tools import Policy, open_policy, tool
from reflectory.tools.approval import Human, Rules, call_approved, console
from reflectory.tools.rules import EFFECTS, Call, RuleFile, read_rules


def rules(text, tmp_path, ask=None):
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return open_policy(str(path), ask)


FILE = """
format: 1
default: deny
rules:
  - {tool: shell, arguments: {command: "*rm *"}, decision: deny}
  - {effect: [none, read], decision: allow}
  - {tool: "mail_*", arguments: {to: "*@example.org", count: "[1-3]"}, decision: allow}
  - {effect: execute, tool: shell, decision: allow}
"""


@pytest.mark.parametrize(
    ("call", "allowed", "by"),
    [
        (Call("search", "read"), True, "rule 2"),
        (Call("shell", "read", {"command": "x; rm -r y"}), False, "rule 1"),  # the first that fits, not the best
        (Call("shell", "execute", {"command": "ls"}), True, "rule 4"),
        (Call("python", "execute", {"code": "1"}), False, "the default"),
        (Call("mail_send", "network", {"to": "a@example.org", "count": 2}), True, "rule 3"),
        (Call("mail_send", "network", {"to": "a@example.org", "count": 20}), False, "the default"),
        (Call("mail_send", "network", {"to": "a@example.org"}), False, "the default"),  # what is not given fits nothing
        (Call("mail_send", "network", {"to": "a@example.com", "count": 2}), False, "the default"),
    ],
)
async def test_the_first_rule_that_fits_decides(call, allowed, by, tmp_path):
    decision = await rules(FILE, tmp_path).decide(call)
    assert (decision.allowed, by in decision.by) == (allowed, True), decision


async def test_no_rules_allow_nothing(tmp_path):
    policy = rules("default: deny", tmp_path)
    assert not any([(await policy.decide(Call("t", effect))).allowed for effect in EFFECTS])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("default: allow", "ask or deny"),
        ("rules: [{decision: allow}]", "must say what"),
        ("rules: [{tool: '*', decision: allow}]", "must say what"),
        ("rules: [{arguments: {a: b}, decision: allow}]", "must say what"),
        ("rules: [{efect: read, decision: allow}]", "Did you mean effect"),
        ("defualt: deny", "Did you mean default"),
        ("rules: [{effect: reed, decision: deny}]", "Effects: none, read, write"),
        ("rules: [{effect: read, decision: perhaps}]", "allow, ask, deny"),
        ("rules: [{effect: read}]", "rules.0.decision"),
        ("format: 2", "format"),
        ("- a", "mapping"),
        ("{", "cannot read"),
        ("default: ask", "somebody to ask"),
        ("{default: deny, rules: [{effect: read, decision: ask}]}", "somebody to ask"),
    ],
)
def test_a_file_that_does_not_fit_says_why(text, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        rules(text, tmp_path)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_rules(tmp_path / "none.yaml")


def test_the_setting_takes_auto_ask_and_files():
    assert load({"approvals": "rules.yaml"}).approvals == "rules.yaml"
    assert RunConfig().approvals == "auto"
    with pytest.raises(ConfigError, match="Did you mean auto"):
        load({"approvals": "auto1"})
    with pytest.raises(ConfigError, match="somebody to ask"):
        open_policy("ask")


async def test_a_person_is_asked_what_who_and_with_which_arguments():
    asked, answers = [], iter(["yes", False, "always", "nonsense"])

    def ask(question):
        asked.append(question)
        return next(answers)

    policy = Human(ask)
    calls = [Call("a", "write", {"x": "\x1b[2J"}), Call("a", "write"), Call("a", "write"), Call("a", "network"), Call("b", "read")]
    assert [(await policy.decide(call)).allowed for call in calls] == [True, False, True, True, False]
    assert asked[0] == 'a (write) {"x": "\\u001b[2J"}'
    assert len(asked) == 4  # after `always` nobody is asked


async def test_only_what_the_rules_leave_open_is_asked(tmp_path):
    asked = []

    async def ask(question):
        asked.append(question)
        return True

    policy = rules("rules: [{effect: read, decision: allow}, {effect: network, decision: deny}]", tmp_path, ask)
    decisions = [(await policy.decide(Call("t", effect))).allowed for effect in ("read", "network", "write")]
    assert decisions == [True, False, True]
    assert len(asked) == 1


async def test_one_question_at_a_time():
    open_, most = 0, 0

    async def ask(question):
        nonlocal open_, most
        open_ += 1
        most = max(most, open_)
        await asyncio.sleep(0)
        open_ -= 1
        return True

    policy = Human(ask)
    assert all(await asyncio.gather(*(policy(f"action {number}") for number in range(5))))
    assert most == 1


async def test_what_is_denied_is_never_called(tmp_path):
    called = []

    @tool(effect="network")
    def send(to: str) -> str:
        called.append(to)
        return "sent"

    refused = await call_approved(send, {"to": "x"}, rules("default: deny", tmp_path))
    assert (refused.ok, refused.error, refused.origin) == (False, "denied", "world")
    assert "send" in refused.text
    assert "rules.yaml says deny" in refused.text
    assert called == []
    assert (await call_approved(send, {"to": "y"}, Policy())).text == "sent"


def test_no_order_of_rules_lets_a_denied_effect_through():
    """Whatever rules stand in whatever order: a call is allowed exactly when the first fitting rule, found by hand, allows it."""
    kinds = [{"effect": "read", "decision": "allow"}, {"tool": "t*", "decision": "deny"}, {"tool": "tool", "decision": "allow"}]
    for order in itertools.permutations(kinds):
        policy = Rules(RuleFile(default="deny", rules=order))
        for name, effect in itertools.product(("tool", "t", "other"), ("read", "write")):
            fits = {0: effect == "read", 1: name.startswith("t"), 2: name == "tool"}
            first = next((kinds.index(rule) for rule in order if fits[kinds.index(rule)]), None)
            expected = first is not None and kinds[first]["decision"] == "allow"
            assert asyncio.run(policy.decide(Call(name, effect))).allowed == expected


def test_the_terminal_shows_no_control_signs(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert console("open\x1b[2J\nbox ä") == "no"  # a file is no person
    shown = capsys.readouterr()
    assert "\x1b" not in shown.err
    assert "open\\x1b[2J\\nbox ä" in shown.err
    assert shown.out == ""
