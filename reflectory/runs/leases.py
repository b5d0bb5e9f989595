"""Who is using a memory for dialogues: a locked file per Runner, so that the sessions of one that died are found and ended."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reflectory.errors import RunError
from reflectory.protocols import Memory
from reflectory.runs.build import NO_MEMORY, memory_file
from reflectory.runs.directory import RunDirectory, lock

_log = logging.getLogger(__name__)


class Lease:
    """Says, while it is held, that a run directory writes its dialogues to a memory. The system lets go of it at a kill.

    Args:
        folder: The memory's folder.
        run: The run directory.

    Attributes:
        left: Whether sessions were left open, which whoever comes next has to end: the lease stays behind.
    """

    def __init__(self, folder: Path, run: Path) -> None:
        self._folder, self._run = folder / "dialogues", run.resolve()
        self._file: Path | None = None
        self._handle = -1
        self.left = False

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{secrets.token_hex(8)}.lease"
        # Locked before it gets its name: nobody may take a fresh lease for one whose holder died.
        hidden = file.with_suffix(".new")
        self._handle = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        os.write(self._handle, os.fsencode(self._run))
        os.fsync(self._handle)
        self._file = hidden.rename(file)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None and kind is None and not self.left:
            self._file.unlink(missing_ok=True)
        os.close(self._handle)

    async def recover(self, end: Callable[[RunDirectory], Awaitable[bool]]) -> None:
        """Have the sessions of those that died ended, each run directory locked meanwhile.

        What cannot be read or ended is logged and offered again at the next start: a damaged neighbour stops nobody.

        Args:
            end: Ends the sessions of a run directory; whether none is left, so that it need not be offered again.
        """
        for file in sorted(self._folder.glob("*.lease")):
            if file == self._file:
                continue
            with ExitStack() as stack:
                try:
                    handle = os.open(file, os.O_RDWR)
                    stack.callback(os.close, handle)
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:  # held, or gone
                    continue
                run = Path(os.fsdecode(os.read(handle, 65536)))
                try:
                    done = run == self._run or not (run / "manifest.json").exists()
                    if not done:
                        stack.enter_context(lock(run))
                        done = await end(RunDirectory.open(run))
                except RunError as error:
                    _log.warning("the dialogues in %s are left for later: %s", run, error)
                except Exception as error:  # whatever a damaged folder brings about
                    _log.warning("the dialogues in %s cannot be read and are left for later: %r", run, error)
                else:
                    if done:
                        file.unlink(missing_ok=True)


def memory_folder(memory: str | Path | Memory | Any) -> Path | None:
    """The folder of a memory that was named; None for an object, a run's own memory, and none."""
    if not isinstance(memory, str | Path) or memory == NO_MEMORY:
        return None
    return memory_file(memory).parent
