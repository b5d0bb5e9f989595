"""The micro-batcher: calls from any event loop or thread are collected and run as batches on one worker thread.

When does a batch start? What arrives while one runs waits for the next. Before it starts, every event loop that asks, or that was just
answered, gets to finish what is runnable there: a loop counts as settled after `QUIET` short rounds without a new call. A full batch
starts at once, and after `PATIENCE` seconds the first in line is not kept waiting by a busy loop. First come, first served.

The rule was measured with 16 episodes in flight: Python threads share one interpreter lock, so a batch that runs while coroutines step
their worlds is slowed down by them far more than the overlap gains; waiting for all and running together wins. See
`tests/models/bench_engine.py`.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from reflectory.errors import ModelError, ModelUnavailable, ReflectoryError
from reflectory.records import Reply, Request

#: Rounds of an event loop without a new call, each shorter than `ROUND`, after which it counts as settled.
QUIET = 4
#: Seconds; a round that took longer ran someone's code.
ROUND = 1e-4
#: Seconds after which the first in line is served in any case.
PATIENCE = 0.1
#: Seconds without work after which the worker thread ends; the next call starts a new one.
IDLE = 5.0


@dataclass(slots=True, eq=False)
class Job:
    """One call: the request, who waits for it, and when it came (`time.perf_counter`, seconds)."""

    request: Request
    loop: asyncio.AbstractEventLoop | None
    future: asyncio.Future[Reply] | Future[Reply]
    since: float = field(default_factory=time.perf_counter)
    answered: bool = False

    @property
    def alive(self) -> bool:
        """False once the call was cancelled or answered."""
        return not self.answered and not self.future.done()


class MicroBatcher:
    """Collects calls and runs them in batches.

    Args:
        run: Called on the worker thread with at most `max_batch` jobs; gives each its result through `answer` or `fail`. What it raises
            fails the jobs that are still unanswered.
        max_batch: Most jobs in a batch.
        name: Of the worker thread.
    """

    def __init__(self, run: Callable[[list[Job]], None], max_batch: int, name: str) -> None:
        self._run, self._max_batch, self._name = run, max_batch, name
        self._lock = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._arrived = 0
        self._restless: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def ask(self, request: Request) -> Reply:
        """Answer one request from a coroutine; cancelling the coroutine drops the request.

        Raises:
            ModelError: The request cannot be answered.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._add(Job(request, loop, future))
        return await future

    def submit(self, request: Request) -> Future[Reply]:
        """Answer one request from a thread without event loop.

        Returns:
            A future; `cancel()` drops the request.
        """
        future: Future[Reply] = Future()
        self._add(Job(request, None, future))
        return future

    def close(self) -> None:
        """Refuse further calls, fail the waiting ones, and wait for the running batch."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            thread = self._thread
            self._lock.notify_all()
        self.answer(waiting, [ModelUnavailable(f"{self._name} was closed before it answered; build a new one") for _ in waiting])
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def answer(self, jobs: Sequence[Job], outcomes: Sequence[Reply | ReflectoryError]) -> None:
        """Hand results to those who wait, one wake-up per event loop; calls that were cancelled and loops that are gone are passed over.

        Args:
            jobs: The calls.
            outcomes: One reply or error per call.
        """
        by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[Job, Reply | ReflectoryError]]] = {}
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.answered = True
            by_loop.setdefault(job.loop, []).append((job, outcome))
        for loop, pairs in by_loop.items():
            if loop is None:
                _deliver(pairs)
                continue
            with self._lock:
                fresh = loop not in self._restless
                self._restless.add(loop)
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(self._wake, loop, pairs, fresh)

    def fail(self, jobs: Sequence[Job], error: Exception) -> None:
        """Give every job that is still alive its own typed error.

        Args:
            jobs: The jobs of the batch that broke.
            error: What broke it; anything but a ModelError is wrapped into one.
        """
        left = [job for job in jobs if job.alive]
        outcomes: list[ReflectoryError] = []
        for _ in left:
            kind = type(error) if isinstance(error, ModelError) else ModelError
            text = str(error) if isinstance(error, ModelError) else f"the batch failed: {type(error).__name__}: {error}"
            outcome = kind(text)
            outcome.__cause__ = error
            outcomes.append(outcome)
        self.answer(left, outcomes)

    def _add(self, job: Job) -> None:
        with self._lock:
            if self._closed:
                msg = f"{self._name} is closed; build a new one"
                raise ModelUnavailable(msg)
            self._waiting.append(job)
            self._arrived += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            if job.loop is None or len(self._waiting) >= self._max_batch:
                self._lock.notify_all()
            fresh = job.loop is not None and job.loop not in self._restless
            if job.loop is not None:
                self._restless.add(job.loop)
        if fresh and job.loop is not None:
            job.loop.call_soon(self._round, job.loop, self._arrived, 0, time.perf_counter())

    def _wake(self, loop: asyncio.AbstractEventLoop, pairs: list[tuple[Job, Reply | ReflectoryError]], fresh: bool) -> None:
        """On the loop: deliver, and let those who were answered come back before the next batch starts."""
        _deliver(pairs)
        if fresh:
            loop.call_soon(self._round, loop, self._arrived, 0, time.perf_counter())

    def _round(self, loop: asyncio.AbstractEventLoop, arrived: int, quiet: int, before: float) -> None:
        """Once per round of the loop: wake the worker when several short rounds brought nothing new."""
        now = time.perf_counter()
        quiet = quiet + 1 if arrived == self._arrived and now - before < ROUND else 0
        if quiet < QUIET and self._waiting:
            loop.call_soon(self._round, loop, self._arrived, quiet, now)
            return
        with self._lock:
            self._restless.discard(loop)
            self._lock.notify_all()

    def _work(self) -> None:
        while True:
            jobs = self._next()
            if jobs is None:
                return
            try:
                self._run(jobs)
            except Exception as error:
                self.fail(jobs, error)
            del jobs

    def _next(self) -> list[Job] | None:
        """Wait for the next batch; None ends the thread."""
        idle = time.perf_counter()
        with self._lock:
            while not self._ready(idle):
                if self._closed or (not self._lock.wait(self._patience(idle)) and not self._waiting):
                    self._thread = None
                    return None
            jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
            return [job for job in jobs if job.alive]

    def _ready(self, idle: float) -> bool:
        if not self._waiting:
            return False
        settled = all(loop.is_closed() for loop in self._restless)
        return settled or len(self._waiting) >= self._max_batch or self._patience(idle) <= 0

    def _patience(self, idle: float) -> float:
        """Seconds left to wait: for the first in line, counted from when the worker was free for it; for work at all when nobody waits."""
        return max(self._waiting[0].since, idle) + PATIENCE - time.perf_counter() if self._waiting else IDLE


def _deliver(pairs: list[tuple[Job, Reply | ReflectoryError]]) -> None:
    for job, outcome in pairs:
        with suppress(InvalidStateError, asyncio.InvalidStateError):  # cancelled meanwhile
            if isinstance(outcome, ReflectoryError):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)
