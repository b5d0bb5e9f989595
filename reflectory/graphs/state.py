"""What is passed between nodes: one State for every shipped graph, its reducers, and a StateGraph that refuses unknown keys.

State holds JSON values and LangChain messages only. Every key is last-value with one writer, or merges by id; nothing adds up,
because LangGraph applies a nested graph's channel to its parent again (with `operator.add` everything would count twice).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypedDict, get_type_hints

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages

from reflectory.errors import ConfigError, UnknownName, did_you_mean

Reducer = Callable[[Any, Any], Any]


def merge_keys(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Two mappings as one; of a common key the right one wins. `merge_keys(x, x) == x`."""
    return {**left, **right} if right else left


def union_by_id(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two lists of items with an `id` as one, in order of first appearance; of a common id the right one wins."""
    if not right:
        return left
    return list({**{item["id"]: item for item in left}, **{item["id"]: item for item in right}}.values())


def key_max(left: dict[str, dict[str, float]], right: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Per lane and per count the larger number: usage so far only grows, so repeating an update changes nothing."""
    merged = dict(left)
    for lane, counts in right.items():
        old = merged.get(lane, {})
        merged[lane] = {name: max(old.get(name, 0), counts.get(name, 0)) for name in {**old, **counts}}
    return merged


def set_once(left: str | None, right: str | None) -> str | None:
    """The first value that is not None; saying it again is allowed, changing it is not.

    Raises:
        ConfigError: Two nodes decided the outcome differently.
    """
    if left is not None and right is not None and left != right:
        msg = f"the outcome is already {left!r}; a node tried to change it to {right!r}. Only one node may decide it."
        raise ConfigError(msg)
    return right if left is None else left


class State(TypedDict, total=False):
    """The state of every shipped graph. Users add keys by subclassing; `attempt` 1 is the first trial.

    Attributes:
        task: key, goal, env, situation and seed; the full Task is in the context.
        attempt: Which trial this is.
        observation: The last observation as JSON.
        history: This attempt's [action, observation text] pairs without the failed ones; the first is ["", the opening text].
        env_ref: env, task, seed and actions (or a snapshot): enough to come back.
        work: The tracker's typed state.
        recalled: What memory gave at the start of the attempt (hits as JSON).
        as_of: The journal position the attempt reads memory at.
        reading: Interpretations of a free-text goal, best first; absent until asked.
        answer: The last action or answer.
        n: Number of the next Step.
        moves: Actions decided in this attempt.
        here: Hash of the situation the agent is in; a failed action does not change it.
        tried: {situation: actions tried in it}.
        reward: Sum of the attempt's rewards.
        ended: Why the attempt ended (terminated, limit:NAME); None while it goes on.
        used: {"shown": ids, "cited": ids} of memory records in this attempt.
        messages: LangChain messages.
        candidates: {"LANE/ATTEMPT": records as JSON} to be written to memory.
        verdicts: Verdicts as JSON.
        spent: {lane: {calls, tokens, …} so far}.
        outcome: solved, failed, gave_up, limit:NAME, infra:NAME; absent while unfinished.
    """

    task: dict[str, Any]
    attempt: int
    observation: dict[str, Any]
    history: list[list[str]]
    env_ref: dict[str, Any]
    work: dict[str, Any] | None
    recalled: list[dict[str, Any]]
    as_of: int | None
    reading: list[str]
    answer: str | None
    n: int
    moves: int
    here: str
    tried: dict[str, list[str]]
    reward: float
    ended: str | None
    used: dict[str, list[str]]
    messages: Annotated[list[AnyMessage], add_messages]
    candidates: Annotated[dict[str, Any], merge_keys]
    verdicts: Annotated[list[dict[str, Any]], union_by_id]
    spent: Annotated[dict[str, Any], key_max]
    outcome: Annotated[str | None, set_once]


def reducers(schema: type) -> dict[str, Reducer | None]:
    """Key → reducer of a State class; None means last value. The same functions LangGraph reads from the annotations."""
    found: dict[str, Reducer | None] = {}
    for key, hint in get_type_hints(schema, include_extras=True).items():
        marks = getattr(hint, "__metadata__", ())
        found[key] = marks[-1] if marks and callable(marks[-1]) else None
    return found


def apply(state: dict[str, Any], update: Mapping[str, Any], rules: Mapping[str, Reducer | None]) -> None:
    """Fold a node's update into the state, in place, by the reducers."""
    for key, value in update.items():
        rule = rules[key]
        state[key] = value if rule is None or key not in state else rule(state[key], value)


def check_update(node: str, update: object, known: Iterable[str]) -> Mapping[str, Any]:
    """Refuse what LangGraph would drop without a word.

    Args:
        node: Name of the node, for the message.
        update: What it returned.
        known: The keys of its State.

    Raises:
        ConfigError: The update is no mapping, or a value is a live object that no checkpoint can hold.
        UnknownName: A key is not in State.
    """
    if update is None:
        return {}
    if not isinstance(update, Mapping):
        msg = f"node {node!r} must return a mapping of State keys, not {type(update).__name__}."
        raise ConfigError(msg)
    for key, value in update.items():
        if key not in known:
            msg = f"node {node!r} returned {key!r}, which State does not have. {did_you_mean(str(key), known)} Subclass State to add keys."
            raise UnknownName(msg)
        if key != "messages" and not isinstance(value, _JSON):
            msg = f"node {node!r} returned a {type(value).__name__} in {key!r}; State holds JSON values only (use model_dump(mode='json'))."
            raise ConfigError(msg)
    return update


_JSON = (str, int, float, bool, type(None), list, dict)


def initial(task: Mapping[str, Any], attempt: int) -> dict[str, Any]:
    """The State an episode starts with; the `reset` node fills in the rest."""
    empty: dict[str, Any] = {"messages": [], "candidates": {}, "verdicts": [], "spent": {}, "ended": None}
    return {**empty, "task": dict(task), "attempt": attempt}
