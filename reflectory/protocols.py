"""The plug points as Protocols. A part that needs another takes it as an argument typed by one of these."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reflectory.execution import Artefact, EffectKind, Executed, Limits, SandboxReport, ToolResult
from reflectory.records import Hit, Observation, Query, Record, Reply, Request, StepResult, Task


@runtime_checkable
class Model(Protocol):
    """Who talks. LangChain chat models are wrapped into this by `reflectory.models.as_model`."""

    @property
    def name(self) -> str:
        """Identity with version, written into every Step as the policy."""
        ...

    async def generate(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            ModelError: When no answer can be given.
        """
        ...


@runtime_checkable
class Tracker(Protocol):
    """Keeps typed working state from observations alone; never sees the world's hidden state."""

    def observe(self, action: str | None, observation: Observation) -> None:
        """Take in one observation and the action before it (None at reset)."""
        ...

    def work(self) -> dict[str, Any]:
        """The state as JSON values, the same for the same observations."""
        ...


@runtime_checkable
class Env(Protocol):
    """Where it happens. Methods may be sync or async; `blocking = False` promises that a sync method never waits."""

    blocking: bool

    def reset(self, task: Task, *, seed: int) -> Observation | Awaitable[Observation]:
        """Start the task from its beginning."""
        ...

    def step(self, action: str) -> StepResult | Awaitable[StepResult]:
        """Apply one action. Reward and checker stay out of the agent's reach."""
        ...

    def close(self) -> Awaitable[None] | None:
        """Let go of all resources; may be called twice."""
        ...


@runtime_checkable
class Snapshots(Protocol):
    """An Env that can save and restore itself."""

    def snapshot(self) -> str:
        """A JSON token that `restore` takes."""
        ...

    def restore(self, token: str) -> Observation:
        """Go back to where the token was taken; returns the observation of that moment."""
        ...


@runtime_checkable
class Tracked(Protocol):
    """An Env that brings a tracker of its own observations."""

    def tracker(self) -> Tracker:
        """A fresh tracker."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Turns text into vectors."""

    @property
    def id(self) -> str:
        """Name and version; vectors of different ids are never compared."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), dim), float32."""
        ...


@runtime_checkable
class Memory(Protocol):
    """What stays between runs: four methods, any object with them will do."""

    def recall(self, query: Query) -> list[Hit]:
        """The records that fit best, best first."""
        ...

    def record(self, records: Sequence[Record]) -> list[Record]:
        """Write candidate records; returns them as stored (same text and lineage again: merged, not doubled)."""
        ...

    def cite(self, ids: Sequence[str], *, shown: Sequence[str] = (), helped: bool | None = None) -> None:
        """Count that `shown` were shown, `ids` of them used, and whether the attempt succeeded."""
        ...

    def audit(self, record_id: str) -> list[dict[str, Any]]:
        """Every event that touched a record, oldest first."""
        ...


@runtime_checkable
class Box(Protocol):
    """One live sandbox with a working folder, an interpreter and a shell that keep their state between calls. One call at a time."""

    @property
    def alive(self) -> bool:
        """Whether it can still be called."""
        ...

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", seconds: float | None = None) -> Executed:
        """Run a program in the working folder; what it leaves running is ended with it."""
        ...

    async def python(self, code: str, *, seconds: float | None = None) -> Executed:
        """Run code in the box's interpreter; names stay from call to call."""
        ...

    async def shell(self, command: str, *, seconds: float | None = None) -> Executed:
        """Run a command in the box's shell; folder, variables and functions stay from call to call."""
        ...

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Write files into the working folder; names are relative, without `..`."""
        ...

    async def get(self, *patterns: str) -> list[Artefact]:
        """Read files of the working folder; glob patterns, default all. Links are not followed."""
        ...

    async def close(self) -> None:
        """End everything in it; may be called twice."""
        ...


@runtime_checkable
class Sandbox(Protocol):
    """Where code that nobody vouches for runs."""

    @property
    def report(self) -> SandboxReport:
        """What it keeps in."""
        ...

    @property
    def limits(self) -> Limits:
        """What each of its boxes may use."""
        ...

    async def open(self) -> Box:
        """A new box.

        Raises:
            SandboxError: It cannot be made.
        """
        ...


@runtime_checkable
class Tool(Protocol):
    """What can be called. `call` answers errors as text, it never raises but for cancellation."""

    @property
    def name(self) -> str:
        """A plain identifier."""
        ...

    @property
    def description(self) -> str:
        """What it does, for the model."""
        ...

    @property
    def effect(self) -> EffectKind:
        """What it can do to the world; approval rules go by it."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of its arguments (an object)."""
        ...

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Call it."""
        ...


Work = Mapping[str, Any]
