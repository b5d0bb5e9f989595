"""Functions on graphs and grids."""

from __future__ import annotations

import heapq
import random
from collections import deque

from reflectory.envs.code.problems import problem


def _edges(rng: random.Random, letters: str, most: int) -> list[list[str]]:
    return [rng.sample(letters, 2) for _ in range(rng.randint(1, most))]


def _grid(rng: random.Random, signs: str) -> list[str]:
    width = rng.randint(1, 6)
    return ["".join(rng.choice(signs) for _ in range(width)) for _ in range(rng.randint(1, 5))]


@problem(
    examples=[({"shirt": ["tie"], "tie": ["jacket"], "socks": ["shoes"]},), ({"a": ["b"], "b": ["a"]},)],
    edges=[
        ({},),
        ({"a": ["a"]},),
        ({"b": [], "a": []},),
        ({"z": ["a"]},),
        ({"a": ["c", "c"], "b": ["c"]},),
        ({"a": ["b"], "c": ["d"], "d": ["c"]},),
    ],
    draw=lambda rng: ({key: rng.sample("abcdef", rng.randint(0, 2)) for key in rng.sample("abcdef", rng.randint(1, 5))},),
)
def dressing_order(after: dict[str, list[str]]) -> list[str] | None:
    """Put things into an order in which each stands before all that come after it.

    `after` says for a thing what must come after it. All things that are a key or stand in a value are in the result, once. Where
    several could be next, take the alphabetically first. Return None when there is no such order.
    """
    names = sorted({*after, *(name for later in after.values() for name in later)})
    before = {name: {key for key, later in after.items() if name in later} for name in names}
    ready = [name for name in names if not before[name]]
    order: list[str] = []
    while ready:
        name = heapq.heappop(ready)
        order.append(name)
        for later in names:
            if name in before[later]:
                before[later].remove(name)
                if not before[later]:
                    heapq.heappush(ready, later)
    return order if len(order) == len(names) else None


@problem(
    examples=[([["a", "b"], ["b", "c"], ["x", "y"]],), ([],)],
    edges=[([["a", "a"]],), ([["b", "a"], ["c", "d"], ["d", "a"]],), ([["a", "b"], ["b", "a"]],), ([["z", "y"], ["b", "a"]],)],
    draw=lambda rng: (_edges(rng, "abcdefgh", 6),),
    bugs=[("merged = sorted({*group, *merged})", "merged = sorted({*group})")],
)
def friend_circles(pairs: list[list[str]]) -> list[list[str]]:
    """Find the circles of friends: everybody who is linked to somebody of the circle by a pair belongs to it.

    Each circle is in alphabetical order; the circles are ordered by their first member.
    """
    circles: list[list[str]] = []
    for one, other in pairs:
        merged = [one, other]
        apart = []
        for group in circles:
            if one in group or other in group:
                merged = sorted({*group, *merged})
            else:
                apart.append(group)
        circles = [*apart, sorted(set(merged))]
    return sorted(circles)


@problem(
    examples=[(["S..", ".#.", "..E"],), (["S#E"],)],
    edges=[(["SE"],), (["S", "E"],), (["S.#", "##.", "..E"],), (["E....", ".###.", "....S"],), (["#S#", "#.#", "#E#"],)],
    draw=lambda rng: ((rows := _grid(rng, "..#")) and ["S" + rows[0], *["." + row for row in rows[1:]], rows[0].replace("#", ".") + "E"],),
    bugs=["boundary/3"],
)
def maze_steps(maze: list[str]) -> int:
    """Count the steps of a shortest way through a maze, from S to E; -1 when there is none.

    All rows are equally long. A step leads up, down, left or right; # cannot be entered. There is one S and one E.
    """
    start = next((row, line.index("S")) for row, line in enumerate(maze) if "S" in line)
    queue = deque([(start, 0)])
    seen = {start}
    while queue:
        (y, x), steps = queue.popleft()
        if maze[y][x] == "E":
            return steps
        for row, column in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= row < len(maze) and 0 <= column < len(maze[0])
            if inside and maze[row][column] != "#" and (row, column) not in seen:
                seen.add((row, column))
                queue.append(((row, column), steps + 1))
    return -1


