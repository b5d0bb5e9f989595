"""Functions on matrices, tables and layout."""

from __future__ import annotations

import random

from reflectory.envs.code.problems import problem


def _matrix(rng: random.Random, height: int, width: int) -> list[list[int]]:
    return [[rng.randint(-3, 6) for _ in range(width)] for _ in range(height)]


@problem(
    examples=[([[1, 2, 3], [4, 5, 6], [7, 8, 9]],), ([[1, 2], [3, 4], [5, 6]],)],
    edges=[([],), ([[7]],), ([[1, 2, 3, 4]],), ([[1], [2], [3]],), ([[1, 2, 3, 4], [5, 6, 7, 8]],)],
    draw=lambda rng: (_matrix(rng, rng.randint(1, 5), rng.randint(1, 5)),),
)
def spiral(matrix: list[list[int]]) -> list[int]:
    """List the numbers of a matrix along a spiral: from the upper left to the right, down, to the left, up, and so on inwards.

    All rows are equally long. No rows give no numbers.
    """
    found: list[int] = []
    while matrix:
        found += matrix.pop(0)
        matrix = [list(row) for row in zip(*matrix, strict=True)][::-1]
    return found


@problem(
    examples=[([[1, 2], [3, 4]], 1), ([[1, 2, 3]], 2)],
    edges=[
        ([], 1),
        ([[1]], 3),
        ([[1, 2], [3, 4]], 0),
        ([[1, 2], [3, 4]], -1),
        ([[1, 2], [3, 4]], 5),
        ([[1], [2]], -2),
        ([[1, 2, 3], [4, 5, 6]], 3),
    ],
    draw=lambda rng: (_matrix(rng, rng.randint(1, 4), rng.randint(1, 4)), rng.randint(-6, 6)),
    bugs=["no-return/0"],
)
def turned(matrix: list[list[int]], turns: int) -> list[list[int]]:
    """Turn a matrix by quarter turns clockwise; a negative number turns it the other way.

    [[1, 2], [3, 4]] turned once is [[3, 1], [4, 2]]. All rows are equally long.
    """
    for _ in range(turns % 4):
        matrix = [list(row) for row in zip(*matrix[::-1], strict=True)]
    return [list(row) for row in matrix]


@problem(
    examples=[([".#.", ".#.", ".#."],), (["##", "##"],)],
    edges=[([],), (["#"],), (["..."],), (["###"],), (["###", "###", "###"],), ([".#..", "..#.", "###.", "...."],)],
    draw=lambda rng: (
        (width := rng.randint(2, 6)) and ["".join(rng.choice("#.") for _ in range(width)) for _ in range(rng.randint(2, 5))],
    ),
    bugs=[("if (other, side) != (y, x)", "if True")],
)
def next_generation(cells: list[str]) -> list[str]:
    """Do one step of Conway's Game of Life.

    # is alive, . is dead. Each cell has up to eight neighbours; outside the field all is dead. A living cell with two or three
    living neighbours goes on living, a dead one with three comes to life, all others are dead then.
    """
    alive = {(y, x) for y, row in enumerate(cells) for x, cell in enumerate(row) if cell == "#"}
    after = []
    for y, row in enumerate(cells):
        line = ""
        for x in range(len(row)):
            near = sum((other, side) in alive for other in (y - 1, y, y + 1) for side in (x - 1, x, x + 1) if (other, side) != (y, x))
            line += "#" if near == 3 or (near == 2 and (y, x) in alive) else "."
        after.append(line)
    return after


@problem(
    examples=[([[1, 2], [3, 4]],), ([[2, 0, 1], [1, 3, 2], [0, 1, 1]],)],
    edges=[([],), ([[7]],), ([[0, 1], [1, 0]],), ([[1, 2], [2, 4]],), ([[0, 0, 1], [0, 1, 0], [1, 0, 0]],), ([[10**9, 1], [1, 10**9]],)],
    draw=lambda rng: ((size := rng.randint(2, 4)) and _matrix(rng, size, size),),
    bugs=["base-case/0"],
)
def determinant(matrix: list[list[int]]) -> int:
    """Compute the determinant of a square matrix of whole numbers, exactly.

    The determinant of a matrix without rows is 1.
    """
    if not matrix:
        return 1
    total = 0
    for column, value in enumerate(matrix[0]):
        smaller = [row[:column] + row[column + 1 :] for row in matrix[1:]]
        total += (-1) ** column * value * determinant(smaller)
    return total


