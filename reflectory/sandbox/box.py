"""A live box as the host sees it: one process, spoken to in frames; whatever comes back is bounded and untrusted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from reflectory.errors import SandboxError
from reflectory.execution import Artefact, Executed, Limits
from reflectory.sandbox.answers import artefacts, executed, refused, relative
from reflectory.sandbox.launch import Launch
from reflectory.sandbox.line import START, Gone, Line

#: What the agent gets beyond a call's own time to end it and to answer, in seconds.
GRACE = 1.3
#: Bytes of all names of one `put`; they travel in one header.
MOST_NAMES = 2**20
#: Bytes of all files of one `put`, whatever the limits.
MOST_FILES = 2**30
#: Bytes of a program's input; the agent holds it in its own memory.
MOST_INPUT = 2**23


class LiveBox:
    """One live sandbox. Made by `LocalSandbox.open`; an async context manager.

    It belongs to the event loop it was opened in, and is ended with it.

    Args:
        launch: How it is started.
        limits: What it may use.
    """

    def __init__(self, launch: Launch, limits: Limits) -> None:
        self._launch, self.limits = launch, limits
        self._line = Line(launch)
        self._lock = asyncio.Lock()
        #: What the agent says of itself: capabilities, filters, user.
        self.facts: dict[str, Any] = {}

    async def start(self) -> LiveBox:
        """Start it.

        Raises:
            SandboxError: It did not come up; the message holds what it said.
        """
        self.facts = await self._line.start()
        return self

    async def __aenter__(self) -> LiveBox:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def alive(self) -> bool:
        """Whether it can still be called."""
        return self._line.open and self._process is not None and self._process.returncode is None

    @property
    def _process(self) -> asyncio.subprocess.Process | None:
        return self._line.process

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", seconds: float | None = None) -> Executed:
        """Run a program in the working folder; what it leaves running is ended with it.

        Args:
            argv: Program and arguments; found on the box's PATH.
            stdin: What it reads; no more than 8 MiB.
            seconds: How long it may take; None means the limit of the box, which it cannot exceed.

        Raises:
            SandboxError: The box is closed, or the input too long.
        """
        if len(stdin) > MOST_INPUT:
            msg = f"{len(stdin):,} bytes are too long an input: a program takes {MOST_INPUT:,}. Put them into the box as a file with `put`."
            raise SandboxError(msg)
        return await self._executed({"op": "run", "argv": list(argv)}, seconds, stdin)

    async def python(self, code: str, *, seconds: float | None = None) -> Executed:
        """Run code in the box's interpreter; names stay from call to call, until `lost`.

        Raises:
            SandboxError: The box is closed.
        """
        return await self._executed({"op": "python", "text": code}, seconds)

    async def shell(self, command: str, *, seconds: float | None = None) -> Executed:
        """Run a command in the box's shell; folder, variables and functions stay from call to call, until `lost`.

        Raises:
            SandboxError: The box is closed, or has no bash.
        """
        return await self._executed({"op": "shell", "text": command}, seconds)

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Write files into the working folder, in place of what stands there.

        Args:
            files: Relative path → content.

        Raises:
            SandboxError: A path leaves the folder, there is more than the box takes (`disk_mb`), or a file cannot be written.
        """
        names = [[relative(path), len(content)] for path, content in files.items()]
        if sum(len(os.fsencode(str(name))) for name, _ in names) > MOST_NAMES:
            msg = f"the names of {len(names)} files are too long for one `put`. Put them in several."
            raise SandboxError(msg)
        size, most = sum(len(content) for content in files.values()), min(self.limits.disk_mb * 2**20, MOST_FILES)
        if size > most:
            msg = f"{size:,} bytes are more than the box takes: {most:,}. Raise the limit `disk_mb`, or give it less."
            raise SandboxError(msg)
        answer, _ = await self._ask({"op": "put", "files": names}, list(files.values()), START)
        refused(answer)

    async def get(self, *patterns: str) -> list[Artefact]:
        """Read files of the working folder.

        Args:
            *patterns: Glob patterns on relative paths (`*` crosses folders); none means all.

        Returns:
            Regular files in order of their paths; links, pipes and what exceeds the limits are left out.

        Raises:
            SandboxError: The box is closed or answers nonsense.
        """
        answer, payload = await self._ask({"op": "get", "patterns": list(patterns)}, (), START)
        refused(answer)
        return artefacts(answer, payload)

    async def close(self) -> None:
        """End everything in it; may be called twice."""
        await self._line.end()

    async def _executed(self, request: dict[str, Any], seconds: float | None, stdin: bytes = b"") -> Executed:
        allowed = min(self.limits.seconds if seconds is None else max(0.0, seconds), self.limits.seconds)
        began = time.monotonic()
        try:
            answer, out = await self._ask({**request, "seconds": allowed}, [stdin], allowed + GRACE)
        except Gone:  # that a call's time was up is for the agent to say, which keeps it
            return Executed(killed=self._launch.overrun() or "box", lost=True, seconds=time.monotonic() - began)
        if "failed" in answer:
            if "BlockingIOError" in str(answer["failed"]):  # no further process
                return Executed(killed="processes", seconds=time.monotonic() - began)
            refused(answer)
        done = executed(answer, out)
        held = self._launch.overrun()
        return done.model_copy(update={"killed": held}) if held and not done.killed else done

    async def _ask(self, request: dict[str, Any], contents: Sequence[bytes], seconds: float) -> tuple[dict[str, Any], bytes]:
        """One request and its answer."""
        parts = [memoryview(content).cast("B") for content in contents]  # what is no bytes is found before anything is sent
        self._line.check()
        async with self._lock:
            return await self._line.ask(request, parts, most=self._most, seconds=seconds)

    @property
    def _most(self) -> int:
        return max(self.limits.disk_mb * 2**20, 4 * self.limits.output_kb * 1024) + 2**20
