"""Dialogues: sessions of users with an agent, each on disk turn by turn, each reflected on when it ends, a crash included."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from reflectory.agents.role import observation_json
from reflectory.config import DialogueConfig
from reflectory.errors import ConfigError, ReflectoryError, RunError
from reflectory.graphs.dialogue import Dialogue, opening
from reflectory.graphs.wiring import Wiring
from reflectory.memory.prospective import Written
from reflectory.protocols import Memory
from reflectory.records import Hit, Observation, Span, Task
from reflectory.runs.build import Parts, Setup, build, close_memory, make_memory
from reflectory.runs.directory import RunDirectory, lock
from reflectory.runs.episode import Episode, Job, make_context
from reflectory.runs.files import append_line
from reflectory.runs.leases import Lease, memory_folder
from reflectory.runs.live import Answer, Live, NoWorld, difference
from reflectory.runs.meter import BudgetMeter, MeterCallback
from reflectory.runs.recorder import StepRecorder
from reflectory.runs.session import Caller, EnvSession
from reflectory.runs.trial import LEDGER, result_line

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


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
        self._live: dict[str, Live] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._timer: asyncio.Task[None] | None = None
        self._parts: Parts | None = None
        self._memory: Memory | None = None
        self._directory: RunDirectory | None = None

    async def send(self, text: str | Observation, *, thread: str, user: str) -> Answer:
        """Answer a message; see `reflectory.runs.talk.Talk.asend`."""
        observation = text if isinstance(text, Observation) else Observation(spans=(Span(text=text, origin="user"),))
        if not user or not thread or not observation.text.strip():
            msg = "a message needs a text, a thread and a user, none of them empty."
            raise ConfigError(msg)
        self._here()
        async with self._locks[""]:  # the first message opens, the others wait for it
            await self._open()
        await self.tend()
        async with self._locks[user]:
            live = self._live.get(user)
            if live is not None and live.thread != thread:
                await self._end(live)
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
            async with self._locks[name]:
                live = self._live.get(name)
                if live is not None and live.thread == thread:
                    written += await self._end(live)
        return written

    async def tend(self) -> None:
        """End the sessions that have been idle for too long."""
        for name, live in list(self._live.items()):
            if self._clock() - live.used >= self.settings.idle_s:
                async with self._locks[name]:
                    if self._live.get(name) is live and self._clock() - live.used >= self.settings.idle_s:
                        await self._end(live)

    async def close(self) -> None:
        """End all sessions and let go of models, memory and run directory; may be called twice."""
        self._here()
        if self._timer is not None:
            self._timer.cancel()
        try:
            for name in list(self._live):
                async with self._locks[name]:
                    await self._end(self._live[name])
        finally:
            directory, parts, self._directory, self._parts = self._directory, self._parts, None, None
            self._live.clear()
            if directory is not None:
                directory.save(status="done")
            if parts is not None:
                await parts.close()
            # With an error under way the lease stays behind, so that the next start ends what could not be ended here.
            self._stack.__exit__(*sys.exc_info())

    @property
    def settings(self) -> DialogueConfig:
        """How the dialogue remembers."""
        graph = None if self._parts is None else self._parts.graph
        return graph.settings if isinstance(graph, Dialogue) else self._setup.config.dialogue

    def _here(self) -> None:
        """Refuse two event loops at once; a loop that has ended is forgotten, its locks with it.

        Raises:
            RunError: Another loop is using the dialogue.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            if self._loop.is_running():
                msg = "this Runner's dialogue runs in another event loop. Use either send or asend, and one event loop."
                raise RunError(msg)
            self._locks.clear()
            self._timer = None
        self._loop = loop

    async def _watch(self) -> None:
        while self._live:
            await asyncio.sleep(self.settings.idle_s)
            with contextlib.suppress(ReflectoryError):  # the next message or `close` meets it again, and says so
                await self.tend()

    async def _open(self) -> None:
        """Bring everything to life, and end the sessions that a crash left open."""
        if self._directory is not None:
            return
        setup = self._setup
        path = Path(str(setup.config.out))
        parts = build(setup)
        if isinstance(parts.graph, Wiring) and not isinstance(parts.graph, Dialogue):
            msg = f"the graph {parts.graph.name!r} answers no messages. Use graph='dialogue', or Runner.run."
            raise ConfigError(msg)
        with ExitStack() as stack:
            stack.enter_context(lock(path))
            memory = make_memory(setup, path / "memory", writes=True, learns=True)
            stack.callback(close_memory, setup, memory)
            digest = f"seq {getattr(memory, 'seq', 'unknown')}"
            directory = RunDirectory.claim(path, setup, [], kind="dialogue", memory_digest=digest)
            directory.save(status="running")
            (path / "sessions").mkdir(exist_ok=True)
            self._parts, self._memory = parts, memory
            try:
                await self._recover(directory)
                folder = memory_folder(setup.memory)
                if folder is not None:
                    lease = stack.enter_context(Lease(folder, path))
                    for other in lease.orphans():
                        await self._recover(other)
            except BaseException:
                self._parts = None
                raise
            self._directory = directory
            self._stack = stack.pop_all()

    def _begin(self, thread: str, user: str, now: float) -> Live:
        assert self._directory is not None
        inputs = {"user": user, "thread": thread, "at": now, "agent": self.settings.agent}
        task = Task(goal=f"{thread}: {user}", id=f"{int(now * 1000):013d}-{secrets.token_hex(3)}", inputs=inputs)
        append_line(self._directory.path / "tasks.jsonl", task.model_dump_json())
        live = self._live[user] = self._revive(self._directory, task)
        return live

    def _revive(self, directory: RunDirectory, task: Task) -> Live:
        """A session from what is on disk of it; nothing for a new one."""
        assert self._parts is not None
        recorder = StepRecorder(task, directory.path / "sessions" / f"{task.id}.jsonl")
        meter = BudgetMeter(self._setup.config.budget)
        job = Job(task=task, run=directory.id, memory=self._memory, effects=directory.path / LEDGER)
        context = make_context(self._parts, job, EnvSession(Caller(NoWorld()), task), (meter, recorder))
        at = float(task.inputs["at"])
        steps = recorder.trajectory(1, None).steps
        state = opening(at) | {"n": 1 + max((step.n for step in steps), default=-1)}
        return Live(task=task, state=state, context=context, recorder=recorder, meter=meter, used=at)

    async def _recover(self, directory: RunDirectory) -> None:
        """End the sessions of a run directory that have no result."""
        done = {name for _, name in directory.results()}
        for task in directory.tasks():
            if task.id not in done and task.inputs.get("agent") == self.settings.agent:
                await self._finish(directory, self._revive(directory, task))

    async def _turn(self, live: Live, observation: Observation) -> Answer:
        began, before = time.monotonic(), live.meter.usage
        live.used = self._clock()
        live.state.update({"observation": observation_json(observation), "recalled": [], "leaving": False})
        await self._drive(live)
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

    async def _finish(self, directory: RunDirectory, live: Live) -> list[Written]:
        """Reflect on a session and write its result line, which makes it ended."""
        live.state["leaving"] = True
        await self._drive(live)
        attempt = live.recorder.trajectory(1, "left")
        seconds = max(0.0, live.used - float(live.task.inputs["at"]))
        episode = Episode("left", [attempt], live.state, live.meter.usage, seconds, dict(live.recorder.counters))
        await asyncio.to_thread(directory.add, result_line(live.task, 1, episode, []), episode.attempts, "main")
        return [Written.model_validate(item) for item in live.state.get("written") or ()]

    async def _drive(self, live: Live) -> None:
        assert self._parts is not None
        from langchain_core.runnables.config import var_child_runnable_config

        graph = self._parts.graph
        config: RunnableConfig = {"callbacks": [MeterCallback(live.meter)]}
        if not isinstance(graph, Wiring):
            live.state.update(await graph.ainvoke(live.state, config, context=live.context))
            return
        token = var_child_runnable_config.set(config)
        try:
            await graph.drive(live.state, live.context)
        finally:
            var_child_runnable_config.reset(token)