@problem(
    examples=[([["name", "age"], ["Ada", "36"], ["Bob", "7"]],), ([["x"]],)],
    edges=[
        ([],),
        ([[""]],),
        ([["a", "b"], ["", "c"]],),
        ([["1", "22"], ["333", "4"]],),
        ([["-5", "x"], ["10", "yy"]],),
        ([["a b", "3.5"], ["c", "12"]],),
    ],
    draw=lambda rng: ([[rng.choice(["ab", "x", "long one", "7", "123", "-4", "a1"]) for _ in range(3)] for _ in range(rng.randint(1, 4))],),
    bugs=[("cell.rjust(width)", "cell.ljust(width)")],
)
def aligned(rows: list[list[str]]) -> list[str]:
    """Set a table as lines of text, one for each row, its columns one under the other.

    A column is as wide as its longest cell; between two columns there are two blanks. Whole numbers (digits, with or without a
    minus sign before them) stand at the right of their column, all else at the left. Lines have no blanks at their end. All rows
    have equally many cells.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell.removeprefix("-").isdigit() else cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


@problem(
    examples=[(1536,), (999,)],
    edges=[(0,), (1023,), (1024,), (1048576,), (1048575,), (1024**4,), (1024**5,), (10240,), (1126,)],
    draw=lambda rng: (rng.randrange(2 ** rng.randint(5, 45)),),
)
def human_size(count: int) -> str:
    """Write a number of bytes with the largest unit of B, KB, MB, GB and TB of which it is at least one.

    A unit is 1024 of the one before. Bytes are written whole, as "999 B"; all others with exactly one decimal, cut off and not
    rounded, as "1.5 KB".
    """
    size, unit = 1, "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if count < size * 1024:
            break
        size, unit = size * 1024, larger
    if size == 1:
        return f"{count} B"
    tenths = count * 10 // size
    return f"{tenths // 10}.{tenths % 10} {unit}"


_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


@problem(
    examples=[(342,), (1005,)],
    edges=[(0,), (7,), (13,), (20,), (21,), (100,), (999,), (1000,), (10000,), (999999,), (110,), (200001,), (19,), (219,), (19019,)],
    draw=lambda rng: (rng.randrange(10 ** rng.randint(2, 6)),),
    bugs=[('f"{_TENS[tens]}-{_ONES[ones]}" if ones', 'f"{_TENS[tens]} {_ONES[ones]}" if ones')],
)
def spelled(number: int) -> str:
    """Spell a number from 0 to 999999 in English words.

    Tens and ones have a hyphen between them ("forty-two"); all else has blanks ("three hundred forty-two", "one thousand five",
    without "and").
    """
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]
    size, word = (100, "hundred") if number < 1000 else (1000, "thousand")
    many, rest = divmod(number, size)
    return f"{spelled(many)} {word} {spelled(rest)}" if rest else f"{spelled(many)} {word}"


@problem(
    examples=[(["a/b", "a/c", "d"],), ([],)],
    edges=[(["x"],), (["a/b/c/d"],), (["b", "a"],), (["a", "a/b"],), (["a/x", "b/x", "a/y"],), (["z/1", "z/1"],)],
    draw=lambda rng: (["/".join(rng.choice("abc") for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 5))],),
    bugs=["swapped/0"],
)
def tree_lines(paths: list[str]) -> list[str]:
    """Show paths such as "a/b" as an indented tree.

    Every part of a path is a line of its own, below the part before it and indented by two blanks more. Parts below the same
    parent stand in alphabetical order, and each stands there once, however many paths go through it.
    """
    root: dict[str, object] = {}
    for path in paths:
        tree = root
        for name in path.split("/"):
            tree = tree.setdefault(name, {})  # type: ignore[assignment]
    return _tree_lines(root, 0)


def _tree_lines(tree: dict[str, object], depth: int) -> list[str]:
    lines: list[str] = []
    for name in sorted(tree):
        lines.append("  " * depth + name)
        lines += _tree_lines(tree[name], depth + 1)  # type: ignore[arg-type]
    return lines
