"""What a ranker knows of a document besides two retriever scores: its words, who said it, where it stands, and what its surface shows."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from reflectory.retrieval.words import words

_FUNCTION = (
    "a about am an and are as at be been being but by can could did do does for from had has have he her him his how i if in into is it"
    " its just me my no not of on or our really she should so such that the their them then there these they this to us was we were what"
    " when where which who whom whose why will with would you your"
)
#: English words that shape a question or a sentence and name nothing; left in, "what did … do" outweighs what is asked about.
FUNCTION_WORDS = frozenset(_FUNCTION.split())
#: Suffix → what takes its place; the first that fits and leaves three letters counts.
_SUFFIXES = (
    ("ational", "ate"),
    ("ization", "ize"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("ingly", ""),
    ("edly", ""),
    ("ments", "ment"),
    ("ings", ""),
    ("ing", ""),
    ("ies", "y"),
    ("ied", "y"),
    ("ation", "ate"),
    ("ers", "er"),
    ("ed", ""),
    ("es", ""),
    ("ly", ""),
    ("s", ""),
)
_CALENDAR = "january february march april may june july august september october november december"
_MONTHS = _CALENDAR.split()
_DATES = re.compile(
    r"\b(?:yesterday|today|tomorrow|tonight|ago|last|next|week(?:end|s)?|months?|years?|days|recently|since"
    rf"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|{'|'.join(_MONTHS)}|\d{{4}})\b",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|once|twice|couple|few)\b", re.IGNORECASE)
#: A capitalised word that does not begin a sentence.
_NAMES = re.compile(r"(?<![.!?:]\s)(?<!^)\b[A-Z][a-z]+")
_SPEAKER = re.compile(r"([^\W\d_][^:\n\[\]]{0,39}): ")
_DAY = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)?\b")


@dataclass(frozen=True, slots=True)
class Document:
    """A text with what is known about it; any of the rest may be missing.

    Attributes:
        text: What is searched, "Speaker: words" where somebody said it.
        speaker: Who said it; "" for nobody.
        thread: What it is a part of (session, conversation, episode); "" for none. Only documents of one thread are neighbours.
        position: Its place in the thread; smaller is earlier, equal ones stay in the order given.
        time: When, seconds since 1970.
    """

    text: str
    speaker: str = ""
    thread: str = ""
    position: tuple[float, ...] = ()
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a text's surface shows.

    Attributes:
        terms: Stemmed content words in order.
        pairs: Distinct neighbouring terms.
        question: Whether it asks.
        length: Natural logarithm of 1 + characters.
        numbers: Whether it names a number.
        dates: Whether it names a time.
        names: Distinct capitalised words inside sentences.
    """

    terms: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]
    question: float
    length: float
    numbers: float
    dates: float
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Question:
    """What a query's surface shows.

    Attributes:
        terms: Distinct stemmed content words, sorted; all its words where none has content.
        pairs: Neighbouring terms.
        words: All its words, case folded.
        when: Whether it asks for a time.
        open: Whether it asks who, where, which or what.
        months: Months it names, 1..12.
        days: Days of a month it names, 1..31.
    """

    terms: tuple[str, ...]
    pairs: frozenset[tuple[str, str]]
    words: frozenset[str]
    when: float
    open: float
    months: frozenset[int]
    days: frozenset[int]


def content_terms(text: str) -> list[str]:
    """Stemmed words of a text without function words and single ASCII letters, in order."""
    return [stem(word) for word in words(text) if word not in FUNCTION_WORDS and (len(word) > 1 or not word.isascii())]


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A word without its English inflection, by stripping one suffix; other scripts and short words stay as they are.

    Args:
        word: A lower-case word.

    Returns:
        A form shared by most inflections; not always a word.
    """
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    for suffix, instead in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not (suffix == "s" and word.endswith("ss")):
            word = word[: len(word) - len(suffix)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return word[:-1] + "i" if len(word) > 3 and word[-1] == "y" else word


def speaker_of(text: str) -> str:
    """Who a text says it is said by: the name before its first colon; "" where there is none."""
    found = _SPEAKER.match(text)
    return found[1].strip() if found else ""


@lru_cache(maxsize=131_072)
def analyse(text: str, speaker: str = "") -> Analysis:
    """Read a document's surface; the same for the same arguments."""
    terms = content_terms(text)
    said = text[len(speaker) + 1 :] if speaker and text.startswith(speaker + ":") else text
    return Analysis(
        terms=tuple(terms),
        pairs=_pairs(terms),
        question=float("?" in said),
        length=math.log1p(len(text)),
        numbers=float(_NUMBERS.search(said) is not None),
        dates=float(_DATES.search(said) is not None),
        names=frozenset(_NAMES.findall(said)),
    )


def question(text: str) -> Question:
    """Read a query's surface; the same for the same text."""
    every = words(text)
    terms = content_terms(text) or [stem(word) for word in every]
    kind = next((word for word in every if word in ("when", "what", "who", "where", "how", "which", "why")), "")
    days = {int(day) for day in _DAY.findall(text)}
    return Question(
        terms=tuple(sorted(set(terms))),
        pairs=_pairs(terms),
        words=frozenset(every),
        when=float(kind == "when"),
        open=float(kind in ("who", "where", "which", "what")),
        months=frozenset(number for number, name in enumerate(_MONTHS, start=1) if name in every),
        days=frozenset(day for day in days if 1 <= day <= 31),
    )


def _pairs(terms: Sequence[str]) -> frozenset[tuple[str, str]]:
    return frozenset(itertools.pairwise(terms))
