"""The Runner owns what is alive: models, environments, memory, event loop. `run` is a Runner for one task."""

from __future__ import annotations

import asyncio
import datetime
import secrets
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from reflectory.config import RunConfig, load
from reflectory.errors import RunError
from reflectory.protocols import Memory
from reflectory.records import Frozen, Task, Trajectory, Usage
from reflectory.runs.build import Setup, build, close_memory, make_graph, make_memory, writes_memory
from reflectory.runs.directory import RunDirectory, lock
from reflectory.runs.episode import Episode, Job, play
from reflectory.runs.evaluation import Evaluation, Watch
from reflectory.runs.metrics import Metrics
from reflectory.runs.talk import Talk
from reflectory.runs.trial import LEDGER, result_line
from reflectory.runs.worlds import kept_in, placed
from reflectory.tools.approval import Ask

Answer = TypeVar("Answer")


class Run(Frozen):
    """The record of one task.

    Attributes:
        task: What was to do.
        outcome: solved, failed, gave_up, limit:NAME, infra:NAME; None when it stopped unfinished.
        answer: The last action or answer.
        attempts: One Trajectory per attempt.
        usage: Cost of all model calls.
        seconds: Wall time.
        error: What broke, for infra outcomes.
        path: The run directory.
        sandbox: Tier of the sandbox that kept the agent's code in; "none" when nothing did, None when the world runs no code.
    """

    task: Task
    outcome: str | None
    answer: str | None = None
    attempts: tuple[Trajectory, ...] = ()
    usage: Usage = Usage()
    seconds: float = 0.0
    error: str | None = None
    path: str
    sandbox: str | None = None

    @property
    def solved(self) -> bool:
        """Whether the task was solved."""
        return self.outcome == "solved"

    @property
    def steps(self) -> int:
        """Actions in all attempts."""
        return sum(1 for item in self.attempts for step in item.steps if step.action is not None)

    def __str__(self) -> str:
        tries = f"{len(self.attempts)} attempt{'s' if len(self.attempts) != 1 else ''}"
        cost = f"{self.steps} steps, {self.usage.tokens} tokens, {self.seconds:.2f} s"
        return f"{self.outcome or 'unfinished'}: {self.task.goal} ({tries}, {cost}{kept_in(self.sandbox)}) in {self.path}"


class Runner(Talk):
    """Brings graphs to life and runs them; holds dialogues (`send`).

    Args:
        graph: A name (`act`, `reflexion` …), a builder `config → Wiring`, a Wiring, or a compiled LangGraph graph.
        model: One model or a mapping role → model, each a name or an object; the solver's plays the roles that are not named.
        memory: A folder, an object with the four methods, "none", or None: one of the run's own where the graph writes memory.
        tools: What can be called.
        config: A RunConfig, a mapping, or the path of a YAML file.
        approve: Asked, with a text, what the settings leave to a person: every action, or with a file of rules what they say so of.

    Raises:
        ConfigError: The settings do not fit.
    """

    def __init__(
        self,
        *,
        graph: Any = "act",
        model: Any = "embedded",
        memory: str | Path | Memory | None = None,
        tools: Sequence[Any] = (),
        config: RunConfig | Mapping[str, Any] | str | Path | None = None,
        approve: Ask | None = None,
    ) -> None:
        settings = load(config)
        if settings.out is None:
            settings = settings.model_copy(update={"out": new_directory(graph if isinstance(graph, str) else "run")})
        self.setup = Setup(graph=graph, model=model, memory=memory, config=settings, tools=tools, approve=approve)

    def run(self, task: Task | str) -> Run:
        """`arun` for code without an event loop (it works beside one, too)."""
        return synchronous(self.arun(task))

    def eval(self, tasks: Iterable[Task], watch: Watch | None = None) -> Metrics:
        """`aeval` for code without an event loop (it works beside one, too)."""
        return synchronous(self.aeval(tasks, watch))

    async def arun(self, task: Task | str) -> Run:
        """Run one task until it is solved or its trials are spent; a run that was killed continues.

        Args:
            task: A Task, or a goal.

        Returns:
            The record; also of a run that was finished before.

        Raises:
            ReflectoryError: Usage, or something missing. Spent budgets and broken worlds are outcomes.
        """
        task = placed(Task(goal=task) if isinstance(task, str) else task, self.setup.tools)
        path = Path(str(self.setup.config.out))
        with lock(path):
            memory, directory = self._open(task, path)
            try:
                finished = next(iter(directory.results().values()), None)
                return _from_result(task, directory, finished) if finished is not None else await self._play(task, directory, memory)
            finally:
                close_memory(self.setup, memory)

    async def aeval(self, tasks: Iterable[Task], watch: Watch | None = None) -> Metrics:
        """Play every task in every trial; a run directory that holds a part of it is continued.

        Args:
            tasks: The tasks, each with its own key.
            watch: Told about progress: (trial, finished, tasks, solved), the last three within the trial.

        Raises:
            RunError: The run directory holds a run with other settings.
            ReflectoryError: Something every trial would meet: a wrong name, a missing model.
        """
        return await Evaluation(self.setup, [placed(task, self.setup.tools) for task in tasks], watch).run()

    def _open(self, task: Task, path: Path) -> tuple[Memory | None, RunDirectory]:
        setup = self.setup
        writes = writes_memory(make_graph(setup.graph, setup.config))
        own = setup.memory is None
        memory = None if own else make_memory(setup, None, writes=writes)
        digest = getattr(memory, "content_digest", None)
        directory = RunDirectory.claim(path, setup, [task], kind="run", memory_digest=digest() if digest is not None else "")
        return make_memory(setup, path / "memory", writes=writes) if own else memory, directory

    async def _play(self, task: Task, directory: RunDirectory, memory: Memory | None) -> Run:
        config = self.setup.config
        parts = build(self.setup)
        directory.save(status="running")
        status = "interrupted"
        try:
            async with _saver(config, directory.path) as saver:
                job = Job(
                    task=task,
                    run=directory.id,
                    last_attempt=config.trials,
                    memory=memory,
                    effects=directory.path / LEDGER,
                    steps=directory.path / "steps.jsonl" if saver is not None else None,
                    saver=saver,
                )
                episode = await play(parts, job)
            if episode.outcome is not None:
                last = episode.attempts[-1].attempt if episode.attempts else 1  # a world that fails at reset leaves none
                directory.add(result_line(task, last, episode, []), episode.attempts, "main")
                status = "done"
        finally:
            directory.save(status=status)
            await parts.close()
        return _from_episode(task, directory, episode)


