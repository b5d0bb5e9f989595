"""Functions on text."""

from __future__ import annotations

import random
import re
from collections import Counter

from reflectory.envs.code.problems import problem

_WORDS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay", "kite", "lark", "mole", "newt", "owl", "pig")


def _letters(rng: random.Random, letters: str, most: int) -> str:
    return "".join(rng.choice(letters) for _ in range(rng.randrange(most + 1)))


def _sentence(rng: random.Random, most: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randrange(1, most)))


@problem(
    examples=[("aaabcc",), ("",)],
    edges=[("a",), ("aaaaaaaaaaaa",), ("abab",), ("  x",), ("11",), ("AaA",)],
    draw=lambda rng: (_letters(rng, "ab" if rng.random() < 0.6 else "xyz", 16),),
    bugs=[("if runs and runs[-1][0] == character", "if runs and runs[0][0] == character")],
)
def run_lengths(text: str) -> list[list[str | int]]:
    """Split a text into its runs of equal characters.

    The result has one entry [character, length] for each run, in the order of the text. Upper and lower case are different
    characters. The empty text has no runs.
    """
    runs: list[list[str | int]] = []
    for character in text:
        if runs and runs[-1][0] == character:
            runs[-1][1] = int(runs[-1][1]) + 1
        else:
            runs.append([character, 1])
    return runs


@problem(
    examples=[("Madam, I'm Adam",), ("ab",)],
    edges=[("",), ("!?",), ("0P",), ("Aa",), ("12 21",), ("12 12",), ("No 'x' in Nixon",)],
    draw=lambda rng: (
        (half := _letters(rng, "aAb1 ", 6)) + ("" if rng.random() < 0.3 else ",") + (half[::-1] if rng.random() < 0.7 else half).swapcase(),
    ),
    bugs=["negated/0"],
)
def is_palindrome(text: str) -> bool:
    """Tell whether a text reads the same forwards and backwards.

    Only letters and digits count, and upper and lower case are the same. A text without letters and digits is a palindrome.
    """
    kept = [character for character in text.lower() if character.isalnum()]
    return kept == kept[::-1]


@problem(
    examples=[("the cat and the dog and the bird", 2), ("a b", 5)],
    edges=[("", 3), ("B b a A", 1), ("x", 0), ("it's its it's", 2), ("one,two;one two-two", 3)],
    draw=lambda rng: (_sentence(rng, 24), rng.randrange(1, 6)),
    bugs=["swapped/0"],
)
def top_words(text: str, count: int) -> list[list[str | int]]:
    """List the most frequent words of a text.

    A word is a longest run of the letters a-z and the apostrophe, in lower case; anything else separates words. The result has
    at most `count` entries [word, how often], the most frequent first; words that are equally frequent stand in alphabetical order.
    """
    words = Counter(re.findall(r"[a-z']+", text.lower()))
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return [[word, number] for word, number in ranked[:count]]


@problem(
    examples=[(["flower", "flow", "flight"],), (["a"],)],
    edges=[([],), (["", "a"],), (["same", "same"],), (["ab", "abc", "a"],), (["x", "y"],), (["Ab", "ab"],)],
    draw=lambda rng: (
        [(stem := _letters(rng, "ab", 6)) + _letters(rng, "abc", 4) for _ in range(1)] + [stem + _letters(rng, "abc", 4) for _ in range(3)],
    ),
    bugs=["function/1"],
)
def common_prefix(words: list[str]) -> str:
    """Find the longest text that all words begin with.

    Upper and lower case are different. No words have the empty text in common; so have words that begin with different letters.
    """
    if not words:
        return ""
    shortest = min(words, key=len)
    for index in range(len(shortest)):
        if any(word[index] != shortest[index] for word in words):
            return shortest[:index]
    return shortest


@problem(
    examples=[(["eat", "tea", "tan", "ate", "nat", "bat"],), ([],)],
    edges=[([""],), (["a", "a"],), (["ab", "Ba"],), (["abc", "cab", "x", "bca", "x"],)],
    draw=lambda rng: (["".join(rng.choice("abc") for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(2, 9))],),
)
def anagram_groups(words: list[str]) -> list[list[str]]:
    """Group words that consist of the same letters.

    Each group is sorted alphabetically and keeps repeated words; the groups stand in the order in which their first word comes
    in the input. Upper and lower case are different letters.
    """
    groups: dict[str, list[str]] = {}
    for word in words:
        key = "".join(sorted(word))
        groups.setdefault(key, []).append(word)
    return [sorted(group) for group in groups.values()]


@problem(
    examples=[("the quick brown fox jumps", 10), ("", 5)],
    edges=[("abcdefghij xy", 4), ("a b c", 1), ("  two   words ", 20), ("ab cd", 5), ("ab cd", 4), ("a\nb\nc", 3)],
    draw=lambda rng: (_sentence(rng, 14), rng.randint(3, 14)),
    bugs=["arithmetic/2"],
)
def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` characters.

    Words are separated by white space of any length, line breaks included; in a line there is one blank between two words. Each
    line takes as many words as fit. A word that is longer than the width stands alone in a line and is not cut.
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        if not line:
            line = word
        elif len(line) + 1 + len(word) <= width:
            line += " " + word
        else:
            lines.append(line)
            line = word
    return [*lines, line] if line else lines


_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"),
    (4, "IV"), (1, "I"),
)  # fmt: skip


@problem(
    examples=[(1994,), (4,)],
    edges=[*((number,) for number in (0, 3999, 888, 2000, 1990, 2949, 14, 3444)), *((value,) for value, _ in _ROMAN if value != 4)],
    draw=lambda rng: (rng.randint(1, 3999),),
    bugs=[('(900, "CM"), ', "")],
)
def to_roman(number: int) -> str:
    """Write a number from 0 to 3999 as a Roman numeral.

    Use the subtractive forms IV, IX, XL, XC, CD and CM. 0 is the empty text.
    """
    text = ""
    for value, letters in _ROMAN:
        while number >= value:
            text += letters
            number -= value
    return text


@problem(
    examples=[("Hello, World!",), ("  Already--slugged  ",)],
    edges=[("",), ("***",), ("a_b c",), ("C++ & C#",), ("-x-",), ("Ünï 42",)],
    draw=lambda rng: (_letters(rng, "aB1 -_!.", 16),),
    bugs=["swapped/0"],
)
def slug(title: str) -> str:
    """Make a title into a part of a web address.

    Put it in lower case, replace every longest run of characters other than a-z and 0-9 by one hyphen, and remove hyphens from
    both ends.
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
