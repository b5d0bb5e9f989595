"""LangGraph's StateGraph with State and RunContext as defaults, and nodes that raise on keys State does not have."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import StateGraph as _StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from reflectory.graphs.context import RunContext
from reflectory.graphs.state import State, check_update, reducers
from reflectory.graphs.wiring import ContextFactory, Node


class StateGraph(_StateGraph[Any, RunContext, Any, Any]):
    """LangGraph's StateGraph; LangGraph drops a node's unknown keys silently, this one raises UnknownName.

    Args:
        schema: The State class, or a subclass with further keys.
        context_schema: The context class.
        **options: For LangGraph's StateGraph.
    """

    def __init__(self, schema: type = State, context_schema: type = RunContext, **options: Any) -> None:
        super().__init__(schema, context_schema, **options)
        self._known = frozenset(reducers(schema))

    def add_node(self, node: Any, action: Any = None, **options: Any) -> StateGraph:
        """Add a node: a name and a function, or a function alone; options as LangGraph's `add_node`."""
        name, body = (node, action) if isinstance(node, str) else (getattr(node, "__name__", type(node).__name__), node)
        # Graphs and other Runnables keep their own schema and are not wrapped.
        checked = body if isinstance(body, Runnable) else _checked(str(name), body, self._known)
        super().add_node(str(name), checked, **options)
        return self


def _checked(name: str, body: Callable[..., Any], known: frozenset[str]) -> Callable[..., Any]:
    """The function with its signature, so that LangGraph still injects what it asks for, and with its result checked."""
    call = body if inspect.isroutine(body) else type(body).__call__
    target = body if inspect.isroutine(body) else functools.partial(call, body)
    if inspect.iscoroutinefunction(call):

        async def run_async(*args: Any, **kwargs: Any) -> Any:
            return _check(name, await target(*args, **kwargs), known)

        return _signed(run_async, body)

    def run(*args: Any, **kwargs: Any) -> Any:
        return _check(name, target(*args, **kwargs), known)

    return _signed(run, body)


def _signed(wrapper: Callable[..., Any], body: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isroutine(body):
        return functools.wraps(body)(wrapper)
    wrapper.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
    wrapper.__name__ = type(body).__name__
    return wrapper


def _check(name: str, update: Any, known: frozenset[str]) -> Any:
    # A Command (or a list with Commands in it) also says where to go and passes as it is.
    if isinstance(update, Command):
        check_update(name, dict(update._update_as_tuples()), known)
        return update
    return update if isinstance(update, list | tuple) else check_update(name, update, known)


def with_default_context(node: Node, make: ContextFactory) -> Node:
    """A node that, when the graph runs without a context, has one made for its run and kept until the outcome is known."""

    async def call(state: Mapping[str, Any], runtime: Runtime[RunContext]) -> Mapping[str, Any] | None:
        if runtime.context is None:
            info = runtime.execution_info
            identity = (info.thread_id or info.run_id or "") if info is not None else ""
            runtime = runtime.override(context=await make(state, identity))
        return await node(state, runtime)

    return call
