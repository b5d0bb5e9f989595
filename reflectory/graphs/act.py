"""The plain agent: recall, then act until the world ends it or a limit is reached; the environment judges.

With more than one trial this is the retry-only baseline every memory must beat: it starts again at a higher temperature, having learned
nothing.
"""

from __future__ import annotations

from reflectory.agents.solver import Solver
from reflectory.config import RunConfig
from reflectory.graphs.nodes import after_env, again_or_end, env, judge, recall, reset
from reflectory.graphs.wiring import END, Choose, Wiring


def act(config: RunConfig) -> Wiring:
    """The wiring: reset → recall → solver ⇄ env → judge → (reset | end).

    Args:
        config: The settings; nodes read theirs from the context, so the wiring is the same for all.
    """
    return Wiring(
        name="act",
        entry="reset",
        nodes={"reset": reset, "recall": recall, "solver": Solver(), "env": env, "judge": judge},
        edges={
            "reset": "recall",
            "recall": "solver",
            "solver": "env",
            "env": Choose(after_env, ("solver", "judge")),
            "judge": Choose(again_or_end, ("reset", END)),
        },
    )
