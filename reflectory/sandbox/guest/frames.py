"""How host and guest speak: frames of a JSON header and a payload of bytes, each with its length in front."""

from __future__ import annotations

import itertools
import json
import os
import struct
from collections.abc import Iterable, Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Lengths of header and payload, network order.
HEAD = struct.Struct(">II")
#: A longer header is refused.
MOST_HEADER = 4 * 2**20
#: Bytes read and written at a time.
PIECE = 2**18


class BrokenFrame(Exception):
    """The other side sent what is no frame, or went away."""


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    return _head(header, len(payload)) + payload


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
    send_parts(fd, header, len(payload), (payload,))


def send_parts(fd: int, header: dict[str, Any], size: int, parts: Iterable[bytes]) -> None:
    """Write a frame whose payload comes piece by piece, so that it is never held as a whole.

    Args:
        fd: A blocking file descriptor.
        header: Of the frame.
        size: Bytes of all pieces.
        parts: The pieces.
    """
    for part in itertools.chain((_head(header, size),), parts):
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]


class Payload:
    """What is still to come of a frame.

    Args:
        fd: A blocking file descriptor.
        size: Bytes.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self.left = fd, size

    def parts(self, count: int) -> Iterator[bytes]:
        """The next bytes, piece by piece.

        Raises:
            ValueError: There are not so many.
            BrokenFrame: End of file.
        """
        if count > self.left:
            msg = f"{count} bytes were announced and {self.left} sent"
            raise ValueError(msg)
        while count:
            part = os.read(self._fd, min(count, PIECE))
            if not part:
                msg = "the other side is gone"
                raise BrokenFrame(msg)
            count -= len(part)
            self.left -= len(part)
            yield part

    def whole(self) -> bytearray:
        """All of it.

        Raises:
            BrokenFrame: End of file.
        """
        data = bytearray(self.left)
        start = 0
        for part in self.parts(self.left):
            data[start : start + len(part)] = part
            start += len(part)
        return data

    def skip(self) -> None:
        """Read what nobody wants.

        Raises:
            BrokenFrame: End of file.
        """
        for _ in self.parts(self.left):
            pass


def begin(fd: int, *, most: int = 2**30) -> tuple[dict[str, Any], Payload]:
    """Read the header of a frame from a blocking file descriptor; its payload is to be read next.

    Raises:
        BrokenFrame: End of file, or no frame.
    """
    header, payload = lengths(bytes(Payload(fd, HEAD.size).whole()), most=most)
    return unpack(bytes(Payload(fd, header).whole())), Payload(fd, payload)


def receive(fd: int, *, most: int = 2**30) -> tuple[dict[str, Any], bytes]:
    """Read a frame from a blocking file descriptor.

    Raises:
        BrokenFrame: End of file, or no frame.
    """
    header, payload = begin(fd, most=most)
    return header, bytes(payload.whole())


def _head(header: dict[str, Any], size: int) -> bytes:
    # Lone surrogates, which names of files may hold, come back as they were.
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return HEAD.pack(len(text), size) + text
