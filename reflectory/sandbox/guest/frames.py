"""How host and guest speak: frames of a JSON header and a payload of bytes, each with its length in front."""

from __future__ import annotations

import json
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Lengths of header and payload, network order.
HEAD = struct.Struct(">II")
#: A longer header is refused.
MOST_HEADER = 4 * 2**20


class BrokenFrame(Exception):
    """The other side sent what is no frame, or went away."""


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    text = json.dumps(header).encode("utf-8", "surrogateescape")
    return HEAD.pack(len(text), len(payload)) + text + payload


def lengths(head: bytes, *, most: int) -> tuple[int, int]:
    """Lengths of header and payload from the first bytes of a frame.

    Raises:
        BrokenFrame: They exceed what is allowed.
    """
    header, payload = HEAD.unpack(head)
    if header > MOST_HEADER or payload > most:
        msg = f"a frame of {header} + {payload} bytes is too long"
        raise BrokenFrame(msg)
    return header, payload


def unpack(text: bytes) -> dict[str, Any]:
    """The header.

    Raises:
        BrokenFrame: It is no JSON object.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"a frame's header is no JSON: {error}"
        raise BrokenFrame(msg) from None
    if not isinstance(header, dict):
        msg = "a frame's header is no JSON object"
        raise BrokenFrame(msg)
    return header


def send(fd: int, header: dict[str, Any], payload: bytes = b"") -> None:
    """Write a frame to a blocking file descriptor."""
    view = memoryview(pack(header, payload))
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int, *, most: int = 2**30) -> tuple[dict[str, Any], bytes]:
    """Read a frame from a blocking file descriptor.

    Raises:
        BrokenFrame: End of file, or no frame.
    """
    header, payload = lengths(_exactly(fd, HEAD.size), most=most)
    return unpack(_exactly(fd, header)), _exactly(fd, payload)


def _exactly(fd: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(fd, min(count, 2**20))
        if not part:
            msg = "the other side is gone"
            raise BrokenFrame(msg)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
