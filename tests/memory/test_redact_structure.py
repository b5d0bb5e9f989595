"""Redaction of structured values, and that no text makes it slow."""

from __future__ import annotations

import time

import pytest

from reflectory.memory import open_memory
from reflectory.memory.redact import Redactor

SECRET = "sk-proj-Abcd1234Efgh5678Ijkl9012"
UNITS = [
    *(
        "key",
        "token",
        "secret",
        "auth",
        "pass",
        "pwd",
        "credential",
        "password ",
        "key = ",
        "token=",
        "+key=",
        "a_",
        "a.",
        "authorization : ",
    ),
    *("bearer ", "-----BEGIN A B C ", "-----BEGIN PRIVATE KEY-----", "eyJ", "eyJaaaaaaaaa.", "AKIA", "ghp_", "github_pat_", "glpat-"),
    *(
        "xox",
        "xoxb-",
        "xapp-1-",
        "xapp-1-A-1-",
        "hooks.slack.com/services/",
        "sk-",
        "rk_",
        "AIza",
        "hf_",
        "npm_",
        "pypi-AgE",
        "http://a:",
        "://",
    ),
]


@pytest.mark.parametrize("end", ["", "x9 tail"])
def test_no_repeated_hint_takes_more_than_linear_time(end):
    for unit in UNITS:
        began = time.process_time()
        Redactor().text(unit * (200_000 // len(unit)) + end)
        assert time.process_time() - began < 1, unit


def clean(value):
    return Redactor().payload({"value": value})["value"]


def test_what_lies_below_a_secret_name_is_one_in_any_form():
    value = {"db": {"password": {"value": "hunter3x"}, "tokens": ["a1b2c3d4e5f6g7h8"], "pin_password": 12345678, "user": "ann"}}
    gone = "[redacted:password]"
    assert clean(value) == {"db": {"password": {"value": gone}, "tokens": [gone], "pin_password": gone, "user": "ann"}}
    assert clean(clean(value)) == clean(value)


def test_counts_words_and_placeholders_stay():
    value = {"max_tokens": 4096, "tokens": ["the", "mug"], "token": 1500, "password": None, "secret": True, "pwd": 1, "passwords": []}
    assert clean(value) == value


def test_a_key_of_a_mapping_may_be_a_secret_or_no_text():
    assert clean({SECRET: 1, f"{SECRET}x": 2, 1: "some text", 2.5: SECRET}) == {
        "[redacted:api_key]": 1,
        "[redacted:api_key] (2)": 2,
        1: "some text",
        2.5: "[redacted:api_key]",
    }
    with open_memory(None) as memory:
        memory.learn("x", {1: "some text"})
        assert memory.learned("x") == {"1": "some text"}
