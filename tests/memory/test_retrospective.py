from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from reflectory.errors import ConfigError
from reflectory.memory.retrospective import Retrospective, WeightLog, document_of
from reflectory.memory.store import open_memory
from reflectory.records import Query
from reflectory.retrieval import Ranker
from reflectory.retrieval.linear import LearnerConfig

THINGS = ("parrot", "violin", "garden", "bakery", "marathon", "telescope", "canoe", "pottery", "chess", "scooter", "beehive", "kite")


@pytest.fixture
def turns(rec):
    """Sessions in which somebody asks about a thing, and the next turn answers without naming it."""

    def make(origin="user"):
        made = []
        for number, thing in enumerate(THINGS):
            said = [f"Bob: What about your {thing}?", f"Ann: It is fine, bought {number} years ago.", f"Bob: A {thing}, good to hear!"]
            made += [
                rec(
                    text,
                    namespace=("talk",),
                    kind="episode",
                    situation_key=f"s{number}",
                    steps=(f"r/1/main/{place}",),
                    valid_from=1e9,
                    origin=origin,
                )
                for place, text in enumerate(said)
            ]
        return made

    return make


def ask(thing):
    return Query(text=f"How is the {thing}?", namespace=("talk",), k=5)


def teach(memory, ranker, rounds=3, things=THINGS[:8]):
    """The turn after the question is what gets cited."""
    updates = []
    for thing in things * rounds:
        hits = memory.recall(ask(thing))
        wanted = [
            hit.record.id for hit in hits if hit.record.body.startswith("Ann") and hit.record.situation_key == f"s{THINGS.index(thing)}"
        ]
        updates.append(ranker.learn(ask(thing), hits, wanted))
    return [update for update in updates if update is not None]


def rank_of_answer(memory, thing):
    hits = memory.recall(ask(thing).model_copy(update={"k": 0}))
    return [hit.record.body.startswith("Ann") and hit.record.situation_key == f"s{THINGS.index(thing)}" for hit in hits].index(True)


def test_it_is_a_ranker_and_the_memory_is_its_log():
    ranker = Retrospective()
    assert isinstance(ranker, Ranker)
    with open_memory(None, ranker=ranker) as memory:
        assert isinstance(memory, WeightLog)
        assert memory.recall(Query(text="anything")) == []


def test_answers_beside_the_words_of_the_question_rise_with_citations(turns):
    ranker = Retrospective()
    with open_memory(None, ranker=ranker) as memory:
        memory.record(turns())
        ranker.attach(memory)
        fresh = THINGS[8:]
        before = [rank_of_answer(memory, thing) for thing in fresh]
        assert teach(memory, ranker)
        assert [rank_of_answer(memory, thing) for thing in fresh] == [0] * len(fresh)
        assert min(before) > 0


def test_every_version_is_in_the_journal_with_the_queries_that_caused_it(turns, tmp_path):
    path = tmp_path / "memory.db"
    ranker = Retrospective(LearnerConfig(batch=2))
    with open_memory(path, ranker=ranker) as memory:
        memory.record(turns())
        ranker.attach(memory)
        updates = teach(memory, ranker)
        assert memory.learned("ranker")["queries"] == list(updates[-1].queries) == [ask(thing).text for thing in THINGS[6:8]]
        assert memory.learned("ranker")["version"] == ranker.version == len(updates)
        assert memory.learned("ranker/canary/0000")["query"] == ask(THINGS[3]).text
        expected = [hit.record.id for hit in memory.recall(ask("kite"))]
        state = ranker.state()
    again = Retrospective(LearnerConfig(batch=2))
    with open_memory(path, ranker=again) as memory:
        again.attach(memory)
        assert [hit.record.id for hit in memory.recall(ask("kite"))] == expected
        assert again.state() == state


def test_an_old_position_is_read_with_the_weights_of_then(turns):
    ranker = Retrospective()
    with open_memory(None, ranker=ranker) as memory:
        memory.record(turns())
        ranker.attach(memory)
        start = memory.seq

        def read(seq):
            return [(hit.record.id, hit.score) for hit in memory.recall(ask("kite").model_copy(update={"as_of": seq}))]

        first = read(start)
        teach(memory, ranker)
        middle = memory.seq
        second = read(middle)
        teach(memory, ranker, rounds=2)
        assert read(start) == first
        assert read(middle) == second
        assert first != second != read(memory.seq)


def test_another_process_learns_and_this_one_goes_on_from_there(turns, tmp_path):
    path = tmp_path / "memory.db"
    one, two = Retrospective(), Retrospective()
    with open_memory(path, ranker=one) as first, open_memory(path, ranker=two) as second:
        first.record(turns())
        one.attach(first)
        two.attach(second)
        teach(first, one)
        assert second.recall(ask("kite")) == first.recall(ask("kite"))
        assert two.version == one.version > 0
        teach(second, two)
        assert two.version > one.version


def test_undoing_what_was_learned_undoes_it(turns):
    ranker = Retrospective()
    with open_memory(None, ranker=ranker) as memory:
        memory.record(turns())
        ranker.attach(memory)
        plain, start = memory.recall(ask("kite")), memory.seq
        teach(memory, ranker)
        assert memory.recall(ask("kite")) != plain
        memory.rollback(start)
        assert ranker.version > 0
        assert [hit.record.id for hit in memory.recall(ask("kite"))] == [hit.record.id for hit in plain]
        assert ranker.version == 0