def run(
    task: Task | str,
    *,
    graph: Any = "act",
    model: Any = "embedded",
    memory: str | Path | Memory | None = None,
    tools: Sequence[Any] = (),
    config: RunConfig | Mapping[str, Any] | str | Path | None = None,
) -> Run:
    """Run one task; see Runner for the arguments.

    Args:
        task: A Task, or a goal.
        graph: Who speaks when.
        model: Who talks.
        memory: What stays between runs.
        tools: What can be called.
        config: All else: budget, seed, scope, trials, run directory.
    """
    return Runner(graph=graph, model=model, memory=memory, tools=tools, config=config).run(task)


def resume(path: str | Path, watch: Watch | None = None) -> Run | Metrics:
    """Continue the run in a directory with the settings it was begun with; a finished run is read back.

    Args:
        path: The run directory.
        watch: Told about the progress of an evaluation.

    Raises:
        RunError: There is no run, or parts of it were objects that only the original program has.
    """
    directory = RunDirectory.open(Path(path))
    portable = directory.manifest["portable"]
    if portable is None:
        msg = f"{path} was made with objects instead of names; continue it with the program that made it, with the same run directory."
        raise RunError(msg)
    runner = Runner(graph=portable["graph"], model=portable["models"], memory=portable["memory"], config=directory.config())
    tasks = directory.tasks()
    return runner.eval(tasks, watch) if directory.manifest["kind"] == "eval" else runner.run(tasks[0])


def new_directory(name: str) -> str:
    """A new path below `runs/`: time, graph and four random digits."""
    stamp = datetime.datetime.now().strftime("%Y-%m-%dT%H-%M-%S")  # local time is what its reader looks for
    plain = "".join(char if char.isalnum() else "_" for char in name)
    return str(Path("runs") / f"{stamp}_{plain}_{secrets.token_hex(2)}")


def synchronous(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a coroutine to its end; beside a running event loop (a notebook) on a thread with a loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def on_thread() -> None:
        try:
            answers.append(asyncio.run(work))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=on_thread, name="reflectory")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]


@asynccontextmanager
async def _saver(config: RunConfig, path: Path) -> AsyncIterator[Any]:
    """The checkpointer, or None. Its serializer makes nothing but JSON-like values and LangChain messages."""
    if config.checkpoint == "none":
        yield None
        return
    import aiosqlite
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with aiosqlite.connect(path / "checkpoints.sqlite") as connection:
        yield AsyncSqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=None))


def _from_episode(task: Task, directory: RunDirectory, episode: Episode) -> Run:
    return Run(
        task=task,
        outcome=episode.outcome,
        answer=episode.state.get("answer"),
        attempts=tuple(episode.attempts),
        usage=episode.usage,
        seconds=episode.seconds,
        error=episode.error,
        path=str(directory.path),
        sandbox=directory.sandbox,
    )


def _from_result(task: Task, directory: RunDirectory, result: Mapping[str, Any]) -> Run:
    attempts = tuple(read_trajectory(item, task) for item in directory.trajectories(dict(result)))
    answers = [step.action for item in attempts for step in item.steps if step.action is not None]
    return Run(
        task=task,
        outcome=result["outcome"],
        answer=answers[-1] if answers else None,
        attempts=attempts,
        usage=Usage.model_validate(result["usage"]),
        seconds=result["seconds"],
        error=result["error"],
        path=str(directory.path),
        sandbox=directory.sandbox,
    )


def read_trajectory(item: Mapping[str, Any], task: Task) -> Trajectory:
    """A Trajectory from a line of a trajectory file and its task."""
    fields = {key: item[key] for key in ("attempt", "outcome", "reward", "usage", "steps")}
    return Trajectory.model_validate({**fields, "task": task})
