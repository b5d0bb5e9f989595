"""What memory showed in a session is not learned again from it."""

from __future__ import annotations

import re
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.memory.echo import RUN, EchoGuard
from reflectory.memory.extract import Conversation, Utterance, fresh_sentences
from reflectory.records import Span

#: Words without inflection or synonyms, so that the naive oracle below needs to know none.
_TEXT = "amber birch cedar delta ember fjord grove heron iris jade kelp lotus maple nectar onyx poppy quartz raven slate thorn"
WORDS = _TEXT.split()
_OTHER_TEXT = "umbra vapor willow xenon yonder zephyr cobalt dahlia elm fern"
OTHERS = _OTHER_TEXT.split()
phrase = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
novel = st.lists(st.sampled_from(OTHERS), min_size=RUN, max_size=9).map(" ".join)


def conversation(*utterances: Utterance) -> Conversation:
    return Conversation(id="run/s", user="ann", at=0.0, namespace=("a", "users", "ann"), utterances=utterances)


def said(speaker: str, text: str, recalled: tuple[str, ...] = (), turn: int = 0) -> Utterance:
    origin = "user" if speaker == "user" else "own_reasoning"
    shown = tuple(Span(text=item, origin="user") for item in recalled)
    return Utterance(step=f"s/{turn}", speaker=speaker, turn=turn, spans=(Span(text=text, origin=origin),), recalled=shown)


def naive(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def shares_a_run(text: str, shown: str) -> bool:
    a, b = naive(text), naive(shown)
    size = min(RUN, len(b))
    return any(a[i : i + size] == b[j : j + size] for i in range(len(a) - size + 1) for j in range(len(b) - size + 1))


@st.composite
def sessions(draw: st.DrawFn) -> tuple[list[tuple[tuple[str, ...], str]], list[str]]:
    """Turns of (what was shown, what the agent answered), and the sentences among the answers that are new."""
    turns, fresh, known = [], [], []
    for _ in range(draw(st.integers(1, 3))):
        shown = tuple(draw(st.lists(phrase, max_size=3)))
        known += shown
        parts = []
        for _ in range(draw(st.integers(1, 4))):
            if known and draw(st.booleans()):
                words = draw(st.sampled_from(known)).split()
                first = draw(st.integers(0, max(0, len(words) - RUN)))
                quote = " ".join(words[first : first + draw(st.integers(RUN, 9))])
                wrap = draw(
                    st.sampled_from(["{}", "You said that {}", "{} [1]", "I recall: {}, as you told me [1, 2]", "{} and umbra vapor"])
                )
                parts.append(draw(st.sampled_from([str.upper, str.title, str.lower]))(wrap.format(quote)))
            else:
                text = draw(novel)
                fresh.append(text)
                parts.append(text)
        turns.append((shown, ". ".join(parts) + "."))
    return turns, fresh


@settings(max_examples=150, deadline=None)
@given(sessions())
def test_no_agent_sentence_that_shares_a_run_with_what_was_shown_comes_through(session):
    turns, fresh = session
    talk = conversation(*(said("agent", text, shown, turn) for turn, (shown, text) in enumerate(turns)))
    kept = fresh_sentences(talk)
    for sentence in kept:
        turn = int(sentence.step.split("/")[1])
        for shown, _ in turns[: turn + 1]:
            assert not any(shares_a_run(sentence.text, item) for item in shown), (sentence.text, shown)
    texts = {item.text.rstrip(".").lower() for item in kept}
    assert {text.lower() for text in fresh} <= texts  # and nothing else is lost


@settings(max_examples=100, deadline=None)
@given(phrase.filter(lambda text: len(text.split()) >= 3), st.sampled_from(["{}", "{}!", " {} .", "{} [1]"]), st.sampled_from(OTHERS))
def test_a_person_is_echoed_only_by_saying_nothing_else(body, form, word):
    guard = EchoGuard()
    guard.show(body)
    assert guard.restates(form.format(body).upper())
    assert not guard.restates(f"{body} {word}")
    assert not guard.restates(f"not {body}")


def test_what_is_shown_later_is_no_reason_to_drop_what_was_said_before():
    talk = conversation(
        said("user", "I live in Paris.", turn=0), said("agent", "Noted.", turn=0), said("agent", "Fine.", ("I live in Paris.",), turn=1)
    )
    assert [item.text for item in fresh_sentences(talk)] == ["I live in Paris.", "Noted.", "Fine."]


def test_a_changed_number_is_no_echo_and_a_change_of_person_is_one():
    guard = EchoGuard()
    guard.show("My flight to Rome leaves on Monday at 7:30 from gate 14.")
    assert not guard.restates("My flight to Rome leaves on Monday at 7:30 from gate 15.")
    assert guard.repeats("Your flight to Rome is leaving soon")
    assert guard.repeats("your FLIGHT to Rome leaves on Monday [1]")
    assert not guard.repeats("A train goes to Rome every hour")


def test_the_agent_repeating_the_user_is_not_the_agents_knowledge():
    talk = conversation(
        said("user", "I am allergic to peanuts and lilies."), said("agent", "So you are allergic to peanuts! I suggest soy sauce.")
    )
    assert [(item.text, item.origin.kind) for item in fresh_sentences(talk)] == [
        ("I am allergic to peanuts and lilies.", "user"),
        ("I suggest soy sauce.", "own_reasoning"),
    ]


def test_a_person_who_says_the_same_with_as_many_negations_restates_it():
    guard = EchoGuard()
    guard.show("My dog likes the tall cat of Tom.")
    assert guard.restates("my dog likes the tall cat of Tom!")
    assert not guard.restates("My dog does not like the tall cat of Tom.")
    guard.show("My dog likes the tall cat of Tom")
    assert guard.restates("Your dog likes the tall cat of Tom")


def test_a_long_session_is_guarded_in_time():
    guard, shown = EchoGuard(), 4000
    began = time.process_time()
    for number in range(shown):
        guard.show(f"My sister called {number} lives in the city of Lyon with her cat.")
    found = [guard.restates(f"My sister called {number} lives in the city of Lyon with her cat.") for number in range(0, 2 * shown, 2)]
    assert found == [number < shown for number in range(0, 2 * shown, 2)]
    assert not guard.restates("a b " * 5000)
    guard.show("a b b a " * 5000)
    guard.restates("b a a b " * 5000)
    # Comparing everything with everything took minutes.
    assert time.process_time() - began < 10
