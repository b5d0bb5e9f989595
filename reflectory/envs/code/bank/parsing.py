"""Functions that read notations."""

from __future__ import annotations

import random
import re

from reflectory.envs.code.problems import problem


def _cells(rng: random.Random) -> str:
    cells = []
    for _ in range(rng.randint(1, 5)):
        cell = "".join(rng.choice('ab,"  ') for _ in range(rng.randint(0, 4)))
        cells.append('"' + cell.replace('"', '""') + '"' if '"' in cell or "," in cell or rng.random() < 0.3 else cell)
    return ",".join(cells)


@problem(
    examples=[('a,"b,c",d',), ('"say ""hi""",',)],
    edges=[("",), (",",), ('""',), (" a , b ",), ('"x""y"',), ('"",""',), ("one",)],
    draw=lambda rng: (_cells(rng),),
    bugs=[('cells.append(cell)\n            cell = ""', "cells.append(cell)")],
)
def csv_cells(line: str) -> list[str]:
    """Split one line of a CSV file into its cells.

    Cells are separated by commas. A cell that begins with a double quote ends with one; within it a comma belongs to the cell and
    two double quotes stand for one. Blanks belong to the cell. The empty line has one empty cell. The input is always well-formed.
    """
    cells: list[str] = []
    cell = ""
    quoted = False
    index = 0
    while index < len(line):
        character = line[index]
        if quoted and character == '"' and line[index + 1 : index + 2] == '"':
            cell += '"'
            index += 1
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            cells.append(cell)
            cell = ""
        else:
            cell += character
        index += 1
    return [*cells, cell]


@problem(
    examples=[("1-3,7,10-12",), ("5",)],
    edges=[("",), (" 2 - 4 , 3 ",), ("3-3",), ("9-7",), ("1,1,1",), ("10-12,1-2",)],
    draw=lambda rng: (
        ",".join(
            f"{(low := rng.randint(1, 20))}-{low + rng.randint(0, 4)}" if rng.random() < 0.5 else str(rng.randint(1, 25))
            for _ in range(rng.randint(1, 5))
        ),
    ),
)
def page_numbers(text: str) -> list[int]:
    """Read a list of pages such as "1-3,7" as the pages it names, ascending and each once.

    Entries are separated by commas; an entry is a number, or two numbers with a hyphen between, first and last page, both
    included. A range whose last page is before its first names no page. Blanks may stand anywhere between numbers, commas and
    hyphens. An empty text names no page.
    """
    if not text.strip():
        return []
    found: set[int] = set()
    for entry in text.split(","):
        first, _, last = entry.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


@problem(
    examples=[("1h30m",), ("45s",)],
    edges=[("",), ("2d",), ("1d1h1m1s",), ("90m",), ("5",), ("1h 5",), ("1m1h",), ("1h1h",), ("-1h",), ("0s",), ("m",)],
    draw=lambda rng: ("".join(f"{rng.randint(0, 99)}{unit}" for unit in "dhms" if rng.random() < 0.6) or "1x",),
    bugs=[("(?:(\\d+)m)?(?:(\\d+)s)?", "(?:(\\d+)s)?(?:(\\d+)m)?")],
)
def seconds_in(text: str) -> int | None:
    """Read a duration such as "1h30m" as a number of seconds.

    A duration has days, hours, minutes and seconds, each a whole number followed by d, h, m or s, in this order, without blanks;
    any of them may be missing, but not all. A number may be as large as it likes (90m is an hour and a half). Return None for
    anything else.
    """
    found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@problem(
    examples=[("1.2.10", "1.2.9"), ("2.0", "2")],
    edges=[
        ("1", "1.0.1"),
        ("1.0-beta", "1.0"),
        ("1.0-beta", "1.0-alpha"),
        ("01.2", "1.2"),
        ("1.10", "1.9-x"),
        ("0.0-b", "0-b"),
        ("3.1-a", "3.1-a"),
        ("1", "1.0.0"),
        ("2.0.0", "2"),
        ("4.0-x", "4.0.0.0-x"),
        ("5", "5.0.0.1"),
    ],
    draw=lambda rng: (
        ".".join(str(rng.randint(0, 11)) for _ in range(rng.randint(1, 3))),
        ".".join(str(rng.randint(0, 11)) for _ in range(rng.randint(1, 3))),
    ),
    bugs=["function/0"],
)
def compare_versions(one: str, other: str) -> int:
    """Compare two version numbers: -1 when the first is older, 1 when it is newer, 0 when they are equal.

    A version is some whole numbers separated by dots, and possibly a hyphen and a tag of letters. Numbers are compared from left
    to right as numbers; missing ones count as 0. With equal numbers a version with a tag is older than one without, and two tags
    are compared alphabetically.
    """
    first, second = _version(one), _version(other)
    length = max(len(first[0]), len(second[0]))
    keys = [(numbers + [0] * (length - len(numbers)), not tag, tag) for numbers, tag in (first, second)]
    return (keys[0] > keys[1]) - (keys[0] < keys[1])


