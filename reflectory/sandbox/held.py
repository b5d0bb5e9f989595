"""What is left of a box when nobody closes it, and its end: by the kernel's means alone, without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from dataclasses import dataclass, field
from typing import Any

from reflectory.sandbox.launch import Launch

#: How long the agent may take to end what it started before it is killed: when it was asked to go, and when it is lost anyway.
PATIENCE, IMPATIENCE = 4.0, 0.3


@dataclass
class Held:
    """What must go when a box goes, and knows nothing of the event loop."""

    launch: Launch
    owner: int = field(default_factory=os.getpid)
    process: int = -1
    pipe: Any = None

    def take(self, process: asyncio.subprocess.Process) -> None:
        """Hold a process by a descriptor: its number may be another's by the time it is to be killed."""
        with contextlib.suppress(ProcessLookupError):  # it ended already
            self.process = os.pidfd_open(process.pid)
        if process.stdin is not None:
            self.pipe = process.stdin.transport.get_extra_info("pipe")

    def let_go(self) -> None:
        """Close the descriptor."""
        if self.process >= 0:
            os.close(self.process)
        self.process = -1

    def drop(self) -> None:
        """End a box that nobody closed: its event loop ended, or nobody holds it any more, or Python ends."""
        if os.getpid() != self.owner:  # a fork of the host has a copy of this object, not the box
            return
        if self.pipe is not None:
            self.pipe.close()  # the agent ends what it started and goes
        if self.process >= 0:
            if self.launch.kill_at_once or not self._ended(IMPATIENCE):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.process, signal.SIGKILL)
                self._ended(PATIENCE)
            self.let_go()
        self.launch.cleanup()

    def _ended(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self.process, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
