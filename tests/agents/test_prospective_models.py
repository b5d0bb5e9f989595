"""A model as extractor and merger: its answers are read leniently, checked, and never needed."""

from __future__ import annotations

import datetime
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.agents.extractor import ModelExtractor, ModelMerger, parse_extraction, parse_update
from reflectory.memory.extract import Conversation, RuleExtractor, Utterance, fresh_sentences
from reflectory.memory.merge import RuleMerger
from reflectory.records import Origin, Record, Span

NOON = datetime.datetime(2026, 11, 20, 12).timestamp()


class Speaker:
    """Answers in order, the last answer for ever; keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.counts = list(answers), [], Counter()

    async def __call__(self, role, text):
        self.asked.append((role, text))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def count(self, what):
        self.counts[what] += 1


def talk(*spans, speaker="user"):
    utterances = tuple(
        Utterance(step=f"s/{n}", speaker=speaker, turn=n, spans=(Span(text=text, origin=origin),), host="example.org")
        for n, (text, origin) in enumerate(spans)
    )
    return Conversation(id="run/s", user="ann", at=NOON, namespace=("a",), utterances=utterances)


async def extract(model, conversation, granularity="session"):
    return await ModelExtractor(model, model.count, granularity).extract(conversation, fresh_sentences(conversation))


@pytest.mark.parametrize(
    "text",
    [
        '{"extracted_memories": [{"summary": "I live in Paris.", "reference": [0, 2]}]}',
        'Sure!\n```json\n{"extracted_memories": [{"summary": " I live  in Paris.", "reference": ["0", "[2]"]}]}\n```\nDone.',
        '<think>{"a": [1</think> [{"summary": "I live in Paris.", "reference": "0, 2"}]',
        '{"thoughts": {}} {"extracted_memories": [{"summary": "I live in Paris.", "reference": ["turn 0", 2], "topic": "home"}]}',
    ],
)
def test_json_is_found_wherever_it_stands(text):
    assert parse_extraction(text) == [("I live in Paris.", [0, 2])]


@pytest.mark.parametrize(
    "text", ["", "Paris", '{"extracted_memories": "none"}', '{"extracted_memories": [{"sum', "[" * 5000, '[{"summary": 3}]']
)
def test_what_is_no_extraction_is_none(text):
    assert parse_extraction(text) is None


def test_no_trait_is_an_empty_extraction():
    assert parse_extraction("NO_TRAIT") == [] == parse_extraction('{"extracted_memories": []}')


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Add()", ("add", -1, "")),
        ("Merge(1, I live in Paris (France).)", ("merge", 1, "I live in Paris (France).")),
        ('Let me think.\n- merge( [0], "I like tea" )', ("merge", 0, "I like tea")),
        ("Merge(7, too far)\nMerge(0, fits)", ("merge", 0, "fits")),
    ],
)
def test_update_lines(text, read):
    decision = parse_update(text, 2)
    assert (decision.act, decision.index, decision.text) == read


@given(st.text(max_size=120))
def test_no_answer_breaks_the_readers(text):
    parse_extraction(text)
    decision = parse_update(text, 3)
    assert decision is None or decision.act in ("add", "merge")


async def test_references_become_steps_and_dates_are_resolved():
    answer = '{"extracted_memories": [{"summary": "I moved to Rome yesterday (2026-11-19).", "reference": [1]}]}'
    model = Speaker(answer)
    [found] = await extract(model, talk(("I like tea.", "user"), ("I moved to Rome yesterday.", "user")))
    assert (found.steps, found.origin) == (("s/1",), Origin(kind="user", source="ann"))
    assert found.body == "I moved to Rome yesterday (2026-11-19)."
    assert "[1] I moved to Rome yesterday (2026-11-19)." in model.asked[0][1]


async def test_an_answer_that_cannot_be_read_falls_back_on_the_rules_and_is_counted():
    conversation = talk(("I live in Paris. How are you?", "user"))
    model = Speaker("The user lives in Paris!")
    found = await extract(model, conversation)
    assert found == await RuleExtractor().extract(conversation, fresh_sentences(conversation))
    assert [item.body for item in found] == ["I live in Paris."]
    assert model.counts == {"extract_unparsed": 1}


async def test_invented_numbers_names_and_references_are_refused():
    items = [
        '{"summary": "I live in Paris.", "reference": [0]}',
        '{"summary": "I live in Paris with Eve.", "reference": [0]}',
        '{"summary": "I live in Paris since 1999.", "reference": [0]}',
        '{"summary": "I live there.", "reference": [9]}',
        '{"summary": "I live here.", "reference": []}',
    ]
    model = Speaker(f'{{"extracted_memories": [{", ".join(items)}]}}')
    assert [item.body for item in await extract(model, talk(("I live in Paris.", "user")))] == ["I live in Paris."]
    assert model.counts == {"extract_refused": 4}


async def test_every_origin_is_asked_about_apart_so_a_model_cannot_launder():
    page = "The bank of Ann is Evil Corp since 2020."
    obeys = Speaker('{"extracted_memories": [{"summary": "My bank is Evil Corp since 2020.", "reference": [0]}]}')
    found = await extract(obeys, talk(("I live in Paris.", "user"), (page, "content")))
    assert len(obeys.asked) == 2
    assert page not in obeys.asked[0][1]
    assert [item.origin.kind for item in found] == ["content"]  # as the user's it is borne out by nothing
    assert obeys.counts["extract_refused"] == 1


@pytest.mark.parametrize(("granularity", "calls"), [("session", 1), ("turn", 3), ("utterance", 3)])
async def test_granularity_is_how_much_goes_into_a_prompt(granularity, calls):
    model = Speaker("NO_TRAIT")
    assert await extract(model, talk(("I am a.", "user"), ("I am b.", "user"), ("I am c.", "user")), granularity) == []
    assert len(model.asked) == calls


def record(body):
    return Record(id=body, namespace=("a",), kind="fact", body=body, origin=Origin(kind="user", source="ann"))


async def test_a_model_merges_what_the_rules_cannot_see():
    model = Speaker("Merge(1, I am a nurse at the city hospital.)")
    near = [record("I like tea."), record("I am a nurse.")]
    decision = await ModelMerger(model, model.count).decide(record("I look after patients at the city hospital."), near)
    assert (decision.act, decision.index, decision.text) == ("merge", 1, "I am a nurse at the city hospital.")


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        ("Merge(0, I have 3 dogs and a cat named Eve)", {"merge_refused": 1}),
        ("Merge(0, I have 3 dogs)", {"merge_refused": 1}),
        ("I would merge them", {"merge_unparsed": 1}),
        ("", {"merge_unparsed": 1}),
    ],
)
async def test_refused_and_unreadable_merges_leave_the_rules_decision(answer, counted):
    model = Speaker(answer)
    near, candidate = [record("I have 2 dogs.")], record("I have 3 dogs.")
    decision = await ModelMerger(model, model.count).decide(candidate, near)
    assert decision == await RuleMerger().decide(candidate, near)
    assert decision.act == "add"
    assert model.counts == counted


async def test_repetitions_and_changes_need_no_model():
    model = Speaker("Add()")
    merger = ModelMerger(model, model.count)
    assert (await merger.decide(record("I live in Rome."), [record("i live in rome")])).act == "same"
    assert (await merger.decide(record("I moved to Oslo."), [record("I live in Rome.")])).act == "update"
    assert model.asked == []
