"""From names to what is alive: the parts of a run that its episodes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from reflectory.config import RunConfig
from reflectory.errors import ConfigError, did_you_mean
from reflectory.graphs.wiring import Wiring
from reflectory.protocols import Memory, Model
from reflectory.records import Task
from reflectory.registry import lookup
from reflectory.runs.session import EnvPool
from reflectory.runs.worlds import Worlds
from reflectory.tools.approval import Ask, Policy, open_policy
from reflectory.tools.isolated import refuse_while_loading

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from reflectory.memory import JournalMemory, Retrospective

    Compiled = CompiledStateGraph[Any, Any, Any, Any]

Spec = str | Model | Mapping[str, "str | Model"]
NO_MEMORY = "none"


@dataclass(frozen=True)
class Setup:
    """What a run is made of, as given: names, or objects.

    Attributes:
        graph: A name, a builder `config → Wiring`, a Wiring, or a compiled LangGraph graph.
        model: One model or a mapping role → model; the solver's plays the roles that are not named.
        memory: A folder, a Memory, "none", or None: one of its own where the graph writes memory.
        config: The settings.
        tools: What can be called.
        approve: Who is asked: about every action, or with a file of rules where they say so.

    Raises:
        ToolError: This process only loads the program for one of its isolated tools.
    """

    graph: Any
    model: Any
    memory: str | Path | Memory | None
    config: RunConfig
    tools: Sequence[Any] = ()
    approve: Ask | None = None

    def __post_init__(self) -> None:
        refuse_while_loading()  # an isolated tool's process must not run the program that it is a part of

    def identity(self) -> dict[str, Any]:
        """What decides the result, as JSON values; objects by their type's name."""
        models = self.model if isinstance(self.model, Mapping) else {"solver": self.model}
        memory = (
            None if self.memory is None else str(self.memory) if isinstance(self.memory, str | Path) else type(self.memory).__qualname__
        )
        return {"graph": _name(self.graph), "models": {role: _name(model) for role, model in models.items()}, "memory": memory}

    def portable(self) -> dict[str, Any]:
        """The same as JSON values from which another process can build it.

        Raises:
            ConfigError: A part is an object; only names travel.
        """
        models = self.model if isinstance(self.model, Mapping) else {"solver": self.model}
        objects = [name for name, part in {"graph": self.graph, **models}.items() if not isinstance(part, str)]
        if not isinstance(self.memory, str | Path | None):
            objects.append("memory")
        if self.tools:
            objects.append("tools")
        if objects:
            msg = f"several workers, and `resume`, need names or dotted paths, not objects: {', '.join(objects)}."
            raise ConfigError(msg)
        memory = None if self.memory is None else str(self.memory)
        return {"graph": self.graph, "models": dict(models), "memory": memory, "config": self.config.model_dump(mode="json")}


@dataclass
class Parts:
    """The parts of a run that its episodes share, alive.

    Attributes:
        graph: A Wiring, or a compiled LangGraph graph of the user's.
        models: Role → model.
        worlds: Makes the environments, and the views that show them.
        pool: The environments.
        config: The settings.
        tools: What can be called.
        approve: Asked before every action and call.
    """

    graph: Wiring | Compiled
    models: Mapping[str, Model]
    worlds: Worlds
    pool: EnvPool
    config: RunConfig
    tools: Sequence[Any] = ()
    approve: Policy = field(default_factory=Policy)
    _own: Sequence[Model] = ()
    _checks: dict[str, Any] = field(default_factory=dict)

    def check(self, task: Task) -> Any:
        """The task's own checker, or None."""
        if task.check is None:
            return None
        if task.check not in self._checks:
            self._checks[task.check] = lookup("check", task.check)
        return self._checks[task.check]

    async def close(self) -> None:
        """Let go of environments and of the models that were given by name; an object given belongs to the caller."""
        await self.pool.close()
        for model in self._own:
            close = getattr(model, "close", None)
            if callable(close):
                close()


