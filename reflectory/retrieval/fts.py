"""Which documents contain a word: an SQLite FTS5 index that is built from checked text and lives in memory.

FTS5 pages carry no checksums: a flipped bit in a stored index silently loses matches. The journal's rows are hashed, so the index
is derived from them instead, on first use, and advanced row by row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class WordIndex:
    """Inverted index from words to row numbers. Not thread-safe: the owner locks.

    Attributes:
        rows: How many rows are indexed; rows are added in order, so this is also the next row's number.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        # The ascii tokeniser splits at ASCII punctuation only, and `_token` leaves none: one word stays one token.
        self._connection.execute("CREATE VIRTUAL TABLE words USING fts5(text, content='', detail=none, columnsize=0, tokenize='ascii')")

    def extend(self, documents: Iterable[Iterable[str]]) -> None:
        """Add documents as the next rows.

        Args:
            documents: The words of each.
        """
        self._connection.execute("BEGIN")
        for document in documents:
            text = " ".join(_token(word) for word in document)
            self._connection.execute("INSERT INTO words(rowid, text) VALUES (?, ?)", (self.rows, text))
            self.rows += 1
        self._connection.execute("COMMIT")

    def find(self, word: str) -> NDArray[np.intp]:
        """Rows that contain a word.

        Args:
            word: One word as `words` makes it; anything else is legal and matches nothing.

        Returns:
            Row numbers, ascending.
        """
        # The token is letters and digits alone, so the quotes cannot be closed from inside.
        found = self._connection.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid", (f'"{_token(word)}"',))
        return np.array([row for (row,) in found], dtype=np.intp)

    def close(self) -> None:
        """Free the index; may be called twice."""
        self._connection.close()


def _token(word: str) -> str:
    """ASCII letters and digits that stand for this word and no other: `a` and a plain word, or `u` and any other in hex."""
    if word.isascii() and word.isalnum() and word == word.lower():  # FTS5 folds ASCII case, so capitals go the other way
        return "a" + word
    return "u" + word.encode("utf-8", "surrogatepass").hex()