@problem(
    examples=[({"a": {"b": 4, "c": 1}, "c": {"b": 2}}, "a", "b"), ({"a": {"b": 1}}, "b", "a")],
    edges=[
        ({}, "x", "x"),
        ({"a": {"b": 0}}, "a", "b"),
        ({"a": {"b": 5, "c": 1}, "c": {"d": 1}, "d": {"b": 1}}, "a", "b"),
        ({"a": {"a": 3}}, "a", "a"),
        ({"a": {"b": 1}, "b": {"a": 1}}, "a", "z"),
        ({"a": {"b": 1, "c": 9}, "b": {"d": 1}, "c": {"d": 1}}, "a", "d"),
        ({"s": {"x": 2, "y": 1, "z": 8}, "x": {"g": 2}, "y": {"g": 4}, "z": {"g": 0}}, "s", "g"),
        ({"a": {"c": 5, "b": 3, "d": 7}, "b": {"e": 3}, "c": {"e": 1}, "d": {"e": 2}}, "a", "e"),
    ],
    draw=lambda rng: (
        {key: {other: rng.randint(1, 9) for other in rng.sample("abcdef", rng.randint(0, 3))} for key in "abcdef"},
        "a",
        rng.choice("bcdef"),
    ),
    bugs=[("heapq.heappop(waiting)", "waiting.pop()")],
)
def cheapest_way(roads: dict[str, dict[str, int]], start: str, goal: str) -> list[int | list[str]] | None:
    """Find the cheapest way between two places: [its cost, the list of the places on it, both ends included].

    `roads[a][b]` is the cost, at least 0, of the one-way road from a to b. Of several cheapest ways take the one whose list of
    places comes first alphabetically, as Python compares lists. Return None when there is none. From a place to itself the cost
    is 0.
    """
    waiting: list[tuple[int, list[str]]] = [(0, [start])]
    done: set[str] = set()
    while waiting:
        cost, way = heapq.heappop(waiting)
        name = way[-1]
        if name == goal:
            return [cost, way]
        if name in done:
            continue
        done.add(name)
        for other, price in roads.get(name, {}).items():
            heapq.heappush(waiting, (cost + price, [*way, other]))
    return None


@problem(
    examples=[(["##..", "#..#", "...#"],), (["..."],)],
    edges=[([],), (["#"],), (["#.#", ".#.", "#.#"],), (["###", "#.#", "###"],), (["##", "##"],), (["#.", ".#"],)],
    draw=lambda rng: (_grid(rng, "#."),),
    bugs=["no-return/0"],
)
def island_sizes(chart: list[str]) -> list[int]:
    """List the sizes of all islands on a chart, largest first.

    # is land; fields that touch at a side (not at a corner) belong to the same island. All rows are equally long.
    """
    land = {(y, x) for y, row in enumerate(chart) for x, field in enumerate(row) if field == "#"}
    sizes = []
    while land:
        waiting = [land.pop()]
        size = 0
        while waiting:
            y, x = waiting.pop()
            size += 1
            for field in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if field in land:
                    land.remove(field)
                    waiting.append(field)
        sizes.append(size)
    return sorted(sizes, reverse=True)


@problem(
    examples=[([["a", "b"], ["b", "c"], ["c", "d"]],), ([["a", "b"], ["b", "c"], ["c", "a"]],)],
    edges=[([],), ([["a", "a"]],), ([["c", "b"], ["b", "a"]],), ([["a", "b"], ["c", "d"], ["d", "e"]],), ([["a", "b"], ["b", "a"]],)],
    draw=lambda rng: (_edges(rng, "abcdef", 5),),
)
def two_teams(rivals: list[list[str]]) -> list[str] | None:
    """Divide people into two teams so that rivals are never in the same, and give the first team in alphabetical order.

    Go through the people in alphabetical order: who has no team yet, and no team forced on them by those before, joins the first
    team. Return None when it is not possible.
    """
    names = sorted({name for pair in rivals for name in pair})
    team: dict[str, int] = {}
    for first in names:
        if first in team:
            continue
        team[first] = 0
        waiting = [first]
        while waiting:
            name = waiting.pop()
            for pair in rivals:
                if name in pair:
                    other = pair[1] if pair[0] == name else pair[0]
                    if other not in team:
                        team[other] = 1 - team[name]
                        waiting.append(other)
                    elif team[other] == team[name]:
                        return None
    return [name for name in names if team[name] == 0]
