"""Solver, harness and reflector."""

from __future__ import annotations

import pytest
import toyworld

from reflectory.config import load
from reflectory.graphs.act import act
from reflectory.graphs.reflexion import reflexion
from reflectory.memory import open_memory
from reflectory.records import Reply, Usage
from reflectory.registry import lookup
from reflectory.runs.build import Parts
from reflectory.runs.episode import Job, play
from reflectory.runs.session import EnvPool


async def episode(task, model, build=act, memory=None, **settings):
    config = load({"prompt": "toyworld:ToyView", **settings})
    parts = Parts(build(config), {"solver": model}, toyworld.OneView(toyworld.ToyView()), EnvPool(lambda name: lookup("env", name)), config)
    return await play(parts, Job(task=task, run="run", last_attempt=config.trials, memory=memory))


class First(toyworld.ToyModel):
    """Always takes the first choice: without the harness it would wait for ever."""

    def _choose(self, request, text):
        return request.choices[0]


async def test_only_what_was_tried_least_in_a_situation_is_offered():
    model = First()
    task = toyworld.tasks(1, boxes=4)[0]
    played = await episode(task, model, budget={"steps": 40})
    assert played.outcome == "solved"
    # Independent of the harness's own book-keeping: where the agent stood is what the world showed last and offered.
    steps = played.attempts[0].steps
    here, tried = steps[0].observation, {}
    for step, request in zip(steps[1:], model.requests, strict=True):
        offered = here.choices
        known = tried.setdefault((here.text, offered), [])
        left = [choice for choice in offered if known.count(choice) == min(known.count(other) for other in offered)]
        assert list(request.choices) == left
        assert step.action in left
        known.append(step.action)
        if step.effect.changed:
            here = step.observation


async def test_failed_actions_leave_the_history_and_the_prompt():
    model = First()
    played = await episode(toyworld.tasks(1)[0], model, budget={"steps": 6})
    actions = [step.action for step in played.attempts[0].steps[1:]]
    assert "wait" in actions
    assert [pair[0] for pair in played.state["history"][1:]] == [action for action in actions if action != "wait"]
    assert not any("wait ->" in request.messages[-1].content for request in model.requests)


async def test_retries_are_warmer_and_requests_are_seeded_apart():
    model = First()
    await episode(toyworld.tasks(1)[0], model, trials=2, budget={"steps": 3}, solver={"temperature": 0.0, "retry_temperature": 0.9})
    assert [request.temperature for request in model.requests] == [0.0] * 3 + [0.9] * 3
    seeds = [request.seed for request in model.requests]
    assert len(set(seeds)) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    again = First()
    await episode(toyworld.tasks(1)[0], again, trials=2, budget={"steps": 3})
    assert [request.seed for request in again.requests] == seeds
    other = First()
    await episode(toyworld.tasks(1)[0], other, trials=2, budget={"steps": 3}, seed=1)
    assert not set(seeds) & {request.seed for request in other.requests}


async def test_a_free_text_goal_is_read_once_and_ranked():
    model = toyworld.ToyModel()
    task = toyworld.tasks(1)[0].model_copy(update={"goal": "please look for money"})
    played = await episode(task, model, trials=2, budget={"steps": 2})
    assert [request.role for request in model.requests].count("reader") == 1
    # choice_logprobs are -2.0 and -0.1: the second choice is the better reading.
    assert played.state["reading"] == ["find gold", "find coin"]
    assert [step.role for step in played.attempts[0].steps[:3]] == ["env", "reader", "solver"]


