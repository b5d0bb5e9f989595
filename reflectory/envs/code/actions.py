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
_FENCE = re.compile(r"[ \t]*```([\w+-]*)[ \t]*")
#: Lines of an edit that begin a block, part it and end it; where each leads.
_MARKS = (re.compile(r"<{5,9} ?SEARCH[ \t]*"), re.compile(r"={5,9}[ \t]*"), re.compile(r">{5,9} ?REPLACE[ \t]*"))
_READ = re.compile(r"(\S+)(?:[ \t]+(\d{1,9})(?:-(\d{1,9}))?)?")
#: A line that belongs to a program and not to words about it.
_PROGRAM = re.compile(
    r"""[ \t]+\S|(?:def|class|import|from|for|if|while|with|try|async)\b.*(?:import|:)|[@#"'\[{(]|[\w.]+ ?(?:[-+*/]?=|\()"""
)
#: Longest path, in bytes, and longest action, in characters.
_LONGEST_PATH, _LONGEST = 200, 300_000


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

    A command is a whole first line: the word in lower case with what belongs to it, in backquotes or not. A text whose first line is none
    but that ends in a fenced block is that block: what a model says that explains itself first. Where the block's own first line is a
    command, it is that command.
    """
    if len(text) > _LONGEST:
        return Action("none", body=f"An action may have {_LONGEST} characters; this has {len(text)}.")
    text = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").strip("\n")
    action = _command(text)
    if action.kind != "none":
        return action
    blocks = _fenced(text)
    if blocks and not text[blocks[-1].end :].strip():
        told = _command(blocks[-1].inner.strip("\n"), inside=blocks[-1].language)
        return told if told.kind != "none" else Action("block", body=blocks[-1].inner, language=blocks[-1].language)
    if not text.strip():
        return Action("none", body="The action is empty.")
    return action


def _command(text: str, inside: str = "") -> Action:
    """The command a text begins with; `inside` is the language of the fence it stands in, whose own words come first."""
    first, _, rest = text.partition("\n")
    first = first.strip()
    if len(first) > 2 and first[0] == first[-1] == "`" and "`" not in first[1:-1]:
        first = first[1:-1].strip()
    word, _, argument = first.partition(" ")
    # In a fence for the shell, `python x.py` is a program; and with a heading like "python code:" the code is the block below it.
    heading = argument.rstrip().endswith(":") and bool(_fenced(rest))
    if word not in _READERS or (word in {"python", "shell"} and ((inside not in {"", "text"} and argument) or heading)):
        return Action("none", body=f"{first[:60]!r} is no command.")
    return _READERS[word](argument.strip(), rest)


@dataclass(frozen=True)
class _Block:
    """A fenced block: where it begins and ends in the text, its language in lower case, and what is in it."""

    start: int
    end: int
    language: str
    inner: str


def _fenced(text: str) -> list[_Block]:
    """All fenced blocks, in one pass over the lines."""
    found: list[_Block] = []
    place, start, inner, language = 0, -1, 0, ""
    for line in text.split("\n"):
        after = min(place + len(line) + 1, len(text))
        if fence := _FENCE.fullmatch(line):
            if start < 0:
                start, inner, language = place, after, fence[1].casefold()
            elif not fence[1]:
                found.append(_Block(start, after, language, text[inner:place]))
                start = -1
        place = after
    return found


def _unfenced(body: str, *, program: bool = False) -> str:
    """The content of a body that is one fenced block, and of a program's also where words stand around it; any other as it is."""
    blocks = _fenced(body)
    if len(blocks) == 1:
        around = body[: blocks[0].start] + body[blocks[0].end :]
        if not around.strip() or (program and not any(_PROGRAM.match(line) for line in around.split("\n"))):
            return blocks[0].inner
    return body if body.endswith("\n") or not body else f"{body}\n"


def _path(text: str) -> str:
    """A relative path in its plain form; "" for what is none."""
    path = text.removeprefix("./")
    right = path.isprintable() and " " not in path and len(path.encode()) <= _LONGEST_PATH
    return path if right and not set(path.split("/")) & {"", ".", ".."} else ""


def _write(argument: str, rest: str) -> Action:
    if not (path := _path(argument)):
        return Action("none", body="`write` needs one relative PATH on its line, and the content on the lines below.")
    return Action("write", path, _unfenced(rest, program=path.endswith(".py")))


def _edit(argument: str, rest: str) -> Action:
    if not (path := _path(argument)):
        return Action("none", body="`edit` needs one relative PATH on its line, and SEARCH/REPLACE blocks below.")
    pieces: list[tuple[str, str]] = []
    parts: list[list[str]] = []  # none, the old lines, the old and the new ones
    for line in rest.split("\n"):
        if len(parts) < 3 and _MARKS[len(parts)].fullmatch(line):
            parts.append([])
        elif parts:
            parts[-1].append(f"{line}\n")
        if len(parts) == 3:
            pieces.append(("".join(parts[0]), "".join(parts[1])))
            parts = []
    if not pieces or parts:
        return Action("none", body="`edit` needs whole blocks: <<<<<<< SEARCH, old lines, =======, new lines, >>>>>>> REPLACE.")
    return Action("edit", path, pieces=tuple(pieces))


def _read(argument: str, rest: str) -> Action:
    found = _READ.fullmatch(argument)
    path = _path(found[1]) if found else ""
    if found is None or not path or rest.strip():
        return Action("none", body="`read` needs one relative PATH, and FROM-TO if only some lines are wanted.")
    first = int(found[2] or 0)
    return Action("read", path, lines=(first, int(found[3] or first)))


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


def replaced(text: str, old: str, new: str) -> tuple[int, str]:
    """Replace some whole lines of a text by others.

    Lines end with a line feed, with or without a carriage return before it, which the new ones get as the old ones had it; the last line
    of the text need not end.

    Args:
        text: Of a file.
        old: Lines, each with its line feed.
        new: Lines, likewise; "" for none.

    Returns:
        In how many places the old lines stand, and the text with the first of them replaced; (0, text) for no lines.
    """
    lines = _lines(text)
    bare = [line.removesuffix("\n").removesuffix("\r") for line in lines]
    wanted = [line.removesuffix("\r") for line in old.split("\n")[:-1]]
    count = len(wanted)
    places = [start for start in range(len(bare) - count + 1) if count and bare[start : start + count] == wanted]
    if not places:
        return 0, text
    first = places[0]
    end = "\r\n" if lines[first].endswith("\r\n") else "\n"
    fresh = "".join(f"{line.removesuffix(chr(13))}{end}" for line in new.split("\n")[:-1])
    if not lines[first + count - 1].endswith("\n"):
        fresh = fresh.removesuffix(end)
    return len(places), "".join([*lines[:first], fresh, *lines[first + count :]])


def _lines(text: str) -> list[str]:
    """Lines with their line feeds; nothing else ends a line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
