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
#: Characters of cells that are kept for tracebacks; of the newest cell all are.
MOST_SOURCE = 2**20


class OutOfTime(BaseException):
    """The call's time is over; not an Exception, so that a plain `except` does not swallow it."""


#: Cells whose source is kept for tracebacks, with their lengths.
_KEPT: dict[str, int] = {}


class _State:
    """Of the interpreter."""

    #: Whether a cell runs; an interrupt that comes late is meant for none.
    running = False


def serve(fd: int, paths: list[str]) -> NoReturn:
    """Answer requests {"code": …} on a descriptor until it closes.

    Args:
        fd: A socket.
        paths: Put in front of `sys.path`.
    """
    import builtins

    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    sys.path[:0] = ["", *paths]
    sys.argv = [""]
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]  # usually defined by `site`
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what was printed is there when it is killed
    signal.signal(signal.SIGINT, _out_of_time)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as in every Python: an exception says that the reader is gone
    number = 0
    try:
        while True:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            request, _ = receive(fd)
            while signal.sigtimedwait({signal.SIGINT}, 0):  # meant for the cell before, which ended by itself just then
                pass
            os.write(fd, b"+")
            number += 1
            answer = _cell(str(request["code"]), main.__dict__, f"<cell {number}>")
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            _flush()
            send(fd, answer)
    except (BrokenFrame, BrokenPipeError):
        os._exit(0)


def _out_of_time(number: int, frame: types.FrameType | None) -> None:
    if _State.running:
        raise OutOfTime


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _cell(code: str, names: dict[str, Any], name: str) -> dict[str, Any]:
    """Run one cell; the `repr` of a last expression is its value, as in a notebook."""
    answer: dict[str, Any] = {"value": "", "error": "", "exit_code": 0}
    _keep_source(code, name)
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            _State.running = True
            answer["value"] = _run(code, names, name)
        finally:
            _State.running = False
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    except SystemExit as error:
        answer["exit_code"] = _as_status(error.code)
        answer["error"] = "SystemExit" if answer["exit_code"] else ""
    except OutOfTime:
        answer.update(error="TimeoutError", exit_code=1)
    except BaseException as error:
        answer.update(error=type(error).__name__, exit_code=1)
        _show(error, name)
    return answer


def _keep_source(code: str, name: str) -> None:
    """Let tracebacks show the source of a cell; the oldest are forgotten."""
    import linecache

    kept = _KEPT
    kept[name] = len(code)
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    while sum(kept.values()) > MOST_SOURCE and len(kept) > 1:
        oldest = next(iter(kept))
        del kept[oldest]
        linecache.cache.pop(oldest, None)


def _as_status(code: object) -> int:
    """What `sys.exit` was given, as a shell counts it; what is no number is printed."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    with contextlib.suppress(Exception):
        print(code, file=sys.stderr)
    return 1


def _run(code: str, names: dict[str, Any], name: str) -> str:
    import ast

    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec", dont_inherit=True), names)
    if not isinstance(last, ast.Expr):
        return ""
    value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), names)
    if value is None:
        return ""
    names["_"] = value
    text = repr(value)
    return text if len(text) <= MOST_VALUE else f"{text[: MOST_VALUE // 2]} … {text[-MOST_VALUE // 2 :]}"


def _show(error: BaseException, name: str) -> None:
    """Print the traceback from the first frame of the cell on."""
    import ast
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, ast.__file__):
        trace = trace.tb_next
    with contextlib.suppress(BaseException):
        lines = traceback.format_exception(type(error), error, trace)
        sys.stderr.write("".join(lines))
