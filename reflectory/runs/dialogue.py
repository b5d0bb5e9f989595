"""Dialogues: sessions of users with an agent, each on disk turn by turn, each reflected on when it ends, a crash included."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from reflectory.agents.answerer import readable
from reflectory.agents.role import observation_json
from reflectory.config import DialogueConfig
from reflectory.errors import ConfigError, RunError
from reflectory.graphs.dialogue import Dialogue, opening
from reflectory.graphs.wiring import Wiring
from reflectory.memory.prospective import Written
from reflectory.memory.redact import Redactor
from reflectory.protocols import Memory
from reflectory.records import Hit, Observation, Task
from reflectory.runs.build import Parts, Setup, build, close_memory, make_memory
from reflectory.runs.directory import RunDirectory, lock
from reflectory.runs.episode import Episode, Job, make_context
from reflectory.runs.files import append_line
from reflectory.runs.leases import Lease, memory_folder
from reflectory.runs.live import Answer, Live, Locks, NoWorld, difference, drive, heard
from reflectory.runs.meter import BudgetMeter
from reflectory.runs.recorder import StepRecorder
from reflectory.runs.session import Caller, EnvSession
from reflectory.runs.trial import LEDGER, result_line

_log = logging.getLogger(__name__)
#: An idle session that cannot be ended is tried so often, ever more rarely, and then left to `leave`, `close` and the next start.
TRIES = 3


class Dialogues:
    """The open sessions of one Runner. Every user has at most one: a message in another thread ends it.

    Args:
        setup: What it is made of; the graph is a dialogue.
        clock: Seconds since 1970.

    Raises:
        ConfigError: The settings do not fit a dialogue.
    """

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.time) -> None:
        if setup.config.checkpoint != "none":
            msg = "a dialogue keeps no checkpoints: a message is on disk before it is answered. Leave `checkpoint` out."
            raise ConfigError(msg)
        self._setup, self._clock = setup, clock
        self._stack = ExitStack()
        self._redactor = Redactor()
        self._live: dict[str, Live] = {}
        self._lease: Lease | None = None
        self._locks = Locks()
        self._closing = 0
        self._timer: asyncio.Task[None] | None = None
        self._parts: Parts | None = None
        self._memory: Memory | None = None
        self._directory: RunDirectory | None = None

    async def send(self, text: str | Observation, *, thread: str, user: str) -> Answer:
        """Answer a message; see `reflectory.runs.talk.Talk.asend`."""
        observation = heard(text, thread, user)
        self._here()
        async with self._locks.gate:  # the first message opens, the others wait for it
            if not self._closing:
                await self._open()
        await self.tend()
        async with self._locks.user(user):
            if self._closing or self._directory is None:
                msg = "this Runner is being closed. Send the message again when it is."
                raise RunError(msg)
            live = self._live.get(user)
            if live is not None and live.thread != thread:
                await self._failed(live)
                self._live.pop(user, None)  # what could not be ended is on disk, for `close` or the next start
                live = None
            live = live or self._begin(thread, user, self._clock())
            answer = await self._turn(live, observation)
        if self._timer is None or self._timer.done():
            self._timer = asyncio.get_running_loop().create_task(self._watch())
        return answer

    async def leave(self, thread: str, *, user: str | None = None) -> list[Written]:
        """End the open sessions of a thread, of one user or of all.

        Returns:
            What their reflection wrote; empty when none was open.
        """
        self._here()
        written: list[Written] = []
        for name in [name for name, live in self._live.items() if live.thread == thread and user in (None, name)]:
            async with self._locks.user(name):
                live = self._live.get(name)
                if live is not None and live.thread == thread:
                    written += await self._end(live)
        return written

    async def tend(self) -> None:
        """End the sessions that have been idle for too long. What fails is logged: it is nothing to whoever speaks now."""
        for name, live in list(self._live.items()):
            if self._idle(live):
                async with self._locks.user(name):
                    if self._live.get(name) is live and self._idle(live):
                        await self._failed(live)

    async def close(self) -> None:
        """End all sessions and let go of models, memory and run directory; may be called twice.

        Raises:
            Exception: The first session that could not be ended, when all others are; its run directory's next start tries it again.
        """
        if self._directory is None and not self._locks.gate.locked():
            return
        self._here()
        self._closing += 1
        try:
            async with self._locks.gate:
                await self._shut()
        finally:
            self._closing -= 1

    async def _shut(self) -> None:
        failed: BaseException | None = None
        try:
            for name in list(self._live):
                async with self._locks.user(name):
                    if name in self._live:
                        await self._failed(self._live[name])
            errors: list[Exception] = []
            whole = self._directory is None or await self._recover(self._directory, errors)
            if self._lease is not None:
                self._lease.left = not whole
            if errors:
                raise errors[0]
        except BaseException as error:
            failed = error
            raise
        finally:
            if self._timer is not None:  # not before: it may have been ending a session
                self._timer.cancel()
            self._timer, self._lease = None, None
            directory, parts, self._directory, self._parts = self._directory, self._parts, None, None
            stack, self._stack = self._stack, ExitStack()
            self._live.clear()
            self._locks.leave()
            try:
                if directory is not None and failed is None:
                    directory.save(status="done")
                if parts is not None:
                    await parts.close()
            finally:
                # With an error the lease stays behind, so that the next start ends what could not be ended here.
                stack.__exit__(None if failed is None else type(failed), failed, None)

    @property
    def settings(self) -> DialogueConfig:
        """How the dialogue remembers."""
        graph = None if self._parts is None else self._parts.graph
        return graph.settings if isinstance(graph, Dialogue) else self._setup.config.dialogue

    def _here(self) -> None:
        if self._locks.here():
            self._timer = None

    def _idle(self, live: Live) -> bool:
        return live.failed < TRIES and self._clock() - live.used >= self.settings.idle_s * (live.failed + 1)

    async def _watch(self) -> None:
        while self._live:
            await asyncio.sleep(self.settings.idle_s)
            await self.tend()

    async def _open(self) -> None:
        """Bring everything to life, and end the sessions that a crash left open."""
        if self._directory is not None:
            return
        parts = build(self._setup)
        try:
            if isinstance(parts.graph, Wiring) and not isinstance(parts.graph, Dialogue):
                msg = f"the graph {parts.graph.name!r} answers no messages. Use graph='dialogue', or Runner.run."
                raise ConfigError(msg)
            await self._enter(parts)
        except BaseException:
            self._parts = None
            await parts.close()
            raise

    async def _enter(self, parts: Parts) -> None:
        setup, path = self._setup, Path(str(self._setup.config.out))
        with ExitStack() as stack:
            stack.enter_context(lock(path))
            memory = make_memory(setup, path / "memory", writes=True, learns=True)
            stack.callback(close_memory, setup, memory)
            digest = f"seq {getattr(memory, 'seq', 'unknown')}"
            directory = RunDirectory.claim(path, setup, [], kind="dialogue", memory_digest=digest)
            directory.save(status="running")
            (path / "sessions").mkdir(exist_ok=True)
            self._parts, self._memory = parts, memory
            await self._recover(directory, [])
            folder = memory_folder(setup.memory)
            if folder is not None:
                self._lease = stack.enter_context(Lease(folder, path))
                await self._lease.recover(lambda other: self._recover(other, []))
            self._directory = directory
            self._stack = stack.pop_all()

    def _begin(self, thread: str, user: str, now: float) -> Live:
        assert self._directory is not None
        # The user's name is the memory's namespace and stays as it is.
        inputs = {"user": user, "thread": self._clean(thread), "at": now, "agent": self.settings.agent}
        task = Task(goal=self._clean(f"{thread}: {user}"), id=f"{int(now * 1000):013d}-{secrets.token_hex(3)}", inputs=inputs)
        append_line(self._directory.path / "tasks.jsonl", task.model_dump_json())
        live = self._live[user] = self._revive(self._directory, task)
        live.thread = thread
        return live

    def _clean(self, text: str) -> str:
        """A text as it may stand on disk: without the secrets that memory keeps out, too."""
        return self._redactor.text(readable(text))

    def _revive(self, directory: RunDirectory, task: Task) -> Live:
        """A session from what is on disk of it; nothing for a new one."""
        assert self._parts is not None
        recorder = StepRecorder(task, directory.path / "sessions" / f"{task.id}.jsonl", self._clean)
        meter = BudgetMeter(self._setup.config.budget)
        job = Job(task=task, run=directory.id, memory=self._memory, effects=directory.path / LEDGER)
        context = make_context(self._parts, job, EnvSession(Caller(NoWorld()), task), (meter, recorder))
        at = float(task.inputs["at"])
        steps = recorder.trajectory(1, None).steps
        state = opening(at) | {"n": 1 + max((step.n for step in steps), default=-1)}
        thread = str(task.inputs["thread"])
        return Live(task=task, thread=thread, state=state, context=context, recorder=recorder, meter=meter, used=at)

    async def _recover(self, directory: RunDirectory, errors: list[Exception]) -> bool:
        """End the sessions of a run directory that have no result and belong to this agent; whether none is left open."""
        done, whole = {name for _, name in directory.results()}, True
        for task in directory.tasks():
            if task.id in done:
                continue
            if task.inputs.get("agent") != self.settings.agent:
                whole = False
                continue
            try:
                await self._finish(directory, self._revive(directory, task))
            except Exception as error:  # models, memories and damaged files raise what they like
                _log.warning("the session %s in %s cannot be ended and is left for later: %r", task.id, directory.path, error)
                errors.append(error)
                whole = False
        return whole

    async def _turn(self, live: Live, observation: Observation) -> Answer:
        assert self._parts is not None
        began, before = time.monotonic(), live.meter.usage
        live.used, live.failed = self._clock(), 0
        live.state.update({"observation": observation_json(observation), "recalled": [], "leaving": False})
        await drive(self._parts.graph, live)
        live.used = self._clock()
        hits = tuple(Hit.model_validate(item) for item in live.state["recalled"])
        cited = {*live.state["used"]["cited"]}
        return Answer(
            text=live.state["answer"],
            cited=tuple(hit.record for hit in hits if hit.record.id in cited),
            shown=hits,
            session=live.task.id,
            usage=difference(live.meter.usage, before),
            seconds=time.monotonic() - began,
        )

    async def _end(self, live: Live) -> list[Written]:
        assert self._directory is not None
        written = await self._finish(self._directory, live)
        self._live.pop(str(live.task.inputs["user"]), None)
        return written

    async def _failed(self, live: Live) -> None:
        """End a session, or log why that is not possible now: it stays open."""
        try:
            await self._end(live)
        except Exception as error:  # as in `_recover`
            live.failed += 1
            _log.warning("the session %s cannot be ended and is left for later: %r", live.task.id, error)

    async def _finish(self, directory: RunDirectory, live: Live) -> list[Written]:
        """Reflect on a session and write its result line, which makes it ended."""
        assert self._parts is not None
        live.state["leaving"] = True
        await drive(self._parts.graph, live)
        attempt = live.recorder.trajectory(1, "left")
        seconds = max(0.0, live.used - float(live.task.inputs["at"]))
        episode = Episode("left", [attempt], live.state, live.meter.usage, seconds, dict(live.recorder.counters))
        await asyncio.to_thread(directory.add, result_line(live.task, 1, episode, []), episode.attempts, "main")
        return [Written.model_validate(item) for item in live.state.get("written") or ()]
