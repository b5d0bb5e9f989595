"""A graph of your own: the shipped nodes, and one that reports every action before it is done."""

from reflectory import StateGraph, run
from reflectory.agents import Solver
from reflectory.envs.household import household_tasks
from reflectory.graphs.nodes import after_env, again_or_end, env, judge, recall, reset


async def report(state, runtime):
    """A node: say what is about to be done."""
    print(state["moves"] + 1, state["answer"])


graph = StateGraph()
for node, name in ((reset, "reset"), (recall, "recall"), (Solver(), "solver"), (report, "report"), (env, "env"), (judge, "judge")):
    graph.add_node(name, node)
graph.set_entry_point("reset")
for edge in (("reset", "recall"), ("recall", "solver"), ("solver", "report"), ("report", "env")):
    graph.add_edge(*edge)
graph.add_conditional_edges("env", after_env, ["solver", "judge"])
graph.add_conditional_edges("judge", again_or_end, ["reset", "__end__"])

task = next(household_tasks("generated:dev", limit=1))
print(run(task, graph=graph.compile(), model="scripted:search"))
