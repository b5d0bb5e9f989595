"""Growing columns: one value per row, doubled when full, so that adding a row copies nothing most of the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

T = TypeVar("T", bound=np.generic)

#: Remembered answers of `Paths.below`; the oldest goes first.
REMEMBERED = 256


class Column(Generic[T]):
    """A one- or two-dimensional array that grows at the end. Rows never given a value are 0.

    Args:
        dtype: Of the values.
        width: Values per row; 0 is a one-dimensional column.
    """

    def __init__(self, dtype: DTypeLike, width: int = 0) -> None:
        self._width, self._length, self._room = width, 0, 0
        self._store: NDArray[Any] = np.zeros((0, width) if width else 0, dtype=dtype)

    def __len__(self) -> int:
        return self._length

    @property
    def values(self) -> NDArray[T]:
        """All rows, a view that later growth may leave behind; shape (n,) or (n, width)."""
        return self._store[: self._length]

    def append(self, value: Any) -> int:
        """Add a row; returns its number."""
        row = self._length
        if row == self._room:
            self._grow(row + 1)
        self._store[row] = value
        self._length = row + 1
        return row

    def extend(self, count: int) -> None:
        """Add rows of zeros."""
        self._length += count
        if self._length > self._room:
            self._grow(self._length)

    def _grow(self, wanted: int) -> None:
        size = max(64, 2 * self._room, wanted)
        # zeros, not resize: pages that were never written cost no memory
        grown = np.zeros((size, self._width) if self._width else size, dtype=self._store.dtype)
        grown[: self._room] = self._store
        self._store, self._room = grown, size

    def __setitem__(self, row: Any, value: Any) -> None:
        self._store[row] = value


class Paths:
    """Namespaces as small numbers, and which of them lie at or below a path."""

    def __init__(self) -> None:
        self.names: list[tuple[str, ...]] = []
        self._codes: dict[tuple[str, ...], int] = {}
        self._below: dict[tuple[str, ...], Column[np.bool_]] = {}

    def code(self, path: tuple[str, ...]) -> int:
        """The number of a path; a new one is numbered next."""
        known = self._codes.get(path)
        if known is None:
            known = self._codes[path] = len(self.names)
            self.names.append(path)
        return known

    def below(self, path: Sequence[str]) -> NDArray[np.bool_]:
        """Which paths start with a path, label by label and exactly; shape (len(names),)."""
        prefix = tuple(path)
        known = self._below.get(prefix)
        if known is None:
            if len(self._below) >= REMEMBERED:
                del self._below[next(iter(self._below))]
            known = self._below[prefix] = Column(np.bool_)
        for name in self.names[len(known) :]:
            known.append(name[: len(prefix)] == prefix)
        return known.values
