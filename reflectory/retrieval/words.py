"""Words of a text: the one tokeniser of BM25, the word index and the hashing embedder."""

from __future__ import annotations

import re
import unicodedata

#: Scripts written without spaces: every sign is a word of its own, else a sentence would be one word.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")

#: A query's words beyond these are ignored, so that no text, however long, can stall a recall.
MAX_QUERY_WORDS = 256


def words(text: str) -> list[str]:
    """Split a text into words.

    Args:
        text: Any text.

    Returns:
        Maximal runs of letters and digits of the NFKC-normalised, case-folded text, in order, repetitions kept.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def query_words(text: str) -> list[str]:
    """The distinct words of a query, the first `MAX_QUERY_WORDS` of them, sorted (so that sums of scores do not depend on word order)."""
    return sorted(list(dict.fromkeys(words(text)))[:MAX_QUERY_WORDS])
