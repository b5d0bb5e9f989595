from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.envs.code.actions import FORMS, Action, parse

FENCED = "Let me think.\n\n```python\nx = 1\n```"
EDIT = "edit a.py\n<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE\n<<<<<<< SEARCH\nb\n=======\n>>>>>>> REPLACE"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("write a.py\nx = 1\n\ny = 2", Action("write", "a.py", "x = 1\n\ny = 2\n")),
        ("write a.py\n```python\nx = 1\n```", Action("write", "a.py", "x = 1\n")),
        ("WRITE a.py\n", Action("write", "a.py", "")),
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
