"""The hidden tests tell wrong programs from right ones: at every seed, for every planted bug and nearly every small change."""

from __future__ import annotations

import copy
import importlib.util
import signal
from collections import Counter

import pytest

from reflectory.envs.code.mutate import OPERATORS, mutants, plant
from reflectory.envs.code.tasks import all_problems
from reflectory.envs.code.values import same

PROBLEMS = {problem.name: problem for problem in all_problems()}
#: Changes that change nothing (arguments of min and max in another order, a sign that abs takes away, a place in a table that is not read)
#: or that the visible tests find (no meetings at all), by function and operator.
EQUAL = {
    ("compare_versions", "swapped"): {0},
    ("add_months", "off-by-one"): {37},
    ("add_months", "swapped"): {1},
    ("cheapest_way", "no-return"): {1},
    ("two_teams", "off-by-one"): {5},
    ("edit_distance", "swapped"): {2},
    ("fewest_coins", "off-by-one"): {1, 4},
    ("fewest_coins", "swapped"): {1},
    ("best_load", "off-by-one"): {1},
    ("best_load", "swapped"): {1},
    ("in_network", "off-by-one"): {2},
    ("differing_bits", "off-by-one"): {1},
    ("merged_spans", "swapped"): {0},
    ("free_slots", "swapped"): {0, 1, 2},
    ("rooms_needed", "off-by-one"): {0},
    ("cut_out", "swapped"): {0, 1},
    ("twice_the_area", "arithmetic"): {1},
    ("twice_the_area", "swapped"): {0},
    ("hull", "boundary"): {0},
    ("hull", "off-by-one"): {1},
    ("shared_area", "swapped"): {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13},
    ("is_number", "off-by-one"): {1},
    ("postfix", "boundary"): {1, 2},
    ("postfix", "off-by-one"): {10, 11},
    ("filled", "off-by-one"): {2, 6},
}
#: Functions whose hidden tests once let such a change pass.
WEAK = ("shared_area", "to_roman", "month_page", "registers_after", "in_words", "spelled", "account", "read_ini", "compare_versions")


class TimeUp(BaseException):
    pass


def up(number, frame):
    raise TimeUp


@pytest.fixture(autouse=True)
def alarm():
    before = signal.signal(signal.SIGALRM, up)
    yield
    signal.signal(signal.SIGALRM, before)


def loaded(folder, source, name):
    """A program of this package, changed in one place, as a module of its own; None where it cannot even be imported."""
    path = folder / "changed.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("changed", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def wrong(function, args, problem, expected, seconds=0.1):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            got = function(*copy.deepcopy(args))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (TimeUp, Exception):
        return True
    return not same(got, expected, problem.tolerance)


@pytest.fixture
def no_bytecode(monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)


def unseen(problem, number, seeds, folder):
    """Seeds at which fewer than three hidden inputs find a planted bug."""
    function = loaded(folder, plant(problem, number), problem.name)
    found = []
    for seed in seeds:
        count = 0
        for args in problem.hidden(seed):
            count += wrong(function, args, problem, problem.expected(args))
            if count == 3:
                break
        else:
            found.append(seed)
    return found


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(40), marks=pytest.mark.slow)], ids=["some", "many"])
def test_a_planted_bug_fails_at_every_seed(seeds, tmp_path, no_bytecode):
    planted = [(problem, number) for problem in PROBLEMS.values() for number in range(len(problem.bugs))]
    assert len(planted) >= 50
    assert {(problem.name, number): found for problem, number in planted if (found := unseen(problem, number, seeds, tmp_path))} == {}


def surviving(problem, seeds, folder):
    """Changes of the reference that pass the hidden tests of some seed, by operator and place."""
    hidden = [[(args, problem.expected(args)) for args in problem.hidden(seed)] for seed in seeds]
    found = []
    for operator in OPERATORS:
        for place, source in enumerate(mutants(problem.source, operator)):
            try:
                function = loaded(folder, source, problem.name)
            except Exception:
                continue
            if place in EQUAL.get((problem.name, operator), ()):
                continue
            if not all(any(wrong(function, args, problem, expected) for args, expected in rows) for rows in hidden):
                found.append(f"{problem.name} {operator}/{place}")
    return found


def test_small_changes_of_functions_that_once_passed_fail(tmp_path, no_bytecode):
    found = [change for name in WEAK for change in surviving(PROBLEMS[name], [0], tmp_path)]
    assert found == []


@pytest.mark.slow
def test_small_changes_of_all_functions_fail(tmp_path, no_bytecode):
    found = [change for problem in PROBLEMS.values() for change in surviving(problem, range(3), tmp_path)]
    assert found == []


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_no_answer_is_more_than_half_of_them(problem):
    for seed in range(3):
        answers = Counter(repr(problem.expected(args)) for args in problem.hidden(seed))
        assert max(answers.values()) <= (sum(answers.values()) + 1) // 2, answers.most_common(1)
