"""Any LangChain chat model as a `Model`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from reflectory.errors import ConfigError, ModelError, ParseError, ReflectoryError
from reflectory.protocols import Model
from reflectory.records import Message, Reply, Request, Usage

#: Request setting → names under which chat models keep it.
_FIELDS = {
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens", "max_output_tokens", "max_new_tokens", "num_predict"),
    "seed": ("seed", "random_seed"),
}
_ASK = "Answer with exactly one of the following lines, copied verbatim, and with nothing else:\n{}"
_REPAIR = "That was not exactly one of the lines. Copy one of them verbatim, without any other word:\n{}"


def as_model(obj: Any, callbacks: Sequence[BaseCallbackHandler] | None = None) -> Model:
    """Make a Model of what a user passed in.

    Args:
        obj: An object with `name` and `async generate(request)`, or a LangChain chat model.
        callbacks: LangChain callbacks for each call of a wrapped chat model, for example a budget meter.

    Returns:
        The object itself where it is a Model already, else an adapter around it.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(obj, BaseChatModel) and not getattr(type(obj), "takes_requests", False):
        return ChatAdapter(obj, callbacks)
    # A chat model has a `generate` of its own, with another meaning: it must not pass for a Model by accident.
    if isinstance(obj, Model) and not isinstance(obj, type):  # pyright: ignore[reportGeneralTypeIssues] - `takes_requests` told them apart
        return obj
    msg = (
        f"{type(obj).__name__} is no model: pass an object with `name` and `async generate(request)`, a LangChain chat model, or resolve "
        f"a name first"
    )
    raise ConfigError(msg)


class ChatAdapter:
    """A LangChain chat model that answers Requests.

    Temperature, token limit and seed are set on a copy of the chat model where it has such fields; otherwise its own settings hold.
    Choices are asked for as lines and read leniently; an answer that names none is repaired once. Where the chat model reports no usage,
    tokens are estimated by white space.

    Args:
        chat: The chat model.
        callbacks: Handed to each call.
    """

    def __init__(self, chat: BaseChatModel, callbacks: Sequence[BaseCallbackHandler] | None = None) -> None:
        self.chat, self._callbacks = chat, list(callbacks or ())

    @property
    def name(self) -> str:
        """Class and model name."""
        kind, model = type(self.chat).__name__, self.chat._get_ls_params().get("ls_model_name")
        return f"{kind}:{model}" if model else kind

    async def generate(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            ParseError: The answer named none of the choices, nor did the repaired one.
            ModelError: The chat model failed.
        """
        start = time.perf_counter()
        messages = [to_langchain(message) for message in request.messages]
        lines = "\n".join(request.choices or ())
        if request.choices is not None:
            messages.append(HumanMessage(_ASK.format(lines)))
        answer = await self._call(messages, request)
        usage, text = _usage(messages, answer), _cut(answer.text, request.stop)
        if request.choices is None:
            return _reply(text, answer, _timed(usage, start))
        choice = match_choice(text, request.choices)
        if choice is None:
            messages += [answer, HumanMessage(_REPAIR.format(lines))]
            answer = await self._call(messages, request)
            usage, text = usage + _usage(messages, answer), _cut(answer.text, request.stop)
            choice = match_choice(text, request.choices)
        if choice is None:
            msg = (
                f"{self.name} answered {text[:80]!r}, which is none of the {len(request.choices)} choices, also when asked again. Try a "
                f"larger model, or fewer choices."
            )
            raise ParseError(msg)
        reply = _reply(choice, answer, _timed(usage, start))
        return reply.model_copy(update={"finish": "choice", "logprobs": reply.logprobs if choice == answer.text else None})

    async def _call(self, messages: list[BaseMessage], request: Request) -> AIMessage:
        fields = type(self.chat).model_fields
        settings = {own: getattr(request, setting) for setting, owns in _FIELDS.items() for own in owns if own in fields}
        chat = self.chat.model_copy(update=settings) if settings else self.chat
        try:
            return await chat.ainvoke(messages, {"callbacks": list(self._callbacks)}, stop=list(request.stop) or None)
        except ReflectoryError:
            raise
        except Exception as error:  # every provider raises its own kinds
            msg = f"{self.name} failed: {type(error).__name__}: {error}"
            raise ModelError(msg) from error


def match_choice(text: str, choices: Sequence[str]) -> str | None:
    """Read a choice out of free text: an exact line, else one whose case alone differs, else the longest one the text contains.

    Args:
        text: What the model wrote.
        choices: What it may choose.

    Returns:
        The choice; None when there is none, or when several fit equally well.
    """
    lines = [line.strip().strip("`'\"*").removeprefix("- ").strip() for line in text.strip().splitlines()]
    for line in (*text.strip().splitlines(), *lines):
        if line in choices:
            return line
    folded = {line.casefold() for line in lines}
    alike = [choice for choice in choices if choice.strip().casefold() in folded]
    if len(alike) == 1:
        return alike[0]
    inside = [choice for choice in choices if choice.strip() and choice.casefold() in text.casefold()]
    longest = max(map(len, inside), default=0)
    best = list(dict.fromkeys(choice for choice in inside if len(choice) == longest))
    return best[0] if len(best) == 1 else None


def to_langchain(message: Message) -> BaseMessage:
    """Our message as LangChain's.

    Args:
        message: Of any role.

    Returns:
        A system, human or AI message; a tool's text comes as a human message, because LangChain's tool message needs the id of a call.
    """
    if message.role == "system":
        return SystemMessage(message.content)
    return AIMessage(message.content) if message.role == "assistant" else HumanMessage(message.content)


def _cut(text: str, stop: tuple[str, ...]) -> str:
    ends = [at for at in (text.find(word) for word in stop if word) if at >= 0]
    return text[: min(ends)] if ends else text


def _usage(messages: Sequence[BaseMessage], answer: AIMessage) -> Usage:
    told = answer.usage_metadata
    if told is not None:
        return Usage(calls=1, prompt_tokens=told["input_tokens"], output_tokens=told["output_tokens"])
    return Usage(calls=1, prompt_tokens=sum(len(message.text.split()) for message in messages), output_tokens=len(answer.text.split()))


def _timed(usage: Usage, start: float) -> Usage:
    return usage.model_copy(update={"seconds": time.perf_counter() - start})


def _reply(text: str, answer: AIMessage, usage: Usage) -> Reply:
    """A reply with what the provider told: OpenAI's form of log-probabilities, and why it stopped."""
    told = answer.response_metadata
    content = told["logprobs"].get("content") if isinstance(told.get("logprobs"), dict) else None
    logprobs = tuple(float(token["logprob"]) for token in content) if content else None
    cut = str(told.get("finish_reason") or told.get("stop_reason") or told.get("done_reason") or "") in (
        "length",
        "max_tokens",
        "MAX_TOKENS",
    )
    return Reply(text=text, logprobs=logprobs, finish="length" if cut else "stop", usage=usage)
