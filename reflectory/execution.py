"""The words of running something: limits, what came of it, what a sandbox keeps in, what a tool answers. Plain data, no behaviour."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reflectory.records import Frozen, OriginKind

#: Why a call was ended from outside; "" means it ended by itself. `box`: the whole sandbox is gone, its state with it.
Killed = Literal["", "time", "memory", "processes", "disk", "files", "output", "box"]
#: What a tool can do to the world, from harmless to not.
EffectKind = Literal["none", "read", "write", "execute", "network"]
Level = Literal["namespace", "container", "landlock", "none"]


class Limits(Frozen):
    """What one sandbox may use. All but `seconds` and `output_kb` hold for all its processes and files together.

    Attributes:
        seconds: Wall time of one call.
        memory_mb: Resident memory.
        processes: Processes and threads.
        disk_mb: Bytes of all files it writes.
        files: Files, folders and links it makes.
        output_kb: Kept of each of stdout and stderr, half from the beginning and half from the end; the rest is counted and hashed.
        output_most_mb: A call that writes more than this to stdout or stderr is ended.
    """

    seconds: float = Field(default=10.0, gt=0)
    memory_mb: int = Field(default=512, ge=16)
    processes: int = Field(default=64, ge=1)
    disk_mb: int = Field(default=64, ge=1)
    files: int = Field(default=4096, ge=16)
    output_kb: int = Field(default=32, ge=1)
    output_most_mb: int = Field(default=16, ge=1)


class Output(Frozen):
    """What a program wrote to one stream.

    Attributes:
        text: UTF-8, undecodable bytes as escapes; of a long output the beginning and the end with a line between them that says what was
            left out.
        bytes: How much it wrote in all.
        sha256: Of everything it wrote (as far as it was read).
        truncated: Whether `text` lacks something.
    """

    text: str = ""
    bytes: int = 0
    sha256: str = ""
    truncated: bool = False


class Executed(Frozen):
    """What came of a call. Everything in it was written by the program that ran: untrusted.

    Attributes:
        exit_code: As a shell counts it (128 + n for signal n); None where the call was ended from outside before it had one.
        stdout: What it wrote.
        stderr: What it wrote there, tracebacks of the interpreter included.
        value: `repr` of the last expression of an interpreter call; "" for none.
        error: Type of the exception that ended an interpreter call, for example "ValueError"; "" for none.
        killed: Why it was ended from outside.
        lost: Whether the state of the interpreter or shell is gone.
        seconds: Wall time.
    """

    exit_code: int | None = None
    stdout: Output = Output()
    stderr: Output = Output()
    value: str = ""
    error: str = ""
    killed: Killed = ""
    lost: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """It ended by itself, with status 0 and without an exception."""
        return self.exit_code == 0 and not self.killed and not self.error


class Artefact(Frozen):
    """A file that came out of a sandbox. Its name is data; it is kept under its hash.

    Attributes:
        path: Relative POSIX path inside the working folder, without `..`.
        sha256: Of the content.
        size: Bytes.
        content: The bytes.
    """

    path: str
    sha256: str
    size: int
    content: bytes = Field(repr=False)


class SandboxReport(Frozen):
    """What a sandbox keeps in, and what it does not.

    Attributes:
        tier: bubblewrap, container, landlock or none.
        level: How strong: own namespaces, a container engine's, a kernel ruleset, nothing.
        available: Whether it works here; it was tried, not guessed.
        why: Why not, with what to do about it; "" where it is available.
        contains: What was found to hold, for example {"files": "own read-only root", "network": "own namespace"}.
        leaks: What it does not contain, one sentence each.
        details: Versions and facts of the kernel and the tools.
    """

    tier: str
    level: Level
    available: bool
    why: str = ""
    contains: dict[str, str] = Field(default_factory=dict)
    leaks: tuple[str, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)


class ToolResult(Frozen):
    """What a tool answers the model; never an exception.

    Attributes:
        text: What the model reads.
        ok: False for an error of any kind.
        error: "" or what kind: arguments, denied, blocked, raised, form, sandbox, or why it was ended (time, memory, processes, disk,
            files, output, box).
        origin: Who could have written the text.
        truncated: Whether `text` lacks something.
        sha256: Of the whole text, before it was cut.
        seconds: Wall time.
    """

    text: str
    ok: bool = True
    error: str = ""
    origin: OriginKind = "content"
    truncated: bool = False
    sha256: str = ""
    seconds: float = 0.0
