"""Functions that simulate something and keep a state."""

from __future__ import annotations

import re
from typing import Any

from reflectory.envs.code.problems import problem


@problem(
    examples=[("RRMLM",), ("",)],
    edges=[("MMRMMRMMRMM",), ("LLLL",), ("M",), ("LM",), ("RRM",), ("MXM",), ("mM",)],
    draw=lambda rng: ("".join(rng.choice("MMLRX") for _ in range(rng.randint(1, 12))),),
    bugs=[("turn - 1) % 4", "turn - 2) % 4")],
)
def robot_walk(commands: str) -> list[int]:
    """Move a robot over a grid, and give [x, y, number of different fields it has stood on, the first included].

    It begins at (0, 0) and looks north, where y grows. L and R turn it left and right by a quarter, M moves it one field ahead. Other
    letters do nothing.
    """
    x = y = turn = 0
    seen = [(0, 0)]
    for command in commands:
        if command == "L":
            turn = (turn - 1) % 4
        elif command == "R":
            turn = (turn + 1) % 4
        elif command == "M":
            x += (0, 1, 0, -1)[turn]
            y += (1, 0, -1, 0)[turn]
            field = (x, y)
            if field not in seen:
                seen.append(field)
    return [x, y, len(seen)]


@problem(
    examples=[(2, [["put", "a", 1], ["put", "b", 2], ["get", "a"], ["put", "c", 3], ["get", "b"]]), (1, [["get", "x"]])],
    edges=[
        (0, [["put", "a", 1], ["get", "a"]]),
        (2, []),
        (1, [["put", "a", 1], ["put", "a", 2], ["get", "a"]]),
        (2, [["put", "a", 1], ["put", "b", 2], ["put", "a", 9], ["put", "c", 3], ["get", "a"], ["get", "b"]]),
    ],
    draw=lambda rng: (
        rng.randint(1, 3),
        [
            ["get", rng.choice("abcd")] if rng.random() < 0.5 else ["put", rng.choice("abcd"), rng.randint(0, 9)]
            for _ in range(rng.randint(3, 12))
        ],
    ),
    bugs=["boundary/0"],
)
def cache_answers(size: int, calls: list[list[Any]]) -> list[int]:
    """Play calls on a cache that forgets what was used least recently, and list what the get calls answer.

    ["put", key, value] stores a value, in place of an older one of the same key; ["get", key] answers the value, or -1 when it is not
    there. Both use the key. When there are more than `size` keys after a put, the one whose last use is longest ago is forgotten.
    """
    store: dict[str, int] = {}
    answers: list[int] = []
    for name, key, *value in calls:
        if name == "put":
            store.pop(key, None)
            store[key] = value[0]
            if len(store) > size:
                del store[next(iter(store))]
        elif key in store:
            store[key] = store.pop(key)
            answers.append(store[key])
        else:
            answers.append(-1)
    return answers


@problem(
    examples=[(7, 3), (1, 5)],
    edges=[(5, 1), (2, 2), (6, 6), (10, 20), (3, 7)],
    draw=lambda rng: (rng.randint(2, 15), rng.randint(1, 9)),
    bugs=[("range(1, people + 1)", "range(people)")],
)
def leaving_order(people: int, count: int) -> list[int]:
    """Say in which order people leave a circle, the last one included.

    They stand in a circle, numbered from 1. One counts from person 1 on, 1, 2, 3 and so on up to `count`; who is counted last leaves,
    and the counting begins again at 1 with the next person, until nobody is left.
    """
    circle = list(range(1, people + 1))
    order = []
    place = 0
    while circle:
        place = (place + count - 1) % len(circle)
        order.append(circle.pop(place))
    return order


@problem(
    examples=[([["deposit", 50], ["withdraw", 20], ["withdraw", 40]], 0), ([], 7)],
    edges=[
        ([["withdraw", 5]], 5),
        ([["withdraw", 6]], 5),
        ([["deposit", 0], ["deposit", -3]], 1),
        ([["undo"]], 4),
        ([["deposit", 5], ["undo"], ["undo"]], 1),
        ([["withdraw", 9], ["undo"]], 3),
        ([["deposit", 2], ["withdraw", 1], ["undo"], ["undo"]], 0),
        ([["deposit", 5], ["deposit", 0], ["undo"]], 2),
        ([["deposit", 4], ["withdraw", 0], ["undo"]], 3),
        ([["deposit", 1], ["deposit", 1], ["withdraw", 9], ["undo"], ["undo"]], 6),
    ],
    draw=lambda rng: (
        [rng.choice([["deposit", rng.randint(-1, 30)], ["withdraw", rng.randint(0, 30)], ["undo"]]) for _ in range(rng.randint(1, 8))],
        rng.randint(0, 20),
    ),
    bugs=["logic/0"],
)
def account(operations: list[list[Any]], balance: int) -> list[int]:
    """Keep an account: list the balance after each operation.

    ["deposit", amount] adds, ["withdraw", amount] takes away. An amount of 0 or less, and a withdrawal of more than there is, is
    refused and changes nothing. ["undo"] takes back the last operation that was carried out and not yet taken back; with none left
    it changes nothing.
    """
    history: list[int] = []
    balances = []
    for name, *amount in operations:
        if name == "undo":
            if history:
                balance = history.pop()
        elif amount[0] > 0 and (name == "deposit" or amount[0] <= balance):
            history.append(balance)
            balance += amount[0] if name == "deposit" else -amount[0]
        balances.append(balance)
    return balances


