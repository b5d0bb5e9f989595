"""A thread that does something every so often, until it is told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from reflectory.errors import MemoryFault

_log = logging.getLogger(__name__)


class Sweeper:
    """Calls a function at an interval.

    Args:
        sweep: What to call; a MemoryFault is logged, and the next turn tries again.
    """

    def __init__(self, sweep: Callable[[], object]) -> None:
        self._sweep = sweep
        self._stop = threading.Event()  # one per thread: a stopped one may still be in its last turn when the next is started
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, seconds: float) -> None:
        """Begin, unless it runs already.

        Args:
            seconds: Between two turns, and before the first.
        """
        with self._lock:
            if self._thread is None or not self._thread.is_alive() or self._stop.is_set():
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._loop, args=(seconds, self._stop, self._thread), daemon=True, name="ttl-sweeper"
                )
                self._thread.start()

    def stop(self, timeout: float | None) -> bool:
        """End it; returns whether it has ended within `timeout` seconds (None waits)."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _loop(self, seconds: float, stop: threading.Event, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()  # so that the end of the last one is the end of all
        while not stop.wait(seconds):
            try:
                self._sweep()
            except MemoryFault as error:
                _log.warning("sweeping expired items failed: %s", error)
