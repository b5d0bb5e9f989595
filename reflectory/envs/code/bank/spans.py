"""Functions on intervals and in the plane."""

from __future__ import annotations

import random

from reflectory.envs.code.problems import problem


def _spans(rng: random.Random, most: int) -> list[list[int]]:
    return [[(low := rng.randint(0, 20)), low + rng.randint(1, 6)] for _ in range(rng.randint(1, most))]


def _points(rng: random.Random, least: int, most: int) -> list[list[int]]:
    return [[rng.randint(-4, 4), rng.randint(-4, 4)] for _ in range(rng.randint(least, most))]


@problem(
    examples=[([[1, 3], [2, 6], [8, 10]],), ([[5, 6], [1, 2]],)],
    edges=[([],), ([[1, 4], [4, 5]],), ([[1, 10], [2, 3]],), ([[3, 3]],), ([[1, 2], [3, 4]],), ([[2, 3], [2, 5], [1, 2]],)],
    draw=lambda rng: (_spans(rng, 6),),
    bugs=[("sorted(spans)", "spans")],
)
def merged_spans(spans: list[list[int]]) -> list[list[int]]:
    """Merge intervals [first, last] that overlap or touch in a number, and give the merged ones in ascending order.

    [1, 4] and [4, 5] touch and become [1, 5]; [1, 2] and [3, 4] do not. The intervals come in any order; first is never greater
    than last.
    """
    merged: list[list[int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return merged


@problem(
    examples=[([[9, 10], [12, 13]], 8, 17, 2), ([], 8, 10, 3)],
    edges=[
        ([], 8, 10, 2),
        ([[8, 17]], 8, 17, 1),
        ([[0, 9], [16, 30]], 8, 17, 1),
        ([[9, 12], [10, 11]], 8, 17, 1),
        ([[8, 9], [9, 10]], 8, 10, 1),
        ([[12, 14], [9, 10]], 8, 17, 1),
        ([[10, 12]], 8, 13, 2),
        ([[3, 5], [8, 9]], 2, 10, 3),
        ([[6, 7], [1, 2]], 0, 7, 4),
    ],
    draw=lambda rng: (_spans(rng, 4), rng.randint(0, 6), rng.randint(12, 24), rng.randint(1, 4)),
    bugs=["boundary/0"],
)
def free_slots(busy: list[list[int]], opens: int, closes: int, length: int) -> list[list[int]]:
    """Find the gaps of at least `length` hours between the appointments of a day, as [from, to] in ascending order.

    The day goes from `opens` to `closes`. Appointments [from, to] come in any order, may overlap, and may begin before or end
    after the day. A gap is as long as it can be.
    """
    slots = []
    free = opens
    for start, end in sorted(busy):
        if min(start, closes) - free >= length:
            slots.append([free, min(start, closes)])
        free = max(free, end)
    if closes - free >= length:
        slots.append([free, closes])
    return slots


@problem(
    examples=[([[1, 4], [2, 5], [7, 9]],), ([],)],
    edges=[([[1, 2], [2, 3]],), ([[1, 2]],), ([[1, 5], [1, 5], [1, 5]],), ([[5, 6], [1, 9], [2, 3]],), ([[0, 1], [1, 2], [0, 2]],)],
    draw=lambda rng: (_spans(rng, 8),),
)
def rooms_needed(meetings: list[list[int]]) -> int:
    """Count how many rooms are needed so that all meetings [from, to] can take place.

    A room is free again at the moment a meeting ends: [1, 2] and [2, 3] need one room. Every meeting ends after it begins.
    """
    return max((sum(start <= moment < end for start, end in meetings) for moment, _ in meetings), default=0)


@problem(
    examples=[([[0, 10]], [3, 5]), ([[0, 2], [4, 8]], [1, 6])],
    edges=[
        ([], [1, 2]),
        ([[1, 2]], [1, 2]),
        ([[0, 5]], [5, 9]),
        ([[0, 5]], [7, 9]),
        ([[0, 3], [5, 6], [8, 9]], [2, 8]),
        ([[4, 5]], [0, 9]),
        ([[0, 9]], [0, 4]),
    ],
    draw=lambda rng: (
        [[start, start + rng.randint(1, 4)] for start in range(0, rng.randint(1, 4) * 5, 5)],
        [(low := rng.randint(0, 12)), low + rng.randint(1, 6)],
    ),
    bugs=["off-by-one/0"],
)
def cut_out(spans: list[list[int]], hole: list[int]) -> list[list[int]]:
    """Cut an interval out of a list of intervals [from, to), and give what is left, in the same order.

    `from` belongs to an interval and `to` does not, so that [0, 5) without [3, 5) is [0, 3). The intervals of the list do not
    overlap; none is empty, and no empty one is in the result.
    """
    left = []
    for start, end in spans:
        before, after = [start, min(end, hole[0])], [max(start, hole[1]), end]
        left += [part for part in (before, after) if part[0] < part[1]]
    return left


@problem(
    examples=[([[0, 0], [4, 0], [4, 3], [0, 3]],), ([[0, 0], [2, 0], [0, 2]],)],
    edges=[
        ([[0, 0], [0, 2], [2, 0]],),
        ([[1, 1], [2, 2], [3, 3]],),
        ([[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]],),
        ([[-1, -1], [1, -1], [1, 1], [-1, 1]],),
    ],
    draw=lambda rng: (_points(rng, 3, 6),),
    bugs=["arithmetic/0"],
)
def twice_the_area(corners: list[list[int]]) -> int:
    """Compute twice the area of a polygon from its corners [x, y], by the shoelace formula.

    The formula sums up, over all sides from (x, y) to (u, v), also the one from the last corner to the first, x * v - u * y, and
    takes the absolute value. It is to be applied to self-crossing polygons too. The order of the corners may be clockwise or not.
    """
    total = 0
    for (x, y), (u, v) in zip(corners, corners[1:] + corners[:1], strict=True):
        total += x * v - u * y
    return abs(total)


@problem(
    examples=[([[0, 0], [2, 0], [1, 1], [2, 2], [0, 2]],), ([[1, 1]],)],
    edges=[
        ([],),
        ([[0, 0], [1, 1], [2, 2]],),
        ([[0, 0], [0, 0]],),
        ([[0, 0], [3, 0], [3, 3], [0, 3], [1, 1], [2, 0]],),
        ([[5, 5], [1, 1]],),
        ([[0, 0], [1, 0], [0, 1]],),
        ([[0, 0], [1, 0], [1, 1], [0, 1]],),
        ([[2, 1], [3, 1], [3, 2]],),
    ],
    draw=lambda rng: (_points(rng, 3, 9),),
    bugs=["logic/0"],
)
def hull(points: list[list[int]]) -> list[list[int]]:
    """Find the corners of the smallest convex polygon around some points.

    Begin with the leftmost corner (of several the lowest) and go round counter-clockwise. Points on a side are no corners, and no
    corner stands there twice. Points on one line have two corners; one point has one, no points have none.
    """
    ordered = sorted({(x, y) for x, y in points})
    if len(ordered) <= 2:
        return [list(point) for point in ordered]
    half: list[list[tuple[int, int]]] = []
    for row in (ordered, ordered[::-1]):
        chain: list[tuple[int, int]] = []
        for x, y in row:
            while len(chain) >= 2 and _turn(chain[-2], chain[-1], (x, y)) <= 0:
                chain.pop()
            chain.append((x, y))
        half.append(chain[:-1])
    return [list(point) for point in half[0] + half[1]]


def _turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _two_boxes(rng: random.Random) -> tuple[list[int], list[int]]:
    """Two rectangles with a point in common, mostly; the rest are apart in one direction or two."""

    def box(x: int, y: int) -> list[int]:
        first, second = [x - rng.randint(0, 6), x + rng.randint(1, 7)], [y - rng.randint(0, 6), y + rng.randint(1, 7)]
        rng.shuffle(first)
        rng.shuffle(second)
        return [first[0], second[0], first[1], second[1]]

    x, y = rng.randint(-30, 30), rng.randint(-30, 30)  # far from each other, so that to mix them up tells
    away, up = rng.choice(((0, 0), (0, 0), (0, 0), (0, 15), (-15, 0), (15, -15)))
    return box(x, y), box(x + away, y + up)


@problem(
    examples=[([0, 0, 4, 4], [2, 2, 6, 6]), ([0, 0, 1, 1], [5, 5, 6, 6])],
    edges=[
        ([0, 0, 2, 2], [2, 0, 4, 2]),
        ([0, 0, 9, 9], [3, 3, 4, 4]),
        ([1, 1, 2, 2], [1, 1, 2, 2]),
        ([0, 0, 3, 9], [1, -5, 2, 20]),
        ([4, 4, 0, 0], [1, 1, 2, 2]),
        ([0, 0, 2, 2], [5, 0, 6, 2]),
        ([0, 0, 2, 2], [0, 5, 2, 6]),
        # Far from the diagonal, so that to mix up x and y tells, whichever corners are named.
        ([10, 100, 20, 120], [15, 110, 30, 140]),
        ([15, 110, 30, 140], [10, 100, 20, 120]),
        ([20, 120, 10, 100], [30, 140, 15, 110]),
        ([130, 40, 110, 15], [120, 20, 100, 10]),
        # Apart in both directions: the sides that are missing have a product, too.
        ([0, 0, 2, 2], [5, 7, 6, 9]),
        ([-4, -4, -1, -2], [1, 1, 3, 2]),
        ([3, -5, 1, -3], [-2, 2, -4, 6]),
    ],
    draw=_two_boxes,
    bugs=[("max(width, 0) * max(height, 0)", "max(width * height, 0)")],
)
def shared_area(one: list[int], other: list[int]) -> int:
    """Compute the area that two rectangles have in common.

    A rectangle is [x, y, u, v] with two opposite corners (x, y) and (u, v), any two; its sides are parallel to the axes.
    """
    width = min(max(one[0], one[2]), max(other[0], other[2])) - max(min(one[0], one[2]), min(other[0], other[2]))
    height = min(max(one[1], one[3]), max(other[1], other[3])) - max(min(one[1], one[3]), min(other[1], other[3]))
    return max(width, 0) * max(height, 0)


@problem(
    examples=[([0.0, 0.0], [[3.0, 4.0], [1.0, 1.0]]), ([1.5, -2.0], [])],
    edges=[([0.0, 0.0], [[0.0, 0.0]]), ([1.0, 1.0], [[-1.0, 1.0], [3.0, 1.0]]), ([0.0, 0.0], [[0.0, 2.0], [2.0, 0.0], [0.0, -1.0]])],
    draw=lambda rng: (
        [rng.uniform(-5, 5), rng.uniform(-5, 5)],
        [[rng.uniform(-5, 5), rng.uniform(-5, 5)] for _ in range(rng.randint(1, 5))],
    ),
    tolerance=1e-6,
)
def greedy_tour(start: list[float], stops: list[list[float]]) -> float:
    """Compute the length, as a float, of the way that begins at `start` and goes to the nearest unvisited stop until all are visited.

    Points are [x, y]; distances are straight lines. Of equally near stops the first in the list is next. The way does not lead
    back. The answer may differ from the exact one by at most a millionth.
    """
    way = 0.0
    here, left = start, list(stops)
    while left:
        lengths = [((x - here[0]) ** 2 + (y - here[1]) ** 2) ** 0.5 for x, y in left]
        nearest = lengths.index(min(lengths))
        way += lengths[nearest]
        here = left.pop(nearest)
    return way
