"""How scripted models answer: a text with its cost in words, or the part of the prompt that fits best."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reflectory.errors import ModelError, did_you_mean
from reflectory.models.quote import quote
from reflectory.records import Message, Reply, Request, Usage


def reply(request: Request, text: str, name: str) -> Reply:
    """A scripted answer with its cost in words.

    Args:
        request: What was asked.
        text: The answer.
        name: The model's name, for the message.

    Returns:
        The reply.

    Raises:
        ModelError: The answer is not among the request's choices.
    """
    if request.choices is not None and text not in request.choices:
        msg = f"{name} answers {text!r}, which is not on offer. {did_you_mean(text, request.choices)}"
        raise ModelError(msg)
    read = sum(len(message.content.split()) for message in request.messages)
    usage = Usage(calls=1, prompt_tokens=read, output_tokens=len(text.split()))
    return Reply(text=text, finish="stop" if request.choices is None else "choice", usage=usage)


def extract(request: Request) -> str:
    """What shares most words with the last user message: a choice, or without choices a sentence of the rest of the prompt.

    A shared word counts with its length, so that "the" weighs less than "book".

    Args:
        request: The request. When the user message is the whole prompt, its last sentence is the question and the others are searched.

    Returns:
        The choice or sentence; the shortest, then the first of equals; "" for an empty prompt.
    """
    if request.role == "answerer" and request.choices is None:
        return quote(request)
    last = max((index for index, message in enumerate(request.messages) if message.role == "user"), default=len(request.messages) - 1)
    query = request.messages[last].content if request.messages else ""
    candidates: Sequence[str] = request.choices or _sentences([*request.messages[:last], *request.messages[last + 1 :]])
    if not candidates and request.messages:
        *candidates, query = _sentences([request.messages[last]]) or [""]
    wanted = _words(query)
    return min(candidates, key=lambda text: (-sum(map(len, _words(text) & wanted)), len(text)), default=query)


def _sentences(messages: Sequence[Message]) -> list[str]:
    parts = (part.strip() for message in messages for part in re.split(r"(?<=[.!?])\s+|\n+", message.content))
    return [part for part in parts if part]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
