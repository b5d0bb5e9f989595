"""What the agent is told: the harness's own words as `world`, whatever a program could have written as `content`."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reflectory.envs.code.checker import Answer, passed
from reflectory.envs.code.problems import Args, Problem
from reflectory.envs.code.values import written
from reflectory.execution import Executed
from reflectory.records import Span

#: Longest piece of a program's output that is shown, in characters.
SHOWN = 4000
#: Longest value that is shown, in characters.
VALUE = 300
#: A value that is longer is shown item by item.
_WIDE = 60
_ENDED = {
    "time": "it took too long",
    "memory": "it used too much memory",
    "processes": "it started too many processes",
    "disk": "it wrote too much to disk",
    "files": "it made too many files",
    "output": "it printed too much",
}


def world(text: str) -> Span:
    """The harness's own words."""
    return Span(text=text)


def content(text: str) -> Span:
    """Words a program could have written."""
    return Span(text=text, origin="content")


def cut(text: str, most: int = SHOWN) -> str:
    """A text's beginning and end, with what was left out between them."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n[… {len(text) - most} characters left out …]\n{text[-most // 2 :]}"


def calling(problem: Problem, args: Args) -> str:
    """A call as it is written."""
    return f"{problem.name}({', '.join(map(written, args))})"


def outcome(executed: Executed, steady: Callable[[str], str], what: str) -> list[Span]:
    """What a call of interpreter or shell did.

    Args:
        executed: The call.
        steady: Takes out what differs from run to run.
        what: "interpreter" or "shell".
    """
    spans = []
    for stream in (executed.stdout, executed.stderr):
        if stream.text:
            spans.append(content(cut(steady(stream.text if stream.text.endswith("\n") else f"{stream.text}\n"))))
    if executed.value:
        spans.append(content(f"{cut(steady(executed.value))}\n"))
    if executed.killed == "box":
        said = "The sandbox broke. A new one starts with the files of the task and those you wrote."
    elif executed.killed:
        said = f"Ended: {_ENDED.get(executed.killed, executed.killed)}."
    elif executed.lost:
        said = f"Exit status {executed.exit_code}."
    elif executed.ok:
        said = "Exit status 0." if what == "shell" else "Done." if not spans else ""
    else:
        said = f"Exit status {executed.exit_code}." if what == "shell" or not executed.error else "It raised an exception."
    if executed.lost and executed.killed != "box":
        said += f" The {what} starts anew: its variables are gone."
    return [*spans, world(said)] if said else spans


def tests(
    problem: Problem, answers: Sequence[Answer], printed: str, steady: Callable[[str], str]
) -> tuple[list[Span], tuple[dict[str, Any], ...]]:
    """The visible tests: counts, the first failing one in full, the others in a line each; and the same as data.

    Args:
        problem: Names the tests.
        answers: What the program answered, test by test.
        printed: What it printed.
        steady: Takes out what differs from run to run.
    """
    rows = [(args, problem.expected(args), answer) for args, answer in zip(problem.examples, answers, strict=True)]
    elements = tuple(
        {
            "test": calling(problem, args),
            "ok": passed(answer, args, problem),
            "expected": written(expected, VALUE),
            "got": steady(_got(answer)),
            "trace": steady(answer.trace),
        }
        for args, expected, answer in rows
    )
    wrong = [index for index, element in enumerate(elements) if not element["ok"]]
    spans = [world(f"Visible tests: {len(rows) - len(wrong)} of {len(rows)} pass.\n")]
    for index in wrong[:1]:
        spans += _first(elements[index], rows[index], steady)
    for index in wrong[1:]:
        spans += [
            world(f"Also wrong: {elements[index]['test']} must be {elements[index]['expected']}; got "),
            content(f"{elements[index]['got']}\n"),
        ]
    if printed and wrong:
        spans += [world("Printed:\n"), content(f"{cut(steady(printed), 800)}\n")]
    return spans, elements


def _got(answer: Answer) -> str:
    return answer.why or written(answer.value, VALUE)


def _first(element: Mapping[str, Any], row: tuple[Args, Any, Answer], steady: Callable[[str], str]) -> list[Span]:
    _, expected, answer = row
    spans = [
        world(f"Wrong: {element['test']}\n  expected: {element['expected']}\n  got:      "),
        content(f"{element['got']}\n"),
    ]
    if element["trace"]:
        spans.append(content("".join(f"  {line}\n" for line in element["trace"].splitlines())))
    if not answer.why and (lines := difference(expected, answer.value)):
        spans.append(content(steady("".join(f"  {line}\n" for line in lines))))
    return spans


def difference(expected: Any, got: Any, *, most: int = 12) -> list[str]:
    """Lines that differ between two values, `-` expected, `+` got; none where each is but a line."""
    one, other = _lines(expected), _lines(got)
    if len(one) < 2 and len(other) < 2:
        return [] if type(expected) is type(got) else [f"({type(expected).__name__} expected, got {type(got).__name__})"]
    lines = [
        line for line in difflib.unified_diff(one, other, "expected", "got", lineterm="", n=1) if not line.startswith(("--- ", "+++ "))
    ]
    return [cut(line, VALUE) for line in lines[:most]] + (["…"] if len(lines) > most else [])


def _lines(value: Any) -> list[str]:
    """A value in lines, at most 200, each cut: a text's own, or the items of one that is too long for a line."""
    if isinstance(value, str):
        return [written(line, VALUE) for line in value[:20_000].split("\n")[:200]]
    line = written(value, _WIDE)
    if not isinstance(value, list | tuple | dict) or not line.endswith("…"):
        return [line]
    items = value.items() if isinstance(value, dict) else value
    return [
        f"{written(item[0], VALUE)}: {written(item[1], VALUE)}," if isinstance(value, dict) else f"{written(item, VALUE)},"
        for item in itertools.islice(items, 200)
    ]


def listing(files: Mapping[str, bytes], *, most: int = 60) -> list[Span]:
    """Names and sizes. A program can give a file any name, so names are content."""
    rows = [f"  {_name(path)} ({len(data)} bytes)\n" for path, data in sorted(files.items())]
    more = [f"  … and {len(rows) - most} more\n"] if len(rows) > most else []
    return [world("Files:\n"), content("".join([*rows[:most], *more]) or "  none\n")]


def _name(path: str) -> str:
    return path[:200] if path.isprintable() else repr(path[:200])


def numbered(text: str, first: int, last: int) -> Iterable[str]:
    """Lines with their numbers, from `first` to `last`; (0, 0) means all."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    chosen = list(enumerate(lines, 1))[max(first, 1) - 1 : last or None]
    return [f"{number:>4}| {line}\n" for number, line in chosen]
