"""Named steps of every change to a memory, so that a benchmark can kill the process between any two of them."""

from __future__ import annotations

from collections.abc import Callable

#: Called with the name of each step as it is reached; None, the normal case, costs one comparison.
STEP: Callable[[str], None] | None = None


def step(name: str) -> None:
    """Say that a step is reached.

    Args:
        name: Which one, for example "append.inserted".
    """
    if STEP is not None:
        STEP(name)
