from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from reflectory import models
from reflectory.errors import ConfigError, ModelError, ModelUnavailable, UnknownName, UnsupportedTask
from reflectory.models import LocalChatModel, as_model, decoding, resolve_model, shipped
from reflectory.models.engine import Engine
from reflectory.models.loading import load_engine
from reflectory.protocols import Model
from reflectory.records import Message, Request


@pytest.fixture
def model(engines: dict[str, Engine]) -> LocalChatModel:
    return LocalChatModel(engine=engines["qwen"], max_tokens=4)


async def test_it_is_a_chat_model_and_a_model(model: LocalChatModel) -> None:
    assert isinstance(model, BaseChatModel)
    assert isinstance(model, Model)
    assert as_model(model) is model
    reply = await model.generate(Request(messages=(Message(role="user", content="look"),), choices=("go", "take")))
    message = await model.bind(choices=["go", "take"]).ainvoke("look")
    assert message.content == reply.text
    assert message.response_metadata["output_ids"] == reply.output_ids
    assert message.response_metadata["logprobs"] == pytest.approx(reply.logprobs, abs=1e-4)
    assert message.response_metadata["entropy"] == pytest.approx(reply.entropy, abs=1e-4)
    assert message.response_metadata["prompt_ids"] == reply.prompt_ids
    assert message.response_metadata["finish_reason"] == "choice"
    assert message.usage_metadata == {
        "input_tokens": len(reply.prompt_ids or ()),
        "output_tokens": len(reply.output_ids or ()),
        "total_tokens": len(reply.prompt_ids or ()) + len(reply.output_ids or ()),
    }


async def test_sync_and_async_agree_also_inside_a_running_loop(model: LocalChatModel) -> None:
    messages = [SystemMessage("be short"), HumanMessage([{"type": "text", "text": "look"}]), AIMessage("go"), ChatMessage("x", role="user")]
    assert model.invoke(messages).content == (await model.ainvoke(messages)).content
    two = model.generate([[HumanMessage("look")], [HumanMessage("go")]])
    assert [len(generations) for generations in two.generations] == [1, 1]


async def test_settings_per_call_and_per_model(model: LocalChatModel) -> None:
    warm = model.model_copy(update={"temperature": 5.0, "seed": 1})
    assert (await warm.ainvoke("look")).content != (await warm.ainvoke("look", seed=2)).content
    assert (await model.ainvoke("look", max_tokens=2)).usage_metadata["output_tokens"] == 2
    scored = await model.bind(choices=["go", "take"], role="reader").ainvoke("look")
    assert len(scored.response_metadata["choice_logprobs"]) == 2
    with pytest.raises(ConfigError, match="temperature"):
        await model.ainvoke("look", temprature=1.0)


async def test_a_message_it_cannot_read_is_an_error(model: LocalChatModel) -> None:
    with pytest.raises(ModelError, match="image_url"):
        await model.ainvoke([HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}])])
    with pytest.raises(ModelError, match="stage"):
        await model.ainvoke([ChatMessage("x", role="stage")])


async def test_concurrent_graphs_share_batches(model: LocalChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    handle = model.engine.model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(kwargs["input_ids"].shape[0]), with_kwargs=True
    )

    async def speak(state: MessagesState) -> MessagesState:
        return {"messages": [await model.ainvoke(state["messages"], max_tokens=1)]}

    builder = StateGraph(MessagesState)
    builder.add_node("a", speak)
    builder.add_node("b", speak)
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    builder.add_edge("b", END)
    graph = builder.compile()
    results = await asyncio.gather(*(graph.ainvoke({"messages": [HumanMessage("look")]}) for _ in range(8)))
    handle.remove()
    assert all(len(result["messages"]) == 3 for result in results)
    assert sum(rows) == 16
    assert len(rows) <= 6


def test_what_the_package_offers_are_objects_not_modules() -> None:
    assert not [name for name in models.__all__ if isinstance(getattr(models, name), ModuleType)]
    assert not [name for name in decoding.__all__ if isinstance(getattr(decoding, name), ModuleType)]


async def test_names_lead_to_models(checkpoints: dict[str, Path]) -> None:
    model = resolve_model(f"hf:{checkpoints['llama']}")
    assert isinstance(model, LocalChatModel)
    assert model.name.startswith(f"hf:{checkpoints['llama']}@")
    assert resolve_model(model) is model
    assert resolve_model("scripted:first").name == "scripted:first"
    assert resolve_model("reflectory.models.scripted:Search").name == "scripted:search"
    with pytest.raises(UnknownName, match="scripted"):
        resolve_model("scritped")
    with pytest.raises(ModelUnavailable):
        resolve_model("hf:nobody/nothing-here")
    with pytest.raises(ConfigError):
        resolve_model(42)


@pytest.fixture
def household(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    folder = tmp_path / "embedded" / "strong"
    shutil.copytree(checkpoints["llama"], folder)
    card = {"format": 1, "family": "household-embedded", "supports": ["household"], "prefixes": ["task ", "goal "], "licence": "MIT"}
    (folder / "reflectory.json").write_text(json.dumps(card))
    return folder


async def test_the_card_refuses_what_the_checkpoint_was_not_made_for(household: Path) -> None:
    model = LocalChatModel(engine=load_engine(household))
    assert model.engine.card is not None
    assert model.engine.card.supports == ("household",)
    assert (await model.ainvoke("task look", max_tokens=1)).content is not None
    for call in (model.ainvoke("What is 2 + 2?"), model.generate(Request(messages=(Message(role="user", content="hello task "),)))):
        with pytest.raises(UnsupportedTask, match=r"household.*'task '.*hf:NAME"):
            await call
    with pytest.raises(UnsupportedTask):
        model.invoke("hello")


def test_a_broken_card_is_an_error(household: Path) -> None:
    (household / "reflectory.json").write_text('{"format": 2}')
    with pytest.raises(ModelUnavailable, match=r"reflectory\.json"):
        load_engine(household)


def test_shipped_models_are_found_beside_the_package_and_loaded_once(household: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "files", lambda package: household.parent.parent)
    monkeypatch.setattr(shipped, "_LOADED", {})
    assert shipped.embedded().engine is shipped.embedded("strong").engine
    assert shipped.embedded().name.startswith("embedded:strong@")
    with pytest.raises(UnknownName, match="Did you mean novice"):
        shipped.embedded("novise")
    with pytest.raises(ModelUnavailable, match="strong"):
        shipped.embedded("trusting")
