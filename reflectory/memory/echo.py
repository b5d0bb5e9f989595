"""The echo guard: what memory showed in a session is not learned again from that session.

Without it a memory fills with itself: a recalled record is quoted in an answer, the answer is extracted, the copy is recalled next time.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from reflectory.memory.meaning import expand, meaning, stem
from reflectory.retrieval.words import words

#: So many words in a row that also stand in a shown text make an echo; texts shorter than this are echoes when they stand in it whole.
RUN = 4
#: Share of the longer text's words that must be in common, in order, for a person's own words to count as a repetition.
NEAR = 0.85
#: Texts with more words are compared without their order, whose work grows with the square.
ORDERED = 256
_CITATION = re.compile(r"\[\s*(?:\d+\s*(?:,\s*\d+\s*)*|no_cite)\]", re.IGNORECASE)
#: First and second person are one: "I live in Paris" comes back as "you live in Paris".
_PERSON = {"you": "i", "we": "i", "us": "i", "me": "i", "your": "my", "our": "my", "yours": "mine", "ours": "mine", "are": "am", "is": "am"}


def echo_words(text: str) -> list[str]:
    """A text's words for comparison: without citations, inflection and grammatical person."""
    return [_PERSON.get(word, stem(word)) for word in words(expand(_CITATION.sub(" ", text)))]


@dataclass
class _Shown:
    """A shown text: its words, how often each stands in it, and how many negations the texts with these words have."""

    words: list[str]
    counted: Counter[str]
    negations: set[int] = field(default_factory=set)


class EchoGuard:
    """Knows what was shown so far in a session. Texts are shown and asked about in the order of the turns."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, ...], _Shown] = {}
        self._holding: defaultdict[str, list[_Shown]] = defaultdict(list)
        self._runs: set[tuple[str, ...]] = set()
        self._short: set[tuple[str, ...]] = set()

    def show(self, text: str) -> None:
        """Note that a text was put before the agent."""
        own = echo_words(text)
        shown = self._shown.get(tuple(own))
        if shown is not None:
            shown.negations.add(meaning(text).negations)
            return
        shown = self._shown[tuple(own)] = _Shown(own, Counter(own), {meaning(text).negations})
        for word in shown.counted:
            self._holding[word].append(shown)
        for size in range(1, RUN + 1):
            self._runs.update(_runs(own, size))
        if 0 < len(own) < RUN:
            self._short.add(tuple(own))

    def repeats(self, text: str) -> bool:
        """Whether an agent's text holds a part of something shown.

        Args:
            text: A sentence of the agent's.

        Returns:
            True for a text with `RUN` words in a row of a shown text, with the whole of a shorter one, for a shorter text that stands in
            a shown one, and for a text without words.
        """
        own = echo_words(text)
        if len(own) < RUN:
            return not own or tuple(own) in self._runs or any(run in self._short for size in range(1, RUN) for run in _runs(own, size))
        if any(run in self._runs for run in _runs(own, RUN)):
            return True
        return any(run in self._short for size in range(1, RUN) for run in _runs(own, size))

    def restates(self, text: str) -> bool:
        """Whether a person's text nearly is one shown text: no word of its own, nearly all of the other's, in order."""
        own = echo_words(text)
        if not own:
            return True
        counted, negations = Counter(own), meaning(text).negations
        # Whatever it repeats holds all of its words, the rarest too.
        holding = min((self._holding.get(word, []) for word in counted), key=len)
        return any(negations in shown.negations and _near(own, counted, shown) for shown in holding)


def _runs(own: list[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(own[at : at + size]) for at in range(len(own) - size + 1)]


def _near(own: list[str], counted: Counter[str], shown: _Shown) -> bool:
    enough = NEAR * max(len(own), len(shown.words))
    if not counted.keys() <= shown.counted.keys() or (counted & shown.counted).total() < enough:
        return False
    return min(len(own), len(shown.words)) > ORDERED or _common(own, shown.words) >= enough


def _common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for left in a:
        diagonal = 0
        for place, right in enumerate(b, 1):
            above = row[place]
            row[place] = diagonal + 1 if left == right else max(above, row[place - 1])
            diagonal = above
    return row[-1]
