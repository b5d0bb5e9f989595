"""Functions that recurse."""

from __future__ import annotations

import random
import re
from typing import Any

from reflectory.envs.code.problems import problem


def _nest(rng: random.Random, depth: int) -> list[Any]:
    return [rng.randint(0, 9) if depth == 0 or rng.random() < 0.6 else _nest(rng, depth - 1) for _ in range(rng.randint(0, 4))]


def _coded(rng: random.Random, depth: int) -> str:
    text = ""
    for _ in range(rng.randint(1, 3)):
        text += f"{rng.randint(0, 3)}[{_coded(rng, depth - 1)}]" if depth and rng.random() < 0.5 else rng.choice("abc")
    return text


def _data(rng: random.Random, depth: int) -> Any:
    if depth == 0 or rng.random() < 0.3:
        return rng.choice([1, "x", True, None])
    if rng.random() < 0.4:
        return [_data(rng, depth - 1) for _ in range(rng.randint(0, 2))]
    return {key: _data(rng, depth - 1) for key in rng.sample("abc", rng.randint(0, 3))}


@problem(
    examples=[([1, [2, [3, [4]]]], 1), ([[1], [2]], 0)],
    edges=[([], 3), ([[[]]], 5), ([[[1]], 2], 2), ([[[[1]]]], 2), ([1, 2], 4), ([[], [[]], 3], 1)],
    draw=lambda rng: (_nest(rng, 3), rng.randint(0, 3)),
    bugs=[("found: list[Any] | None = None) -> list[Any]:", "found: list[Any] = []) -> list[Any]:")],
)
def flattened(items: list[Any], depth: int, found: list[Any] | None = None) -> list[Any]:
    """Take the brackets away from lists in a list, down to a depth, and give a new list.

    With depth 1 the items of inner lists stand in the outer one, with depth 2 those of lists within these too, and so on; with depth 0
    all stays as it is. It is called with two arguments; what `found` is for is up to you.
    """
    found = [] if found is None else found
    for item in items:
        if isinstance(item, list) and depth > 0:
            flattened(item, depth - 1, found)
        else:
            found.append(item)
    return found


@problem(
    examples=[("3[ab]c",), ("2[a3[b]]",)],
    edges=[("",), ("abc",), ("10[x]",), ("0[gone]left",), ("2[]",), ("1[1[1[z]]]",), ("2[a]3[b]",)],
    draw=lambda rng: (_coded(rng, 3),),
)
def unpacked(code: str) -> str:
    """Write out a packed text: NUMBER[TEXT] stands for the text, that many times; it may be packed itself.

    All other characters are small letters and stand for themselves. The input is always well-formed.
    """
    while True:
        found = re.search(r"(\d+)\[([a-z]*)\]", code)
        if found is None:
            return code
        count, inner = found.groups()
        code = code[: found.start()] + int(count) * inner + code[found.end() :]


@problem(
    examples=[([2, 3, 5], 8), ([4], 3)],
    edges=[([], 0), ([1], 0), ([1, 1, 1], 2), ([3, 2, 1], 3), ([5, 5], 5), ([0, 2], 2), ([-1, 1, 2], 2)],
    draw=lambda rng: ([rng.randint(-2, 7) for _ in range(rng.randint(1, 7))], rng.randint(0, 10)),
    bugs=[("if total == 0 else []", "if total <= 0 else []")],
)
def choices_with_sum(values: list[int], total: int) -> list[list[int]]:
    """List all selections of numbers that have a sum, each selection in ascending order.

    Each position of the list may be used once. Selections that are equal as lists stand there once, and they are in ascending
    order, as Python compares lists. The empty selection has the sum 0.
    """
    found: list[list[int]] = []
    for selection in _selections(sorted(values), total):
        unique = list(selection)
        if unique not in found:
            found.append(unique)
    return sorted(found)


def _selections(values: list[int], total: int) -> list[list[int]]:
    if not values:
        return [[]] if total == 0 else []
    first, rest = values[0], values[1:]
    return [[first, *chosen] for chosen in _selections(rest, total - first)] + _selections(rest, total)


@problem(
    examples=[({"a": {"b": [1, 2]}, "c": None},), ({},)],
    edges=[([],), (5,), ({"a": {}},), ({"a": []},), ([[1], {"x": "y"}],), ({"a": {"b": {"c": True}}},), ("text",)],
    draw=lambda rng: (_data(rng, 3),),
    bugs=[('path: str = ""', 'path: str = "."')],
)
def paths_of(data: Any, path: str = "") -> dict[str, Any]:
    """Flatten JSON data into a dict from path to value.

    The path of a value has the keys and positions on the way to it with dots between them, as "a.b.0"; positions of lists are counted
    from 0. An empty list or dict is a value of its own. Data that is no list and no dict has the path "", and so has an empty list or
    dict at the top. It is called with one argument; what `path` is for is up to you.
    """
    if isinstance(data, dict):
        entries = [(str(key), value) for key, value in data.items()]
    elif isinstance(data, list):
        entries = [(str(index), value) for index, value in enumerate(data)]
    else:
        return {path: data}
    if not entries:
        return {path: data}
    found: dict[str, Any] = {}
    for key, value in entries:
        found.update(paths_of(value, f"{path}.{key}" if path else key))
    return found


@problem(
    examples=[(2, "A", "C"), (0, "A", "B")],
    edges=[(1, "A", "B"), (1, "C", "A"), (3, "B", "A"), (4, "A", "C"), (5, "C", "B")],
    draw=lambda rng: (rng.randint(1, 6), *rng.sample("ABC", 2)),
    bugs=[('"ABC".replace(start, "")', '"ABC".replace(start, "", 0)')],
)
def tower_moves(disks: int, start: str, goal: str) -> list[str]:
    """Solve the Towers of Hanoi with the fewest moves: list them, as "AC" for a move from peg A to peg C.

    All disks stand on one peg (A, B or C), the largest at the bottom, and are to stand on another in the end. Only the top disk of a
    peg can be moved, and never onto a smaller one.
    """
    if disks == 0:
        return []
    other = "ABC".replace(start, "").replace(goal, "")
    return [*tower_moves(disks - 1, start, other), start + goal, *tower_moves(disks - 1, other, goal)]


@problem(
    examples=[(4, []), (5, [0])],
    edges=[(1, []), (2, []), (3, []), (5, []), (6, []), (0, []), (4, [0]), (5, [1, 3]), (4, [1, 3, 0, 2]), (6, [0, 1])],
    draw=lambda rng: ((size := rng.randint(4, 8)), rng.sample(range(size), rng.randint(1, 3))),
    bugs=[("abs(column - other)", "column - other")],
)
def queens(size: int, begun: list[int]) -> list[list[int]]:
    """Place queens on a chessboard so that none attacks another, one in each row: list all ways, ascending as Python compares lists.

    A way is the list of the columns of the queens, row by row, counted from 0. Queens attack along rows, columns and diagonals.
    Only ways that begin with the columns in `begun` count; those may attack each other, and then there is no way. On a board of
    size 0 there is one way, the empty one.
    """
    ways: list[list[int]] = [[]]
    for row in range(size):
        ways = [[*way, column] for way in ways for column in range(size) if _safe(way, row, column)]
    return [way for way in ways if way[: len(begun)] == begun]


def _safe(way: list[int], row: int, column: int) -> bool:
    return all(other != column and abs(column - other) != row - line for line, other in enumerate(way))