async def test_a_step_carries_all_that_training_and_report_need():
    memory = open_memory(None)
    model = toyworld.ToyModel()
    task = toyworld.tasks(1, boxes=9)[0]
    first = await episode(task, model, reflexion, memory, trials=9, budget={"steps": 6})
    assert first.outcome == "solved"
    played = await episode(task, model, reflexion, memory, trials=2, budget={"steps": 6})
    assert len(played.attempts) == 1
    solver = [step for item in played.attempts for step in item.steps if step.role == "solver"]
    assert all(step.prompt and step.output_ids and step.logprobs and step.entropy and step.policy == "toy-1" for step in solver)
    assert all(step.observation is not None and step.effect is not None and step.usage.calls == 1 for step in solver)
    assert len({step.id for item in played.attempts for step in item.steps}) == sum(len(item.steps) for item in played.attempts)
    shown = {record for step in solver for record in step.shown}
    assert shown <= {record.id for record in memory.records()}
    assert shown
    records = {record.id: record for record in memory.records()}
    cited = {record for step in solver for record in step.cited}
    assert cited
    for record in cited:
        assert records[record].cited >= 1
        assert records[record].helped + records[record].harmed >= 1


async def test_lessons_that_observations_contradict_are_counted_and_dropped():
    memory = open_memory(None)
    played = await episode(toyworld.tasks(1)[0], toyworld.ToyModel(), reflexion, memory, budget={"steps": 4})
    bodies = [record.body for record in memory.records()]
    assert bodies
    assert not any("moon" in body for body in bodies)
    assert played.counters["unsupported_lessons"] == 1
    assert played.counters["lessons"] == len(bodies)
    for record in memory.records():
        assert (record.origin.kind, record.origin.source) == ("own_reasoning", "run/coin/0/1")
        assert (record.task_key, record.situation_key, record.namespace) == ("coin/0", "room0", ("toyworld:ToyEnv",))
        assert record.steps


async def test_a_reply_outside_the_choices_is_counted_and_costs_a_step():
    class Stray(toyworld.ToyModel):
        def _choose(self, request, text):
            return "fly to the moon"

    played = await episode(toyworld.tasks(1)[0], Stray(), budget={"steps": 3})
    assert played.counters["off_choice"] == 3
    assert (played.outcome, played.steps, played.state["history"][1:]) == ("limit:steps", 3, [])


async def test_the_last_choice_is_offered_although_it_was_tried():
    class OneWay:
        blocking = False

        def reset(self, task, *, seed):
            return toyworld.Observation("wall", choices=("push",))

        def step(self, action):
            return toyworld.StepResult(observation=toyworld.Observation("wall", choices=("push",)), effect=toyworld.Effect(changed=False))

        def close(self):
            pass

    config = load({"budget": {"steps": 3}})
    parts = Parts(act(config), {"solver": First()}, toyworld.OneView(toyworld.ToyView()), EnvPool(lambda name: OneWay), config)
    played = await play(parts, Job(task=toyworld.tasks(1)[0], run="r"))
    assert [step.action for step in played.attempts[0].steps[1:]] == ["push"] * 3


@pytest.mark.parametrize(
    ("budget", "outcome", "calls"),
    [({"steps": 9, "calls": 3}, "limit:calls", 3), ({"steps": 9, "tokens": 20}, "limit:tokens", 2), ({"steps": 2}, "limit:steps", 2)],
)
async def test_budgets_end_an_attempt_as_an_outcome(budget, outcome, calls):
    played = await episode(toyworld.tasks(2)[1], First(), budget=budget)
    assert (played.outcome, played.usage.calls) == (outcome, calls)
    assert played.attempts[0].outcome == outcome


async def test_no_reflection_beyond_the_budget():
    model = toyworld.ToyModel()
    played = await episode(
        toyworld.tasks(1, boxes=9)[0], model, reflexion, open_memory(None), budget={"steps": 3, "reflections": 0}, trials=2
    )
    assert played.outcome == "limit:reflections"
    assert not [request for request in model.requests if request.role == "reflector"]


async def test_tokens_left_cut_the_answer():
    class Greedy(First):
        async def generate(self, request):
            self.requests.append(request)
            return Reply(text=request.choices[0], usage=Usage(calls=1, prompt_tokens=1, output_tokens=min(request.max_tokens, 40)))

    model = Greedy()
    await episode(toyworld.tasks(1)[0], model, budget={"steps": 9, "tokens": 100}, solver={"max_tokens": 64})
    # 41 tokens a call: 100, 59 and 18 are left.
    assert [request.max_tokens for request in model.requests] == [64, 59, 18]
