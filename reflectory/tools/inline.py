"""A user's function called in this process: on a thread of its own or as a task, for a limited time, whatever it raises."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from reflectory.execution import ToolResult
from reflectory.tools.checks import WrongArguments
from reflectory.tools.text import NoText, exact, render, said

_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What came of a function.

    Attributes:
        text: What a model reads.
        error: "" or "arguments", "raised", "form", "time".
        result: The answer itself where the function made one.
    """

    text: str
    error: str = ""
    result: ToolResult | None = None


def outcome_of(value: Any) -> Outcome:
    """A returned value as an Outcome.

    Raises:
        NoText: It has no form a model could read.
    """
    if isinstance(value, ToolResult):  # made anew: one of the user's may hold what is no plain text
        text, error = exact(value.text), exact(value.error)
        return Outcome(text, error, ToolResult(text=text, ok=bool(value.ok), error=error, origin=value.origin))
    return Outcome(render(value))


def failure_of(error: BaseException) -> Outcome:
    """What a call raised, as an Outcome; its traceback, which names paths of this machine, goes to the log alone."""
    if isinstance(error, NoText):
        return Outcome(f"The tool ran, but {error}", "form")
    with contextlib.suppress(Exception):
        _log.debug("a tool raised", exc_info=error)
    text = said(error)
    error.__traceback__ = None  # its frames may hold much memory
    return Outcome(text, "raised")


def misfit_of(error: BaseException) -> Outcome:
    """What reading the arguments raised, as an Outcome: the call was not made. A type's own validators are the user's code, too."""
    return Outcome(str(error), "arguments") if isinstance(error, WrongArguments) else failure_of(error)


def run(work: Callable[[], Any]) -> Outcome:
    """Call a sync function here and now."""
    try:
        return outcome_of(work())
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: nobody but the tool raises them here
        return failure_of(error)


class Left:
    """Calls that were given up and go on in the background, threads and tasks."""

    def __init__(self) -> None:
        self._calls: list[threading.Thread | asyncio.Task[Outcome]] = []

    def __len__(self) -> int:
        self._calls = [call for call in self._calls if _goes_on(call)]
        return len(self._calls)

    def add(self, call: threading.Thread | asyncio.Task[Outcome]) -> None:
        """Count a call for as long as it goes on."""
        self._calls.append(call)


def _goes_on(call: threading.Thread | asyncio.Task[Outcome]) -> bool:
    if isinstance(call, threading.Thread):
        return call.is_alive()
    return not call.done() and not call.get_loop().is_closed()


async def on_thread(work: Callable[[], Any], seconds: float, left: Left) -> Outcome:
    """Call a sync function on a new thread.

    Args:
        work: What to call.
        seconds: How long to wait for it.
        left: Gets the thread when it is left behind: nothing can end it, but it does not keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Outcome] = loop.create_future()
    context = contextvars.copy_context()

    def deliver(outcome: Outcome) -> None:
        if not done.done():
            done.set_result(outcome)

    def body() -> None:
        outcome = context.run(run, work)
        with contextlib.suppress(RuntimeError):  # nobody waits any more: the loop is closed
            loop.call_soon_threadsafe(deliver, outcome)

    thread = threading.Thread(target=body, daemon=True, name="tool")
    try:
        thread.start()
    except RuntimeError as error:  # no further thread
        return failure_of(error)
    try:
        await asyncio.wait({done}, timeout=seconds)
    finally:
        if not done.done():
            left.add(thread)
    if done.done():
        return done.result()
    return Outcome(_late(seconds) + " Nothing can end a thread: it goes on in the background.", "time")


async def in_loop(work: Callable[[], Awaitable[Any]], seconds: float, left: Left) -> Outcome:
    """Call an async function in this event loop.

    Args:
        work: What to call.
        seconds: How long to wait for it; then it is cancelled.
        left: Gets the task when it is left behind because it will not be cancelled.
    """

    async def body() -> Outcome:
        try:
            return outcome_of(await work())
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return failure_of(error)
        except BaseException as error:
            return failure_of(error)

    task = asyncio.ensure_future(body())
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)
    finally:
        if not task.done():
            task.cancel()
            left.add(task)
    background = "" if task.done() else " It does not let itself be cancelled and goes on in the background."
    return Outcome(_late(seconds) + background, "time")


def _late(seconds: float) -> str:
    return f"The tool did not answer within {seconds:g} s, and its answer is no longer waited for."
