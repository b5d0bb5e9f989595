"""Whether the write-ahead log still holds what was acknowledged.

SQLite reads the log up to the first frame that does not fit and takes the rest for a torn write. After damage that would quietly serve
an earlier state. The -shm file of a process that was killed says how many frames were committed; they are checked against it before
SQLite opens the file, and makes a new one. Formats: sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault

_VERSION, _MAGIC, _HEADER, _FRAME = 3007000, 0x377F0682, 32, 24
_WORD = 1 << 32
#: How often, and after how many seconds, it is looked again when another process changes the files meanwhile.
ATTEMPTS, PAUSE = 20, 0.01


class Index(NamedTuple):
    """What the -shm file says: frames committed, frames already copied into the database, page size, the log's salt."""

    frames: int
    copied: int
    page: int
    salt: bytes


def check_log(path: Path) -> None:
    """Refuse a log that lost committed frames.

    Args:
        path: The database; without a -shm file, or with one that names no frames, there is nothing to check.

    Raises:
        MemoryFault: The log is missing, too short, or changed.
    """
    wal, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
    for _ in range(ATTEMPTS):
        index = _index(shared)
        if index is None or index.frames <= index.copied:
            return
        try:
            why = _fault(wal.read_bytes(), index)
        except FileNotFoundError:
            why = "is missing"
        if why is None:
            return
        after = _index(shared)
        if after is not None and (after.salt, after.copied) == (index.salt, index.copied):
            msg = (
                f"{wal} {why}, and acknowledged events with it. Put a copy back, together with {path.name}; to go on with the events "
                f"before the damage, delete {shared}."
            )
            raise MemoryFault(msg)
        time.sleep(PAUSE)  # another process has begun the log anew: look again


def _index(shared: Path) -> Index | None:
    """The header of a -shm file; None when it is absent or was not written to its end."""
    try:
        with shared.open("rb") as file:
            data = file.read(100)
    except OSError:
        return None
    if len(data) < 100 or data[:48] != data[48:96]:
        return None
    version, _, _, ready, _, page, frames = struct.unpack_from("=IIIBBHI", data)
    copied = struct.unpack_from("=I", data, 96)[0]
    # A page of 65536 bytes is written as 1.
    return Index(frames, copied, (page & 0xFE00) + ((page & 1) << 16), data[32:40]) if version == _VERSION and ready else None


def _fault(log: bytes, index: Index) -> str | None:
    """What is wrong with the committed frames; None when all fit."""
    size = _HEADER + index.frames * (_FRAME + index.page)
    if len(log) < min(size, _HEADER):
        return f"is too short ({len(log)} bytes of {size})"
    magic = struct.unpack_from(">I", log)[0]
    if magic & ~1 != _MAGIC:
        return "has another header"
    order = ">u4" if magic & 1 else "<u4"
    head = np.frombuffer(log, order, 6).astype(np.uint32).reshape(1, 6)
    sums = _chain((0, 0), head)
    if sums[0] != struct.unpack_from(">II", log, 24):
        return "has another header"
    if log[16:24] != index.salt:
        return None if _later(log[16:20], index.salt[:4]) else "is an earlier one"
    if len(log) < size:
        return f"is too short ({len(log)} bytes of {size})"
    frames = np.frombuffer(log, np.uint8, size - _HEADER, _HEADER).reshape(index.frames, _FRAME + index.page)
    covered = np.concatenate([frames[:, :8], frames[:, _FRAME:]], axis=1)
    words = np.ascontiguousarray(covered).view(order).astype(np.uint32)
    stored = [tuple(pair) for pair in np.ascontiguousarray(frames[:, 16:24]).view(">u4").tolist()]
    salts = (frames[:, 8:16] == np.frombuffer(index.salt, np.uint8)).all(axis=1).tolist()
    for number, (found, wanted, salted) in enumerate(zip(_chain(sums[0], words), stored, salts, strict=True), 1):
        if found != wanted or not salted:
            return f"is damaged at frame {number} of {index.frames}"
    return None


def _later(log: bytes, index: bytes) -> bool:
    """Whether a log was begun after the one the -shm file tells of: the first half of the salt counts up, modulo 2^32.

    A log is begun anew only when all of it was copied. So the -shm file is an older one, as a power failure may leave it (it is never
    synced), and nothing is lost.
    """
    return 0 < (int.from_bytes(log, "big") - int.from_bytes(index, "big")) % _WORD < _WORD // 2


def _chain(start: tuple[int, int], blocks: NDArray[np.uint32]) -> list[tuple[int, int]]:
    """SQLite's running checksum after each block.

    It is s0 += x0 + s1, s1 += x1 + s0 over pairs of words: linear, so a block's share is one product with constants.

    Args:
        start: The checksum before.
        blocks: Words, shape (blocks, words per block), an even number of words.

    Returns:
        (s0, s1) after each block.
    """
    pairs = blocks.shape[1] // 2
    weights, (a, b, c, d) = _constants(pairs)
    shares = np.stack([(blocks * row).sum(axis=1, dtype=np.uint32) for row in weights], axis=1).tolist()
    sums, (low, high) = [], start
    for share in shares:
        low, high = (a * low + b * high + share[0]) % _WORD, (c * low + d * high + share[1]) % _WORD
        sums.append((low, high))
    return sums


@lru_cache(maxsize=8)
def _constants(pairs: int) -> tuple[NDArray[np.uint32], tuple[int, int, int, int]]:
    """What each word of a block weighs in s0 and s1, shape (2, 2 · pairs); and the matrix that carries s0, s1 over the block."""
    weights = np.zeros((2, 2 * pairs), dtype=np.uint32)
    a, b, c, d = 1, 0, 0, 1  # [[1, 1], [1, 2]] to the power of the pairs that come after
    for place in range(pairs - 1, -1, -1):
        weights[:, 2 * place] = (a + b) % _WORD, (c + d) % _WORD
        weights[:, 2 * place + 1] = b, d
        a, b, c, d = (a + b) % _WORD, (a + 2 * b) % _WORD, (c + d) % _WORD, (c + 2 * d) % _WORD
    return weights, (a, b, c, d)
