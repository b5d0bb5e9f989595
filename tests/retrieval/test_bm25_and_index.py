from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.retrieval import WordIndex
from reflectory.retrieval.bm25 import bm25, count_postings
from reflectory.retrieval.words import MAX_QUERY_WORDS, query_words, words


def test_bm25_matches_a_score_worked_out_by_hand():
    documents = ["red mug", "red red apple pie", "green plate"]
    counts = [Counter(words(document)) for document in documents]
    scores = bm25(count_postings(["apple", "red"], counts), np.array([2.0, 4.0, 2.0]))
    # mean length 8/3; "red" in 2 of 3: ln(1 + 1.5/2.5) = ln 1.6; "apple" in 1 of 3: ln(1 + 2.5/1.5) = ln(8/3)
    short, long = 1.2 * (0.25 + 0.75 * 2 / (8 / 3)), 1.2 * (0.25 + 0.75 * 4 / (8 / 3))
    first = math.log(1.6) * 1 * 2.2 / (1 + short)
    second = math.log(1.6) * 2 * 2.2 / (2 + long) + math.log(8 / 3) * 1 * 2.2 / (1 + long)
    np.testing.assert_allclose(scores, [first, second, 0.0], rtol=1e-12)


def test_rarer_words_weigh_more_and_no_match_scores_zero():
    counts = [Counter(["a", "x"]), Counter(["a", "y"]), Counter(["a", "z"])]
    scores = bm25(count_postings(["a", "x"], counts), np.full(3, 2.0))
    assert scores[0] > scores[1] == scores[2] > 0
    assert bm25(count_postings(["q"], counts), np.full(3, 2.0)).tolist() == [0.0, 0.0, 0.0]
    assert bm25([], np.empty(0)).shape == (0,)


@settings(max_examples=60)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=12), st.text(max_size=20))
def test_the_index_finds_exactly_the_rows_that_contain_a_word(texts, probe):
    index = WordIndex()
    split = [words(text) for text in texts]
    index.extend(split[:5])
    index.extend(split[5:])
    for word in {*words(probe), *(word for document in split for word in document), probe}:
        assert index.find(word).tolist() == [row for row, document in enumerate(split) if word in document]
    assert index.rows == len(texts)
    index.close()


@pytest.mark.parametrize("text", ['" OR 1', "NEAR(a b)", "a* -b ^c {d}:e", "'; DROP TABLE words; --", "\x00", "", "NOT", "col:x", "\ud800"])
def test_query_syntax_is_only_text(text):
    index = WordIndex()
    index.extend([words("a b c near not or x")])
    assert index.find(text).tolist() == ([0] if text in ("near", "not", "or") else [])
    for word in query_words(text):
        assert set(index.find(word).tolist()) <= {0}
    index.close()


def test_words_are_normalised_and_signs_of_unspaced_scripts_stand_alone():
    assert words("Put the SOAPBAR_1, in cabinet-3!") == ["put", "the", "soapbar", "1", "in", "cabinet", "3"]
    assert words("ﬁne Straße") == ["fine", "strasse"]
    assert words("猫が好き") == ["猫", "が", "好", "き"]
    assert words("abc中文") == ["abc", "中", "文"]


def test_a_huge_query_is_cut():
    assert len(query_words(" ".join(str(number) for number in range(10_000)))) == MAX_QUERY_WORDS
