"""The solver: looks at the world and says what to do next."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reflectory.agents.role import Context, Runtime, State, call_step, make_turn, request_seed
from reflectory.agents.view import Prompt, Turn, View
from reflectory.records import Request


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
        prompt, here = offer(turn, context.view, state["tried"])
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
            max_tokens=decoding.max_tokens,
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


def offer(turn: Turn, view: View, tried: Mapping[str, Sequence[str]]) -> tuple[Prompt, str]:
    """The prompt with the actions that were tried least under it: first all untried ones, then those tried once, and so on.

    A situation is what the model is shown: under the same prompt a model would do the same again. What is not offered is taken out of the
    observation before the view sees it, so prompt text and choices agree and every model, scripted ones too, is offered the same.

    Args:
        turn: What the role may look at.
        view: How it is shown.
        tried: Situation → the actions chosen in it so far in this attempt.

    Returns:
        The prompt, and the key of its situation.
    """
    prompt = view.solve(turn)
    here = situation(prompt)
    counts, choices = Counter(tried.get(here, ())), turn.observation.choices
    if counts and choices:
        fewest = min(counts.get(choice, 0) for choice in prompt.choices or choices)
        left = tuple(choice for choice in choices if counts.get(choice, 0) <= fewest)
        again = view.solve(turn.model_copy(update={"observation": turn.observation.model_copy(update={"choices": left})}))
        if again.choices != ():  # a view that shows none of what is left gets to choose from all
            return again, here
    return prompt, here


def situation(prompt: Prompt) -> str:
    """A short hash of what a prompt shows."""
    return hashlib.blake2b("\n".join(message.content for message in prompt.messages).encode(), digest_size=12).hexdigest()
