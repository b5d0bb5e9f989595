"""A wiring driven by the bare loop and the same wiring as a LangGraph graph are one thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toyworld
from langgraph.checkpoint.memory import InMemorySaver

from reflectory.config import load
from reflectory.errors import ConfigError
from reflectory.graphs.act import act
from reflectory.graphs.reflexion import reflexion
from reflectory.graphs.wiring import END, Choose, Wiring
from reflectory.memory import open_memory
from reflectory.registry import lookup
from reflectory.runs.build import Parts, Setup
from reflectory.runs.episode import Job, play
from reflectory.runs.session import EnvPool
from reflectory.runs.studio import studio_graph

TASKS = toyworld.tasks(6)


async def episode(build, saver, task, trials=3):
    config = load({"prompt": "toyworld:ToyView", "trials": trials, "budget": {"steps": 5}})
    parts = Parts(
        build(config),
        {"solver": toyworld.ToyModel()},
        toyworld.OneView(toyworld.ToyView()),
        EnvPool(lambda name: lookup("env", name)),
        config,
    )
    memory = open_memory(None)
    played = await play(parts, Job(task=task, run="r", last_attempt=trials, memory=memory, saver=saver))
    return played, list(memory.export_jsonl())


@pytest.mark.parametrize("build", [act, reflexion])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.key)
async def test_bare_loop_and_langgraph_agree(build, task):
    bare, bare_memory = await episode(build, None, task)
    graph, graph_memory = await episode(build, InMemorySaver(), task)
    for state in (bare.state, graph.state):
        # Only checkpointed sessions keep the hash of the observation in env_ref.
        state["env_ref"] = {key: value for key, value in state["env_ref"].items() if key != "digest"}
    assert bare.state == graph.state
    assert bare.attempts == graph.attempts
    assert (bare.outcome, bare.usage, bare.counters) == (graph.outcome, graph.usage, graph.counters)
    assert bare_memory == graph_memory
    assert json.loads(json.dumps(bare.state)) == bare.state


async def test_reflexion_learns_and_the_retry_does_not():
    tasks = toyworld.tasks(15, boxes=20)
    learned = [await episode(reflexion, None, task, trials=5) for task in tasks]
    retried = [await episode(act, None, task, trials=5) for task in tasks]
    assert sum(item.outcome == "solved" for item, _ in learned) > sum(item.outcome == "solved" for item, _ in retried)
    assert all(item.outcome in {"solved", "limit:steps"} for item, _ in learned + retried)
    assert all(len(item.attempts) == 5 for item, _ in retried if item.outcome != "solved")


def test_the_two_memory_edges_are_visible():
    drawn = reflexion(load()).compile().get_graph()
    assert {"recall", "write"} <= set(drawn.nodes)
    assert "write" not in act(load()).compile().get_graph().nodes
    assert (reflexion(load()).writes, act(load()).writes, act(load()).recalls) == (True, False, True)


async def nothing(state, runtime):
    return {}


def test_wrong_wirings_are_refused():
    with pytest.raises(ConfigError, match="Did you mean judge"):
        Wiring("w", "judge", {"judge": nothing}, {"judge": Choose(lambda state: "jugde", ("jugde", END))})
    with pytest.raises(ConfigError, match="exactly one edge"):
        Wiring("w", "a", {"a": nothing, "b": nothing}, {"a": END})


async def test_langgraph_json_names_graphs_that_run_without_a_context():
    root = Path(__file__).resolve().parents[2]
    entries = json.loads((root / "langgraph.json").read_text())["graphs"]
    assert set(entries) == {"act", "reflexion"}
    for name, entry in entries.items():
        file, _, factory = entry.partition(":")
        module = file.removeprefix("./").removesuffix(".py").replace("/", ".")
        assert (root / file).exists()
        assert lookup("graph", f"{module}:{factory}")().name == name
    setup = Setup("reflexion", toyworld.ToyModel(), None, load({"prompt": "toyworld:ToyView", "trials": 4, "budget": {"steps": 9}}))
    task = TASKS[0].model_dump(mode="json")
    final = await studio_graph("reflexion", setup).ainvoke({"task": task}, {"recursion_limit": 500})
    assert final["outcome"] == "solved"
