"""A LangChain chat model on local weights, and at the same time a `Model`."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, Literal, overload

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage
from langchain_core.outputs import ChatGeneration, ChatResult, LLMResult
from pydantic import ConfigDict, Field

from reflectory.errors import ConfigError, ModelError, did_you_mean
from reflectory.models.engine import Engine
from reflectory.models.loading import load_engine
from reflectory.records import Message, Reply, Request

_ROLES: Mapping[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system", "human": "user", "user": "user", "ai": "assistant", "assistant": "assistant", "tool": "tool",
}  # fmt: skip
#: What one call may set: `model.bind(choices=[...])`, `model.invoke(text, temperature=0.7)`.
SETTINGS = ("choices", "max_tokens", "role", "seed", "temperature")


class LocalChatModel(BaseChatModel):
    """A chat model on an `Engine`: async, micro-batched, with choices, token ids, log-probabilities and entropy.

    It goes wherever LangChain takes a chat model, and wherever this package takes a `Model`. Concurrent calls, from whichever of the two
    sides, share batches. `bind(choices=[...])` restricts the answer to one of the strings. Every message carries in `response_metadata`
    what a Step records: `prompt_ids`, `output_ids`, `logprobs`, `entropy`, `choice_logprobs`, `finish_reason`, `model_name`.

    Attributes:
        engine: The engine; models that share one share its batches and weights.
        name: Identity with version; the engine's name by default.
        max_tokens: Upper limit of generated tokens where the call sets none.
        temperature: 0 is greedy; where the call sets none.
        seed: Of the random numbers, where the call sets none.
        role: Who asks, where the call sets none; `reader` with choices computes the log-probability of every choice.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    takes_requests: ClassVar[bool] = True
    """`generate` answers a Request itself, so `as_model` needs no adapter."""

    engine: Engine = Field(exclude=True, repr=False)
    name: str = ""
    max_tokens: int = Field(default=256, ge=0)
    temperature: float = Field(default=0.0, ge=0.0)
    seed: int = 0
    role: str = "solver"

    def model_post_init(self, context: Any, /) -> None:
        """Take the engine's name where none was given."""
        super().model_post_init(context)
        self.name = self.name or self.engine.name

    @overload
    def generate(self, request: Request, /) -> Coroutine[Any, Any, Reply]: ...
    @overload
    def generate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult: ...
    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a Request (to be awaited, see `Engine.generate`); lists of LangChain messages go LangChain's way.

        Raises:
            ModelError: No answer can be given.
        """
        asked = args[0] if args else kwargs.get("request")
        return self.engine.generate(asked) if isinstance(asked, Request) else super().generate(*args, **kwargs)

    @property
    def _llm_type(self) -> str:
        return "reflectory-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model_name": self.name,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "role": self.role,
        }

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(self.engine.submit(self._request(messages, stop, kwargs)).result())

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(await self.engine.generate(self._request(messages, stop, kwargs)))

    def _request(self, messages: list[BaseMessage], stop: list[str] | None, settings: dict[str, Any]) -> Request:
        unknown = sorted(set(settings) - set(SETTINGS))
        if unknown:
            msg = f"{type(self).__name__} cannot set {unknown[0]!r} per call. {did_you_mean(unknown[0], SETTINGS)}"
            raise ConfigError(msg)
        defaults = {"max_tokens": self.max_tokens, "temperature": self.temperature, "seed": self.seed, "role": self.role}
        merged = {**defaults, **settings}
        choices = merged.pop("choices", None)
        return Request(
            messages=tuple(to_message(message) for message in messages),
            choices=None if choices is None else tuple(choices),
            stop=tuple(stop or ()),
            **merged,
        )

    def _result(self, reply: Reply) -> ChatResult:
        usage = reply.usage
        metadata = {
            "model_name": self.name,
            "finish_reason": reply.finish,
            **reply.model_dump(include={"prompt_ids", "output_ids", "logprobs", "entropy", "choice_logprobs"}),
        }
        message = AIMessage(
            content=reply.text,
            response_metadata=metadata,
            usage_metadata={"input_tokens": usage.prompt_tokens, "output_tokens": usage.output_tokens, "total_tokens": usage.tokens},
        )
        return ChatResult(generations=[ChatGeneration(message=message, generation_info={"finish_reason": reply.finish})])


def to_message(message: BaseMessage) -> Message:
    """A LangChain message as ours.

    Args:
        message: A system, human, AI or tool message, or a chat message with one of those roles.

    Returns:
        The message; content blocks are joined to one text.

    Raises:
        ModelError: A block is not text, or the role is unknown.
    """
    said = message.role if isinstance(message, ChatMessage) else message.type
    kind = _ROLES.get(said)
    if kind is None:
        msg = f"a local model cannot read a message of role {said!r}. {did_you_mean(said, _ROLES)}"
        raise ModelError(msg)
    blocks = message.content if isinstance(message.content, list) else []
    strange = [block for block in blocks if isinstance(block, dict) and block.get("type") != "text"]
    if strange:
        msg = f"a local model reads text only, but a message holds a block of type {strange[0].get('type')!r}; leave it out"
        raise ModelError(msg)
    return Message(role=kind, content=message.text)


def from_name(name: str) -> LocalChatModel:
    """The model behind `hf:NAME`.

    Args:
        name: A checkpoint folder, or the id of a model on the Hugging Face hub. With `HF_HUB_OFFLINE=1` only the local hub cache is read.

    Returns:
        A model on the process's engine for the checkpoint.

    Raises:
        ModelUnavailable: The checkpoint cannot be loaded; the message says what to do.
    """
    return LocalChatModel(engine=load_engine(name))
