"""Functions with dynamic programming and bits."""

from __future__ import annotations

import random

from reflectory.envs.code.problems import problem


def _numbers(rng: random.Random, low: int, high: int, most: int) -> list[int]:
    return [rng.randint(low, high) for _ in range(rng.randint(1, most))]


@problem(
    examples=[("kitten", "sitting"), ("", "abc")],
    edges=[("", ""), ("same", "same"), ("ab", "ba"), ("abc", ""), ("a", "b"), ("flaw", "lawn")],
    draw=lambda rng: (
        "".join(rng.choice("abc") for _ in range(rng.randint(1, 8))),
        "".join(rng.choice("abc") for _ in range(rng.randint(1, 8))),
    ),
    bugs=["function/0"],
)
def edit_distance(one: str, other: str) -> int:
    """Count the fewest changes that make one text into the other.

    A change inserts, removes or replaces one character.
    """
    before = list(range(len(other) + 1))
    for number, letter in enumerate(one, 1):
        row = [number]
        for column, wanted in enumerate(other, 1):
            row.append(min(before[column] + 1, row[-1] + 1, before[column - 1] + (letter != wanted)))
        before = row
    return before[-1]


@problem(
    examples=[([1, 5, 10], 18), ([5], 3)],
    edges=[([], 0), ([], 4), ([2], 0), ([1, 3, 4], 6), ([3, 7], 5), ([9, 6, 5, 1], 11), ([7, 7], 14)],
    draw=lambda rng: (_numbers(rng, 1, 12, 4), rng.randint(1, 40)),
    bugs=[("return fewest[amount] if fewest[amount] <= amount else -1", "return fewest[amount]")],
)
def fewest_coins(coins: list[int], amount: int) -> int:
    """Count the fewest coins that sum up to an amount; -1 when it cannot be paid.

    `coins` are the values there are, each at least 1, in any order and possibly repeated; of each value there are as many coins
    as needed. The amount 0 needs no coin.
    """
    fewest = [0] + [amount + 1] * amount
    for total in range(1, amount + 1):
        for coin in coins:
            if coin <= total:
                fewest[total] = min(fewest[total], fewest[total - coin] + 1)
    return fewest[amount] if fewest[amount] <= amount else -1


@problem(
    examples=[([3, 1, 4, 1, 5, 9, 2, 6],), ([],)],
    edges=[([5],), ([5, 4, 3],), ([2, 2, 2],), ([1, 2, 3],), ([-1, -2, 0],), ([4, 10, 4, 3, 8, 9],)],
    draw=lambda rng: (_numbers(rng, -5, 9, 10),),
    bugs=["off-by-one/1"],
)
def longest_rise(values: list[int]) -> list[int]:
    """Find the longest strictly increasing sequence that is left when some numbers are taken out of a list.

    Of several longest ones, choose the one that ends earliest in the list; and for its last number, let the numbers before it be
    the longest such sequence that ends earliest, and so on backwards.
    """
    ending: list[list[int]] = []
    for value in values:
        fitting = [rise for rise in ending if rise[-1] < value]
        ending.append([*max(fitting, key=len, default=[]), value])
    return max(ending, key=len, default=[])


@problem(
    examples=[([[3, 4], [4, 5], [2, 3]], 6), ([], 10)],
    edges=[
        ([[5, 10]], 4),
        ([[5, 10]], 5),
        ([[1, 1], [1, 1]], 5),
        ([[2, 3], [2, 3], [3, 5]], 4),
        ([[0, 7]], 0),
        ([[6, 9], [3, 5], [3, 5]], 6),
    ],
    draw=lambda rng: ([[rng.randint(1, 6), rng.randint(1, 12)] for _ in range(rng.randint(1, 6))], rng.randint(1, 14)),
    bugs=[("range(capacity, weight - 1, -1)", "range(weight, capacity + 1)")],
)
def best_load(things: list[list[int]], capacity: int) -> int:
    """Find the greatest value that can be carried: things are [weight, value], and the weights may sum up to the capacity.

    Each thing can be taken once, and only whole. Weights and values are at least 0.
    """
    best = [0] * (capacity + 1)
    for weight, value in things:
        for room in range(capacity, weight - 1, -1):
            best[room] = max(best[room], best[room - weight] + value)
    return best[capacity]


