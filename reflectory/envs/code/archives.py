"""What archives hold, read in a box of their own: the host never parses what a program packed."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from importlib.resources import files as package_files

from reflectory.envs.code.checker import PYTHON
from reflectory.envs.code.values import plain_json
from reflectory.protocols import Sandbox

#: A larger archive is not read, in bytes.
MOST = 2**20
#: Seconds for all archives of a task.
SECONDS = 5.0
_ANSWERS = "members.json"


async def members_of(sandbox: Sandbox, archives: Mapping[str, bytes]) -> dict[str, dict[str, bytes] | None]:
    """The regular files of tar and zip archives; of any other file what gzip compressed, under the name "".

    Args:
        sandbox: Opens the box they are read in.
        archives: Path → content; the ending of the path says what it is.

    Returns:
        Path → (member → content); None for what is no archive, is too large, or has anything but files and folders in it.

    Raises:
        SandboxError: No box can be opened.
    """
    none: dict[str, dict[str, bytes] | None] = dict.fromkeys(archives)
    if sum(map(len, archives.values())) > MOST:
        return none
    box = await sandbox.open()
    try:
        await box.put({str(number): content for number, content in enumerate(archives.values())})
        request = json.dumps([_ANSWERS, *archives]).encode()
        executed = await box.run([*PYTHON, _driver()], stdin=request, seconds=SECONDS)
        found = await box.get(_ANSWERS) if executed.ok else []
    finally:
        await box.close()
    if not found:
        return none
    try:
        told = plain_json(found[0].content, most=4 * MOST, deepest=3)
        return {
            path: {name: base64.b64decode(data) for name, data in told[path].items()} if isinstance(told[path], dict) else None
            for path in archives
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return none


@functools.cache
def _driver() -> str:
    return package_files("reflectory.envs.code").joinpath("unpack.py").read_text(encoding="utf-8")
