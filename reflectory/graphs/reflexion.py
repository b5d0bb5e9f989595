"""Act, reflect, write, try again: what an attempt taught is there at the start of the next one.

Method: Reflexion (arXiv 2303.11366). Kept: trials of the whole task, a verbal lesson after each, lessons shown before the next. Changed: a
lesson is a record of a memory with origin, scope and audit instead of a line in the prompt; also a won attempt may teach (where things
are), and what the attempt's own observations contradict is dropped. Left out: the self-written evaluator; the environment judges.
"""

from __future__ import annotations

from reflectory.agents.reflector import Reflector
from reflectory.agents.solver import Solver
from reflectory.config import RunConfig
from reflectory.graphs.nodes import after_env, again_or_end, env, judge, recall, reset, write
from reflectory.graphs.wiring import END, Choose, Wiring


def reflexion(config: RunConfig) -> Wiring:
    """The wiring: reset → recall → solver ⇄ env → judge → reflector → write → (reset | end).

    Args:
        config: The settings; nodes read theirs from the context, so the wiring is the same for all.
    """
    return Wiring(
        name="reflexion",
        entry="reset",
        nodes={
            "reset": reset,
            "recall": recall,
            "solver": Solver(),
            "env": env,
            "judge": judge,
            "reflector": Reflector(),
            "write": write,
        },
        edges={
            "reset": "recall",
            "recall": "solver",
            "solver": "env",
            "env": Choose(after_env, ("solver", "judge")),
            "judge": "reflector",
            "reflector": "write",
            "write": Choose(again_or_end, ("reset", END)),
        },
    )
