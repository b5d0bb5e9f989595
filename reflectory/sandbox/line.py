"""The process of a box and the line to it: frames there and back, numbered, in time, and an end that always comes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from reflectory.errors import SandboxError
from reflectory.sandbox.guest.frames import HEAD, MOST_HEADER, BrokenFrame, lengths, unpack
from reflectory.sandbox.held import IMPATIENCE, PATIENCE, Held
from reflectory.sandbox.launch import Launch

T = TypeVar("T")

#: How long a box may take to come up, in seconds.
START = 20.0
#: When the time is up, the event loop turns so often more, each turn so many seconds at most: the loop may have stood still, and what
#: came meanwhile is read before it is judged.
TURNS, TURN = 10, 0.02
#: Bytes written to the process at once.
PIECE = 2**20


class Gone(SandboxError):
    """The box went away during a call."""


class Line:
    """The process of one box. Belongs to the event loop it is started in, and does not outlive it.

    Args:
        launch: How it is started.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._said = bytearray()
        self._reader: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._held = Held(launch)
        self._drop = weakref.finalize(self, self._held.drop)
        #: The process; None before it was started.
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> dict[str, Any]:
        """Start it.

        Returns:
            What the agent says of itself.

        Raises:
            SandboxError: It did not come up; the message holds what it said.
        """
        self._loop = asyncio.get_running_loop()
        try:
            process = await self._spawn()
            await _within(self._answer(0), START)  # the agent is up: from here on nothing forks unasked
            self._launch.started(process.pid)
            await self._send(encoded(self._launch.spec), [memoryview(self._launch.seccomp)])
            facts, _ = await _within(self._answer(0), START)
        except (OSError, ValueError, BrokenFrame) as error:
            await self.end()
            said = self._said.decode("utf-8", "replace").strip() or str(error)
            msg = f"the sandbox did not start: {said}"
            raise SandboxError(msg) from error
        except BaseException:
            await self.end()
            raise
        if "failed" in facts:
            await self.end()
            msg = f"the sandbox did not start: {facts['failed']}"
            raise SandboxError(msg)
        return facts

    @property
    def open(self) -> bool:
        """Whether it can be asked."""
        return self._ending is None and self._drop.alive and self.process is not None

    def check(self) -> None:
        """Make sure that it can be asked from here.

        Raises:
            SandboxError: It is closed, or belongs to another event loop.
        """
        if not self.open:
            msg = "this sandbox is closed; open a new one"
            raise SandboxError(msg)
        if asyncio.get_running_loop() is not self._loop:
            msg = "this sandbox was opened in another event loop, and answers there alone. Open one in this loop."
            raise SandboxError(msg)

    async def ask(
        self, request: Mapping[str, Any], parts: Sequence[memoryview], *, most: int, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        """One request and its answer. Whatever goes wrong once the request is on its way ends the box.

        Args:
            request: The header.
            parts: What follows it, one after the other.
            most: Bytes that may follow the answer's header.
            seconds: How long it may take.

        Raises:
            Gone: It did not answer in time, answered nonsense, or ended.
            SandboxError: It cannot be asked, or the request is too long; the box is as it was.
        """
        self.check()
        number = next(self._numbers)
        header = encoded({**request, "id": number})
        try:
            answer, payload = await _within(self._exchange(header, parts, most), seconds)
            if answer.get("id") != number:
                msg = "it answered another request"
                raise BrokenFrame(msg)
        except (BrokenFrame, OSError) as error:  # a TimeoutError is an OSError
            await self.end(IMPATIENCE)
            msg = f"the sandbox is gone: {error}"
            raise Gone(msg) from error
        except BaseException:  # what it answers later would be taken for the answer to the next request
            await self.end(IMPATIENCE)
            raise
        return answer, payload

    async def end(self, patience: float = PATIENCE) -> None:
        """End it once, whoever asks and however often; a cancelled caller does not stop it.

        Args:
            patience: What the agent gets to end what it started, in seconds.
        """
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            await self._end_from_elsewhere(self._loop, patience)
            return
        if self._ending is None:
            self._ending = asyncio.create_task(self._take_down(patience))
        await asyncio.shield(self._ending)

    async def _end_from_elsewhere(self, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        if loop.is_running():
            ending = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.end(patience), loop))
            await asyncio.wait({ending}, timeout=2 * PATIENCE)
        await asyncio.to_thread(self._drop)  # its own loop stands still or is gone; else there is nothing left to do

    async def _take_down(self, patience: float) -> None:
        process = self.process
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
        if self._drop.detach():
            self._held.let_go()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    async def _spawn(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        user = {} if self._launch.user is None else {"user": self._launch.user, "group": self._launch.user, "extra_groups": []}
        self.process = await asyncio.create_subprocess_exec(
            *self._launch.argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=dict(self._launch.environment),
            start_new_session=True,
            **user,  # type: ignore[arg-type]
        )
        assert self.process.stderr is not None
        self._reader = asyncio.create_task(_keep(self.process.stderr, self._said, self._drop))
        self._held.take(self.process)
        return self.process

    async def _exchange(self, header: bytes, parts: Sequence[memoryview], most: int) -> tuple[dict[str, Any], bytes]:
        await self._send(header, parts)
        return await self._answer(most)

    async def _send(self, header: bytes, parts: Sequence[memoryview]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        line = self.process.stdin
        line.write(HEAD.pack(len(header), sum(part.nbytes for part in parts)) + header)
        for part in parts:
            for start in range(0, part.nbytes, PIECE):
                line.write(part[start : start + PIECE])
                await line.drain()
        await line.drain()

    async def _answer(self, most: int) -> tuple[dict[str, Any], bytes]:
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout
        try:
            header, body = lengths(await line.readexactly(HEAD.size), most=most)
            return unpack(await line.readexactly(header)), await line.readexactly(body)
        except asyncio.IncompleteReadError:
            msg = "it ended"
            raise BrokenFrame(msg) from None


def encoded(header: Mapping[str, Any]) -> bytes:
    """A frame's header.

    Raises:
        SandboxError: It is longer than a box takes.
    """
    try:
        text = json.dumps(header, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # lone surrogates; only escapes can carry them
        text = json.dumps(header).encode("ascii")
    if len(text) > MOST_HEADER:
        msg = f"{len(text):,} bytes are too long for one call, which takes {MOST_HEADER:,}. Put them into the box as a file with `put`."
        raise SandboxError(msg)
    return text


async def _within(answer: Coroutine[Any, Any, T], seconds: float) -> T:
    """Wait for an answer.

    Raises:
        TimeoutError: It did not come, though the event loop turned often enough to read it.
    """
    task = asyncio.ensure_future(answer)
    try:
        await asyncio.wait({task}, timeout=seconds)
        for _ in range(TURNS):
            if task.done():
                break
            await asyncio.wait({task}, timeout=TURN)
        if not task.done():
            msg = "it did not answer"
            raise TimeoutError(msg)
        return task.result()
    finally:
        task.cancel()


async def _keep(stderr: asyncio.StreamReader, said: bytearray, drop: weakref.finalize[Any, Any]) -> None:
    """Keep the last that the process says. Holds no line, so that one that nobody holds is dropped."""
    try:
        while part := await stderr.read(4096):
            said += part
            del said[:-8192]
    except asyncio.CancelledError:
        drop()  # the event loop ends with the box still open; where it was closed, this does nothing
        raise


async def _gone(process: asyncio.subprocess.Process, seconds: float) -> bool:
    """Whether a process, and all that hold its pipes, are gone within a time."""
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        return False
    return True
