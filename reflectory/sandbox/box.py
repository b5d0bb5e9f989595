"""A live box as the host sees it: one process, spoken to in frames; whatever comes back is bounded and untrusted."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from reflectory.errors import SandboxError
from reflectory.execution import Artefact, Executed, Limits, Output
from reflectory.sandbox.guest.frames import HEAD, BrokenFrame, lengths, pack, unpack
from reflectory.sandbox.launch import Launch

#: What the agent gets beyond a call's own time to end it and to answer, in seconds.
GRACE = 1.4
#: How long a box may take to come up, in seconds.
START = 20.0
_SHA = re.compile(r"[0-9a-f]{64}")


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
        self._closed = False
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
        return not self._closed and self._process is not None and self._process.returncode is None

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
        return await self._executed({"op": "python", "code": code}, seconds)

    async def shell(self, command: str, *, seconds: float | None = None) -> Executed:
        """Run a command in the box's shell; folder, variables and functions stay from call to call, until `lost`.

        Raises:
            SandboxError: The box is closed, or has no bash.
        """
        return await self._executed({"op": "shell", "command": command}, seconds)

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Write files into the working folder, in place of what stands there.

        Args:
            files: Relative path → content.

        Raises:
            SandboxError: A path leaves the folder, or a file cannot be written.
        """
        names = [[_relative(path), len(content)] for path, content in files.items()]
        answer, _ = await self._ask({"op": "put", "files": names}, b"".join(files.values()), START)
        _refused(answer)

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
        _refused(answer)
        found, start = [], 0
        for entry in answer.get("files", ()):
            path, size = _entry(entry)
            content = payload[start : start + size]
            start += size
            if len(content) != size:
                msg = "the sandbox sent fewer bytes than it said; nothing of it is used"
                raise SandboxError(msg)
            with contextlib.suppress(SandboxError):  # a name that leaves the folder is nobody's file
                found.append(Artefact(path=_relative(path), sha256=hashlib.sha256(content).hexdigest(), size=size, content=content))
        return found

    async def close(self) -> None:
        """End everything in it; may be called twice."""
        if self._closed:
            return
        self._closed = True
        process = self._process
        if process is not None:
            if self._launch.kill_at_once:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            elif process.stdin is not None:
                process.stdin.close()  # the agent ends what it started and goes
            try:
                await asyncio.wait_for(asyncio.shield(process.wait()), 4.0)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await asyncio.to_thread(self._launch.cleanup)

    async def _executed(self, request: dict[str, Any], seconds: float | None, payload: bytes = b"") -> Executed:
        allowed = min(seconds or self.limits.seconds, self.limits.seconds)
        began = time.monotonic()
        try:
            answer, out = await self._ask({**request, "seconds": allowed}, payload, allowed + GRACE)
        except SandboxError:
            if not self._closed:
                raise
            took = time.monotonic() - began
            return Executed(killed="time" if took >= allowed else "box", lost=True, seconds=took)
        if "failed" in answer:
            if "BlockingIOError" in str(answer["failed"]):  # no further process
                return Executed(killed="processes", seconds=time.monotonic() - began)
            _refused(answer)
        return _read(answer, out)

    async def _ask(self, request: dict[str, Any], payload: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        """One request and its answer; a box that does not answer in time, or answers nonsense, is closed."""
        async with self._lock:
            if not self.alive:
                msg = "this sandbox is closed; open a new one"
                raise SandboxError(msg)
            try:
                return await asyncio.wait_for(self._exchange(request, payload, self._most), seconds)
            except (BrokenFrame, TimeoutError, ConnectionError) as error:
                await self.close()
                msg = f"the sandbox is gone: {error or 'it did not answer'}"
                raise SandboxError(msg) from error
            except asyncio.CancelledError:
                await asyncio.shield(self.close())
                raise

    @property
    def _most(self) -> int:
        return max(self.limits.disk_mb * 2**20, 4 * self.limits.output_kb * 1024) + 2**20

    async def _exchange(self, request: dict[str, Any], payload: bytes, most: int) -> tuple[dict[str, Any], bytes]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pack(request, payload))
        await process.stdin.drain()
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


def _relative(path: str) -> str:
    """A path that stays inside the working folder.

    Raises:
        SandboxError: It does not.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or len(os.fsencode(path)) > 4096:
        msg = f"{path!r} is no path inside the working folder. Give a relative one without `..`, such as 'src/main.py'."
        raise SandboxError(msg)
    return "/".join(parts)


def _entry(entry: Any) -> tuple[str, int]:
    if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], int) and entry[1] >= 0:
        return entry[0], entry[1]
    msg = "the sandbox answered with what is no list of files; nothing of it is used"
    raise SandboxError(msg)


def _refused(answer: Mapping[str, Any]) -> None:
    if "failed" in answer:
        msg = f"the sandbox could not do it: {str(answer['failed'])[:500]}"
        raise SandboxError(msg)


def _read(answer: Mapping[str, Any], payload: bytes) -> Executed:
    """The answer of a call. The agent is ours, but what it relays is not, so every field is checked."""
    out, rest = _output(answer.get("stdout"), payload)
    err, _ = _output(answer.get("stderr"), rest)
    code = answer.get("exit_code")
    killed = answer.get("killed")
    return Executed(
        exit_code=code if isinstance(code, int) else None,
        stdout=out,
        stderr=err,
        value=str(answer.get("value", ""))[:20_000],
        error=str(answer.get("error", ""))[:200],
        killed=killed if killed in {"time", "memory", "processes", "disk", "files", "output"} else "",
        lost=answer.get("lost") is True,
        seconds=float(answer.get("seconds", 0.0)),
    )


def _output(facts: Any, payload: bytes) -> tuple[Output, bytes]:
    facts = facts if isinstance(facts, Mapping) else {}
    head, tail, total = (max(0, int(facts.get(name, 0))) for name in ("head", "tail", "bytes"))
    digest = str(facts.get("sha256", ""))
    first, last = (payload[:head], payload[head : head + tail])
    text = first.decode("utf-8", "backslashreplace")
    lost = total - head - tail
    if lost > 0:
        text += f"\n[… {lost} bytes left out, sha256 of all {total} bytes {digest} …]\n"
    text += last.decode("utf-8", "backslashreplace")
    kept = digest if _SHA.fullmatch(digest) else ""
    return Output(text=text, bytes=total, sha256=kept, truncated=lost > 0), payload[head + tail :]
