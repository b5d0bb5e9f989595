"""What is judged is what the tool gets: read and checked first, with defaults, whoever made the tool."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.tools import InjectedToolArg, InjectedToolCallId, StructuredTool
from langchain_core.tools import tool as langchain_tool
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from reflectory.envs.toolbox import ToolboxEnv
from reflectory.execution import ToolResult
from reflectory.records import Task
from reflectory.tools import Pinned, as_tool, tool
from reflectory.tools.approval import Human, Rules, call_approved
from reflectory.tools.checks import checked, misfits, unchecked
from reflectory.tools.langchain import from_langchain
from reflectory.tools.rules import Call, RuleFile, read_rules, text_of

GOT: list[object] = []


@pytest.fixture(autouse=True)
def nothing_got():
    GOT.clear()


def policy(*rules, default="deny"):
    return Rules(RuleFile.model_validate({"default": default, "rules": list(rules)}))


@tool
def move(path: str = "notes/a", recursive: bool = False, amount: float = 1.0, count: int = 1) -> str:
    GOT.append((path, recursive, amount, count))
    return "moved"


ANY = {"tool": "move", "decision": "allow"}


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"path": b"/etc/shadow"}, {"arguments": {"path": "/etc/*"}, "decision": "deny"}),
        ({"recursive": "yes"}, {"arguments": {"recursive": "true"}, "decision": "deny"}),
        ({"recursive": 1}, {"arguments": {"recursive": "true"}, "decision": "deny"}),
        ({"amount": " -5"}, {"arguments": {"amount": "-*"}, "decision": "deny"}),
        ({"amount": 999}, {"arguments": {"amount": "999"}, "decision": "deny"}),
        ({"amount": 999.0}, {"arguments": {"amount": "999"}, "decision": "deny"}),
        ({"count": 999.0}, {"arguments": {"count": "999"}, "decision": "deny"}),
        ({"count": "9_99"}, {"arguments": {"count": "999"}, "decision": "deny"}),
        ({}, {"arguments": {"path": "notes/*"}, "decision": "deny"}),  # the default is judged, too
    ],
)
async def test_no_other_way_to_write_a_value_gets_round_a_rule(arguments, rule):
    result = await call_approved(move, arguments, policy(rule, ANY))
    assert result.error in {"denied", "arguments"}
    assert GOT == []


async def test_a_validator_of_ones_own_runs_once_before_the_judgement():
    @tool
    def add(text: Annotated[str, StringConstraints(strip_whitespace=True)], n: Annotated[int, BeforeValidator(lambda n: n * 2)]) -> str:
        GOT.append((text, n))
        return "added"

    asked = []
    await call_approved(add, {"text": " secret ", "n": 2}, Human(lambda question: asked.append(question) or True))
    assert asked == ['add (write) {"text": "secret", "n": 4}']
    assert GOT == [("secret", 4)]


@pytest.mark.parametrize(
    ("value", "pattern", "fits"),
    [
        ("notes/a", "notes/*", True),
        ("notes/a..b", "notes/*", True),
        ("notes/../../../etc/shadow", "notes/*", False),
        ("notes\\..\\x", "notes*", False),
        ("notes/..", "notes/*", False),
        ("notes/../a", "notes/../*", True),
        ("notes/a\nrm x", "notes/*", False),
        ("notes/\x00", "notes/*", False),
        (["notes/a", "../x"], "*", False),
        ({"deep": ["x\n../y"]}, "*", False),
    ],
)
def test_a_rule_that_allows_wants_no_way_up_and_no_control_signs(value, pattern, fits):
    call = Call("move", "write", {"path": value})
    rules = RuleFile.model_validate({"rules": [{"tool": "move", "arguments": {"path": pattern}, "decision": "allow"}]}).rules
    assert rules[0].fits(call) is fits
    assert rules[0].model_copy(update={"decision": "deny"}).fits(call)  # a rule that denies is not narrowed


@pytest.mark.parametrize("value", [{(1, 2): 3}, {1: 2, "a": 3}, 0x10**5000, {1, 2}, b"x", object(), float("nan"), "\ud800"], ids=range(8))
def test_every_value_has_a_text(value):
    assert isinstance(text_of(value), str)
    assert "move (write)" in Call("move", "write", {"x": value}).question


@pytest.mark.parametrize("text", ["{rules: [], rules: []}", "default: deny\ndefault: ask\n", "rules: [{tool: a, tool: b, decision: deny}]"])
def test_a_key_that_stands_twice_is_refused(text, tmp_path):
    from reflectory.errors import ConfigError

    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(ConfigError, match="stands twice"):
        read_rules(tmp_path / "rules.yaml")


# ---------------------------------------------------------------- LangChain


@langchain_tool
def pay(amount: int, user_id: Annotated[str, InjectedToolArg] = "alice", call: Annotated[str, InjectedToolCallId] = "") -> str:
    """Pay."""
    GOT.append((amount, user_id, call))
    return "paid"


class Aliased(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    path: str = Field(alias="p")


@langchain_tool
def own_error(n: int) -> str:
    """Fails inside."""
    GOT.append(n)
    Aliased.model_validate({})
    return ""


SCHEMA = {"type": "object", "properties": {"count": {"type": "integer", "default": 2}, "mode": {"enum": ["a", "b"]}}, "required": ["mode"]}
remote = StructuredTool(name="remote", description="d", args_schema=SCHEMA, func=lambda **given: GOT.append(given) or "done")
aliased = StructuredTool.from_function(lambda path: GOT.append(path) or "", name="aliased", description="d", args_schema=Aliased)


@pytest.mark.parametrize(
    ("theirs", "arguments"),
    [
        (pay, {"amount": 1, "user_id": "bob"}),
        (pay, {"amount": 1, "call": "x"}),
        (pay, {"amount": "1"}),
        (aliased, {"path": "y", "p": "z"}),
        (aliased, {"p": "y"}),
        (remote, {"mode": "a", "count": "rm -rf"}),
        (remote, {"mode": "a", "count": 1, "evil": 2}),
        (remote, {"mode": "a", "count": True}),
        (remote, {"mode": "c"}),
        (remote, {"count": 1}),
    ],
)
async def test_what_the_model_was_not_shown_it_cannot_give(theirs, arguments):
    result = await as_tool(theirs).call(arguments)
    assert (result.error, result.origin) == ("arguments", "world"), result
    assert GOT == []


async def test_what_fits_arrives_with_what_is_injected_and_with_defaults():
    assert (await as_tool(pay).call({"amount": 1})).text == "paid"
    judged = as_tool(remote).prepare({"mode": "a"})
    assert judged.arguments == {"mode": "a", "count": 2}
    await judged.call()
    assert GOT == [(1, "alice", "call"), {"mode": "a", "count": 2}]
    assert dict(as_tool(aliased).prepare({"path": "z"}).arguments) == {"path": "z"}


async def test_an_error_of_the_tools_own_is_none_of_its_arguments():
    result = await from_langchain(own_error).call({"n": 1})
    assert (result.error, result.origin, GOT) == ("raised", "content", [1])


# ---------------------------------------------------------------- schemas


class Foreign:
    name, description, effect, parameters = "foreign", "", "write", SCHEMA

    def __init__(self, answer=None):
        self.answer, self.closed = answer or ToolResult(text="ok"), 0

    async def call(self, arguments):
        GOT.append(arguments)
        return self.answer

    async def close(self):
        self.closed += 1


async def test_an_object_with_a_call_is_checked_too():
    assert (await as_tool(Foreign()).call({"mode": "a", "evil": 1})).error == "arguments"
    assert (await call_approved(Foreign(), {"mode": 1}, Human(lambda question: True))).error == "arguments"
    assert GOT == []
    odd = await as_tool(Foreign("text")).call({"mode": "a"})
    assert (odd.error, odd.origin) == ("form", "world")
    env = ToolboxEnv([Foreign("text")])
    await env.reset(Task(goal="g"), seed=0)
    assert "no ToolResult" in (await env.step('foreign(mode="a")')).observation.text


async def test_an_owners_object_is_not_closed_after_an_episode():
    owned = Foreign()
    env = ToolboxEnv(Pinned([owned]))
    await env.reset(Task(goal="g"), seed=0)
    assert "ok" in (await env.step('foreign(mode="a")')).observation.text
    await env.close()
    assert owned.closed == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object", ["string", "null"]]),
        "enum": st.lists(JSON, min_size=1, max_size=3),
        "const": JSON,
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "minLength": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "required": st.lists(st.sampled_from("ab"), unique=True),
    },
)
SCHEMAS = st.recursive(
    PLAIN,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner,
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "additionalProperties": inner | st.booleans(),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=4,
)


@pytest.mark.skipif(importlib.util.find_spec("jsonschema") is None, reason="jsonschema is not installed")
@given(SCHEMAS, JSON | st.dictionaries(st.sampled_from("abc"), JSON, max_size=3))
@settings(max_examples=300, deadline=None)
def test_the_checks_agree_with_jsonschema(schema, value):
    from jsonschema import Draft202012Validator

    assert (not list(misfits(schema, value))) == Draft202012Validator(schema).is_valid(value)


def test_references_defaults_and_what_is_not_checked(caplog):
    schema = {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}, "note": {"type": "string", "default": None}, "odd": {"$ref": "#/$defs/none"}},
        "$defs": {"Place": {"type": "object", "properties": {"x": {"type": "integer", "multipleOf": 2}}, "additionalProperties": False}},
    }
    assert checked(schema, {"place": {"x": 1}}) == {"place": {"x": 1}}  # a default that does not fit is not filled in
    assert [len(list(misfits(schema, {"place": place}))) for place in ({"x": "1"}, {"y": 1}, {})] == [1, 1, 0]
    assert list(misfits(schema, {"odd": 1}))
    assert unchecked(schema) == {"multipleOf"}
    foreign = Foreign()
    foreign.parameters = schema
    as_tool(foreign)
    assert "foreign these keywords are not checked: multipleOf" in caplog.text
