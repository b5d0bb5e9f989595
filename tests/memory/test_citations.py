from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.memory.citations import parse_citations, without_citations

NUMBERS = st.integers(0, 12)
PLAIN = st.text(alphabet="abc .,;:!?()-\n\u00e9\u4e2d", max_size=20)


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("You like tea [1].", (0,)),
        ("Tea [3] and milk [1, 2].", (2, 0, 1)),
        ("Tea[2][4]", (1, 3)),
        ("Tea [ 1 ;3 & 2 ]", (0, 2, 1)),
        ("Tea [1 and 2]", (0, 1)),
        ("Tea [2-4] [1\u20132]", (1, 2, 3, 0)),
        ("Tea [4-2]", ()),
        ("Tea [0] [6] [99999999999] [5, 7]", (4,)),
        ("Tea [1] [1, 1]", (0,)),
        ("I do not know. [NO_CITE]", ()),
        ("I do not know. [no cite]", ()),
        ("Tea [NO_CITE][2]", (1,)),
        ("Tea [1, milk] [x] [] [1.5] [-1]", ()),
        ("See [1](https://example.org/2) and ![2](a.png)", ()),
        ("See [the docs][1] about [2]\n\n[1]: https://example.org\n  [3]: /x", (1,)),
        ("Use `a[1]` or\n```python\nrows[2] = [3]\n```\nwith [4]", (3,)),
        ("~~~\n[1]\n~~~ [2]", (1,)),
        ("cut off ```\nrows[2]", ()),
        (r"\[1\] and \[2]", ()),
        ("", ()),
    ],
)
def test_citations_are_read_from_answers(text, cited):
    assert parse_citations(text, 5) == cited


def test_nothing_shown_is_nothing_cited():
    assert parse_citations("[1] [0-5]", 0) == ()


def test_a_vast_range_costs_no_time():
    assert parse_citations("[1-999999999] " * 1000, 3) == (0, 1, 2)


@given(st.lists(st.tuples(PLAIN, st.lists(NUMBERS, min_size=1, max_size=4))), PLAIN, st.integers(0, 10))
def test_every_group_counts_in_order_and_only_what_was_shown(pieces, tail, shown):
    pieces = [(plain + " ", group) for plain, group in pieces]
    # A bracket right before "(" is a link, right before ":" at the start of a line a definition; those have tests of their own.
    text = "".join(f"{plain}. [{', '.join(map(str, group))}] ." for plain, group in pieces) + tail
    wanted = [number - 1 for _, group in pieces for number in group if 1 <= number <= shown]
    assert parse_citations(text, shown) == tuple(dict.fromkeys(wanted))
    bare = "".join(f"{plain}. [{', '.join(map(str, group))}] .".replace(f" [{', '.join(map(str, group))}]", "") for plain, group in pieces)
    assert without_citations(text) == (bare + tail).strip()


@given(st.text(max_size=60), st.integers(0, 6))
def test_any_text_is_read_without_error_and_stays_in_range(text, shown):
    cited = parse_citations(text, shown)
    assert len(set(cited)) == len(cited)
    assert all(0 <= place < shown for place in cited)
    assert len(without_citations(text)) <= len(text)


@given(PLAIN)
def test_text_without_citations_is_left_alone(text):
    assert parse_citations(text, 9) == ()
    assert without_citations(text) == text.strip()


def test_citations_are_taken_out_and_code_and_links_stay():
    assert without_citations("You like tea [1, 2]. See [1](x), `a[1]`. [NO_CITE]") == "You like tea. See [1](x), `a[1]`."
