"""What a box answers, read with suspicion: the agent is ours, but what it relays is not, so every field is checked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from reflectory.errors import SandboxError
from reflectory.execution import Artefact, Executed, Output

_SHA = re.compile(r"[0-9a-f]{64}")
_KILLED = {"time", "memory", "processes", "disk", "files", "output"}


def relative(path: str) -> str:
    """A path that stays inside the working folder.

    Raises:
        SandboxError: It does not.
    """
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or not 0 < _length(path) <= 4096:
        msg = f"{path!r} is no path inside the working folder. Give a relative one without `..`, such as 'src/main.py'."
        raise SandboxError(msg)
    return "/".join(parts)


def _length(path: str) -> int:
    """Bytes of a file's name; 0 for text that cannot be one."""
    try:
        return len(os.fsencode(path))
    except UnicodeEncodeError:
        return 0


def artefacts(answer: Mapping[str, Any], payload: bytes) -> list[Artefact]:
    """The files of an answer, in the order in which it names them; bytes of a name that are no UTF-8 become escapes.

    Args:
        answer: Holds `files`, a list of [path, size].
        payload: Their contents, one after the other.

    Raises:
        SandboxError: It is no such answer.
    """
    found, start = [], 0
    for entry in answer.get("files", ()):
        path, size = _entry(entry)
        content = payload[start : start + size]
        start += size
        if len(content) != size:
            msg = "the sandbox sent fewer bytes than it said; nothing of it is used"
            raise SandboxError(msg)
        with contextlib.suppress(SandboxError):  # a name that leaves the folder is nobody's file
            found.append(Artefact(path=_text(relative(path)), sha256=hashlib.sha256(content).hexdigest(), size=size, content=content))
    return found


def _text(data: Any) -> str:
    """Text that can be written as UTF-8: bytes that are none, and lone surrogates, as escapes."""
    text = str(data)
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "backslashreplace")


def _entry(entry: Any) -> tuple[str, int]:
    if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], int) and entry[1] >= 0:
        return entry[0], entry[1]
    msg = "the sandbox answered with what is no list of files; nothing of it is used"
    raise SandboxError(msg)


def refused(answer: Mapping[str, Any]) -> None:
    """Make an error of an answer that is one.

    Raises:
        SandboxError: It is.
    """
    if "failed" in answer:
        msg = f"the sandbox could not do it: {_text(answer['failed'])[:500]}"
        raise SandboxError(msg)


def executed(answer: Mapping[str, Any], payload: bytes) -> Executed:
    """What came of a call.

    Args:
        answer: The header.
        payload: What was kept of stdout, then of stderr.

    Raises:
        SandboxError: It is no such answer.
    """
    try:
        return _executed(answer, payload)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"the sandbox answered nonsense: {error}"
        raise SandboxError(msg) from None


def _executed(answer: Mapping[str, Any], payload: bytes) -> Executed:
    out, rest = _output(answer.get("stdout"), payload)
    err, _ = _output(answer.get("stderr"), rest)
    code = answer.get("exit_code")
    killed = answer.get("killed")
    return Executed(
        exit_code=code if isinstance(code, int) else None,
        stdout=out,
        stderr=err,
        value=_text(answer.get("value", ""))[:20_000],
        error=_text(answer.get("error", ""))[:200],
        killed=killed if killed in _KILLED else "",
        lost=answer.get("lost") is True,
        seconds=float(answer.get("seconds", 0.0)),
    )


def _output(facts: Any, payload: bytes) -> tuple[Output, bytes]:
    facts = facts if isinstance(facts, Mapping) else {}
    head, tail, total = (max(0, int(facts.get(name, 0))) for name in ("head", "tail", "bytes"))
    digest = str(facts.get("sha256", ""))
    first, last = payload[:head], payload[head : head + tail]
    lost = total - head - tail
    kept = digest if _SHA.fullmatch(digest) else ""
    if lost <= 0:
        return Output(text=(first + last).decode("utf-8", "backslashreplace"), bytes=total, sha256=kept), payload[head + tail :]
    first, last = _ends_whole(first), _begins_whole(last)
    lost = total - len(first) - len(last)
    text = first.decode("utf-8", "backslashreplace")
    text += f"\n[… {lost} bytes left out, sha256 of all {total} bytes {digest} …]\n"
    text += last.decode("utf-8", "backslashreplace")
    return Output(text=text, bytes=total, sha256=kept, truncated=True), payload[head + tail :]


def _ends_whole(data: bytes) -> bytes:
    """Without the beginning of a UTF-8 character that is cut off at the end."""
    for count in range(1, min(4, len(data) + 1)):
        byte = data[-count]
        if byte >= 0xC0:
            return data[:-count] if count < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else data
        if byte < 0x80:
            break
    return data


def _begins_whole(data: bytes) -> bytes:
    """Without the rest of a UTF-8 character whose beginning is cut off."""
    start = next((place for place, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), len(data))
    return data[start:] if start < 4 else data  # four in a row belong to no character
