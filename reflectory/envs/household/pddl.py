"""Reader of the PDDL subset game files are written in: s-expressions, typed lists, facts. Bounded, so a hostile file cannot hang it."""

from __future__ import annotations

import re
from typing import NoReturn

from reflectory.errors import GameFileError

#: An atom is a lower-cased string, anything else a list of expressions.
Sexpr = str | list["Sexpr"]

MAX_CHARS = 8_000_000
MAX_DEPTH = 64
_TOKEN = re.compile(r"[()]|[^\s()]+")
_COMMENT = re.compile(r";[^\n]*")


def fail(where: str, what: str, place: str = "") -> NoReturn:
    """Raise a GameFileError that names file, place and fault."""
    msg = f"{where}{', ' + place if place else ''}: {what}"
    raise GameFileError(msg)


def parse(text: str, where: str) -> list[Sexpr]:
    """Parse all top-level expressions of a PDDL text.

    Args:
        text: PDDL source; `;` starts a comment; case does not matter (everything is lower-cased, as PDDL demands).
        where: Name of the file or part, for errors.

    Returns:
        The expressions as nested lists of strings.

    Raises:
        GameFileError: Unbalanced brackets, atoms outside brackets, nesting deeper than 64, more than 8 million characters.
    """
    if len(text) > MAX_CHARS:
        fail(where, f"{len(text)} characters of PDDL; at most {MAX_CHARS} are read")
    text = _COMMENT.sub("", text).lower()
    top: list[Sexpr] = []
    stack: list[list[Sexpr]] = [top]
    for index, token in enumerate(_TOKEN.findall(text)):
        if token == "(":
            if len(stack) > MAX_DEPTH:
                fail(where, f"brackets nested deeper than {MAX_DEPTH}", _line(text, index))
            inner: list[Sexpr] = []
            stack[-1].append(inner)
            stack.append(inner)
        elif token == ")":
            if len(stack) == 1:
                fail(where, "a closing bracket too many", _line(text, index))
            stack.pop()
        elif len(stack) == 1:
            fail(where, f"{token[:40]!r} stands outside all brackets", _line(text, index))
        else:
            stack[-1].append(token)
    if len(stack) > 1:
        fail(where, f"{len(stack) - 1} bracket(s) never closed", "at the end")
    return top


def _line(text: str, index: int) -> str:
    """Line of the index-th token; only computed for an error."""
    for number, match in enumerate(_TOKEN.finditer(text)):
        if number == index:
            return f"line {text.count(chr(10), 0, match.start()) + 1}"
    return "at the end"


def sections(problem: list[Sexpr], where: str) -> dict[str, list[Sexpr]]:
    """Split `(define (problem …) (:objects …) …)` into its parts by keyword.

    Raises:
        GameFileError: Not a problem definition, or a part without a keyword.
    """
    if len(problem) != 1 or not isinstance(problem[0], list) or problem[0][:1] != ["define"]:
        fail(where, "expected exactly one (define …)")
    parts: dict[str, list[Sexpr]] = {}
    for part in problem[0][1:]:
        if not isinstance(part, list) or not part or not isinstance(part[0], str):
            fail(where, f"expected (keyword …), found {str(part)[:60]}")
        if part[0] in parts:
            fail(where, f"{part[0]} stands twice")
        parts[part[0]] = part[1:]
    return parts


def typed_list(items: list[Sexpr], where: str, default: str = "object") -> list[tuple[str, str]]:
    """Read `a b - t c - u` as [(a, t), (b, t), (c, u)]; a trailing run without a type gets `default`.

    Raises:
        GameFileError: A bracket inside the list, or a dash without a type.
    """
    out: list[tuple[str, str]] = []
    waiting: list[str] = []
    position = 0
    while position < len(items):
        item = items[position]
        if not isinstance(item, str):
            fail(where, f"expected a name, found {str(item)[:60]}")
        if item == "-":
            kind = items[position + 1] if position + 1 < len(items) else None
            if not isinstance(kind, str):
                fail(where, "a dash without a type")
            out.extend((name, kind) for name in waiting)
            waiting = []
            position += 2
            continue
        waiting.append(item)
        position += 1
    out.extend((name, default) for name in waiting)
    return out
