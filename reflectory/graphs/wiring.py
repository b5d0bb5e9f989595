"""A wiring: nodes, entry and edges, which can become a LangGraph graph or be driven by a bare loop.

The public graphs are LangGraph graphs: checkpoints, streaming, interrupts, drawing. A LangGraph node costs about a millisecond of
its own, as much as a small model's decision, so mass evaluation without a checkpointer drives the same node functions with the
same reducers in a plain loop. A test holds both to identical trajectories and final states.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reflectory.errors import ConfigError, did_you_mean
from reflectory.graphs.context import RunContext
from reflectory.graphs.state import Reducer, State, apply, check_update, reducers

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.runtime import Runtime

    NodeRuntime = Runtime[RunContext]

END = "__end__"
Node = Callable[[Mapping[str, Any], Any], Awaitable[Mapping[str, Any] | None]]
#: Makes a context for a graph that was invoked without one (Studio, a notebook): (state, identity of the run) → context.
ContextFactory = Callable[[Mapping[str, Any], str], Awaitable[RunContext]]


@dataclass(frozen=True)
class Choose:
    """A conditional edge: `route(state)` names one of `targets`."""

    route: Callable[[Mapping[str, Any]], str]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Wiring:
    """Who speaks when.

    Args:
        name: Name of the graph.
        entry: The first node.
        nodes: Name → async function (state, runtime) → update.
        edges: Name → next node, END, or a Choose.
        schema: The State class.

    Raises:
        ConfigError: An edge is missing or leads nowhere.
    """

    name: str
    entry: str
    nodes: Mapping[str, Node]
    edges: Mapping[str, str | Choose]
    schema: type = State

    def __post_init__(self) -> None:
        places = {*self.nodes, END}
        targets = [self.entry, *(target for edge in self.edges.values() for target in ((edge,) if isinstance(edge, str) else edge.targets))]
        for target in targets:
            if target not in places:
                msg = f"graph {self.name!r}: an edge leads to {target!r}. {did_you_mean(target, places)}"
                raise ConfigError(msg)
        if loose := sorted(set(self.nodes) ^ set(self.edges)):
            msg = f"graph {self.name!r}: every node needs exactly one edge; look at {', '.join(loose)}."
            raise ConfigError(msg)

    @property
    def writes(self) -> bool:
        """Whether the graph has the memory edge `write`."""
        return "write" in self.nodes

    @property
    def recalls(self) -> bool:
        """Whether the graph has the memory edge `recall`."""
        return "recall" in self.nodes

    @cached_property
    def rules(self) -> dict[str, Reducer | None]:
        """Key → reducer of the State class."""
        return reducers(self.schema)

    def compile(self, *, default_context: ContextFactory | None = None, **options: Any) -> CompiledStateGraph[Any, RunContext, Any, Any]:
        """The LangGraph graph.

        Args:
            default_context: Makes the context when the graph is invoked without one.
            **options: For LangGraph's `compile`: checkpointer, store, interrupt_before, interrupt_after, name …
        """
        from reflectory.graphs.builder import StateGraph, with_default_context

        builder = StateGraph(self.schema)
        for name, node in self.nodes.items():
            builder.add_node(name, node if default_context is None else with_default_context(node, default_context))
        builder.set_entry_point(self.entry)
        for name, edge in self.edges.items():
            if isinstance(edge, str):
                builder.add_edge(name, edge)
            else:
                builder.add_conditional_edges(name, edge.route, list(edge.targets))
        return builder.compile(**{"name": self.name, **options})

    async def drive(self, state: dict[str, Any], context: RunContext) -> dict[str, Any]:
        """Run to the end in a plain loop: same nodes, same reducers, no checkpoints.

        Args:
            state: The initial state; it is changed in place, so a caller still has it when a node raises.
            context: The live context.

        Returns:
            The final state.

        Raises:
            ReflectoryError: What a node raised.
        """
        from langgraph.runtime import Runtime

        runtime = Runtime(context=context)
        rules, name = self.rules, self.entry
        while name != END:
            update = await self.nodes[name](state, runtime)
            apply(state, check_update(name, update, rules), rules)
            edge = self.edges[name]
            name = edge if isinstance(edge, str) else edge.route(state)
        return state
