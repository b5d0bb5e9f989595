"""Graphs for LangGraph Studio, `langgraph dev` and notebooks: they make their own context when they are invoked without one.

Input: {"task": {…}} with the fields of a Task. The `langgraph.json` at the repository's root points here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reflectory.config import RunConfig
from reflectory.graphs.context import RunContext
from reflectory.records import Task
from reflectory.runs.build import Parts, Setup, build, make_graph, make_memory, writes_memory
from reflectory.runs.episode import Job, make_context
from reflectory.runs.meter import BudgetMeter
from reflectory.runs.recorder import StepRecorder
from reflectory.runs.session import EnvSession

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    Compiled = CompiledStateGraph[Any, RunContext, Any, Any]

#: Threads whose live context is kept; the one unused longest goes first.
KEPT = 32


class Contexts:
    """Makes one context per LangGraph thread (or run) and keeps it for the thread's next node.

    Args:
        setup: Names and settings; the parts come to life with the first task.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._parts: Parts | None = None
        self._memory: Any = None
        self._known: OrderedDict[str, RunContext] = OrderedDict()

    async def __call__(self, state: Mapping[str, Any], identity: str) -> RunContext:
        """The context of a thread."""
        if identity in self._known:
            self._known.move_to_end(identity)
            return self._known[identity]
        if self._parts is None:
            self._parts = build(self._setup)
            self._memory = make_memory(self._setup, None, writes=writes_memory(self._parts.graph))
        given = state["task"]
        task = Task.model_validate({key: value for key, value in given.items() if key in Task.model_fields})
        session = EnvSession(self._parts.pool.take(str(task.env)), task)
        config = self._setup.config
        job = Job(task=task, run=identity or "studio", last_attempt=config.trials, memory=self._memory)
        context = make_context(self._parts, job, session, (BudgetMeter(config.budget), StepRecorder(task)))
        if "env_ref" in state:
            await session.attach(state["env_ref"])
        self._known[identity] = context
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return context


def studio_graph(name: str, setup: Setup | None = None) -> Compiled:
    """A compiled graph that needs no context.

    Args:
        name: A registered graph.
        setup: What it is made of; None means the embedded model and the default settings with two trials.
    """
    chosen = setup or Setup(graph=name, model="embedded", memory=None, config=RunConfig(trials=2))
    wiring: Any = make_graph(chosen.graph, chosen.config)
    compiled: Compiled = wiring.compile(default_context=Contexts(chosen))
    return compiled


def act() -> Compiled:
    """The graph `act`, for langgraph.json."""
    return studio_graph("act")


def reflexion() -> Compiled:
    """The graph `reflexion`, for langgraph.json."""
    return studio_graph("reflexion")
