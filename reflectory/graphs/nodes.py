"""The nodes that are no model's role: reset, recall, env (with the harness), judge and write."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from langgraph.runtime import Runtime

from reflectory.agents.reflector import attempt_won
from reflectory.agents.role import judge_id, observation_json
from reflectory.graphs.context import RunContext
from reflectory.records import Effect, Hit, Observation, Query, Record, Step, StepResult, Usage, Verdict

State = Mapping[str, Any]
Update = dict[str, Any]


async def reset(state: State, runtime: Runtime[RunContext]) -> Update:
    """Start an attempt: the first, or the next one when State says that the last has ended."""
    context = runtime.context
    attempt = state.get("attempt", 1) + (1 if state.get("ended") is not None else 0)
    context.budget.start_attempt()
    observation = await context.env.reset()
    context.recorder.put(Step(run=context.run, attempt=attempt, lane=context.lane, n=0, role="env", observation=observation))
    as_of = context.as_of if context.as_of is not None else await _start_position(context, attempt)
    return {
        "attempt": attempt,
        "observation": observation_json(observation),
        "history": [["", observation.text]],
        "env_ref": context.env.ref(),
        "work": context.env.work(),
        "recalled": [],
        "as_of": as_of,
        "answer": None,
        "n": 1,
        "moves": 0,
        "here": observation.digest(),
        "tried": {},
        "reward": 0.0,
        "ended": None,
        "used": {"shown": [], "cited": []},
    }


async def _start_position(context: RunContext, attempt: int) -> int | None:
    """Where memory stands when an attempt first begins; begun again after a kill it reads what it read then, not what it wrote since."""
    memory = context.memory
    if getattr(memory, "seq", None) is None:
        return None

    async def newest() -> int:
        return int(getattr(memory, "seq", 0))

    position: int = await context.once(f"as_of/{context.lane}/{attempt}", newest)
    return position


async def recall(state: State, runtime: Runtime[RunContext]) -> Update:
    """Ask memory, as of the attempt's start, for what may help. One of the two memory edges."""
    context = runtime.context
    if context.memory is None or context.config.scope == "none":
        return {}
    return {"recalled": [hit.model_dump(mode="json") for hit in context.memory.recall(_query(state, context))]}


def _query(state: State, context: RunContext) -> Query:
    """What memory is asked at the start of an attempt."""
    config, task = context.config, context.task
    return Query(
        text=context.view.query(task, state["work"]),
        namespace=config.namespace or (task.env or "default",),
        scope=config.scope,
        task_key=task.key,
        situation_key=task.situation,
        as_of=state["as_of"],
        k=config.recall.k,
    )


async def env(state: State, runtime: Runtime[RunContext]) -> Update:
    """Do the chosen action and check what came of it (the harness).

    A failed action (the world says that nothing changed) leaves the history; every action is noted as tried in the situation the solver
    chose it in, so that the solver is offered there what it tried least.
    """
    context = runtime.context
    action: str = state["answer"]
    result = await _act(state, context, action)
    step = _complete(state, context, action, result)
    failed = result.effect.changed is False
    here: str = state["here"]
    tried: dict[str, list[str]] = state["tried"]
    moves = state["moves"] + 1
    limit = context.budget.budget.steps
    update = {
        "observation": observation_json(result.observation),
        "env_ref": context.env.ref(),
        "work": context.env.work(),
        "n": state["n"] + 1,
        "moves": moves,
        "tried": {**tried, here: [*tried.get(here, ()), action]},
        "reward": state["reward"] + result.reward,
        "ended": "terminated" if result.terminated else "limit:steps" if limit is not None and moves >= limit else None,
    }
    if not failed:
        update["here"] = result.observation.digest()
        update["history"] = [*state["history"], [action, result.observation.text]]
    if step.shown or step.cited:
        used = state["used"]
        update["used"] = {"shown": _union(used["shown"], step.shown), "cited": _union(used["cited"], step.cited)}
    return update


