from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflectory.memory import open_memory
from reflectory.memory.redact import Redactor
from reflectory.records import Query

ALNUM = string.ascii_letters + string.digits
WORD = st.text(st.sampled_from(ALNUM), min_size=1)


def letters(size, alphabet=ALNUM):
    """Random text with at least one digit and one letter, as generators of tokens make it."""
    return st.integers(0, 2**32).map(lambda seed: "a7" + "".join(random.Random(seed).choices(alphabet, k=size - 2)))


UPPER = string.ascii_uppercase + "234567"
SECRETS = st.one_of(
    letters(18, UPPER).map(lambda text: f"AKIA{text[2:]}"),
    letters(36).map(lambda text: f"ghp_{text}"),
    letters(48).map(lambda text: f"sk-{text}"),
    letters(40).map(lambda text: f"sk-proj-{text}"),
    letters(24).map(lambda text: f"xoxb-{text}"),
    st.tuples(letters(20), letters(30), letters(43)).map(lambda part: f"eyJ{part[0]}.eyJ{part[1]}.{part[2]}"),
    letters(64).map(lambda text: f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n{text}\n-----END RSA PRIVATE KEY-----"),
)
ASSIGNED = st.one_of(
    letters(12).map(lambda text: (f"password={text}", text)),
    letters(12).map(lambda text: (f'"db_password": "{text}"', text)),
    letters(12).map(lambda text: (f"DB_PASSWORD: {text}", text)),
    letters(32).map(lambda text: (f"Authorization: Bearer {text}", text)),
    letters(12).map(lambda text: (f"postgres://admin:{text}@db.example/x", text)),
    letters(40).map(lambda text: (f"aws_secret_access_key = {text}", text)),
    letters(40).map(lambda text: (f"export STRIPE_TOKEN={text}", text)),
)
AROUND = st.sampled_from(["", "put the mug in cabinet 3. ", "see: ", "(", '{"note": "', "\n", "ключ ", "> "])


@settings(max_examples=300, deadline=None)
@given(AROUND, SECRETS, st.sampled_from(["", " then go", ")", '"}', "\n", ", and"]))
def test_keys_and_tokens_are_replaced_wherever_they_stand(before, secret, after):
    redactor = Redactor()
    clean = redactor.text(before + secret + after)
    assert secret not in clean
    assert clean.startswith(before + "[redacted:")
    assert clean.endswith("]" + after)
    assert redactor.found.total() == 1


@settings(max_examples=300, deadline=None)
@given(AROUND, ASSIGNED)
def test_assigned_secrets_go_and_their_names_stay(before, assigned):
    text, secret = assigned
    clean = Redactor().text(before + text)
    assert secret not in clean
    assert clean.startswith(before + text[: text.index(secret)] + "[redacted:")


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=200) | st.lists(SECRETS | WORD | st.sampled_from(list("=:\"' @/[]")) | ASSIGNED.map(lambda pair: pair[0])).map("".join)
)
def test_cleaning_twice_is_cleaning_once(text):
    clean = Redactor().text(text)
    second = Redactor()
    assert second.text(clean) == clean
    assert second.found.total() == 0


KINDS_OF_NAMES = "key task_key record id sha256 digest commit hash seed trial step".split()  # noqa: SIM905


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=8), st.sampled_from(KINDS_OF_NAMES), st.sampled_from([16, 24, 40, 64]))
def test_hashes_and_ids_stay(data, name, size):
    digest = hashlib.sha256(data).hexdigest()[:size]
    for text in (digest, f"{name}={digest}", f"{name}: {digest}", f'"{name}": "{digest}"', f"run-{digest}/1/main/4", digest.upper()):
        assert Redactor().text(text) == text


