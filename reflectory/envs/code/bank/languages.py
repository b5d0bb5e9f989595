"""Functions that interpret a small language."""

from __future__ import annotations

import random
import re

from reflectory.envs.code.problems import problem


def _expression(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.2:
        return str(rng.randint(0, 9))
    inner = f"{_expression(rng, depth - 1)}{rng.choice(['+', '-', '*', ' + ', ' * '])}{_expression(rng, depth - 1)}"
    return f"({inner})" if rng.random() < 0.4 else inner


@problem(
    examples=[("3 4 + 2 *",), ("1 +",)],
    edges=[
        ("",),
        ("7",),
        ("1 2",),
        ("7 2 /",),
        ("-7 2 /",),
        ("4 0 /",),
        ("2 -3 *",),
        ("5 1 2 + 4 * + 3 -",),
        ("a",),
        ("7 -2 /",),
        ("8 3 -",),
        ("2 9 - 4 +",),
        ("6 -5 - 2 /",),
        ("3 5 *",),
        ("4 -7 +",),
        ("1 2 3 4 5 - - - -",),
    ],
    draw=lambda rng: (
        " ".join(str(rng.randint(-9, 9)) if rng.random() < 0.6 else rng.choice("+-*/") for _ in range(rng.choice([3, 3, 5, 5, 4]))),
    ),
    bugs=["arithmetic/2"],
)
def postfix(text: str) -> int | None:
    """Compute an expression in postfix notation with whole numbers: "3 4 + 2 *" is 14.

    Parts are separated by blanks; a part is a whole number, possibly with a minus sign, or one of + - * /. Division drops what is
    after the point: -7 by 2 is -3. Return None for what is no expression (too few or too many numbers, other parts, nothing) and for
    a division by 0.
    """
    stack: list[int] = []
    for part in text.split():
        if re.fullmatch(r"-?\d+", part):
            stack.append(int(part))
        elif part in ("+", "-", "*", "/") and len(stack) >= 2 and not (part == "/" and stack[-1] == 0):
            right, left = stack.pop(), stack.pop()
            stack.append(_apply(part, left, right))
        else:
            return None
    return stack[0] if len(stack) == 1 else None


def _apply(sign: str, left: int, right: int) -> int:
    if sign == "/":
        return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    return left + right if sign == "+" else left - right if sign == "-" else left * right


@problem(
    examples=[("2 + 3 * (4 - 1)",), ("8-3-2",)],
    edges=[("7",), ("((5))",), ("2*3+4*5",), ("1-(2-3)",), ("  12  ",), ("-3+5",), ("2*-3",), ("-(2+3)*2",), ("--4",)],
    draw=lambda rng: (_expression(rng, 4),),
)
def evaluated(text: str) -> int:
    """Compute an expression of whole numbers, + - *, brackets and blanks.

    Multiplication goes before addition and subtraction, which are done from left to right. A minus sign may stand before a number, a
    bracket or another minus sign, and binds more tightly than multiplication. The input is always well-formed.
    """
    return _sum(re.findall(r"\d+|[-+*()]", text))


def _sum(parts: list[str]) -> int:
    total = _product(parts)
    while parts and parts[0] in "+-":
        sign, value = parts.pop(0), _product(parts)
        total = total + value if sign == "+" else total - value
    return total


def _product(parts: list[str]) -> int:
    total = _factor(parts)
    while parts and parts[0] == "*":
        parts.pop(0)
        total *= _factor(parts)
    return total


def _factor(parts: list[str]) -> int:
    part = parts.pop(0)
    if part == "-":
        return -_factor(parts)
    if part == "(":
        value = _sum(parts)
        parts.pop(0)
        return value
    return int(part)


@problem(
    examples=[(["set a 3", "dec a", "jnz a -1", "inc b"],), (["jnz 1 5", "inc a"],)],
    edges=[
        ([],),
        (["copy a b"],),
        (["set a 5", "copy a b", "inc b"],),
        (["jnz a 2", "inc a", "inc a"],),
        (["set a -1", "inc a", "jnz a -1"],),
        (["jnz 1 -9", "inc a"],),
        (["inc c"],),
        (["jnz 2 2", "inc a", "dec b"],),
        # The last of a thousand lines, and the one after it, tell.
        (["inc a", "inc b", "jnz 1 -2"],),
        (["inc c", "jnz 1 1", "dec a", "jnz 1 -3"],),
        (["inc b", "jnz 1 -1"],),
    ],
    draw=lambda rng: (
        [
            rng.choice(["inc a", "inc b", "dec a", "set a 2", "set b 3", "copy a b", "copy b c", "jnz a 2", "jnz c 3", "jnz b 2"])
            for _ in range(rng.randint(2, 9))
        ]
        + (["dec b", "jnz b -1"] if rng.random() < 0.3 else []),
    ),
    bugs=["negated/3"],
)
def registers_after(program: list[str]) -> dict[str, int]:
    """Run a program for a machine with the registers a, b and c, which begin at 0, and give them in the end.

    "set R N" puts a number in, "copy R S" copies R to S, "inc R" and "dec R" add and take away 1. "jnz X N" jumps N lines ahead (or
    back, when negative) when X, a register or a whole number, is not 0. The program ends when the line to be done is not there,
    before the first or after the last, and at the latest after 1000 lines done.
    """
    registers = {"a": 0, "b": 0, "c": 0}
    place = 0
    for _ in range(1000):
        if not 0 <= place < len(program):
            break
        name, first, *where = program[place].split()
        if name == "set":
            registers[first] = int(where[0])
        elif name == "copy":
            registers[where[0]] = registers[first]
        elif name == "jnz":
            if (registers[first] if first in registers else int(first)) != 0:
                place += int(where[0]) - 1
        else:
            registers[first] += 1 if name == "inc" else -1
        place += 1
    return registers


@problem(
    examples=[("Dear {name}, {{you}} owe {sum}.", {"name": "Ada", "sum": "3"}), ("{x}", {})],
    edges=[
        ("", {}),
        ("{{}}", {}),
        ("{a}{b}", {"a": "{b}", "b": "1"}),
        ("{ a }", {"a": "1"}),
        ("{a", {"a": "1"}),
        ("}", {}),
        ("{{{a}}}", {"a": "v"}),
        ("{}", {"": "e"}),
        ("{a|none}", {}),
        ("{a|none}", {"a": "1"}),
        ("{a|}", {}),
        ("}}", {}),
        ("a }} b {{", {"a": "1"}),
    ],
    draw=lambda rng: (
        "".join(rng.choice(["{a}", "{b|x}", "{c}", "{{", "}}", "t", " ", "{b}", "{d|}"]) for _ in range(rng.randint(1, 6))),
        {key: rng.choice(["1", "{a}", ""]) for key in rng.sample("abc", rng.randint(0, 3))},
    ),
    bugs=[("found[0][0]", '"{"')],
)
def filled(template: str, values: dict[str, str]) -> str:
    """Fill in a template.

    {NAME} stands for the value of the name; {NAME|TEXT} for the text where there is no such value, and a {NAME} without a value stays as
    it is. Names and texts have neither braces nor bars; a name without a bar may be empty. {{ and }} stand for a brace; other braces
    stand for themselves. The template is read from left to right, and what was filled in is not read again.
    """

    def one(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        name, _, text = found[1].partition("|")
        return values[name] if name in values else text if "|" in found[1] else found[0]

    return re.sub(r"{{|}}|{([^{}|]*(?:\|[^{}|]*)?)}", one, template)