@problem(
    examples=[(["..", ".."],), (["..", "#."],)],
    edges=[(["."],), (["#"],), (["...", "...", "..."],), ([".#", "#."],), (["....."],), (["..#", "...", "#.."],), ([".."] * 5,)],
    draw=lambda rng: (
        (width := rng.randint(1, 5)) and ["".join(rng.choice("...#") for _ in range(width)) for _ in range(rng.randint(1, 5))],
    ),
)
def count_ways(field: list[str]) -> int:
    """Count the ways from the upper left to the lower right corner of a field, in steps to the right and down.

    # cannot be entered, not even as the first or last place. The field has at least one place, and all rows are equally long.
    """
    ways = [1] + [0] * (len(field[0]) - 1)
    for row in field:
        for column, sign in enumerate(row):
            if sign == "#":
                ways[column] = 0
            elif column > 0:
                ways[column] += ways[column - 1]
    return ways[-1]


@problem(
    examples=[([2, 3, -8, 7, -1, 2, 3],), ([-3, -1, -2],)],
    edges=[([0],), ([5],), ([-5],), ([1, -1, 1],), ([0, 0],), ([3, -3, 3, -3, 4],), ([-1, 4, -2, 3],)],
    draw=lambda rng: (_numbers(rng, -9, 9, 9),),
    bugs=[("total, start = 0, index", "total, start = 0, index + 1")],
)
def best_stretch(values: list[int]) -> list[int]:
    """Find the stretch of neighbouring numbers with the greatest sum: [sum, first position, last position], counted from 0.

    The stretch has at least one number. Of several with the same sum take the one that ends earliest, and of those the longest.
    """
    best = [values[0], 0, 0]
    total, start = values[0], 0
    for index, value in enumerate(values[1:], 1):
        if total < 0:
            total, start = 0, index
        total += value
        if total > best[0]:
            best = [total, start, index]
    return best


@problem(
    examples=[(3,), (0,)],
    edges=[(1,), (2,), (4,), (5,)],
    draw=lambda rng: (rng.randint(3, 12),),
    bugs=["off-by-one/0"],
)
def gray_codes(bits: int) -> list[str]:
    """List all words of 0 and 1 of a length so that each differs from the one before it in one place: the reflected Gray code.

    The code of length 0 is the empty word alone. A code of length n has first the code of length n - 1 with a 0 before each word,
    then the same code in reverse order with a 1 before each word.
    """
    codes = [""]
    for _ in range(bits):
        mirrored = codes[::-1]
        codes = ["0" + code for code in codes] + ["1" + code for code in mirrored]
    return codes


@problem(
    examples=[("10.0.0.5", "10.0.0.0/24"), ("192.168.1.1", "192.168.0.0/24")],
    edges=[
        ("1.2.3.4", "1.2.3.4/32"),
        ("1.2.3.5", "1.2.3.4/32"),
        ("9.9.9.9", "0.0.0.0/0"),
        ("10.0.0.130", "10.0.0.128/25"),
        ("10.0.0.127", "10.0.0.128/25"),
        ("172.31.255.255", "172.16.9.9/12"),
        ("172.32.0.0", "172.16.0.0/12"),
    ],
    draw=lambda rng: (
        f"10.{rng.randint(0, 3)}.{rng.randint(0, 3)}.{rng.randint(0, 255)}",
        f"10.{rng.randint(0, 3)}.{rng.randint(0, 3)}.{rng.randint(0, 255)}/{rng.randint(9, 26)}",
    ),
    bugs=["negated/0"],
)
def in_network(address: str, network: str) -> bool:
    """Tell whether an IPv4 address belongs to a network in the notation ADDRESS/LENGTH.

    It does when the first LENGTH bits (0 to 32) of both addresses are equal.
    """
    base, _, length = network.partition("/")
    shift = 32 - int(length)
    return _bits(address) >> shift == _bits(base) >> shift


def _bits(address: str) -> int:
    number = 0
    for part in address.split("."):
        number = number * 256 + int(part)
    return number


@problem(
    examples=[([1, 2, 4],), ([5, 5, 5],)],
    edges=[([],), ([7],), ([0, 0],), ([0, 1023],), ([3, 5, 6],), ([255, 256],)],
    draw=lambda rng: (_numbers(rng, 0, 63, 6),),
    bugs=["arithmetic/0"],
)
def differing_bits(values: list[int]) -> int:
    """Sum up, for all pairs of numbers, in how many bits the two differ.

    Numbers are at least 0 and stand in the list in any order, possibly repeated; each pair of positions counts once.
    """
    return sum(bin(one ^ other).count("1") for index, one in enumerate(values) for other in values[index + 1 :])
