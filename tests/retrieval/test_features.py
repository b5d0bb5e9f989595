from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.retrieval.collection import Collection, bm25, neighbours
from reflectory.retrieval.documents import Document, content_terms, question, speaker_of, stem
from reflectory.retrieval.features import FEATURES, candidates, standardise

MAY = 1684144800.0  # 15 May 2023


def talk():
    said = [
        ("Ann", "1", "Did you go hiking?", MAY),
        ("Bob", "1", "Yes, on two mountains last week with Carla!", MAY),
        ("Ann", "1", "Lovely.", MAY),
        ("Bob", "2", "My parrot speaks.", MAY + 40 * 86400),
        ("Ann", "2", "Does it sing?", MAY + 40 * 86400),
    ]
    return [Document(f"{who}: {text}", who, thread, (float(number),), when) for number, (who, thread, text, when) in enumerate(said)]


def raw(query, name, cosine=None, documents=None):
    """One unstandardised column, found again through an affine map: standardised columns keep order and sign of differences."""
    documents = documents or talk()
    ranking = candidates(Collection(documents), query, np.zeros(len(documents)) if cosine is None else cosine, size=99)
    column = np.empty(len(documents))
    column[ranking.pool] = ranking.features[:, FEATURES.index(name)]
    return column


@pytest.mark.parametrize(
    ("forms", "root"),
    [
        (("hike", "hikes", "hiked", "hiking"), "hik"),
        (("story", "stories"), "stori"),
        (("running", "runs"), "run"),
        (("painting", "paintings", "painted", "paint"), "paint"),
    ],
)
def test_inflections_share_a_stem(forms, root):
    assert {stem(form) for form in forms} == {root}


def test_short_foreign_and_numeric_words_are_not_stemmed():
    assert [stem(word) for word in ("was", "2023s", "\u00e9coles", "glass")] == ["was", "2023s", "\u00e9coles", "glass"]


def test_content_terms_leave_out_what_shapes_a_question():
    assert content_terms("What did Caroline's kids do in the parks?") == ["carolin", "kid", "park"]


def test_a_question_without_content_is_searched_by_all_its_words():
    assert question("Who are you?").terms == ("are", "who", "you")


def test_months_days_and_kind_are_read_from_a_question():
    asked = question("When was the party of 3rd May, 2023, or 44 June?")
    assert (asked.months, asked.days, asked.when, asked.open) == ({5, 6}, {3}, 1.0, 0.0)
    assert question("Where is it?").open == 1.0


def test_the_speaker_is_the_name_before_the_first_colon():
    assert speaker_of("Ann Lee: hello: you") == "Ann Lee"
    assert [speaker_of(text) for text in ("no speaker here", "see [x: y]", "12: a", ": a", "a:b", "x" * 41 + ": a")] == [""] * 6


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(0, 5)), max_size=15))
def test_neighbours_stand_next_in_their_thread(keys):
    documents = [Document("x", thread=thread, position=(float(position),)) for thread, position in keys]
    threads = Collection(documents).threads
    previous, following = neighbours(documents, threads)
    for place, (thread, position) in enumerate(keys):
        earlier = [(p, n) for n, (t, p) in enumerate(keys) if t == thread and thread and (p, n) < (position, place)]
        assert previous[place] == (max(earlier)[1] if earlier else -1)
        if previous[place] >= 0:
            assert following[previous[place]] == place
    assert (following >= 0).sum() == (previous >= 0).sum()


@settings(max_examples=60)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6), min_size=1, max_size=6), st.sets(st.sampled_from("abcde"), max_size=3))
def test_bm25_is_the_textbook_sum(documents, terms):
    terms = sorted(terms)
    counts = np.array([[document.count(term) for document in documents] for term in terms], float).reshape(len(terms), len(documents))
    lengths = np.array([len(document) for document in documents], float)
    mean, expected = max(sum(lengths) / len(lengths), 1.0), []
    for document in documents:
        tf, total = Counter(document), 0.0
        for term in terms:
            having = sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            total += idf * tf[term] * 2.5 / (tf[term] + 1.5 * (1 - 0.75 + 0.75 * len(document) / mean)) if tf[term] else 0.0
        expected.append(total)
    np.testing.assert_allclose(bm25(counts, lengths), expected)


