"""Finding out whether a tier works by opening a box and running a program in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from reflectory.errors import SandboxError
from reflectory.execution import Limits
from reflectory.sandbox.box import LiveBox
from reflectory.sandbox.launch import Launch, Settings


def tried(launch: Callable[[Settings], Launch]) -> tuple[dict[str, Any], str]:
    """Open a box, run a program, close it.

    Args:
        launch: A tier's.

    Returns:
        What the agent said of itself, and why it does not work ("" if it does).
    """
    with ThreadPoolExecutor(1) as thread:  # the caller may stand in an event loop
        return thread.submit(lambda: asyncio.run(_try(launch))).result()


async def _try(launch: Callable[[Settings], Launch]) -> tuple[dict[str, Any], str]:
    settings = Settings(limits=Limits(seconds=5.0))
    try:
        async with await LiveBox(launch(settings), settings.limits).start() as box:
            done = await box.run(["/bin/sh", "-c", "echo works"])
            return dict(box.facts), "" if done.stdout.text == "works\n" else f"a program in it did not run: {done.stderr.text[:300]}"
    except (SandboxError, OSError) as error:
        return {}, str(error)
