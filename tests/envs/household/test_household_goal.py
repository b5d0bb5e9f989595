"""Goals: the join gives what plain enumeration of all assignments gives."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.envs.household.goal import Checker, Compiler
from reflectory.envs.household.pddl import parse
from reflectory.errors import GameFileError

OBJECTS = {"a": "object", "b": "object", "c": "object", "r": "receptacle", "s": "receptacle", "kt": "otype", "mt": "otype"}
DOMAINS = {kind: tuple(sorted(name for name, of in OBJECTS.items() if of == kind)) for kind in set(OBJECTS.values())}
ARITY = {"inreceptacle": ("object", "receptacle"), "objecttype": ("object", "otype"), "isclean": ("object",), "opened": ("receptacle",)}


def _term(kind, scope):
    return st.sampled_from([*DOMAINS[kind], *(name for name, of in scope.items() if of == kind)])


@st.composite
def formulas(draw, scope=(), depth=0):
    scope = dict(scope)
    leaves = ["atom", "="]
    op = draw(st.sampled_from(leaves if depth > 3 else [*leaves, "and", "or", "not", "exists", "forall", "exists", "and"]))
    if op == "atom":
        name = draw(st.sampled_from(sorted(ARITY)))
        return [name, *(draw(_term(kind, scope)) for kind in ARITY[name])]
    if op == "=":
        return ["=", draw(_term("object", scope)), draw(_term("object", scope))]
    if op in ("and", "or"):
        return [op, *(draw(formulas(tuple(scope.items()), depth + 1)) for _ in range(draw(st.integers(0, 3))))]
    if op == "not":
        return [op, draw(formulas(tuple(scope.items()), depth + 1))]
    variable, kind = draw(st.sampled_from(["?x", "?y", "?z"])), draw(st.sampled_from(["object", "receptacle"]))
    inner = {**scope, variable: kind}
    return [op, [variable, "-", kind], draw(formulas(tuple(inner.items()), depth + 1))]


def brute(node, facts, binding):
    op = node[0]
    if op == "and":
        return all(brute(part, facts, binding) for part in node[1:])
    if op == "or":
        return any(brute(part, facts, binding) for part in node[1:])
    if op == "not":
        return not brute(node[1], facts, binding)
    if op == "=":
        return binding.get(node[1], node[1]) == binding.get(node[2], node[2])
    if op in ("exists", "forall"):
        every = (brute(node[2], facts, {**binding, node[1][0]: value}) for value in DOMAINS[node[1][2]])
        return any(every) if op == "exists" else all(every)
    return tuple(binding.get(arg, arg) for arg in node[1:]) in facts[op]


ALL = {name: list(itertools.product(*(DOMAINS[kind] for kind in kinds))) for name, kinds in ARITY.items()}


@settings(max_examples=600, deadline=None)
@given(formulas(), st.fixed_dictionaries({name: st.sets(st.sampled_from(rows)) for name, rows in ALL.items()}))
def test_the_join_agrees_with_enumeration(formula, facts):
    checker = Checker(Compiler(OBJECTS, "here").compile(formula), DOMAINS)
    assert checker.holds(lambda name: facts.get(name, set())) == brute(formula, facts, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(dances a)", "dances"),
        ("(isclean ?x)", "neither declared nor bound"),
        ("(isclean a b)", "takes 1"),
        ("(not)", "exactly one"),
        ("(exists ?x (isclean a))", "variables"),
        ("(isclean nobody)", "nobody"),
    ],
)
def test_a_goal_that_cannot_be_checked_is_refused_by_name(text, says):
    with pytest.raises(GameFileError, match=says):
        Compiler(OBJECTS, "here").compile(parse(text, "here")[0])


def test_a_goal_that_would_take_for_ever_is_stopped():
    names = {f"o{number}": "object" for number in range(60)}
    variables = " ".join(f"?v{number} - object" for number in range(8))
    body = " ".join(f"(not (= ?v{i} ?v{j}))" for i in range(8) for j in range(i)) + " (isclean ?v0) (not (isclean ?v7))"
    goal = Compiler(names, "here").compile(parse(f"(exists ({variables}) (and {body}))", "here")[0])
    clean = {(name,) for name in names}
    with pytest.raises(GameFileError, match="more than"):
        Checker(goal, {"object": tuple(names)}, "here").holds(lambda name: clean if name == "isclean" else set())
