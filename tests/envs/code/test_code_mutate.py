from __future__ import annotations

import ast

import pytest

from reflectory.envs.code.mutate import OPERATORS, mutants, plant
from reflectory.envs.code.problems import Problem
from reflectory.envs.code.tasks import all_problems
from reflectory.errors import EnvError

SOURCE = """\
def f(a, b=2):
    # a comment stays
    if a < b:
        return max(a, b)
    return a + b == 3 and not b
"""


@pytest.mark.parametrize(
    ("operator", "changed"),
    [
        ("boundary", [("a < b", "a <= b")]),
        ("negated", [("a + b == 3", "a + b != 3")]),
        ("off-by-one", [("b=2", "b=3"), ("b=2", "b=1"), ("== 3", "== 4"), ("== 3", "== 2")]),
        ("arithmetic", [("a + b", "a - b")]),
        ("logic", [("a + b == 3 and not b", "a + b == 3 or not b"), ("not b", "b")]),
        ("swapped", [("max(a, b)", "max(b, a)")]),
        ("function", [("max", "min")]),
        ("base-case", [("    if a < b:\n        return max(a, b)\n", "")]),
        ("no-return", [("return max(a, b)", "max(a, b)"), ("return a + b == 3 and not b", "a + b == 3 and (not b)")]),
    ],
)
def test_each_operator_changes_one_place_and_nothing_else(operator, changed):
    assert sorted(mutants(SOURCE, operator)) == sorted(SOURCE.replace(old, new) for old, new in changed)


def test_the_table_above_has_every_operator():
    assert set(OPERATORS) == {"boundary", "negated", "off-by-one", "arithmetic", "logic", "swapped", "function", "base-case", "no-return"}


def test_text_that_is_not_ascii_keeps_its_places():
    assert list(mutants('x = "ä" if 1 < 2 else "ö"\n', "boundary")) == ['x = "ä" if 1 <= 2 else "ö"\n']


def test_every_planted_bug_fits_and_changes_the_program():
    planted = [(problem, number) for problem in all_problems() for number in range(len(problem.bugs))]
    assert len(planted) >= 30
    for problem, number in planted:
        broken = plant(problem, number)
        assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(problem.source)), (problem.name, number)


def test_a_bug_that_does_not_fit_says_so():
    problem = all_problems()[0]
    with pytest.raises(EnvError, match="no number"):
        plant(problem, 99)
    for bug, said in ((("not there", "x"), "0 times"), ("boundary/99", "finds"), (("runs", "x"), "times")):
        broken = Problem(problem.reference, problem.examples, problem.edges, problem.draw, (bug,))
        with pytest.raises(EnvError, match=said):
            plant(broken, 0)