@problem(
    examples=[("a = 1; // one\nb = 2; /* two\nlines */ c",), ('s = "// no comment";',)],
    edges=[("",), ("/**/",), ("a/b",), ('"\\"/*"/*x*/',), ("//x",), ("/* open",), ("a//b\n//c\nd",), ('"/*" */',), ("/*/ x */y",)],
    draw=lambda rng: ("".join(rng.choice(["/", "*", '"', "x", "\n", "//", "/*", "*/", " "]) for _ in range(rng.randint(2, 12))),),
)
def without_comments(code: str) -> str:
    r"""Remove the comments of a C-like language from a text.

    `//` begins a comment that ends before the next line break, `/*` one that ends with the next `*/` after it, or with the text when
    there is none. Between double quotes nothing begins a comment; there a backslash takes the next character with it, and a quote
    that is never closed reaches to the end of the text. Nothing is put in place of a comment.
    """
    pattern = r'("(?:\\.|[^"\\])*(?:"|\\?\Z))|//[^\n]*|/\*.*?(?:\*/|\Z)'
    return re.sub(pattern, lambda found: found.group(1) or "", code, flags=re.DOTALL)


@problem(
    examples=[({"locked": {"coin": "open"}, "open": {"push": "locked"}}, "locked", ["coin", "push", "push"]), ({}, "s", [])],
    edges=[
        ({}, "s", ["x"]),
        ({"a": {"x": "a"}}, "a", ["x", "x"]),
        ({"a": {"x": "b"}}, "a", ["x", "x"]),
        ({"a": {"*": "b"}, "b": {"x": "a", "*": "b"}}, "a", ["x", "x", "y"]),
    ],
    draw=lambda rng: (
        {state: {event: rng.choice("abc") for event in rng.sample("xyz*", rng.randint(0, 3))} for state in "abc"},
        rng.choice("abc"),
        [rng.choice("xyz") for _ in range(rng.randint(1, 7))],
    ),
    bugs=["negated/1"],
)
def machine_states(table: dict[str, dict[str, str]], state: str, events: list[str]) -> list[str]:
    """Run a state machine and list the states it goes through, the first included.

    `table[state][event]` is the next state. The event "*" in the table stands for every event that has no entry of its own in that
    state. An event without a next state changes nothing; the state stands in the list once more.
    """
    states = [state]
    for event in events:
        ways = table.get(state, {})
        if event in ways:
            state = ways[event]
        elif "*" in ways:
            state = ways["*"]
        states.append(state)
    return states


@problem(
    examples=[([5, 3, 8, 2], 2), ([1], 3)],
    edges=[([], 2), ([4, 4, 4], 1), ([1, 2, 3], 5), ([9, 1, 1, 1, 1], 2), ([0, 0, 5], 2), ([2, 2, 2, 2], 3)],
    draw=lambda rng: ([rng.randint(0, 9) for _ in range(rng.randint(1, 9))], rng.randint(1, 4)),
    bugs=[("free[desk] += minutes", "free[desk] = minutes")],
)
def served_at(customers: list[int], desks: int) -> list[int]:
    """Say for each customer at which minute they are done.

    All stand in one queue at minute 0, in the order of the list; `customers` has the minutes each needs at a desk. Whoever is first
    in the queue goes to the desk that is free earliest, of several to the one with the lowest number.
    """
    free = [0] * desks
    ends = []
    for minutes in customers:
        desk = free.index(min(free))
        free[desk] += minutes
        ends.append(free[desk])
    return ends


@problem(
    examples=[("3.14",), ("-",)],
    edges=[
        ("",),
        (".",),
        ("5.",),
        (".5",),
        ("+7",),
        ("1e5",),
        ("1e",),
        ("1.5e-3",),
        ("e3",),
        ("--1",),
        ("1.2.3",),
        ("1 ",),
        ("1e5.2",),
        ("-.",),
        ("+.1e+1",),
    ],
    draw=lambda rng: ("".join(rng.choice("12+-.e") for _ in range(rng.randint(1, 6))),),
    bugs=["off-by-one/0"],
)
def is_number(text: str) -> bool:
    """Tell whether a text is a number.

    A number may begin with + or -. Then come digits, possibly with one dot before, after or among them; at least one digit must be
    there. Then may come an exponent: e or E, possibly + or -, and at least one digit. Nothing else may stand in the text, no blanks
    either. Digits are 0-9.
    """
    digits = 0
    dot = power = False
    for index, character in enumerate(text):
        if character in "0123456789":
            digits += 1
        elif character in "+-":
            if index > 0 and text[index - 1] not in "eE":
                return False
        elif character == ".":
            if dot or power:
                return False
            dot = True
        elif character in "eE":
            if power or digits == 0:
                return False
            power, digits = True, 0
        else:
            return False
    return digits > 0
