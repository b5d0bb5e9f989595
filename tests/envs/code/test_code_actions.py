from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.envs.code.actions import FORMS, Action, parse, replaced

FENCED = "Let me think.\n\n```python\nx = 1\n```"
EDIT = "edit a.py\n<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE\n<<<<<<< SEARCH\nb\n=======\n>>>>>>> REPLACE"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("write a.py\nx = 1\n\ny = 2", Action("write", "a.py", "x = 1\n\ny = 2\n")),
        ("write a.py\n```python\nx = 1\n```", Action("write", "a.py", "x = 1\n")),
        ("WRITE a.py\n", Action("none")),
        ("write ./a.py\n", Action("write", "a.py", "")),
        ("\n\nwrite deep/a.txt\r\nx\r\n", Action("write", "deep/a.txt", "x\n")),
        (EDIT, Action("edit", "a.py", pieces=(("old\n", "new\n"), ("b\n", "")))),
        ("read a.py", Action("read", "a.py")),
        ("read a.py 3-7", Action("read", "a.py", lines=(3, 7))),
        ("read a.py 3", Action("read", "a.py", lines=(3, 3))),
        ("list", Action("list")),
        ("python\nprint(1)", Action("python", body="print(1)\n")),
        ("python print(1)", Action("python", body="print(1)")),
        ("shell ls\ncd x", Action("shell", body="ls\ncd x\n")),
        ("shell\n```bash\nls -l\n```", Action("shell", body="ls -l\n")),
        ("test", Action("test")),
        ("submit\n", Action("submit")),
        (FENCED, Action("block", body="x = 1\n", language="python")),
        ("Test this first:\n```\ny = 2\n```", Action("block", body="y = 2\n")),
        ("I hand in.\n```\nsubmit\n```", Action("submit")),
        ("```\nwrite a.py\nx = 1\n```", Action("write", "a.py", "x = 1\n")),
        ("```a = 1\n```", Action("none")),
        ("Python solution:\n```python\nx = 1\n```", Action("block", body="x = 1\n", language="python")),
        ("python solution:\n```python\nx = 1\n```", Action("block", body="x = 1\n", language="python")),
        ("write a.py\nHere is the file:\n```python\nx = 1\n```\nIt works.", Action("write", "a.py", "x = 1\n")),
        ('write a.py\ndef f():\n    """It.\n\n```\nf()\n```\n"""', Action("write", "a.py", 'def f():\n    """It.\n\n```\nf()\n```\n"""\n')),
        ("write a.md\nSee:\n```\nx\n```", Action("write", "a.md", "See:\n```\nx\n```\n")),
        ("```python\nwrite a.py\nx = 1\n```", Action("write", "a.py", "x = 1\n")),
        ("```bash\npython a.py\n```", Action("block", body="python a.py\n", language="bash")),
        ("`submit`", Action("submit")),
        ("`write a.py`\nx = 1", Action("write", "a.py", "x = 1\n")),
        ("write \ud800.py\nx", Action("write", "?.py", "x\n")),
    ],
)
def test_actions_are_read_as_they_are_meant(text, wanted):
    got = parse(text)
    assert got.kind == wanted.kind
    if wanted.kind != "none":
        assert got == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "xyzzy plugh",
        "write",
        "write /etc/passwd\nx",
        "write ../a\nx",
        "write a/../../b\nx",
        "write .\nx",
        "write a/\nx",
        "write a//b\nx",
        "write a/./b\nx",
        "write a\x07b\nx",
        "write " + "ä" * 101 + "\nx",
        "edit a.py\n<<<<<<< SEARCH\nold\n=======\nnew",
        "python " + "x" * 300_000,
        "write two words\nx",
        "edit a.py\nno block",
        "read",
        "read a.py x-y",
        "read a.py 1-2 3",
        "list all",
        "test\nsubmit",
        "submit now",
        "python",
        "shell\n\n",
        "```python\nx = 1\n```\nThat is it.",
    ],
)
def test_what_is_no_action_says_why(text):
    action = parse(text)
    assert action.kind == "none"
    assert action.body.endswith(".")


def test_the_forms_that_are_told_are_those_that_are_read():
    words = [line.split()[0] for line in FORMS.splitlines()]
    kinds = {parse(f"{word}{argument}").kind for word in words for argument in ("", " a.py", " a.py\nx", EDIT[4:])}
    assert kinds - {"none"} == set(words)


@given(st.text() | st.from_regex(r"(write|edit|read|shell|python|test) ?.*\n(.|\n)*", fullmatch=True))
def test_no_text_breaks_the_reader(text):
    assert parse(text) == parse(text)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r`"), min_size=1))
def test_what_is_written_is_what_was_said(body):
    got = parse(f"write a.txt\n{body}\nend")
    assert got.body == f"{body}\nend\n"


@pytest.mark.parametrize(
    ("text", "old", "new", "wanted"),
    [
        ("max = 1\nx = 1\n", "x = 1\n", "x = 2\n", (1, "max = 1\nx = 2\n")),
        ("a\nb", "b\n", "c\n", (1, "a\nc")),
        ("a\r\nb\r\nc\r\n", "b\n", "d\ne\n", (1, "a\r\nd\r\ne\r\nc\r\n")),
        ("a\nb\n", "a\nb\n", "", (1, "")),
        ("a\na\n", "a\n", "b\n", (2, "b\na\n")),
        ("ab\n", "a\n", "x\n", (0, "ab\n")),
        ("a\x0cb\n", "b\n", "x\n", (0, "a\x0cb\n")),
        ("a\n", "", "x\n", (0, "a\n")),
    ],
)
def test_edits_change_whole_lines(text, old, new, wanted):
    assert replaced(text, old, new) == wanted


def test_no_text_takes_long_to_read():
    began = time.process_time()
    for text in ("```a\n" * 60_000, "edit a\n" + "<<<<<<< SEARCH\n" * 20_000, "write a.py\n" + "```\n" * 60_000):
        parse(text)
    assert time.process_time() - began < 2