def test_the_prior_is_half_cosine_half_bm25_and_three_tenths_of_each_neighbour():
    cosine = np.array([0.0, 1.0, 0.0, 0.5, 0.0])
    prior = Collection(talk()).prior(cosine, question("parrot"))
    own = np.array([0.0, 0.5, 0.0, 0.25 + 0.5, 0.0])
    beside = np.array([0.5, 0.0, 0.5, 0.0, 0.75])
    np.testing.assert_allclose(prior, own + 0.3 * beside)


def test_features_say_what_their_names_say():
    assert raw("What did Bob say?", "speaker").argsort().tolist()[-2:] == [1, 3]
    assert set(np.flatnonzero(raw("x", "question") > 0)) == {0, 4}
    assert set(np.flatnonzero(raw("x", "question_previous") > 0)) == {1}
    assert set(np.flatnonzero(raw("x", "numbers") > 0)) == {1}
    assert set(np.flatnonzero(raw("When?", "dates_asked") > 0)) == {1}
    assert not raw("Where?", "dates_asked").any()
    assert set(np.flatnonzero(raw("Who?", "names_asked") > 0)) == {1}
    assert set(np.flatnonzero(raw("in May", "month") > 0)) == {0, 1, 2}
    assert set(np.flatnonzero(raw("on 13 May", "day") > 0)) == {0, 1, 2}
    assert not raw("on 3 May", "day").any()
    assert set(np.flatnonzero(raw("two mountain", "pairs") > 0)) == {1}
    assert raw("x", "length").argmax() == 1


def test_scores_beside_and_in_the_thread_reach_the_right_documents():
    assert raw("parrot", "bm25").argmax() == 3
    assert raw("parrot", "bm25_previous").argmax() == 4
    assert raw("mountain", "bm25_before_previous").max() == 0.0  # nobody stands two after
    assert raw("hiking", "bm25_before_previous").argmax() == 2
    assert raw("mountain", "bm25_following").argmax() == 0
    assert set(np.flatnonzero(raw("parrot", "bm25_session") > 0)) == {3, 4}
    assert set(np.flatnonzero(raw("x", "cosine_thread", np.array([0, 0, 0.5, 0, 0.1])) > 0)) == {0, 1, 2}
    covered = raw("hiking mountain", "coverage_window")
    assert covered[0] == covered[1] == covered.max() > covered[2] > covered[3] == covered[4]


def test_columns_are_standardised_and_constant_ones_vanish():
    scaled = standardise(np.array([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0]]))
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-12)
    assert scaled[:, 0].std() == pytest.approx(1.0)
    assert not scaled[:, 1].any()


def test_candidates_are_the_best_of_the_prior_and_do_not_depend_on_labels_or_order_of_asking():
    documents = talk()
    cosine = np.linspace(0, 1, 5)
    collection = Collection(documents)
    first = candidates(collection, "Did Bob hike?", cosine, size=3)
    candidates(collection, "something else", cosine, size=3)
    again = candidates(Collection(documents), "Did Bob hike?", cosine, size=3)
    np.testing.assert_array_equal(first.features, again.features)
    assert first.pool.tolist() == np.argsort(-first.prior, kind="stable")[:3].tolist()
    assert first.features.shape == (3, len(FEATURES))


@pytest.mark.parametrize("documents", [[], [Document("")], [Document("\x00 ?"), Document("")]])
@pytest.mark.parametrize("query", ["", "?", "What did Ann do in May?"])
def test_empty_documents_and_queries_have_finite_features(documents, query):
    ranking = candidates(Collection(documents), query, np.zeros(len(documents)), size=5)
    assert ranking.features.shape == (len(documents), len(FEATURES))
    assert np.isfinite(ranking.features).all()


def test_times_outside_the_calendar_are_unknown():
    assert Collection([Document("a", time=1e30), Document("b", time=float("nan"))]).calendar.tolist() == [[0, 0], [0, 0]]
