"""Runs a submitted function on inputs in a fresh sandbox and compares its answers here, where the expected values stay."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from typing import Any

from reflectory.envs.code.problems import Args, Problem
from reflectory.envs.code.values import DEEPEST, NotPlain, decode, encode, plain_json, same
from reflectory.execution import Executed
from reflectory.protocols import Sandbox

#: Time of one call, in seconds; all calls of a submission together have the sandbox's own limit.
CALL_SECONDS = 2.0
#: How the driver is started: without the agent's folder on the path until everything of its own is imported.
PYTHON = ("python3", "-S", "-s", "-B", "-P", "-c")
ANSWERS = ".answers"
#: More than this is not read, in bytes: of all answers, and of one.
MOST, MOST_ONE = 2 * 2**20, 256 * 1024
#: Brackets that stand in one another in an answer: three for each dictionary.
_BRACKETS = 3 * DEEPEST + 10
#: More than this much of a program is not taken, in bytes.
MOST_SOURCE = 512 * 1024


@dataclass(frozen=True)
class Answer:
    """What came of one call; all of it made by the submitted program.

    Attributes:
        value: What it returned, where `why` is "".
        why: Why it returned nothing that counts, in the harness's words.
        trace: The exception with its frames.
    """

    value: Any = None
    why: str = ""
    trace: str = ""


def python_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What is submitted: the Python files."""
    return {path: content for path, content in files.items() if path.endswith(".py")}


async def call_all(
    sandbox: Sandbox, files: Mapping[str, bytes], problem: Problem, inputs: Sequence[Args], *, stop: bool = False
) -> tuple[list[Answer], str]:
    """Call the submitted function with each input, in one process of a fresh box.

    A box that breaks is tried once more: only one that breaks again is the program's doing.

    Args:
        sandbox: Where.
        files: The working folder; its Python files are copied in.
        problem: Names the function.
        inputs: Arguments, call by call.
        stop: Leave out the calls after the first that returns nothing.

    Returns:
        One answer for each input, and what the program printed.

    Raises:
        SandboxError: No box can be opened.
    """
    submitted = python_files(files)
    if sum(map(len, submitted.values())) > MOST_SOURCE:
        return [Answer(why=f"the Python files are larger than {MOST_SOURCE // 1024} KB")] * len(inputs), ""
    request = {
        "module": "solution",
        "function": problem.name,
        "answers": ANSWERS,
        "seconds": CALL_SECONDS,
        "stop": stop,
        "calls": [json.dumps(["list", [encode(part) for part in args]]) for args in inputs],
    }
    executed, raw = await _run(sandbox, submitted, json.dumps(request).encode())
    if executed.killed == "box":
        executed, raw = await _run(sandbox, submitted, json.dumps(request).encode())
    # Off the event loop: a program may fill the answers with whatever takes long to read.
    answers = await asyncio.to_thread(_read, raw, len(inputs), executed)
    return answers, (executed.stdout.text + executed.stderr.text).strip()


async def _run(sandbox: Sandbox, files: Mapping[str, bytes], request: bytes) -> tuple[Executed, bytes]:
    box = await sandbox.open()
    try:
        await box.put(files)
        executed = await box.run([*PYTHON, _driver()], stdin=request)
        found = [] if executed.killed == "box" else await box.get(ANSWERS)
        return executed, found[0].content if found and found[0].path == ANSWERS else b""
    finally:
        await box.close()


@functools.cache
def _driver() -> str:
    return package_files("reflectory.envs.code").joinpath("driver.py").read_text(encoding="utf-8")


def _read(raw: bytes, count: int, executed: Executed) -> list[Answer]:
    """The answers by call; lines that are no answer, and second answers to one call, are none."""
    found: dict[int, Answer] = {}
    for line in raw.splitlines() if len(raw) <= MOST else ():
        try:
            entry = plain_json(line, most=MOST_ONE, deepest=_BRACKETS)
            number = entry["n"]
        except (ValueError, TypeError, KeyError):
            continue
        if type(number) is int and -1 <= number < count:
            found[number] = Answer(why="it answered twice") if number in found else _answer(entry)
    if -1 in found:
        return [found[-1]] * count
    ended = f"the call was ended: limit of {executed.killed}" if executed.killed else "the program ended before it returned"
    return [found.get(number, Answer(why=ended)) for number in range(count)]


def _answer(entry: Mapping[str, Any]) -> Answer:
    if "error" in entry:
        error = str(entry["error"])[:80]
        why = {"TimeUp": f"it took longer than {CALL_SECONDS:g} s", "TooLong": "its answer is too long"}.get(error, f"it raised {error}")
        return Answer(why=why, trace=str(entry.get("trace", ""))[:4000])
    try:
        return Answer(value=decode(entry.get("value")))
    except NotPlain as error:
        return Answer(why=f"it returned what does not count: {error}")


async def passes_hidden(sandbox: Sandbox, files: Mapping[str, bytes], problem: Problem, seed: int) -> bool:
    """Whether the submitted program passes the hidden tests.

    After all inputs in their order, every other one is asked again, last first: a function that keeps something between calls, or
    guesses, answers differently then.

    Raises:
        SandboxError: No box can be opened.
    """
    if "solution.py" not in files:
        return False
    inputs = problem.hidden(seed)
    asked = [*inputs, *inputs[::-2]]
    answers, _ = await call_all(sandbox, files, problem, asked, stop=True)
    return all(passed(answer, args, problem) for answer, args in zip(answers, asked, strict=True))


def passed(answer: Answer, args: Args, problem: Problem) -> bool:
    """Whether an answer is the reference's."""
    return not answer.why and same(answer.value, problem.expected(args), problem.tolerance)
