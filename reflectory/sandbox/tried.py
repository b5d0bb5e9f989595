"""Finding out whether a tier works by opening a box and running a program in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
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
    result: list[tuple[dict[str, Any], str]] = []
    # A thread of its own: the caller may stand in an event loop.
    thread = threading.Thread(target=lambda: result.append(asyncio.run(_try(launch))))
    thread.start()
    thread.join()
    return result[0]


async def _try(launch: Callable[[Settings], Launch]) -> tuple[dict[str, Any], str]:
    settings = Settings(limits=Limits(seconds=5.0))
    try:
        async with await LiveBox(launch(settings), settings.limits).start() as box:
            done = await box.run(["/bin/sh", "-c", "echo works"])
            return dict(box.facts), "" if done.stdout.text == "works\n" else f"a program in it did not run: {done.stderr.text[:300]}"
    except SandboxError as error:
        return {}, str(error)