async def _act(state: State, context: RunContext, action: str) -> StepResult:
    decision = await context.decide(action)
    if not decision.allowed:
        shown = Observation(f"The action {action!r} was not approved: {decision.by}.", choices=state["observation"]["choices"])
        return StepResult(observation=shown, effect=Effect(changed=False, detail="not approved"))
    return await context.env.step(len(state["env_ref"]["actions"]), action)


def _complete(state: State, context: RunContext, action: str, result: StepResult) -> Step:
    """The solver's draft with what came of it; after a kill between the two nodes the draft may be gone."""
    attempt, n = state["attempt"], state["n"]
    draft = context.recorder.get(attempt, context.lane, n)
    if draft is None:
        draft = Step(run=context.run, attempt=attempt, lane=context.lane, n=n, role="solver", action=action, output=action)
    step = draft.model_copy(update={"observation": result.observation, "reward": result.reward, "effect": result.effect})
    context.recorder.put(step)
    return step


def _union(known: list[str], more: tuple[str, ...]) -> list[str]:
    return known if set(more) <= set(known) else sorted({*known, *more})


async def judge(state: State, runtime: Runtime[RunContext]) -> Update:
    """Write the verdict on the attempt, from the environment or the task's own check, and the outcome when it was the last one."""
    context = runtime.context
    attempt, score, ended = state["attempt"], state["reward"], state["ended"]
    name = judge_id(context, attempt)
    verdict = Verdict(id=name, by="env", source="env", ok=score >= 1.0, score=score, reason=ended or "")
    if context.check is not None:
        answer = context.check(context.task, state)
        said = await answer if inspect.isawaitable(answer) else answer
        plain = Verdict(id=name, by="check", source="test", ok=bool(said), reason=ended or "")
        verdict = said.model_copy(update={"id": name}) if isinstance(said, Verdict) else plain
    won = verdict.ok is True and verdict.source != "model"
    update: Update = {"verdicts": [verdict.model_dump(mode="json")], "spent": {context.lane: counts(context.budget.usage)}}
    if won or attempt >= context.last_attempt:
        update["outcome"] = "solved" if won else ended if ended and ended.startswith("limit:") else "failed"
    return update


async def write(state: State, runtime: Runtime[RunContext]) -> Update:
    """Write the attempt's candidates and count what was shown and used. The other memory edge."""
    context = runtime.context
    spent = {"spent": {context.lane: counts(context.budget.usage)}}
    if context.memory is None:
        return spent
    found = state["candidates"].get(f"{context.lane}/{state['attempt']}", ())
    if found:
        context.memory.record([Record.model_validate(item) for item in found])
    used = state["used"]
    if used["shown"]:
        memory, won = context.memory, attempt_won(state, context)

        async def cite() -> None:
            memory.cite(used["cited"], shown=used["shown"], helped=won)
            learn = getattr(getattr(memory, "ranker", None), "learn", None)
            if learn is not None:  # a ranker that learns: a recalled place that was used is a citation
                hits = [Hit.model_validate(item) for item in state["recalled"]]
                learn(_query(state, context), [hit for hit in hits if hit.record.id in used["shown"]], used["cited"])

        # Writing a record again changes nothing, counting a citation again does. A staged memory counts when it is committed.
        await (cite() if getattr(memory, "staged", False) else context.once(f"cite/{judge_id(context, state['attempt'])}", cite))
    return spent


def counts(usage: Usage) -> dict[str, float]:
    """A Usage as the counts of State's `spent`."""
    return {"calls": usage.calls, "prompt_tokens": usage.prompt_tokens, "output_tokens": usage.output_tokens}


def after_env(state: State) -> str:
    """To the judge when the attempt has ended, else back to the solver."""
    return "solver" if state["ended"] is None else "judge"


def again_or_end(state: State) -> str:
    """To another attempt while there is no outcome."""
    return "reset" if state.get("outcome") is None else "__end__"
