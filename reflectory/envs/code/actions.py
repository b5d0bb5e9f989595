"""What an agent may say: the first line is a command, the rest its content; or a fenced block of code and nothing else to parse."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["write", "edit", "read", "list", "python", "shell", "test", "submit", "block", "none"]
#: The forms, as they are told to whoever gets one wrong.
FORMS = """\
write PATH            the new content of the file on the following lines
edit PATH             then blocks of: <<<<<<< SEARCH, the old lines, =======, the new lines, >>>>>>> REPLACE
read PATH [FROM-TO]   show a file, or some of its lines
list                  show the names of the files
python                code on the following lines; names stay from call to call
shell                 commands on the following lines; folder and variables stay from call to call
test                  run the visible tests
submit                hand in; the hidden tests decide, and the task is over"""
_Reader = Callable[[str, str], "Action"]
_FENCED = re.compile(r"^[ \t]*```([\w+-]*)[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^<{5,9} ?SEARCH[ \t]*\n(.*?)^={5,9}[ \t]*\n(.*?)^>{5,9} ?REPLACE[ \t]*$", re.MULTILINE | re.DOTALL)
_READ = re.compile(r"(\S+)(?:[ \t]+(\d+)(?:-(\d+))?)?")
_PATH = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[^\s\0]{1,200}")


@dataclass(frozen=True)
class Action:
    """One action.

    Attributes:
        kind: The command; `block` is a fenced block of code alone, `none` is nothing that works.
        path: The file.
        body: Content, code or commands; for `none`, what is wrong.
        lines: First and last line to read, from 1; (0, 0) means all.
        pieces: (old, new) of an edit.
        language: Of a block, as its fence says, in lower case.
    """

    kind: Kind
    path: str = ""
    body: str = ""
    lines: tuple[int, int] = (0, 0)
    pieces: tuple[tuple[str, str], ...] = ()
    language: str = ""


def parse(text: str) -> Action:
    """Read an action; never raises.

    A text whose first line is no command but that ends in a fenced block of code is that block: what a model says that explains itself
    first.
    """
    text = text.replace("\r\n", "\n").strip("\n")
    first, _, rest = text.partition("\n")
    word, _, argument = first.strip().partition(" ")
    reader = _READERS.get(word.casefold())
    action = reader(argument.strip(), rest) if reader is not None else Action("none", body=f"{first.strip()[:60]!r} is no command.")
    if action.kind != "none":
        return action
    blocks = list(_FENCED.finditer(text))
    if blocks and not text[blocks[-1].end() :].strip():
        inner = blocks[-1][2]
        # A whole action inside a fence is that action: "```\nsubmit\n```".
        head = inner.strip("\n").partition("\n")[0].split()
        if (
            head
            and head[0] in _READERS
            and blocks[-1][1].casefold() in {"", "text"}
            and (told := parse(inner)).kind not in {"none", "block"}
        ):
            return told
        return Action("block", body=inner, language=blocks[-1][1].casefold())
    if not text.strip():
        return Action("none", body="The action is empty.")
    return action


def _unfenced(body: str) -> str:
    """The content of a body that is one fenced block; any other body as it is."""
    found = _FENCED.fullmatch(body.strip("\n"))
    return found[2] if found else body if body.endswith("\n") or not body else f"{body}\n"


def _write(argument: str, rest: str) -> Action:
    if not _PATH.fullmatch(argument):
        return Action("none", body="`write` needs one relative PATH on its line, and the content on the lines below.")
    return Action("write", argument, _unfenced(rest))


def _edit(argument: str, rest: str) -> Action:
    if not _PATH.fullmatch(argument):
        return Action("none", body="`edit` needs one relative PATH on its line, and SEARCH/REPLACE blocks below.")
    pieces = tuple((found[1], found[2]) for found in _BLOCK.finditer(f"{rest}\n"))
    if not pieces:
        return Action("none", body="`edit` needs a block: <<<<<<< SEARCH, old lines, =======, new lines, >>>>>>> REPLACE.")
    return Action("edit", argument, pieces=pieces)


def _read(argument: str, rest: str) -> Action:
    found = _READ.fullmatch(argument)
    if found is None or not _PATH.fullmatch(found[1]) or rest.strip():
        return Action("none", body="`read` needs one relative PATH, and FROM-TO if only some lines are wanted.")
    first = int(found[2] or 0)
    return Action("read", found[1], lines=(first, int(found[3] or first)))


def _code(kind: Literal["python", "shell"]) -> _Reader:
    def read(argument: str, rest: str) -> Action:
        body = "\n".join(part for part in (argument, _unfenced(rest)) if part.strip())
        return Action(kind, body=body) if body.strip() else Action("none", body=f"`{kind}` needs something to run.")

    return read


def _alone(kind: Literal["list", "test", "submit"]) -> _Reader:
    def read(argument: str, rest: str) -> Action:
        if argument or rest.strip():
            return Action("none", body=f"`{kind}` stands alone; send one command at a time.")
        return Action(kind)

    return read


_READERS: dict[str, _Reader] = {
    "write": _write,
    "edit": _edit,
    "read": _read,
    "list": _alone("list"),
    "python": _code("python"),
    "shell": _code("shell"),
    "test": _alone("test"),
    "submit": _alone("submit"),
}