def build(setup: Setup) -> Parts:
    """Bring a setup to life (all but its memory).

    Raises:
        UnknownName: A name that nothing answers to.
        ConfigError: The parts do not fit together.
        ModelUnavailable: A model cannot run here.
    """
    policy = open_policy(setup.config.approvals, setup.approve)
    models, own = make_models(setup.model)
    worlds = Worlds(setup.config, setup.tools)
    return Parts(
        graph=make_graph(setup.graph, setup.config),
        models=models,
        _own=own,
        worlds=worlds,
        pool=EnvPool(worlds.maker),
        config=setup.config,
        tools=setup.tools,
        approve=policy,
    )


def make_graph(graph: Any, config: RunConfig) -> Wiring | Compiled:
    """The graph that a name, a builder, a Wiring or a compiled graph stands for."""
    found: Any = lookup("graph", graph) if isinstance(graph, str) else graph
    if callable(found) and not hasattr(found, "ainvoke"):
        found = found(config)
    if not isinstance(found, Wiring) and not hasattr(found, "ainvoke"):
        msg = f"a graph is a Wiring or a compiled LangGraph graph, not {type(found).__name__}."
        raise ConfigError(msg)
    return cast("Wiring | Compiled", found)


def make_models(spec: Spec) -> tuple[dict[str, Model], list[Model]]:
    """Role → model, and the models made here; the same name in several roles is one model.

    Raises:
        ConfigError: A mapping names no model for `solver`, which stands in for roles without one.
    """
    given = dict(spec) if isinstance(spec, Mapping) else {"solver": spec}
    if "solver" not in given:
        msg = f"the models name no `solver`, which plays all roles without a model of their own. {did_you_mean('solver', given)}"
        raise ConfigError(msg)
    from reflectory.models import resolve_model

    named = {name: resolve_model(name) for name in dict.fromkeys(model for model in given.values() if isinstance(model, str))}
    models = {role: named[model] if isinstance(model, str) else resolve_model(model) for role, model in given.items()}
    return models, list(named.values())


def writes_memory(graph: Wiring | Compiled) -> bool:
    """Whether the graph has the memory edge `write`."""
    return graph.writes if isinstance(graph, Wiring) else "write" in graph.nodes


def memory_file(path: str | Path) -> Path:
    """The journal file of a memory folder; a path that names a file already is taken as it is."""
    path = Path(path)
    return path if path.suffix in {".sqlite", ".db"} else path / "journal.sqlite"


def make_memory(setup: Setup, own: Path | None, *, writes: bool, read_only: bool = False, learns: bool = False) -> Memory | None:
    """The memory of a run.

    Args:
        setup: What was given.
        own: Folder of the memory a run gets when it writes memory and none was given; None keeps it in the process.
        writes: Whether the graph writes memory.
        read_only: Open a journal for reading only.
        learns: What `recall.ranker: auto` means: a ranker that learns from citations, or the fixed one.
    """
    given = setup.memory
    if given == NO_MEMORY or (given is None and not writes):
        return None
    if given is not None and not isinstance(given, str | Path):
        return given
    from reflectory.memory import Retrospective, open_memory

    recall = setup.config.recall
    learned = recall.ranker == "learned" or (recall.ranker == "auto" and learns)
    ranker = Retrospective() if learned else None
    settings: dict[str, Any] = {"embedder": lookup("embedder", recall.embedder)(), "ranker": ranker}
    folder = own if given is None else Path(given)
    if folder is None:
        return _taught(open_memory(None, **settings), ranker)
    file = memory_file(folder)
    if not read_only:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{folder} cannot be a memory folder: {error.strerror or error}."
            raise ConfigError(msg) from error
    return _taught(open_memory(file, read_only=read_only, **settings), ranker)


def _taught(memory: JournalMemory, ranker: Retrospective | None) -> JournalMemory:
    """The memory, its ranker going on with what the journal says it has learned."""
    if ranker is not None:
        ranker.attach(memory)
    return memory


def close_memory(setup: Setup, memory: Memory | None) -> None:
    """Close a memory that `make_memory` opened; one that was given as an object belongs to its owner."""
    close = getattr(memory, "close", None)
    if memory is not setup.memory and callable(close):
        close()


def _name(part: Any) -> str:
    if isinstance(part, str):
        return part
    name = getattr(part, "name", None)
    return name if isinstance(name, str) else getattr(part, "__qualname__", type(part).__qualname__)
