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
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, seconds: float) -> None:
        """Begin, unless it runs already.

        Args:
            seconds: Between two turns, and before the first.
        """
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._loop, args=(seconds,), daemon=True, name="ttl-sweeper")
            self._thread.start()

    def stop(self, timeout: float | None) -> bool:
        """End it; returns whether it has ended within `timeout` seconds (None waits)."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _loop(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self._sweep()
            except MemoryFault as error:
                _log.warning("sweeping expired items failed: %s", error)