@pytest.mark.parametrize("origin", ["content", "peer_agent", "import"])
def test_citations_of_untrusted_records_move_no_weight(turns, origin):
    ranker = Retrospective(LearnerConfig(batch=1))
    with open_memory(None, ranker=ranker) as memory:
        memory.record(turns(origin))
        ranker.attach(memory)
        assert teach(memory, ranker) == []
        assert ranker.state() == Retrospective(LearnerConfig(batch=1)).state()


def test_neither_do_those_of_records_made_from_untrusted_ones(turns, rec):
    ranker = Retrospective(LearnerConfig(batch=1))
    with open_memory(None, ranker=ranker) as memory:
        [web] = memory.record([rec("the kite flies", namespace=("talk",), kind="fact", origin="content")])
        memory.record([rec("the kite is red", namespace=("talk",), kind="fact", parents=(web.id,)), *turns()])
        ranker.attach(memory)
        hits = memory.recall(ask("kite"))
        made = [hit.record.id for hit in hits if hit.record.kind == "fact"]
        assert len(made) == 2
        assert ranker.learn(ask("kite"), hits, made) is None


def test_what_this_object_did_not_rank_teaches_nothing(turns):
    ranker = Retrospective(LearnerConfig(batch=1))
    with open_memory(None, ranker=ranker) as memory:
        memory.record(turns())
        hits = memory.recall(ask("kite"))
        assert ranker.learn(Query(text="never asked"), hits, [hits[0].record.id]) is None
        assert ranker.learn(ask("kite"), hits, ["no such id"]) is None
        assert ranker.learn(ask("kite"), hits, [hits[0].record.id]) is not None


def test_hits_of_two_namespaces_shown_together_are_learned_from_apart(turns, rec):
    ranker = Retrospective(LearnerConfig(batch=1))
    with open_memory(None, ranker=ranker) as memory:
        memory.record([*turns(), *(rec(f"the kite has {n} strings", namespace=("shared",), kind="fact") for n in range(4))])
        query = ask("kite")
        hits = [*memory.recall(query), *memory.recall(query.model_copy(update={"namespace": ("shared",)}))]
        cited = [hits[0].record.id, hits[-1].record.id]
        update = ranker.learn(query, hits, cited)
        assert update is not None
        assert update.version == 2


def test_a_memory_beyond_reach_is_ranked_and_learned_from(turns, monkeypatch):
    monkeypatch.setattr(Retrospective, "REACH", 9)
    ranker = Retrospective(LearnerConfig(batch=1))
    with open_memory(None, ranker=ranker) as memory:
        memory.record(turns())
        hits = memory.recall(ask("kite").model_copy(update={"k": 0}))
        assert len(hits) == 36
        assert all("kite" in hit.record.body for hit in hits[:2])
        assert ranker.learn(ask("kite"), hits[:5], [hits[1].record.id]) is not None


def test_the_state_goes_through_json_and_foreign_states_are_refused(turns):
    ranker, other = Retrospective(), Retrospective()
    with open_memory(None, ranker=ranker) as memory:
        memory.record(turns())
        teach(memory, ranker)
    state = json.loads(json.dumps(ranker.state()))
    other.load(state)
    assert other.state() == ranker.state()
    for wrong in ({}, {"learner": state["learner"]}, {**state, "canary": [{"query": "x"}]}, {**state, "learner": []}):
        with pytest.raises(ConfigError):
            other.load(wrong)
    assert other.state() == ranker.state()


def test_recalls_and_learning_in_threads_neither_block_nor_lose_versions(turns, tmp_path):
    ranker = Retrospective(LearnerConfig(batch=1))
    with open_memory(tmp_path / "memory.db", ranker=ranker) as memory:
        memory.record(turns())
        ranker.attach(memory)
        counts, errors = [], []

        def work(things):
            try:
                counts.append(len(teach(memory, ranker, rounds=2, things=things)))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(THINGS[n : n + 3],)) for n in (0, 3, 6, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not errors
        assert not any(thread.is_alive() for thread in threads)
        assert ranker.version == sum(counts) == memory.learned("ranker")["version"]


def test_records_are_turns_with_thread_place_speaker_and_time(rec):
    told = document_of(rec("Ann: hello", when_to_use="greeting", situation_key="s1", steps=("r/1/main/7",), valid_from=5.0))
    assert (told.text, told.speaker, told.thread, told.position, told.time) == (
        "greeting\nAnn: hello",
        "Ann",
        "household/s1",
        (5.0, 7.0),
        5.0,
    )
    bare = document_of(rec("hello"))
    assert (bare.speaker, bare.thread, bare.position, bare.time) == ("", "", (0.0, 0.0), None)


def test_ranking_is_the_same_for_the_same_arguments(turns):
    ranker = Retrospective(LearnerConfig(exploration=0.5, seed=1))
    records = [record.model_copy(update={"id": str(number)}) for number, record in enumerate(turns())]
    parts = {"bm25": np.zeros(len(records)), "cosine": np.linspace(0, 1, len(records))}
    first = ranker.rank(ask("kite"), records, parts)
    ranker.rank(ask("chess"), records, parts)
    np.testing.assert_array_equal(ranker.rank(ask("kite"), records, parts), first)