def _version(text: str) -> tuple[list[int], str]:
    numbers, _, tag = text.partition("-")
    return [int(number) for number in numbers.split(".")], tag


@problem(
    examples=[("[main]\nname = x\n; note\nsize=3",), ("top=1\n[a]\n[b]\nk = v = w",)],
    edges=[
        ("",),
        ("# only a comment",),
        ("[a]\nx=1\n[a]\ny=2\nx=3",),
        ("[ a b ]\n  k  =  ",),
        ("no equals sign\n[s]\nline",),
        ("k=1\n\n\nk=2",),
        ("x",),
        ("a#b = 1\nc;=2",),
        ("[a=1\nb=2]",),
    ],
    draw=lambda rng: (
        "\n".join(rng.choice(["[s]", "[t]", "; c", "# d", "", "a = 1", "b=2", "c =x y", "a=3", "junk"]) for _ in range(rng.randint(1, 9))),
    ),
    bugs=[("key.strip()", "key")],
)
def read_ini(text: str) -> dict[str, dict[str, str]]:
    """Read an INI file: a dict from section to a dict from key to value.

    A line [NAME] begins a section (blanks around the name do not count); it is in the result even when it has no keys, and a
    section that comes again goes on. KEY = VALUE sets a key; what counts is the first equals sign, and blanks around key and value
    do not count. A later value replaces an earlier one. Keys before the first section belong to the section "". Empty lines, lines
    that begin with # or ;, and lines without an equals sign are left out. Blanks at both ends of a line do not count.
    """
    sections: dict[str, dict[str, str]] = {}
    name = ""
    for raw in text.split("\n"):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            name = line[1:-1].strip()
            sections.setdefault(name, {})
        elif "=" in line:
            key, _, value = line.partition("=")
            sections.setdefault(name, {})[key.strip()] = value.strip()
    return sections


@problem(
    examples=[("f(a[0], {b})",), ("(]",)],
    edges=[("",), ("((",), ("))",), ("({)}",), ("no brackets",), ("[[]{}]()",), ("a)b(",)],
    draw=lambda rng: ("".join(rng.choice("()[]{}x") for _ in range(rng.randint(1, 8))),),
    bugs=["base-case/0"],
)
def bracket_error(text: str) -> int:
    """Find the first bracket that is wrong: its position, counted from 0, or -1 when all is well.

    The brackets (), [] and {} must be closed in the reverse order in which they were opened. A closing bracket that does not close
    the last open one is wrong where it stands. When the text ends with open brackets, the first one that was never closed is wrong.
    """
    waiting: list[int] = []
    for index, character in enumerate(text):
        if character in "([{":
            waiting.append(index)
        elif character in ")]}":
            if not waiting or text[waiting[-1]] + character not in ("()", "[]", "{}"):
                return index
            waiting.pop()
    return waiting[0] if waiting else -1
