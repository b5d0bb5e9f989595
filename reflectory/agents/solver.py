"""The solver: looks at the world and says what to do next."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reflectory.agents.role import Context, Runtime, State, call_step, make_turn, request_seed
from reflectory.agents.view import Prompt, Situated, Turn, View
from reflectory.records import Request

#: What an answer takes where neither the settings nor the view say more: a command.
ANSWER_TOKENS = 64


class Solver:
    """Asks the model for the next action and leaves a draft Step that the `env` node completes.

    The first time it speaks in a run it lets the view turn a free-text goal into known ones (role `reader`). In each situation it
    is offered the actions that it tried least there.

    Args:
        role: The role whose model is asked.
    """

    def __init__(self, role: str = "solver") -> None:
        self.role = role

    async def __call__(self, state: State, runtime: Runtime) -> dict[str, Any]:
        """Choose an action.

        Returns:
            `answer` (the action), `n` (number of the draft Step), `here` (the situation) and, the first time, `reading`.

        Raises:
            LimitReached: The budget is spent.
            ModelError: The model could not answer.
        """
        context = runtime.context
        n: int = state["n"]
        turn = make_turn(state, context)
        update: dict[str, Any] = {}
        if state.get("reading") is None:
            reading, n = await self._read(turn, context, n)
            update["reading"] = reading
            turn = turn.model_copy(update={"reading": tuple(reading)})
        # Where the agent is: a view that keeps typed state can tell better than the last thing the world showed.
        here = context.view.situation(turn) if isinstance(context.view, Situated) else str(state["here"])
        prompt = offer(turn, context.view, Counter(state["tried"].get(here, ())))
        model = context.model(self.role)
        request = self._request(prompt, context, turn.attempt, n)
        reply = await model.generate(request)
        if prompt.choices is not None and reply.text not in prompt.choices:
            context.recorder.count("off_choice")
        cited = context.view.cited(reply.text, prompt, turn.hits) if prompt.shown else ()
        draft = call_step(context, model.name, request, reply, (turn.attempt, n))
        context.recorder.put(draft.model_copy(update={"action": reply.text, "shown": prompt.shown, "cited": tuple(cited)}))
        return {**update, "answer": reply.text, "n": n, "here": here}

    def _request(self, prompt: Prompt, context: Context, attempt: int, n: int) -> Request:
        decoding = context.config.solver
        return Request(
            messages=prompt.messages,
            choices=prompt.choices,
            max_tokens=decoding.max_tokens or getattr(context.view, "answer_tokens", ANSWER_TOKENS),
            temperature=decoding.temperature if attempt == 1 else decoding.retry_temperature,
            seed=request_seed(context, attempt, n),
            work=prompt.work,
            role=self.role,
        )

    async def _read(self, turn: Turn, context: Context, n: int) -> tuple[list[str], int]:
        """Interpretations of the goal, best first, and the number of the next Step."""
        request = context.view.read_goal(turn)
        if request is None:
            return [], n
        request = request.model_copy(update={"role": "reader", "seed": request_seed(context, turn.attempt, n)})
        model = context.model("reader")
        reply = await model.generate(request)
        reading = [reply.text]
        if request.choices and reply.choice_logprobs:
            ranked = sorted(zip(reply.choice_logprobs, request.choices, strict=True), key=lambda pair: -pair[0])
            reading = [choice for _, choice in ranked]
        context.recorder.put(call_step(context, model.name, request, reply, (turn.attempt, n)))
        return reading, n + 1


def offer(turn: Turn, view: View, tried: Counter[str]) -> Prompt:
    """The prompt with the actions that were tried least in this situation: first all untried ones, then those tried once, and so on.

    What is not offered is taken out of the observation before the view sees it, so prompt text and choices agree and every model,
    scripted ones too, is offered the same. No action can be repeated for ever, whatever the model prefers.

    Args:
        turn: What the role may look at.
        view: How it is shown.
        tried: Action → how often it was tried here.
    """
    choices = turn.observation.choices
    if tried and choices:
        fewest = min(tried[choice] for choice in choices)
        left = tuple(choice for choice in choices if tried[choice] == fewest)
        prompt = view.solve(turn.model_copy(update={"observation": turn.observation.model_copy(update={"choices": left})}))
        if prompt.choices != ():  # a view that shows none of what is left gets to choose from all
            return prompt
    return view.solve(turn)
