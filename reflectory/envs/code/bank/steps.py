"""The parts of generated functions: each takes one value of plain data and gives one; its docstring is a step of the specification."""

from __future__ import annotations

import itertools

from reflectory.envs.code.parts import between, one_of, part


@part(between(2, 5))
def keep_multiples(values: list[int], k: int) -> list[int]:
    """Keep only the numbers that are divisible by {k}."""
    return [value for value in values if value % k == 0]


@part(between(2, 4))
def drop_multiples(values: list[int], k: int) -> list[int]:
    """Drop the numbers that are divisible by {k}."""
    return [value for value in values if value % k != 0]


@part(between(-5, 10))
def keep_above(values: list[int], k: int) -> list[int]:
    """Keep only the numbers greater than {k}."""
    return [value for value in values if value > k]


@part(one_of(-7, -3, 2, 5, 11))
def add(values: list[int], k: int) -> list[int]:
    """Add {k} to every number."""
    return [value + k for value in values]


@part(one_of(-2, -1, 2, 3))
def multiply(values: list[int], k: int) -> list[int]:
    """Multiply every number by {k}."""
    return [value * k for value in values]


@part(between(3, 9))
def remainders(values: list[int], k: int) -> list[int]:
    """Replace every number by its remainder when divided by {k} (never negative: the remainder of -1 is one less than the divisor)."""
    return [value % k for value in values]


@part()
def absolute(values: list[int]) -> list[int]:
    """Replace every number by its absolute value."""
    return [abs(value) for value in values]


@part()
def ascending(values: list[int]) -> list[int]:
    """Sort the numbers in ascending order."""
    return sorted(values)


@part()
def descending(values: list[int]) -> list[int]:
    """Sort the numbers in descending order."""
    return sorted(values, reverse=True)


@part()
def backwards(values: list[int]) -> list[int]:
    """Reverse the order of the numbers."""
    return values[::-1]


@part()
def distinct(values: list[int]) -> list[int]:
    """Keep of equal numbers only the first."""
    return list(dict.fromkeys(values))


@part()
def running_sums(values: list[int]) -> list[int]:
    """Replace every number by the sum of all numbers up to and including it."""
    return [sum(values[: index + 1]) for index in range(len(values))]


@part()
def differences(values: list[int]) -> list[int]:
    """Replace the list by the differences of neighbours, each minus the one before it; fewer than two numbers give the empty list."""
    return [later - earlier for earlier, later in itertools.pairwise(values)]


@part(between(2, 3))
def every(values: list[int], k: int) -> list[int]:
    """Keep only the numbers at the positions 0, {k}, twice {k}, three times {k} and so on, counted from 0."""
    return values[::k]


@part(between(1, 4))
def rotate(values: list[int], k: int) -> list[int]:
    """Move the first number to the end, {k} times; the empty list stays empty."""
    turn = k % len(values) if values else 0
    return values[turn:] + values[:turn]


@part(between(2, 3))
def skip(values: list[int], k: int) -> list[int]:
    """Drop the first {k} numbers, or all if there are fewer."""
    return values[k:]


@part()
def total(values: list[int]) -> int:
    """Replace the list by the sum of its numbers (0 for none)."""
    return sum(values)


@part()
def largest(values: list[int]) -> int:
    """Replace the list by its greatest number (0 for none)."""
    return max(values, default=0)


@part()
def as_texts(values: list[int]) -> list[str]:
    """Write every number in decimal, as a text."""
    return [str(value) for value in values]


@part(between(2, 9))
def yes_or_no(values: list[int], k: int) -> str:
    """Write for each number the letter "y" if it is at least {k}, else "n", as one text."""
    return "".join("y" if value >= k else "n" for value in values)


@part()
def by_length(words: list[str]) -> list[str]:
    """Sort the texts by length, shortest first; those of equal length alphabetically (as Python compares strings)."""
    return sorted(words, key=lambda word: (len(word), word))


@part()
def alphabetical(words: list[str]) -> list[str]:
    """Sort the texts alphabetically (as Python compares strings)."""
    return sorted(words)


@part()
def each_backwards(words: list[str]) -> list[str]:
    """Reverse every text."""
    return [word[::-1] for word in words]


