"""The meter: one count for all calls, and no call beyond the budget."""

from __future__ import annotations

import pytest
import toyworld
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from reflectory.config import load
from reflectory.errors import LimitReached, ModelError
from reflectory.graphs import END, Wiring
from reflectory.graphs.nodes import reset
from reflectory.models import as_model
from reflectory.records import Budget, Message, Reply, Request, Usage
from reflectory.registry import lookup
from reflectory.runs.build import Parts
from reflectory.runs.episode import Job, play
from reflectory.runs.meter import BudgetMeter, Metered
from reflectory.runs.session import EnvPool

ASK = Request(messages=(Message(role="user", content="hi"),))


def fake(count=50):
    usage = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    return GenericFakeChatModel(messages=iter([AIMessage("yes", usage_metadata=usage) for _ in range(count)]))


class Counting:
    name = "counting"

    def __init__(self):
        self.asked = []

    async def generate(self, request):
        self.asked.append(request)
        return Reply(text="x", usage=Usage(calls=1, prompt_tokens=5, output_tokens=5))


async def test_limits_refuse_the_next_call_and_start_anew_with_an_attempt():
    for budget, calls, name in ((Budget(calls=2), 2, "calls"), (Budget(tokens=25), 3, "tokens")):
        model = Counting()
        meter = BudgetMeter(budget)
        metered = Metered(model, meter)
        for _ in range(2):
            meter.start_attempt()
            before = len(model.asked)
            for _ in range(calls):
                await metered.generate(ASK)
            with pytest.raises(LimitReached) as caught:
                await metered.generate(ASK)
            assert caught.value.name == name
            assert len(model.asked) - before == calls
        assert meter.usage.calls == 2 * calls


async def test_seconds_are_counted_on_the_given_clock():
    now = [0.0]
    meter = BudgetMeter(Budget(seconds=5), clock=lambda: now[0])
    model = Metered(Counting(), meter)
    now[0] = 4.9
    await model.generate(ASK)
    now[0] = 5.0
    with pytest.raises(LimitReached, match="seconds"):
        await model.generate(ASK)
    meter.start_attempt()
    await model.generate(ASK)


async def test_whatever_a_model_raises_is_a_model_error():
    class Broken(Counting):
        async def generate(self, request):
            raise ZeroDivisionError("nan")

    with pytest.raises(ModelError, match="ZeroDivisionError"):
        await Metered(Broken(), BudgetMeter(Budget())).generate(ASK)


async def run_node(node, budget):
    """One node of a user's in a LangGraph graph (the compiled form, where callbacks reach models)."""
    config = load({"budget": budget})
    wiring = Wiring("mine", "reset", {"reset": reset, "mine": node}, {"reset": "mine", "mine": END})
    parts = Parts(
        wiring.compile(),
        {"solver": as_model(fake())},
        toyworld.OneView(toyworld.ToyView()),
        EnvPool(lambda name: lookup("env", name)),
        config,
    )
    return await play(parts, Job(task=toyworld.tasks(1)[0], run="r"))


async def test_langchain_calls_of_a_users_own_node_are_counted_and_refused():
    asked = []

    async def mine(state, runtime):
        model = fake()
        for _ in range(9):
            await model.ainvoke("hi")
            asked.append(1)
        return {}

    played = await run_node(mine, {"calls": 4})
    assert (played.outcome, len(asked), played.usage.calls, played.usage.tokens) == ("limit:calls", 4, 4, 36)
    played = await run_node(mine, {"tokens": 20})
    assert (played.outcome, played.usage.calls) == ("limit:tokens", 3)


async def test_a_langchain_model_behind_a_role_is_counted_once():
    async def mine(state, runtime):
        for _ in range(3):
            await runtime.context.model("solver").generate(ASK)
        return {"outcome": "solved"}

    played = await run_node(mine, {})
    assert (played.outcome, played.usage.calls, played.usage.tokens) == ("solved", 3, 27)
