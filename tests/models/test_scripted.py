from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reflectory import registry
from reflectory.errors import ConfigError, ModelError, UnknownName, UnsupportedTask
from reflectory.models.scripted import scripted
from reflectory.protocols import Model
from reflectory.records import Message, Request

CHOICES = ("take mug 1", "examine mug 1", "go to shelf 2")


def ask(text: str = "find the mug on the shelf", **more: Any) -> Request:
    return Request(messages=(Message(role="user", content=text),), **more)


async def test_random_is_uniform_and_seeded() -> None:
    model = scripted("random")
    texts = [(await model.generate(ask(choices=CHOICES, seed=seed))).text for seed in range(600)]
    assert texts == [(await model.generate(ask(choices=CHOICES, seed=seed))).text for seed in range(600)]
    assert all(160 < Counter(texts)[choice] < 240 for choice in CHOICES)


async def test_first_noop_and_usage() -> None:
    reply = await scripted("first").generate(ask(choices=CHOICES))
    assert (reply.text, reply.finish) == ("take mug 1", "choice")
    assert (reply.usage.calls, reply.usage.prompt_tokens, reply.usage.output_tokens) == (1, 6, 3)
    assert (await scripted("noop").generate(ask(choices=CHOICES))).text == "examine mug 1"
    assert (await scripted("noop").generate(ask(choices=("go", "inventory", "look")))).text == "look"
    assert (await scripted("noop").generate(ask(choices=("go", "take")))).text == "go"
    assert (await scripted("first").generate(ask())).text == ""


async def test_extractive_finds_the_sentence_and_the_choice() -> None:
    text = "The mug is in the sink. The book lies on the bed! Where is the book?"
    model = scripted("extractive")
    assert (await model.generate(ask(text))).text == "The book lies on the bed!"
    turns = (Message(role="system", content="Paris is in France. Rome is in Italy."), Message(role="user", content="Where is Rome"))
    assert (await model.generate(Request(messages=turns))).text == "Rome is in Italy."
    assert (await model.generate(ask("go to the shelf", choices=CHOICES))).text == "go to shelf 2"
    assert (await model.generate(ask(""))).text == ""


class Backwards:
    """Chooses the last; remembers what it was given."""

    seen: ClassVar[list[tuple[Any, int]]] = []

    def choose(self, work: dict[str, Any], choices: Sequence[str], *, seed: int) -> str:
        self.seen.append((work, seed))
        return work.get("say", choices[-1])


async def test_search_asks_the_policy_of_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "BUILTIN", {"policy": {"toy": f"{__name__}:Backwards"}})
    monkeypatch.setattr(registry, "_load", lambda path: Backwards)
    model = scripted("search")
    work = {"world": "toy", "at": "shelf 1"}
    assert (await model.generate(ask(choices=CHOICES, work=work, seed=9))).text == "go to shelf 2"
    assert Backwards.seen == [(work, 9)]
    with pytest.raises(ModelError, match="not on offer"):
        await model.generate(ask(choices=CHOICES, work={"world": "toy", "say": "fly"}))
    with pytest.raises(UnsupportedTask, match="tracker"):
        await model.generate(ask(choices=CHOICES))
    with pytest.raises(UnknownName, match="toy"):
        await model.generate(ask(choices=CHOICES, work={"world": "tot"}))
    assert (await model.generate(ask("go to the shelf", choices=CHOICES, role="reader"))).text == "go to shelf 2"


async def test_oracle_plays_the_plan_of_the_env_it_is_bound_to() -> None:
    class World:
        blocking = False

        def oracle(self) -> str:
            return "take mug 1"

    class Slow:
        async def oracle(self) -> str:
            return "fly"

    model = scripted("oracle")
    assert model.wants_env is True
    bound = model.bind_env(World())
    assert isinstance(bound, Model)
    assert (await bound.generate(ask(choices=CHOICES))).text == "take mug 1"
    with pytest.raises(ModelError, match="not on offer"):
        await model.bind_env(Slow()).generate(ask(choices=CHOICES))
    with pytest.raises(UnsupportedTask, match="bind_env"):
        await model.generate(ask(choices=CHOICES))
    with pytest.raises(UnsupportedTask, match="oracle"):
        model.bind_env(object())


async def test_a_file_is_replayed_in_order_and_by_what_the_prompt_says(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(
        "format: 1\nreplies:\n  solver:\n    - look\n    - {when: fridge, text: open fridge 1}\n    - go\n  any: [nothing to add]\n"
    )
    model = scripted(str(path))
    said = [(await model.generate(ask(text))).text for text in ("a", "the fridge", "the fridge", "b")]
    assert said == ["look", "open fridge 1", "open fridge 1", "go"]
    assert (await model.generate(ask("c", role="critic"))).text == "nothing to add"
    with pytest.raises(ModelError, match=r"no answer left for role 'solver' \(2 used\).*'d'"):
        await model.generate(ask("d"))
    with pytest.raises(ModelError, match="not on offer"):
        await scripted(str(path)).generate(ask("a", choices=("go",)))


@pytest.mark.parametrize(
    "text",
    ["replies: {solver: [x]}\nrepleis: {}", "replies: {solver: [{txt: x}]}", "format: 2\nreplies: {}", "- x", "replies: {solver: x}", "{"],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"script\.yaml"):
        scripted(str(path))
    with pytest.raises(ConfigError):
        scripted(str(tmp_path / "missing.yaml"))


def test_unknown_scripts_are_answered_with_what_there_is() -> None:
    with pytest.raises(UnknownName, match="Did you mean random"):
        scripted("randm")
