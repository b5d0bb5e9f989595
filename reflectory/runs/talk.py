"""The Runner's side of dialogues: `send`, `leave` and `close` with their async twins."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from reflectory.memory.prospective import Written
    from reflectory.records import Observation
    from reflectory.runs.build import Setup
    from reflectory.runs.dialogue import Dialogues
    from reflectory.runs.live import Answer

Result = TypeVar("Result")
#: The first messages may come from several threads at once.
_MAKING = threading.Lock()


class LoopThread:
    """An event loop on a thread of its own, for code that has none: timers go on and locks hold between calls."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._open: set[Future[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reflectory-dialogue", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin to run a coroutine."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def close(self) -> None:
        """Stop the loop when everything submitted has ended, and wait for its thread."""
        wait([*self._open])
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Talk:
    """What a Runner needs to hold dialogues. Use either the sync or the async methods."""

    setup: Setup
    _dialogues: Dialogues | None = None
    _thread: LoopThread | None = None

    async def asend(self, text: str | Observation, *, thread: str = "main", user: str = "user") -> Answer:
        """Send a message to the agent and get its answer. The graph is a dialogue.

        The message is on disk before it is answered. A message in another thread, `idle_s` without a message, `leave` and `close` end the
        user's session; so does the next start for a session that a crash left open. What it taught is then in the user's memory.

        Args:
            text: What the user says. An Observation carries the origin of its parts: spans of origin `user`, and `content` for pages and
                tool output that are shown with it, from `url`.
            thread: Which conversation; a user has one open at a time.
            user: Who speaks; nobody else's turns see this user's memory.

        Returns:
            The answer, with the memories it cites.

        Raises:
            ConfigError: An empty message or name, half a character in one, or a graph that is no dialogue.
            LimitReached: The turn's budget is spent; the message is kept.
            ModelError: The model could not answer; the message is kept.
            RunError: Another process or event loop uses the run directory, or the Runner is being closed.
        """
        return await self._talks().send(text, thread=thread, user=user)

    async def aleave(self, thread: str = "main", *, user: str | None = None) -> list[Written]:
        """End the open sessions of a thread, of one user or of all, and reflect on them.

        Returns:
            What was written to memory.
        """
        return [] if self._dialogues is None else await self._dialogues.leave(thread, user=user)

    async def aclose(self) -> None:
        """End all sessions and let go of models, memory and run directory; may be called twice, and be followed by further messages."""
        if self._dialogues is not None:
            await self._dialogues.close()

    def send(self, text: str | Observation, *, thread: str = "main", user: str = "user") -> Answer:
        """`asend` for code without an event loop (it works beside one, too)."""
        return self._run(self.asend(text, thread=thread, user=user))

    def leave(self, thread: str = "main", *, user: str | None = None) -> list[Written]:
        """`aleave` for code without an event loop."""
        return self._run(self.aleave(thread, user=user))

    def close(self) -> None:
        """`aclose` for code without an event loop."""
        if self._dialogues is not None:
            self._run(self.aclose())
        with _MAKING:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _talks(self) -> Dialogues:
        from reflectory.runs.dialogue import Dialogues

        with _MAKING:
            if self._dialogues is None:
                self._dialogues = Dialogues(self.setup)
            return self._dialogues

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        with _MAKING:  # submitted inside, so that nobody closes the thread in between
            if self._thread is None:
                self._thread = LoopThread()
            future = self._thread.submit(work)
        return future.result()
