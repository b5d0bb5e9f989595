"""The agent's working folder: files kept here until something has to run, then in a box of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from reflectory.envs.code.terminal import Tree
from reflectory.errors import SandboxError
from reflectory.execution import Executed
from reflectory.protocols import Box, Sandbox

_OWNED = r" +\d+ +\S+ +\S+ +\d+ +\w{3} +\d+ +(?:\d\d:\d\d|\d{4}) "
_OWNED_SIZED = _OWNED.replace(r"\S+ +\d+ ", r"\S+ +(\d+) ")
_MODE = r"[-dlpscb][rwxsStT-]{9}[.+@]?"
#: What differs from run to run without meaning anything, and what is shown instead. Only what is surely none of a program's own words.
_UNSTEADY = (
    (re.compile(r"/tmp/reflectory-box-[^/\s'\"]+(?:/work)?(?=[/\s'\"]|$)", re.MULTILINE), "/work"),
    (re.compile(r"/tmp/(tmp\.[A-Za-z0-9]{10}|tmp[a-z0-9_]{8})\b"), "/tmp/tmp…"),
    (re.compile(r" at 0x[0-9a-fA-F]{6,16}>"), " at 0x…>"),
    (re.compile(r"^(Ran \d+ tests? in) \d+\.\d+s$", re.MULTILINE), r"\1 … s"),
    (re.compile(r"^(=+ .*\d+ (?:passed|failed|errors?|skipped|deselected|warnings?)\b.* in) \d+\.\d+s (=+)$", re.MULTILINE), r"\1 … s \2"),
    # The sum above lines of `ls -l`, then each of them: owner, group and time are the box's, not the task's.
    (re.compile(rf"^total \d+$(?=\n(?:{_MODE}{_OWNED}))", re.MULTILINE), "total …"),
    (re.compile(rf"^(d[rwxsStT-]{{9}})[.+@]?{_OWNED}", re.MULTILINE), r"\1 "),
    (re.compile(rf"^([-lpscb][rwxsStT-]{{9}})[.+@]?{_OWNED_SIZED}", re.MULTILINE), r"\1 \2 "),
)
#: All files of a task and those the agent wrote together, in bytes and in number.
MOST_KEPT, MOST_FILES = 8 * 2**20, 1000
_STATES = ["find", ".", "-mindepth", "1", "-printf", "%y%m:%l\\0%P\\0"]


class Workspace:
    """The files of one episode.

    Args:
        sandbox: Opens the box.
        files: What lies there at first.
        setup: Commands that finish what files alone cannot (permissions, links).
    """

    def __init__(self, sandbox: Sandbox, files: Mapping[str, bytes], setup: str = "") -> None:
        self._sandbox, self._base, self._setup = sandbox, dict(files), setup
        self._written: dict[str, bytes] = {}
        self._first: Tree | None = None
        self._box: Box | None = None
        self._folder = ""
        self._stale: set[str] = set()

    async def first(self) -> Tree:
        """The folder before anything was done; where it matters, ask for it before the first action.

        Raises:
            SandboxError: No box can be opened, or the folder has too much in it.
        """
        if self._first is None:
            tree = await self.tree()
            if tree is None:
                msg = "the folder of the task has too many files, or files that cannot be read"
                raise SandboxError(msg)
            self._first = tree
        return self._first

    async def tree(self) -> Tree | None:
        """The folder as it is now; None where not all of it can be seen.

        Raises:
            SandboxError: The box is gone.
        """
        box = await self._opened()
        listed = await box.run(_STATES)
        if not listed.ok or listed.stdout.truncated:
            return None
        # Two fields for each name, both ended by NUL, which no name can have in it.
        fields = listed.stdout.text.split("\0")
        states = dict(zip(fields[1::2], fields[:-1:2], strict=True))
        files = {artefact.path: artefact.content for artefact in await box.get()}
        return Tree(files, states) if set(files) == {path for path, state in states.items() if state.startswith("f")} else None

    async def files(self) -> dict[str, bytes]:
        """The regular files as they are now.

        Raises:
            SandboxError: The box is gone.
        """
        if self._box is None and not self._setup:
            return {**self._base, **self._written}
        return {artefact.path: artefact.content for artefact in await (await self._opened()).get()}

    async def write(self, path: str, content: bytes) -> None:
        """Write one file.

        Raises:
            SandboxError: It cannot be written there, for example because it is a folder.
        """
        kept = {**self._base, **self._written, path: content}
        if sum(map(len, kept.values())) > MOST_KEPT or len(kept) > MOST_FILES:
            msg = f"all files together may have {MOST_KEPT // 2**20} MB, and there may be {MOST_FILES} of them."
            raise SandboxError(msg)
        if self._box is None and any(_clash(path, other) for other in kept):
            msg = f"{path!r} is a folder, or lies below a file."
            raise SandboxError(msg)
        if self._box is not None:
            await self._box.put({path: content})
        self._written = {other: data for other, data in self._written.items() if not _clash(path, other)} | {path: content}
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
        """The box; the first time, and after it broke, with the files of the task and those that were written."""
        if self._box is None:
            box = await self._sandbox.open()
            try:
                await self._filled(box)
            except BaseException:
                await box.close()
                raise
            self._box = box
        return self._box

    async def _filled(self, box: Box) -> None:
        await box.put(self._base)
        if self._setup and not (done := await box.run(["bash", "-c", self._setup])).ok:
            msg = f"the task's own commands failed in the sandbox: {done.stderr.text[:300] or done.exit_code}"
            raise SandboxError(msg)
        for path, content in self._written.items():
            # A file that cannot stand beside those of the task (the agent had deleted them) is left out; a dead box says so below.
            with contextlib.suppress(SandboxError):
                await box.put({path: content})
        self._folder = (await box.run(["pwd"])).stdout.text.strip()

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


def _clash(path: str, other: str) -> bool:
    """Whether one would have to be a folder for the other."""
    return other.startswith(f"{path}/") or path.startswith(f"{other}/")