HOUSEHOLD = ["go to", "take", "put", "heat", "cool", "clean", "open", "use", "look at", "the keychain", "the key", "a mug", "cabinet 3"]
HOUSEHOLD += ["drawer 12", "desk lamp 1", "password", "token", "secret"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(HOUSEHOLD), max_size=12), st.sampled_from([" ", ", ", ": ", ". ", "; ", " - "]))
def test_sentences_stay(words, divider):
    text = divider.join(words)
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "the password is written on the fridge",
        "Password: required",
        "password = <your password>",
        "token=${TOKEN}",
        "set api_key={key} before the call",
        "task_key: pick_and_place_simple-Mug-None-Desk-308/trial_T20190908_125200_737896",
        "see https://example.com:8080/a?b=c@d and mail me@example.com",
        "the risk-averse sk-learn user runs pk_figures",
        "authorization: ask the manager",
        "bearer of bad news and a very long sentence without numbers",
        "550e8400-e29b-41d4-a716-446655440000 is the token of nothing",
        "AKIA is a prefix",
    ],
)
def test_talk_about_secrets_stays(text):
    redactor = Redactor()
    assert redactor.text(text) == text
    assert not redactor.found


def test_long_hostile_texts_take_no_long_time():
    import time

    began = time.perf_counter()
    texts = ["a-" * 50_000 + "=", "token " * 20_000, "http://a:" * 10_000, "key= " * 20_000, "eyJ" * 40_000]
    for text in (*texts, "-----BEGIN PRIVATE KEY-----" * 2_000):
        Redactor().text(text)
    assert time.perf_counter() - began < 5


SECRET = "sk-proj-Ab3dEf6hIj9kLmN2pQr5tUv8xYz1"


def test_nothing_of_a_secret_reaches_the_file(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path) as memory:
        [stored] = memory.record([rec(f"call it with {SECRET}", when_to_use=f"password={SECRET}x", source=f"https://bob:{SECRET}@host")])
        assert stored.body == "call it with [redacted:api_key]"
        assert SECRET not in stored.when_to_use
        memory.mark(stored.id, "quarantine", reason=f"it holds {SECRET}")
        memory.forget(stored.id, reason=SECRET)
        memory.learn("hint", {"text": [f"use {SECRET}"], SECRET[:3]: 1.5})
        assert memory.learned("hint") == {"text": ["use [redacted:api_key]"], "sk-": 1.5}
        memory.import_jsonl([json.dumps({"body": f"imported {SECRET}"})], source=f"https://eve:{SECRET}@host")
        assert memory.redactions["api_key"] >= 4
    for file in tmp_path.iterdir():
        assert SECRET[8:].encode() not in file.read_bytes()


def test_the_id_and_the_vector_are_those_of_the_clean_text(tmp_path, rec):
    with open_memory(None) as memory, open_memory(None) as other:
        [first] = memory.record([rec(f"call it with {SECRET}")])
        [again] = memory.record([rec("call it with [redacted:api_key]", origin="own_reasoning", source="e1")])
        assert first.id == again.id
        assert memory.seq == 1
        other.record([rec("call it with [redacted:api_key]")])
        query = Query(text="call it")
        assert memory.recall(query) == other.recall(query)


def test_names_that_things_are_found_by_stay(rec):
    with open_memory(None) as memory:
        [stored] = memory.record([rec(task_key=SECRET, steps=(SECRET,), namespace=("n", SECRET))])
        assert (stored.task_key, stored.steps, stored.namespace) == (SECRET, (SECRET,), ("n", SECRET))
        assert memory.recall(Query(text="mug", scope="task", task_key=SECRET))


def test_it_can_be_turned_off(tmp_path, rec):
    path = tmp_path / "m.sqlite"
    with open_memory(path, redact=False) as memory:
        assert memory.record([rec(SECRET)])[0].body == SECRET
        assert memory.redactions == {}
    with open_memory(path) as memory:  # what is there is read as it was written
        assert next(memory.records()).body == SECRET
    with sqlite3.connect(path) as connection:
        assert SECRET in connection.execute("SELECT payload FROM events").fetchone()[0]


def test_a_text_below_a_name_that_means_a_secret_goes_at_any_depth():
    redactor = Redactor()
    value = {
        "login": {"user": "ann", "password": "hunter22xyz"},
        "steps": [{"api_key": "plainwords"}],
        "token_count": "a few",
        "note": "password",
    }
    clean = redactor.payload({"value": value})["value"]
    assert clean == {
        "login": {"user": "ann", "password": "[redacted:password]"},
        "steps": [{"api_key": "[redacted:password]"}],
        "token_count": "a few",
        "note": "password",
    }
    assert redactor.found == {"password": 2}
    assert redactor.payload({"value": clean})["value"] == clean
    assert redactor.found == {"password": 2}
