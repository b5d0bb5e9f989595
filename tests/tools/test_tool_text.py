"""What a tool returned as text: bounded, encodable, hashed."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from reflectory.tools.text import NoText, cut, render, said

ANY = st.text(alphabet=st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=400)


@given(ANY, st.integers(2, 200))
def test_a_cut_text_keeps_both_ends_and_tells_the_truth_about_the_rest(text, most):
    whole = text.encode("utf-8", "backslashreplace")
    shown, truncated, digest = cut(text, most)
    assert digest == hashlib.sha256(whole).hexdigest()
    assert truncated == (len(whole) > most)
    if not truncated:
        assert shown.encode() == whole
        return
    head, middle, tail = shown.partition(f" bytes left out, sha256 of all {len(whole)} bytes {digest} …]\n")
    head, _, lost = head.rpartition("\n[… ")
    assert middle
    assert whole.startswith(head.encode())
    assert whole.endswith(tail.encode())
    assert len(head.encode()) + len(tail.encode()) + int(lost) == len(whole)
    assert len(head.encode()) + len(tail.encode()) <= most


def test_chunks_make_no_difference_to_the_hash():
    text = "aä€\ud800" * 700_000  # longer than what is hashed at a time
    assert cut(text, 100)[2] == hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


class Colour(enum.Enum):
    RED = "red"


class Point(BaseModel):
    x: int
    when: datetime.date


@dataclasses.dataclass
class Pair:
    left: object
    right: object


@pytest.mark.parametrize(
    ("value", "means"),
    [
        (Point(x=1, when=datetime.date(2024, 5, 1)), {"x": 1, "when": "2024-05-01"}),
        (Pair(Colour.RED, {3, 1, 2}), {"left": "red", "right": [1, 2, 3]}),
        ({"a": np.arange(3), "b": np.float32(0.5)}, {"a": [0, 1, 2], "b": 0.5}),
        ([Path("/x"), datetime.datetime(2024, 1, 2)], ["/x", "2024-01-02 00:00:00"]),
        ((1, None, True), [1, None, True]),
        (2**70, 2**70),
    ],
)
def test_values_become_json_that_means_the_same(value, means):
    assert json.loads(render(value)) == means


def test_strings_bytes_and_nothing_are_told_apart():
    assert render("plain ✓") == "plain ✓"
    assert render(bytearray("plain ✓".encode())) == "plain ✓"
    assert render(None) == "(nothing)"
    picture = b"\x89PNG" + bytes(100)
    shown = render(picture)
    assert "104 bytes" in shown
    assert hashlib.sha256(picture).hexdigest() in shown
    assert "89 50 4e 47" in shown
    assert render({"picture": picture}) == json.dumps({"picture": shown}, ensure_ascii=False)
    assert "NaN" in render(float("nan"))


async def coroutine():
    return 1


@pytest.mark.parametrize("value", [object(), iter([1]), (x for x in ()), {1: object()}, {(1, 2): 3}, [10**5000], [iter(())]], ids=type)
def test_what_has_no_form_is_refused_by_its_type(value):
    with pytest.raises(NoText):
        render(value)


def test_a_coroutine_is_no_result():
    work = coroutine()
    with pytest.raises(NoText, match="coroutine"):
        render(work)
    work.close()


def test_an_exception_is_told_without_its_traceback():
    assert said(ValueError("why")) == "ValueError: why"
    assert said(KeyboardInterrupt()) == "KeyboardInterrupt"
