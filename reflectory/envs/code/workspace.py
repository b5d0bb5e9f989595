"""The agent's working folder: files kept here until something has to run, then in a box of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from reflectory.errors import SandboxError
from reflectory.execution import Executed
from reflectory.protocols import Box, Sandbox

#: What differs from run to run without meaning anything, and what is shown instead.
_UNSTEADY = (
    (re.compile(r"/tmp/reflectory-box-[^/\s'\"]+(?:/work)?(?=[/\s'\"]|$)", re.MULTILINE), "/work"),
    (re.compile(r"\bat 0x[0-9a-fA-F]{6,16}\b"), "at 0x…"),
    (re.compile(r"\b0x[0-9a-fA-F]{11,16}\b"), "0x…"),
    (re.compile(r"\b(real|user|sys)(\s+)\d+m\d+[.,]\d+s"), r"\1\2…"),
    (re.compile(r"\b(in|took|Elapsed:?) \d+\.\d{2,} ?(?:ms|s|sec|seconds)\b"), r"\1 … s"),
    (re.compile(r"(?:/[\w.-]+)*/(tmp\.?)[A-Za-z0-9_]{8,10}\b"), r"/tmp/\1…"),
    (re.compile(r"^(\[\d+\]) \d+$", re.MULTILINE), r"\1 …"),
    (re.compile(r"^(total) \d+$", re.MULTILINE), r"\1 …"),
    # A line of `ls -l`: owner, group and time are the box's, not the task's.
    (re.compile(r"^(d[rwxsStT-]{9})[.+@]? +\d+ +\S+ +\S+ +\d+ +\w{3} +\d+ +[\d:]{4,5} ", re.MULTILINE), r"\1 "),
    (re.compile(r"^([-lpscb][rwxsStT-]{9})[.+@]? +\d+ +\S+ +\S+ +(\d+) +\w{3} +\d+ +[\d:]{4,5} ", re.MULTILINE), r"\1 \2 "),
)


class Workspace:
    """The files of one episode.

    Args:
        sandbox: Opens the box.
        files: What lies there at first.
        setup: Commands that finish what files alone cannot (permissions, links).
    """

    def __init__(self, sandbox: Sandbox, files: Mapping[str, bytes], setup: str = "") -> None:
        self._sandbox, self._kept, self._setup = sandbox, dict(files), setup
        self._box: Box | None = None
        self._folder = ""
        self._stale: set[str] = set()

    async def files(self) -> dict[str, bytes]:
        """The regular files as they are now.

        Raises:
            SandboxError: The box is gone.
        """
        if self._box is None and not self._setup:
            return dict(self._kept)
        return {artefact.path: artefact.content for artefact in await (await self._opened()).get()}

    async def write(self, path: str, content: bytes) -> None:
        """Write one file.

        Raises:
            SandboxError: It cannot be written there, for example because it is a folder.
        """
        if self._box is None and any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in self._kept):
            msg = f"{path!r} is a folder, or lies below a file."
            raise SandboxError(msg)
        if self._box is not None:
            await self._box.put({path: content})
        self._kept[path] = content
        if path.endswith(".py"):
            self._stale.add(PurePosixPath(path).parts[0].removesuffix(".py"))

    async def python(self, code: str) -> Executed:
        """Run code in the interpreter; a module that was written since its import is imported anew."""
        box = await self._opened()
        if self._stale:
            await box.python(f"import sys\nfor _ in {sorted(self._stale)!r}: sys.modules.pop(_, None)\ndel _")
            self._stale.clear()
        return await self._ran(await box.python(code))

    async def shell(self, command: str) -> Executed:
        """Run commands in the shell."""
        return await self._ran(await (await self._opened()).shell(command))

    async def modes(self) -> dict[str, str]:
        """Path → permissions in octal, of everything below the folder that is a file or a folder; links are left out."""
        listed = await (await self._opened()).run(
            ["find", ".", "-mindepth", "1", "(", "-type", "f", "-o", "-type", "d", ")", "-printf", "%m %P\\n"]
        )
        lines = (line.partition(" ") for line in listed.stdout.text.splitlines())
        return {path: mode for mode, _, path in lines}

    async def recover(self) -> None:
        """After something failed: let go of a box that does not answer, so that the next call opens another."""
        if self._box is not None and not await self._answers():
            await self.close()

    async def close(self) -> None:
        """Let go of the box; may be called twice."""
        box, self._box = self._box, None
        if box is not None:
            await box.close()

    def steady(self, text: str) -> str:
        """A program's words without what differs from run to run."""
        if self._folder and self._folder != "/work":
            text = text.replace(self._folder, "/work")
        for pattern, instead in _UNSTEADY:
            text = pattern.sub(instead, text)
        return text

    async def _opened(self) -> Box:
        """The box; the first time, and after it broke, with the files the task and the commands put there."""
        if self._box is None:
            self._box = await self._sandbox.open()
            await self._box.put(self._kept)
            if self._setup:
                await self._box.run(["bash", "-c", self._setup])
            self._folder = (await self._box.run(["pwd"])).stdout.text.strip()
        return self._box

    async def _ran(self, executed: Executed) -> Executed:
        """What came of a call; a box that broke in it is let go."""
        if executed.killed == "box" or executed.lost:
            await self.recover()
        return executed

    async def _answers(self) -> bool:
        assert self._box is not None
        with contextlib.suppress(SandboxError):
            await self._box.get(".")
            return True
        return False
