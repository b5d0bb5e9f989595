from __future__ import annotations

import json
from collections import Counter, OrderedDict, namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.envs.code import driver
from reflectory.envs.code.values import NotPlain, decode, encode, same

SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner), max_leaves=4)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner) | st.sets(SCALARS),
    max_leaves=12,
)


def typed(value):
    """An independent notation in which values are equal when they and all their types are."""
    if isinstance(value, dict):
        return ("dict", frozenset((typed(key), typed(item)) for key, item in value.items()))
    if isinstance(value, set):
        return ("set", frozenset(map(typed, value)))
    if isinstance(value, list | tuple):
        return (type(value).__name__, tuple(map(typed, value)))
    return (type(value).__name__, value)


@given(PLAIN)
def test_values_survive_the_way_into_the_sandbox_and_back(value):
    inside = driver.decode(json.loads(json.dumps(encode(value))))
    outside = decode(json.loads(json.dumps(driver.encode(inside))))
    assert typed(outside) == typed(value)
    assert same(outside, value)


@given(PLAIN, PLAIN)
def test_same_means_equal_in_value_and_type(one, other):
    assert same(one, other) == (typed(one) == typed(other))


@pytest.mark.parametrize(
    ("got", "expected"),
    [(True, 1), (1, True), (1, 1.0), (1.0, 1), ((1,), [1]), ([1], (1,)), ({1: 2}, {1.0: 2}), ({True: 1}, {1: 1}), ({1}, {True}), (0, False),
     ([1, 2], [1]), ("1", 1), (None, False), ({}, []), ([[True]], [[1]]), ("a", "A")],
)  # fmt: skip
def test_types_are_told_apart(got, expected):
    assert not same(got, expected)


def test_floats_may_differ_by_the_tolerance_alone():
    assert same([1.0000001], [1.0], 1e-6)
    assert same(0.0, 1e-7, 1e-6)
    assert not same([1.00001], [1.0], 1e-6)
    assert not same(1.0000001, 1.0)
    assert not same(1, 1.0, 1e-6)


class Liar:
    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), [float("-inf")], object(), Liar(), (x for x in ()), {"a": {1, 2}.__iter__()}, b"bytes", 1j, len, type],
)
def test_what_is_no_plain_data_does_not_count(value):
    with pytest.raises(NotPlain):
        decode(json.loads(json.dumps(driver.encode(value))))


def test_containers_count_by_what_they_hold():
    pair = namedtuple("Pair", "a b")
    for value, plain in ((Counter("aab"), {"a": 2, "b": 1}), (OrderedDict(x=1), {"x": 1}), (pair(1, 2), (1, 2))):
        assert same(decode(driver.encode(value)), plain)


def test_depth_has_an_end():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(NotPlain):
        decode(driver.encode(deep))
    text = "[" * 900 + "]" * 900
    with pytest.raises(NotPlain):
        decode(json.loads(text))


@pytest.mark.parametrize(
    "raw",
    [[], ["list"], ["list", 1], ["dict", [1]], ["dict", [[[], 1]]], ["set", [["list", []]]], ["x", []], {"a": 1}, [1, 2, 3], ["?", 5]],
)
def test_malformed_answers_are_none(raw):
    with pytest.raises(NotPlain):
        decode(raw)
