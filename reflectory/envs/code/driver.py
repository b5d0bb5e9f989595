"""Calls a submitted function inside a sandbox. Read as text and given to the box's interpreter; never imported by the host.

It runs beside code that nobody vouches for, in one process with it: whatever it answers could have been made up by that code. It knows
the inputs alone, so all that can be made up is an answer.
"""

from __future__ import annotations

import importlib
import json
import linecache
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, NoReturn

DEEPEST = 50
LONGEST = 256_000
FRAMES = 8


class TimeUp(BaseException):
    """A call's time is over; not an Exception, so that a plain `except` does not swallow it."""


def time_up(number: int, frame: FrameType | None) -> NoReturn:
    """Handle SIGALRM."""
    raise TimeUp


def encode(value: Any, depth: int = 0) -> Any:
    """A value as JSON that keeps the types apart; what is no plain data becomes ["?", its type]."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if value == value and abs(value) != float("inf") else ["?", str(value)]
    if depth < DEEPEST:
        if isinstance(value, list):
            return ["list", [encode(item, depth + 1) for item in list.__iter__(value)]]
        if isinstance(value, tuple):
            return ["tuple", [encode(item, depth + 1) for item in tuple.__iter__(value)]]
        if isinstance(value, dict):
            return ["dict", [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in dict.items(value)]]
        if kind in (set, frozenset):
            return ["set", [encode(item, depth + 1) for item in value]]
    return ["?", kind.__name__]


def told(error: BaseException) -> dict[str, str]:
    """An exception with the frames from the submitted file on."""
    try:
        here = os.getcwd() + os.sep  # noqa: PTH109  pathlib would double the time to start
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(here)]
        if len(frames) > FRAMES:
            frames = frames[: FRAMES // 2] + frames[-FRAMES // 2 :]
        lines = [f"{frame.filename[len(here) :]}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
        lines += [line.rstrip().replace(here, "") for line in traceback.format_exception_only(type(error), error)]
        return {"error": type(error).__name__, "trace": "\n".join(line[:400] for line in lines)[:4000]}
    except BaseException:
        return {"error": type(error).__name__, "trace": ""}


def call(function: Any, arguments: str, seconds: float) -> dict[str, Any]:
    """One call with fresh arguments and its own time."""
    values = decode(json.loads(arguments))
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            answer = {"value": encode(function(*values))}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeUp:
        return {"error": "TimeUp"}
    except BaseException as error:
        return told(error)
    return answer


def decode(value: Any) -> Any:
    """What `encode` made, as values again."""
    if not isinstance(value, list):
        return value
    kind, items = value
    if kind == "dict":
        return {decode(key): decode(item) for key, item in items}
    return {"list": list, "tuple": tuple, "set": set}[kind](decode(item) for item in items)


def main() -> None:
    """Read the request from stdin, import the module, make the calls, write a line of JSON for each."""
    request = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    out = os.open(request["answers"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC)

    def write(number: int, answer: dict[str, Any]) -> None:
        line = json.dumps({"n": number, **answer})
        os.write(out, (line if len(line) <= LONGEST else json.dumps({"n": number, "error": "TooLong"})).encode() + b"\n")

    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    sys.setrecursionlimit(3000)
    signal.signal(signal.SIGALRM, time_up)
    linecache.clearcache()
    try:
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        function = getattr(importlib.import_module(request["module"]), request["function"])
        signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException as error:
        write(-1, told(error) if not isinstance(error, TimeUp) else {"error": "TimeUp"})
        os._exit(0)
    for number, arguments in enumerate(request["calls"]):
        try:
            answer = call(function, arguments, request["seconds"])
            write(number, answer)
        except BaseException as error:
            write(number, told(error))
            answer = {"error": ""}
        if request["stop"] and "error" in answer:
            break
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            continue
    os._exit(0)


if __name__ == "__main__":
    main()