@part(between(2, 4))
def keep_longer(words: list[str], k: int) -> list[str]:
    """Keep only the texts with more than {k} characters."""
    return [word for word in words if len(word) > k]


@part(one_of("a", "e", "o", "1", "2"))
def keep_with(words: list[str], letter: str) -> list[str]:
    """Keep only the texts that contain {letter}."""
    return [word for word in words if letter in word]


@part()
def distinct_words(words: list[str]) -> list[str]:
    """Keep of equal texts only the first."""
    return list(dict.fromkeys(words))


@part()
def numbered(words: list[str]) -> list[str]:
    """Put before every text its position, counted from 1, and a colon."""
    return [f"{number}:{word}" for number, word in enumerate(words, 1)]


@part()
def lengths(words: list[str]) -> list[int]:
    """Replace every text by its length."""
    return [len(word) for word in words]


@part(one_of("-", "", ", ", "/"))
def join(words: list[str], separator: str) -> str:
    """Join the texts into one, with {separator} between them."""
    return separator.join(words)


@part()
def count_words(words: list[str]) -> dict[str, int]:
    """Count how often each text occurs: a dict from text to number."""
    return {word: words.count(word) for word in words}


@part()
def mirrored(text: str) -> str:
    """Reverse the text."""
    return text[::-1]


@part()
def swapped_case(text: str) -> str:
    """Make upper-case letters lower-case and lower-case letters upper-case."""
    return text.swapcase()


@part()
def without_vowels(text: str) -> str:
    """Remove the vowels a, e, i, o, u, upper and lower case."""
    return "".join(character for character in text if character not in "aeiouAEIOU")


@part()
def doubled(text: str) -> str:
    """Write every character twice."""
    return "".join(character * 2 for character in text)


@part(between(1, 12))
def shifted(text: str, k: int) -> str:
    """Replace every letter a-z by the one {k} places later in the alphabet, from z on to a; other characters stay."""
    return "".join(chr((ord(character) - 97 + k) % 26 + 97) if "a" <= character <= "z" else character for character in text)


@part()
def words_of(text: str) -> list[str]:
    """Split the text at white space into words."""
    return text.split()


@part(between(2, 4))
def pieces(text: str, k: int) -> list[str]:
    """Cut the text into pieces of {k} characters; the last may be shorter."""
    return [text[start : start + k] for start in range(0, len(text), k)]


@part()
def count_letters(text: str) -> dict[str, int]:
    """Count how often each character other than a blank occurs: a dict from character to number."""
    return {character: text.count(character) for character in text if character != " "}


@part()
def positions(text: str) -> list[int]:
    """Replace the text by the positions, counted from 0, of its lower-case vowels a, e, i, o, u."""
    return [index for index, character in enumerate(text) if character in "aeiou"]


@part(between(2, 3))
def frequent(counts: dict[str, int], k: int) -> dict[str, int]:
    """Keep only the entries whose number is at least {k}."""
    return {key: value for key, value in counts.items() if value >= k}


@part()
def keys_sorted(counts: dict[str, int]) -> list[str]:
    """Replace the dict by the list of its keys in alphabetical order (as Python compares strings)."""
    return sorted(counts)


@part()
def values_by_key(counts: dict[str, int]) -> list[int]:
    """Replace the dict by the list of its numbers in the alphabetical order of their keys (as Python compares strings)."""
    return [counts[key] for key in sorted(counts)]


@part()
def most_frequent(counts: dict[str, int]) -> str:
    """Replace the dict by the key with the greatest number; of several the alphabetically first; the empty text for an empty dict."""
    return min(counts, key=lambda key: (-counts[key], key), default="")


@part()
def digits(number: int) -> list[int]:
    """Replace the number by the list of the decimal digits of its absolute value, first digit first."""
    return [int(digit) for digit in str(abs(number))]


@part()
def binary(number: int) -> str:
    """Write the absolute value of the number in binary, without a prefix."""
    return format(abs(number), "b")


@part(between(2, 6))
def multiples(number: int, k: int) -> list[int]:
    """Replace the number by its first {k} multiples: the number itself, twice the number, and so on."""
    return [number * factor for factor in range(1, k + 1)]
