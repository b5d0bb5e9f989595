"""A user's function in a process of its own: for limits, not for mistrust. It is found by name; arguments and result travel as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reflectory.errors import SandboxError, ToolError
from reflectory.execution import Executed, Limits, ToolResult
from reflectory.records import OriginKind
from reflectory.tools.inline import Outcome
from reflectory.tools.text import said

#: Whether this process serves an isolated call, and loads the program that the function is written in.
_loading = False
#: What a call was ended for → what the model is told.
REASONS: Mapping[str, str] = {
    "time": "it did not end within {seconds:g} s",
    "memory": "it used more than {memory_mb} MB of memory",
    "processes": "it started more than {processes} processes or threads",
    "disk": "it wrote more than {disk_mb} MB of files",
    "files": "it made more than {files} files",
    "output": "it printed more than {output_most_mb} MB",
    "box": "the process around it is gone",
}


def ended_for(executed: Executed, limits: Limits) -> str:
    """Why a call was ended from outside, as the end of a sentence."""
    return REASONS[executed.killed].format(**limits.model_dump())


def check_reachable(function: Callable[..., Any]) -> None:
    """Whether another process can find a function by its module and name.

    Raises:
        ToolError: It cannot.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    why = ""
    if not module or not name:
        why = f"a {type(function).__name__} is no function of a module"
    elif "<" in name:
        why = f"{name} is made inside another function, so no name leads to it"
    elif getattr(function, "__self__", None) is not None:
        why = f"{name} is bound to an object that only this process has"
    elif module == "__main__" and _main_name() is None and _main_file() is None:
        why = f"{name} was typed in at a prompt, so no file holds it"
    if why:
        msg = f"this function cannot run isolated: {why}. Write it as a plain `def` at the top of a module."
        raise ToolError(msg)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While a program is loaded for one of its functions: nothing of it may start a run or another process."""
    global _loading
    _loading = True
    try:
        yield
    finally:
        _loading = False


def refuse_while_loading() -> None:
    """Whether something may be started now.

    Raises:
        ToolError: This process only loads a program for one of its functions.
    """
    if _loading:
        msg = "an isolated tool runs in a process that loads the file it is written in, and loading this one starts runs or calls. "
        msg += 'Put the program below `if __name__ == "__main__":`.'
        raise ToolError(msg)


async def in_child(function: Callable[..., Any], arguments: Mapping[str, Any], limits: Limits, origin: OriginKind) -> ToolResult | Outcome:
    """Call a function in a new process.

    Args:
        function: Passed `check_reachable`.
        arguments: JSON values by name.
        limits: What it may use; `seconds` counts from the start of the process, imports included.
        origin: Who could have written what it returns.

    Returns:
        Its answer, or what kept it from answering.

    Raises:
        ToolError: This process only loads a program for one of its functions.
    """
    refuse_while_loading()
    from reflectory.sandbox import LocalSandbox, Settings

    try:
        request = json.dumps(_request(function, arguments, limits, origin)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return Outcome(f"The arguments have no JSON form: {said(error)}", "arguments")
    # The answer comes on stdout, where JSON may take six bytes for one; what the function prints goes to stderr.
    inside = limits.model_copy(update={"output_kb": 7 * limits.output_kb + 4})
    # The function is the user's own: it gets the user's rights and environment, so the box is there for its limits alone.
    settings = Settings(limits=inside, environment=dict(os.environ))
    program = [sys.executable, "-P", str(Path(__file__).with_name("child.py"))]
    try:
        async with await LocalSandbox("none", settings=settings, allow_unsafe=True).open() as box:
            executed = await box.run(program, stdin=request)
    except (SandboxError, OSError) as error:
        return Outcome(f"No process could be started for it: {said(error)}", "sandbox")
    if executed.killed:
        return Outcome(f"The tool was ended: {ended_for(executed, limits)}.", executed.killed)
    return _read(executed)


def _request(function: Callable[..., Any], arguments: Mapping[str, Any], limits: Limits, origin: OriginKind) -> dict[str, Any]:
    is_main = function.__module__ == "__main__"
    name = _main_name() if is_main else function.__module__
    return {
        "path": [str(Path.cwd() / part) for part in sys.path],  # the child stands in another folder
        "module": name,
        "file": None if name else _main_file(),
        "name": function.__qualname__,
        "arguments": dict(arguments),
        "limits": limits.model_dump(),
        "origin": origin,
    }


def _read(executed: Executed) -> ToolResult | Outcome:
    try:
        return ToolResult.model_validate_json(executed.stdout.text)
    except ValueError:
        return Outcome(f"The tool's process ended with status {executed.exit_code} before it answered.", "raised")


def _main_name() -> str | None:
    """The name under which a program that was started with `-m` can be imported."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return None if spec is None else spec.name


def _main_file() -> str | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return str(Path(file).resolve()) if file and Path(file).is_file() else None
