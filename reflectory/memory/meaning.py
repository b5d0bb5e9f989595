"""What a short statement says, as far as its words tell: canonical content words, and the marks in which equal facts must agree.

Used by the deterministic merger and the echo guard. The tables are English; in other languages only repetition is recognised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from reflectory.retrieval.words import words


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'"})
#: Applied in order to case-folded text.
_WRITTEN_OUT = tuple(
    (re.compile(pattern), full)
    for pattern, full in (
        (r"\bwon't\b", "will not"),
        (r"\bcan't\b|\bcannot\b", "can not"),
        (r"n't\b", " not"),
        (r"'m\b", " am"),
        (r"'re\b", " are"),
        (r"'ve\b", " have"),
        (r"'ll\b", " will"),
        (r"\b(he|she|it|that|there|here)'s\b", r"\1 is"),
        (r"\b(i|we|you|he|she|they)'d\b", r"\1 would"),
        (r"'s\b", ""),
        (r"\ba\.m\.?(?=\W|$)|(?<=\d)\s?am\b", " antemeridian"),
        (r"\bp\.m\.?(?=\W|$)|(?<=\d)\s?pm\b", " postmeridian"),
        (r"\bno longer\b", "not"),
        (r"\bany ?more\b|\bany longer\b", ""),
        (r"\bused to\b", "formerly"),
        (r"\bcan not stand\b", "dislike"),
    )
)
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_ORDINALS = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBERS: dict[str, str] = {
    **{word: str(number) for number, word in enumerate(_UNITS.split())},
    **{word: str(number) for number, word in enumerate(_ORDINALS.split())},
    **{word: str(20 + 10 * place) for place, word in enumerate(_TENS.split())},
    **{"hundred": "100", "thousand": "1000", "million": "1000000", "dozen": "12", "twice": "2", "once": "1"},
}
_DIGITS = re.compile(r"\d+(?:[.,:/-]\d+)*")
_TIMES = (
    "monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october november"
    " december today tomorrow yesterday tonight morning afternoon evening night noon midnight weekend weekday week month year day daily"
    " weekly monthly yearly spring summer autumn winter hour minute christmas easter antemeridian postmeridian"
)
_NEGATIONS = _set("not no never none nobody nothing neither nor without hardly rarely seldom stop stopped quit formerly")
#: Words that say the opposite of the word they stand for.
_OPPOSITE = {"hate": "like", "hates": "like", "hated": "like", "dislike": "like", "dislikes": "like", "detest": "like", "loathe": "like"}
#: Plans, wishes, abilities, guesses: none of them is the same as doing it.
_MODALS = "will would want wish hope plan intend might could should must try consider think maybe perhaps probably can going"
_PEOPLE = (
    "brother sister mother father parent son daughter wife husband partner girlfriend boyfriend fiance uncle aunt cousin grandmother"
    " grandfather grandma grandpa niece nephew child baby friend boss manager colleague coworker neighbour neighbor roommate flatmate"
    " teacher physician dentist landlord he she they you your we our us his her him their them someone everybody everyone"
)
#: Words that turn round what stands beside them: a longer statement with one of these does not contain the shorter one.
_TURNS = (
    "last ago previously but except less more than instead unless if only though although however almost nearly former ex fewer because"
    " say think"
)
#: Words between two things whose order matters.
_RELATIONS = "than over prefer before after from to beat give owe lend teach call meet rather against follow"
_STOP = _set(
    "a an the i my me mine myself we our us am are is was were be been being do does did done have has had having of in on at for with by"
    " and it its that this these those there as so just really very also too actually now quite to who which whom some any pretty am"
    " well still already oh yes yeah hey hi currently days own owns got"
)
_GROUPS = (
    "like enjoy love adore fond",
    "live reside dwell based",
    "big large huge",
    "buy purchase bought",
    "start begin began begun",
    "child kid children kids",
    "mother mom mum mama",
    "father dad papa",
    "colour color",
    "favourite favorite",
    "car automobile",
    "job occupation profession",
    "film movie",
    "phone telephone",
    "bike bicycle",
    "flat apartment",
    "holiday vacation",
    "physician doctor",
    "tv television",
    "photo picture photograph",
    "happy glad",
    "fast quick",
    "often frequently",
    "usual usually typically",
    "name called named call",
    "near close nearby",
    "study learn",
    "go went gone going",
    "drive drove driven",
    "eat ate eaten",
    "drink drank drunk",
    "run ran",
    "speak spoke spoken",
    "make made",
    "take took taken",
    "give gave given",
    "sell sold",
    "meet met",
    "write wrote written",
    "every each",
    "city town",
    "relocate move",
)
_PAST = _set("had was were did ate went drove drank ran spoke made took gave sold met wrote bought began left got lost kept")
#: Participles that say how things are, not what happened.
_STATES = _set("based called named married retired interested allergic divorced engaged need feed bed red")
_SUFFIXES = ("ies", "ing", "ed", "es", "s")
_LATIN = re.compile(r"[a-z]{4,}")


class Meaning(NamedTuple):
    """A statement taken apart.

    Attributes:
        content: Canonical content words in order.
        numbers: Numbers; words and ordinals as digits.
        times: Weekdays, months, parts of the day, and the like.
        names: Words with a capital that do not open a sentence, in order.
        proper: The same with the words that open one.
        people: Relatives, friends, persons other than the speaker.
        negations: How many negations stand in it.
        modal: Words of planning, wishing and guessing.
        turns: Words that turn round what stands beside them.
        past: Canonical words that stand in a past form.
        relational: Whether the order of its parts matters.
    """

    content: tuple[str, ...]
    numbers: frozenset[str]
    times: frozenset[str]
    names: tuple[str, ...]
    proper: tuple[str, ...]
    people: frozenset[str]
    negations: int
    modal: frozenset[str]
    turns: frozenset[str]
    past: frozenset[str]
    relational: bool


def expand(text: str) -> str:
    """Case-folded text with contractions written out."""
    plain = text.translate(_APOSTROPHES).casefold()
    for pattern, full in _WRITTEN_OUT:
        plain = pattern.sub(full, plain)
    return plain


def stem(word: str) -> str:
    """A word without its English inflection; short words and other scripts stay as they are."""
    if not _LATIN.fullmatch(word) or word.endswith("ss"):
        return word
    for suffix in _SUFFIXES:
        base = word.removesuffix(suffix)
        if base == word or len(base) < 3:
            continue
        if suffix == "ies":
            return base + "y"
        doubled = suffix in ("ing", "ed") and base[-1] == base[-2] and base[-1] not in "ls"
        return base[:-1] if doubled else base.removesuffix("e")
    return word.removesuffix("e")


_SAME = {form: group.split()[0] for group in _GROUPS for word in group.split() for form in (stem(word), word)}


def canonical_word(word: str) -> str:
    """The word that stands for a word: number words as digits, inflections cut, known synonyms as one."""
    if word in _NUMBERS:
        return _NUMBERS[word]
    same = _OPPOSITE.get(word) or _SAME.get(word)
    if same is not None:
        return same
    base = stem(word)
    return _SAME.get(base, base)


def _canonical(text: str) -> frozenset[str]:
    return frozenset(canonical_word(word) for word in text.split())


_TIME_WORDS, _MODAL_WORDS, _PEOPLE_WORDS = _canonical(_TIMES), _canonical(_MODALS), _canonical(_PEOPLE)
_TURN_WORDS, _RELATION_WORDS = _canonical(_TURNS), _canonical(_RELATIONS)
_OURS = {"our": "we", "us": "we", "your": "you", "his": "he", "him": "he", "her": "she", "their": "they", "them": "they"}


@lru_cache(maxsize=8192)
def meaning(text: str) -> Meaning:
    """Take a statement apart; the same text gives the same parts."""
    plain = expand(text)
    raw = words(plain)
    pairs = [(word, canonical_word(word)) for word in raw]
    marks = frozenset(canon for _, canon in pairs)
    # "going to" plans, "going" alone goes.
    modal = (marks & _MODAL_WORDS) - {"go"} | ({"plan"} if "going to" in plain else set())
    negations = sum((word in _NEGATIONS) + (word in _OPPOSITE) for word in raw)
    numbers = frozenset(found.replace(",", "") for found in _DIGITS.findall(plain)) | {_NUMBERS[word] for word in raw if word in _NUMBERS}
    return Meaning(
        content=tuple(canon for word, canon in pairs if word not in _STOP and word not in _NEGATIONS and canon not in modal),
        numbers=frozenset(numbers),
        times=marks & _TIME_WORDS,
        names=names(text),
        proper=tuple(canonical_word(part.casefold()) for part in re.findall(r"[^\W\d_]+", text) if part[0].isupper() and len(part) > 1),
        people=frozenset(_OURS.get(canon, canon) for canon in marks & _PEOPLE_WORDS),
        negations=negations,
        modal=frozenset(modal),
        turns=marks & _TURN_WORDS,
        past=frozenset(canon for word, canon in pairs if (word in _PAST or word.endswith("ed")) and word not in _STATES),
        relational=bool(marks & _RELATION_WORDS),
    )


def names(text: str) -> tuple[str, ...]:
    """Words with a capital that do not open a sentence, lower-cased, in order; "I", months and weekdays are none."""
    found: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", text.translate(_APOSTROPHES)):
        for part in re.findall(r"[^\W_]+", sentence)[1:]:
            word = part.casefold()
            if part[0].isupper() and part != "I" and canonical_word(word) not in _TIME_WORDS:
                found.append(word)
    return tuple(found)


def same_marks(a: Meaning, b: Meaning) -> bool:
    """Whether two statements agree in what equal facts must agree in; negation is looked at apart."""
    common = {*a.content} & {*b.content} | {"had", "be"}
    return a.modal == b.modal and a.people == b.people and a.past & common == b.past & common and _order(a, b)


def contains(large: Meaning, small: Meaning) -> bool:
    """Whether `large` says all that `small` says, and nothing that turns it round.

    Numbers and times must be equal where the smaller one has any; the smaller one needs two content words of its own.
    """
    extra = {*large.content} - {*small.content}
    if {*small.content} - {*large.content} or not small.content or large.negations != small.negations or not same_marks(large, small):
        return False
    if small.negations and (extra or _common(large.content, small.content) != _common(small.content, large.content)):
        return False  # which of the words is denied cannot be told by counting
    if any(mine and mine != theirs for mine, theirs in ((small.numbers, large.numbers), (small.times, large.times))):
        return False
    if not extra:
        return large.numbers == small.numbers and large.turns == small.turns
    return len({*small.content}) >= 2 and large.turns == small.turns


def opposite(a: Meaning, b: Meaning) -> bool:
    """Whether one statement denies exactly what the other says."""
    marks = ("numbers", "times", "people", "turns")
    alike = {*a.content} == {*b.content} and all(getattr(a, mark) == getattr(b, mark) for mark in marks)
    return alike and bool(a.content) and (a.negations + b.negations) % 2 == 1 and _order(a, b)


def _order(a: Meaning, b: Meaning) -> bool:
    """Whether what both say stands in the same order, where order matters ("cats over dogs")."""
    if not (a.relational or b.relational) and len({*a.proper} & {*b.proper}) < 2:
        return True
    return _common(a.content, b.content) == _common(b.content, a.content)


def _common(mine: Iterable[str], other: Iterable[str]) -> list[str]:
    shared = {*other}
    return list(dict.fromkeys(word for word in mine if word in shared))
