from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import FakeListChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from reflectory.errors import ConfigError, LimitReached, ModelError, ParseError
from reflectory.models import as_model
from reflectory.models.adapter import ChatAdapter, match_choice
from reflectory.records import Message, Reply, Request

CHOICES = ("go to cabinet 1", "go to cabinet 10", "look")


class Recording(FakeListChatModel):
    """Keeps what it was asked, with the settings it had."""

    temperature: float = 0.9
    num_predict: int = 1000
    log: list[Any] = Field(default_factory=list)

    def _call(self, messages: list[BaseMessage], stop: list[str] | None = None, *args: Any, **kwargs: Any) -> str:
        self.log.append((messages, stop, self.temperature, self.num_predict))
        return self.responses[min(len(self.log), len(self.responses)) - 1]


def ask(**more: Any) -> Request:
    return Request(messages=(Message(role="system", content="play"), Message(role="user", content="what now?")), **more)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("look", "look"),
        ("I think:\n- go to cabinet 10\n", "go to cabinet 10"),
        ("LOOK", "look"),
        ("**Go to cabinet 1**", "go to cabinet 1"),
        ("I would go to cabinet 10 now.", "go to cabinet 10"),
        ("jump", None),
        ("", None),
    ],
)
def test_choices_are_read_leniently(text: str, choice: str | None) -> None:
    assert match_choice(text, CHOICES) == choice


def test_what_fits_two_choices_alike_is_no_choice() -> None:
    assert match_choice("LOOK", ("look", "Look")) is None
    assert match_choice("take or drop it", ("take", "drop")) is None


async def test_a_choice_is_asked_for_and_settings_reach_the_model() -> None:
    chat = Recording(responses=["go to cabinet 1"])
    reply = await as_model(chat).generate(ask(choices=CHOICES, temperature=0.3, max_tokens=17, stop=("\n\n",)))
    messages, stop, temperature, limit = chat.log[0]
    assert (reply.text, reply.finish, reply.usage.calls) == ("go to cabinet 1", "choice", 1)
    assert [message.type for message in messages] == ["system", "human", "human"]
    assert messages[-1].text.splitlines()[1:] == list(CHOICES)
    assert (stop, temperature, limit) == (["\n\n"], 0.3, 17)
    assert (chat.temperature, chat.num_predict) == (0.9, 1000)


async def test_one_repair_and_then_an_error() -> None:
    chat = Recording(responses=["jump", "look"])
    reply = await as_model(chat).generate(ask(choices=CHOICES))
    assert (reply.text, reply.usage.calls) == ("look", 2)
    assert [message.type for message in chat.log[1][0]][-2:] == ["ai", "human"]
    assert reply.usage.prompt_tokens == sum(len(m.text.split()) for messages, *_ in chat.log for m in messages)
    with pytest.raises(ParseError, match="jump"):
        await as_model(FakeListChatModel(responses=["jump"])).generate(ask(choices=CHOICES))


async def test_usage_logprobs_and_finish_come_from_the_provider() -> None:
    answer = AIMessage(
        "well then",
        usage_metadata={"input_tokens": 21, "output_tokens": 2, "total_tokens": 23},
        response_metadata={"logprobs": {"content": [{"logprob": -0.5}, {"logprob": -1.5}]}, "finish_reason": "length"},
    )
    reply = await as_model(FakeMessagesListChatModel(responses=[answer])).generate(ask())
    assert (reply.usage.prompt_tokens, reply.usage.output_tokens) == (21, 2)
    assert reply.logprobs == (-0.5, -1.5)
    assert reply.finish == "length"


async def test_text_ends_before_a_stop_string_the_provider_ignored() -> None:
    reply = await as_model(FakeListChatModel(responses=["one two STOP three"])).generate(ask(stop=("STOP",)))
    assert reply.text == "one two "


async def test_callbacks_see_each_call_and_may_stop_it() -> None:
    class Meter(BaseCallbackHandler):
        raise_error = True

        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            raise LimitReached("calls", 1, 1)

    with pytest.raises(LimitReached):
        await as_model(FakeListChatModel(responses=["x"]), [Meter()]).generate(ask())


async def test_a_provider_error_is_typed() -> None:
    class Broken(FakeListChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            if not args[0]:
                return ChatResult(generations=[ChatGeneration(message=HumanMessage(""))])
            raise ConnectionError("no route")

    with pytest.raises(ModelError, match="no route"):
        await as_model(Broken(responses=[])).generate(ask())


def test_models_pass_and_other_things_do_not() -> None:
    class Mine:
        name = "mine"

        async def generate(self, request: Request) -> Reply:
            return Reply(text="x")

    mine = Mine()
    assert as_model(mine) is mine
    assert isinstance(as_model(FakeListChatModel(responses=["x"])), ChatAdapter)
    for wrong in (Mine, "scripted:first", None):
        with pytest.raises(ConfigError):
            as_model(wrong)
