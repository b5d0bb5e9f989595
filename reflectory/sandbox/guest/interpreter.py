"""The interpreter of a box: runs code cells in one namespace. It runs as the untrusted side; whatever it answers is data."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from .frames import BrokenFrame, receive, send

# `ast` and `traceback` are imported where they are needed: a box that runs programs alone comes up sooner without them.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from typing import Any, NoReturn

#: Longest `repr` of a value that is sent back.
MOST_VALUE = 16_384


class OutOfTime(BaseException):
    """The call's time is over; not an Exception, so that a plain `except` does not swallow it."""


def serve(fd: int, paths: list[str]) -> NoReturn:
    """Answer requests {"code": …} on a descriptor until it closes.

    Args:
        fd: A socket.
        paths: Put in front of `sys.path`.
    """
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    sys.path[:0] = ["", *paths]
    sys.argv = [""]
    signal.signal(signal.SIGINT, _out_of_time)
    number = 0
    try:
        while True:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            request, _ = receive(fd)
            number += 1
            answer = _cell(str(request["code"]), main.__dict__, f"<cell {number}>")
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            _flush()
            send(fd, answer)
    except BrokenFrame:
        os._exit(0)


def _out_of_time(number: int, frame: types.FrameType | None) -> NoReturn:
    raise OutOfTime


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _cell(code: str, names: dict[str, Any], name: str) -> dict[str, Any]:
    """Run one cell; the `repr` of a last expression is its value, as in a notebook."""
    import linecache

    answer: dict[str, Any] = {"value": "", "error": "", "exit_code": 0}
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            answer["value"] = _run(code, names, name)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    except SystemExit as error:
        answer["exit_code"] = error.code if isinstance(error.code, int) else int(error.code is not None)
        answer["error"] = "SystemExit" if answer["exit_code"] else ""
    except OutOfTime:
        answer.update(error="TimeoutError", exit_code=1)
    except BaseException as error:
        answer.update(error=type(error).__name__, exit_code=1)
        _show(error, name)
    return answer


def _run(code: str, names: dict[str, Any], name: str) -> str:
    import ast

    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    if not isinstance(last, ast.Expr):
        return ""
    value = eval(compile(ast.Expression(last.value), name, "eval"), names)
    if value is None:
        return ""
    names["_"] = value
    text = repr(value)
    return text if len(text) <= MOST_VALUE else f"{text[: MOST_VALUE // 2]} … {text[-MOST_VALUE // 2 :]}"


def _show(error: BaseException, name: str) -> None:
    """Print the traceback from the first frame of the cell on."""
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    with contextlib.suppress(BaseException):
        lines = traceback.format_exception(type(error), error, trace)
        sys.stderr.write("".join(lines))
