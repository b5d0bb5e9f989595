"""The scripted answerer: quotes what memory holds."""

from __future__ import annotations

import re

from reflectory.records import Request

#: What `quote` reads: numbered memories, and messages that ask something.
_MEMORY = re.compile(r"^\[(\d+)\] (?:\([^)\n]*\) )?(.+)$", re.MULTILINE)
_QUESTION = re.compile(
    r"\?\s*$|^\W*(?:(?:and|but|so|ok|okay|well|then)\W+)*(?:who|what|when|where|why|how|which|do|does|did|is|are|was|were|can|could|tell|remind)\b",
    re.IGNORECASE,
)
_FUNCTION_WORDS = (
    "a an the i me my you your we our us he she it its they them is are am was were be been do does did have has had can could will would"
    " of in on at to for with by from and or not no so that this there what when where which who whom whose why how tell remind about s m"
    " re ve ll d t"
)
#: What a question is answered by as well: who moved lives there.
_ALSO = {"live": "move", "job": "work", "call": "name", "name": "call"}


def quote(request: Request) -> str:
    """Answer a user from the numbered memories of the prompt ("[2] (whose words) text"), or acknowledge what is no question.

    Args:
        request: A request whose system message holds the memories.

    Returns:
        The memory that shares most with the question, the first of equals, with its citation; else a fixed sentence and [NO_CITE].
    """
    said = next((message.content for message in reversed(request.messages) if message.role == "user"), "")
    if not _QUESTION.search(said):
        return "Noted. [NO_CITE]"
    told = "\n".join(message.content for message in request.messages if message.role == "system")
    wanted = _roots(said)
    wanted |= {_ALSO[root] for root in wanted & {*_ALSO}}
    best = max(_MEMORY.findall(told), key=lambda found: sum(map(len, _roots(found[1]) & wanted)), default=None)
    if best is None or not _roots(best[1]) & wanted:
        return "I do not know that yet. [NO_CITE]"
    return f"{best[1].strip()} [{best[0]}]"


def _roots(text: str) -> set[str]:
    """Beginnings of the words that say something: "lives" and "live" are one."""
    return {word[:4] for word in re.findall(r"\w+", text.casefold()) if word not in _FUNCTION_WORDS.split()}
