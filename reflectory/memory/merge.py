"""Add or Merge: what to do with a candidate beside the records nearest to it. The deterministic merger.

It merges only where one statement says all that the other says; numbers, dates, names, persons, tense, plans and negation must agree. A new
value of something that has one value at a time, and a denial, are an update: the old record is superseded, not merged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Protocol

from reflectory.memory.meaning import Meaning, canonical_word, contains, expand, meaning, opposite
from reflectory.records import Frozen, Record
from reflectory.retrieval.words import words

Act = Literal["add", "same", "merge", "update"]


class Decision(Frozen):
    """What to do with a candidate.

    Attributes:
        act: `add` it beside the others; it says the `same` as a neighbour, word for word; `merge` it with one; or it is an `update` of one.
        index: Which neighbour; -1 with `add`.
        text: The merged text.
    """

    act: Act
    index: int = -1
    text: str = ""


class Merger(Protocol):
    """Decides between Add and Merge."""

    async def decide(self, candidate: Record, neighbours: Sequence[Record]) -> Decision:
        """What to do with a candidate.

        Args:
            candidate: A record not written yet.
            neighbours: Active records it may be merged with, nearest first.
        """
        ...


class RuleMerger:
    """Decides without a model, by comparing what statements say (`reflectory.memory.meaning`)."""

    async def decide(self, candidate: Record, neighbours: Sequence[Record]) -> Decision:
        """See `Merger.decide`."""
        return self.judge(candidate.body, [item.body for item in neighbours])

    def judge(self, text: str, others: Sequence[str]) -> Decision:
        """The same for texts, without waiting: first a repetition, then a merge, then an update, among equals the nearest."""
        own = words(text)
        for index, other in enumerate(others):
            if own == words(other):
                return Decision(act="same", index=index, text=other)
        taken = meaning(text)
        for index, other in enumerate(others):
            known = meaning(other)
            if contains(known, taken) or _same_slot(other, text):
                return Decision(act="merge", index=index, text=other)
            if contains(taken, known) or _same_slot(text, other):
                return Decision(act="merge", index=index, text=text)
        for index, other in enumerate(others):
            if updates(text, other):
                return Decision(act="update", index=index)
        return Decision(act="add")


def updates(text: str, other: str) -> bool:
    """Whether a statement, said later, makes another one no longer true: it denies it, or gives a single-valued thing a new value."""
    if opposite(meaning(text), meaning(other)):
        return True
    new, old = slot(text), slot(other)
    return new is not None and old is not None and new[0] == old[0] and not _agree(new[1], old[1])


def agrees(text: str, parents: Sequence[str]) -> bool:
    """Whether a merged text made elsewhere may stand for its parents.

    It brings no number, time, name or person of its own, and the parents do not contradict each other in polarity, plans, or marks that
    both have.
    """
    taken, known = meaning(text), [meaning(parent) for parent in parents]
    for mark in ("numbers", "times", "people"):
        if not getattr(taken, mark) <= frozenset().union(*(getattr(item, mark) for item in known)):
            return False
    if not {*taken.names} <= {word for parent in parents for word in words(parent)}:
        return False
    return all(_compatible(a, b) for place, a in enumerate(known) for b in known[place + 1 :])


def _compatible(a: Meaning, b: Meaning) -> bool:
    marks = ((a.numbers, b.numbers), (a.times, b.times), (a.people, b.people), (frozenset(a.names), frozenset(b.names)))
    clash = any(mine and theirs and not (mine <= theirs or theirs <= mine) for mine, theirs in marks)
    return not clash and a.negations % 2 == b.negations % 2 and a.modal == b.modal


_START = r"^(?:and |so |actually |now |currently |recently |just )*"
_AGAIN = r"(?: now| just| recently| currently| finally| also)*"
#: Statements about something that has one value at a time: (slot, pattern with the group `value`). A `what` group joins the slot's name.
_SLOTS = tuple(
    (name, re.compile(_START + pattern))
    for name, pattern in (
        ("home", rf"(?:i|we){_AGAIN} (?:live|am living|are living|reside|am based|are based) (?:in|at|near) (?P<value>.+)"),
        ("home", rf"(?:i|we)(?: have)?{_AGAIN} (?:moved|relocated)(?: house)?(?: from .+?)? to (?P<value>.+)"),
        ("employer", rf"i{_AGAIN} (?:work|am working|am employed) (?:at|for|with) (?P<value>.+)"),
        ("employer", rf"i(?: have)?{_AGAIN} (?:joined|started(?: working)? (?:at|for)|got a (?:new )?job (?:at|with)) (?P<value>.+)"),
        ("home", r"my home is(?: now)? (?:in|at|near) (?P<value>.+)"),
        ("job", rf"i{_AGAIN} (?:work|am working|am employed) as (?P<value>.+)"),
        ("job", r"my (?:new )?(?:job|occupation|profession) is(?: now)?(?: to be)? (?P<value>.+)"),
        ("name", r"my name is (?P<value>.+)"),
        ("name", r"(?:please )?call me (?P<value>.+)"),
        ("age", rf"i (?:am|turned){_AGAIN} (?P<value>\w+)(?: years old)$"),
        ("my", r"my (?P<what>(?:new )?(?:favou?rite )[a-z ]{2,40}?) is(?: now)? (?P<value>.+)"),
        (
            "my",
            r"my (?P<what>(?:new |current |home |work |mobile )*(?:phone number|number|email|email address|address|birthday|boss|manager"
            r"|wife|husband|partner|girlfriend|boyfriend|dentist|doctor|landlord|password|wifi password|desk|office|deadline|budget|weight"
            r"|height|blood type|hometown|nationality|religion|star sign|shoe size|salary|rent|hobby|team|gym|bank))"
            r"(?: name)? is(?: now)?(?: called| named)? (?P<value>.+)",
        ),
        (
            "the",
            r"(?:the|my|our) (?P<what>[a-z][a-z ]{2,40}?) (?:is|was moved|got moved|has been moved|is moved)(?: now)?"
            r" (?:on|at|to|in) (?P<value>.+)",
        ),
    )
)
_CUES = {
    "home": "I live in. I moved to.",
    "employer": "I work at. I started at.",
    "job": "I work as.",
    "name": "My name is. Call me.",
    "age": "I am years old.",
}
_NOT_NAMES = frozenset(("new", "current"))


def slot(text: str) -> tuple[str, str] | None:
    """The single-valued thing a plain statement is about and its value, or None; plans, denials and the past have none."""
    taken = meaning(text)
    if taken.negations or taken.modal - {"can"}:
        return None
    plain = expand(text).strip().rstrip(".!").strip()
    for name, pattern in _SLOTS:
        found = pattern.match(plain)
        if found is not None:
            what = found.groupdict().get("what") or ""
            key = " ".join(canonical_word(word) for word in words(what) if word not in _NOT_NAMES)
            return f"{name}:{key}", found["value"]
    return None


def _same_slot(large: str, small: str) -> bool:
    """Whether both give the same single-valued thing a value, and the larger one's says all that the smaller one's does."""
    mine, theirs = slot(large), slot(small)
    if mine is None or theirs is None or mine[0] != theirs[0]:
        return False
    value, part = meaning(mine[1]), meaning(theirs[1])
    marks = ((part.numbers, value.numbers), (part.times, value.times))
    return {*part.content} <= {*value.content} and value.turns == part.turns and all(not a or a == b for a, b in marks)


def cue(text: str) -> str:
    """Words by which the earlier statements about the same single-valued thing are found; "" for other statements."""
    found = slot(text)
    if found is None:
        return ""
    name, _, what = found[0].partition(":")
    return _CUES.get(name, what)


def _agree(value: str, other: str) -> bool:
    """Whether two values may both be true: one says no more than the other."""
    mine, theirs = {*meaning(value).content} | meaning(value).numbers, {*meaning(other).content} | meaning(other).numbers
    return mine <= theirs or theirs <= mine
