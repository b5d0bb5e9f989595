"""A live box as the host sees it: one process, spoken to in frames; whatever comes back is bounded and untrusted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from reflectory.errors import SandboxError
from reflectory.execution import Artefact, Executed, Limits
from reflectory.sandbox.answers import artefacts, executed, refused, relative
from reflectory.sandbox.guest.frames import HEAD, BrokenFrame, lengths, pack, unpack
from reflectory.sandbox.launch import Launch

#: What the agent gets beyond a call's own time to end it and to answer, in seconds.
GRACE = 1.4
#: How long a box may take to come up, in seconds.
START = 20.0
#: How long the agent may take to end what it started before it is killed: when it was asked to go, and when it is lost anyway.
PATIENCE, IMPATIENCE = 4.0, 0.3
#: Bytes of all names of one `put`; they travel in one header.
MOST_NAMES = 2**20


class _Gone(SandboxError):
    """The box went away during a call."""


class LiveBox:
    """One live sandbox. Made by `LocalSandbox.open`; an async context manager.

    Args:
        launch: How it is started.
        limits: What it may use.
    """

    def __init__(self, launch: Launch, limits: Limits) -> None:
        self._launch, self.limits = launch, limits
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._stderr = b""
        self._reader: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        #: What the agent says of itself: capabilities, filters, user.
        self.facts: dict[str, Any] = {}

    async def start(self) -> LiveBox:
        """Start it.

        Raises:
            SandboxError: It did not come up; the message holds what it said.
        """
        pipe = asyncio.subprocess.PIPE
        user = {} if self._launch.user is None else {"user": self._launch.user, "group": self._launch.user, "extra_groups": []}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._launch.argv,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=dict(self._launch.environment),
                start_new_session=True,
                **user,  # type: ignore[arg-type]
            )
            self._reader = asyncio.create_task(self._keep_stderr())
            await asyncio.wait_for(self._answer(0), START)  # the agent is up: from here on nothing forks unasked
            self._launch.started(self._process.pid)
            self.facts, _ = await asyncio.wait_for(self._exchange(dict(self._launch.spec), self._launch.seccomp, 0), START)
        except (OSError, BrokenFrame, TimeoutError, ConnectionError) as error:
            await self.close()
            said = self._stderr.decode("utf-8", "replace").strip() or str(error) or "it did not answer"
            msg = f"the sandbox did not start: {said}"
            raise SandboxError(msg) from error
        except BaseException:
            await self.close()
            raise
        if "failed" in self.facts:
            await self.close()
            msg = f"the sandbox did not start: {self.facts['failed']}"
            raise SandboxError(msg)
        return self

    async def __aenter__(self) -> LiveBox:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def alive(self) -> bool:
        """Whether it can still be called."""
        return self._ending is None and self._process is not None and self._process.returncode is None

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", seconds: float | None = None) -> Executed:
        """Run a program in the working folder; what it leaves running is ended with it.

        Args:
            argv: Program and arguments; found on the box's PATH.
            stdin: What it reads.
            seconds: How long it may take; None means the limit of the box, which it cannot exceed.

        Raises:
            SandboxError: The box is closed.
        """
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
            SandboxError: A path leaves the folder, or a file cannot be written.
        """
        names = [[relative(path), len(content)] for path, content in files.items()]
        if sum(len(str(name)) for name, _ in names) > MOST_NAMES:
            msg = f"the names of {len(names)} files are too long for one `put`. Put them in several."
            raise SandboxError(msg)
        answer, _ = await self._ask({"op": "put", "files": names}, b"".join(files.values()), START)
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
        answer, payload = await self._ask({"op": "get", "patterns": list(patterns)}, b"", START)
        refused(answer)
        return artefacts(answer, payload)

    async def close(self) -> None:
        """End everything in it; may be called twice."""
        await self._end(PATIENCE)

    async def _end(self, patience: float) -> None:
        """End it once, whoever asks and however often; a cancelled caller does not stop it."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._take_down(patience))
        await asyncio.shield(self._ending)

    async def _take_down(self, patience: float) -> None:
        process = self._process
        if process is not None:
            if self._launch.kill_at_once:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            elif process.stdin is not None:
                process.stdin.close()  # the agent ends what it started and goes
            if not await _gone(process, patience):
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        await asyncio.to_thread(self._launch.cleanup)
        if process is not None:
            await _gone(process, PATIENCE)  # not without end: whoever holds its pipes keeps it waiting
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    async def _executed(self, request: dict[str, Any], seconds: float | None, payload: bytes = b"") -> Executed:
        allowed = min(self.limits.seconds if seconds is None else max(0.0, seconds), self.limits.seconds)
        began = time.monotonic()
        try:
            answer, out = await self._ask({**request, "seconds": allowed}, payload, allowed + GRACE)
        except _Gone:
            took = time.monotonic() - began
            return Executed(killed=self._launch.overrun() or ("time" if took >= allowed else "box"), lost=True, seconds=took)
        if "failed" in answer:
            if "BlockingIOError" in str(answer["failed"]):  # no further process
                return Executed(killed="processes", seconds=time.monotonic() - began)
            refused(answer)
        done = executed(answer, out)
        held = self._launch.overrun()
        return done.model_copy(update={"killed": held}) if held and not done.killed else done

    async def _ask(self, request: dict[str, Any], payload: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        """One request and its answer; a box that does not answer in time, or answers nonsense, is closed."""
        async with self._lock:
            if self._ending is not None or self._process is None:
                msg = "this sandbox is closed; open a new one"
                raise SandboxError(msg)
            try:
                return await asyncio.wait_for(self._exchange(request, payload, self._most), seconds)
            except (BrokenFrame, TimeoutError, ConnectionError) as error:
                await self._end(IMPATIENCE)
                msg = f"the sandbox is gone: {str(error) or 'it did not answer'}"
                raise _Gone(msg) from error
            except asyncio.CancelledError:  # what it answers later would be taken for the answer to the next request
                await self._end(IMPATIENCE)
                raise

    @property
    def _most(self) -> int:
        return max(self.limits.disk_mb * 2**20, 4 * self.limits.output_kb * 1024) + 2**20

    async def _exchange(self, request: dict[str, Any], payload: bytes, most: int) -> tuple[dict[str, Any], bytes]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(pack(request, payload))
        await process.stdin.drain()
        return await self._answer(most)

    async def _answer(self, most: int) -> tuple[dict[str, Any], bytes]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        try:
            header, body = lengths(await process.stdout.readexactly(HEAD.size), most=most)
            return unpack(await process.stdout.readexactly(header)), await process.stdout.readexactly(body)
        except asyncio.IncompleteReadError:
            msg = "it ended"
            raise BrokenFrame(msg) from None

    async def _keep_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        while part := await self._process.stderr.read(4096):
            self._stderr = (self._stderr + part)[-8192:]


async def _gone(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Whether a process, and all that hold its pipes, are gone within a time."""
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        return False
    return True
