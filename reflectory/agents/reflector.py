"""The reflector: looks back on an attempt and says what to remember."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reflectory.agents.role import Context, Runtime, State, call_step, judge_id, make_turn, request_seed
from reflectory.agents.view import Lesson
from reflectory.records import Origin, Record


class Reflector:
    """Asks the model what an attempt taught and turns its answer into candidate records.

    It knows the agent's own observations and whether the attempt was won, nothing else. Lessons that the observations contradict
    are counted (`unsupported_lessons`) and dropped.

    Args:
        role: The role whose model is asked.
    """

    def __init__(self, role: str = "reflector") -> None:
        self.role = role

    async def __call__(self, state: State, runtime: Runtime) -> dict[str, Any]:
        """Reflect on the attempt that has just ended.

        Returns:
            `candidates`: {"LANE/ATTEMPT": [records as JSON]} and `n`; empty when there is nothing to learn.

        Raises:
            LimitReached: The budget of calls, tokens or reflections is spent.
            ModelError: The model could not answer.
        """
        context = runtime.context
        turn = make_turn(state, context)
        won = attempt_won(state, context)
        request = context.view.reflect(turn, won=won)
        if request is None:
            return {}
        context.reflection()
        n: int = state["n"]
        decoding = context.config.reflector
        settings = {"max_tokens": decoding.max_tokens, "temperature": decoding.temperature, "role": self.role}
        request = request.model_copy(update={**settings, "seed": request_seed(context, turn.attempt, n)})
        model = context.model(self.role)
        reply = await model.generate(request)
        context.recorder.put(call_step(context, model.name, request, reply, (turn.attempt, n)))
        lessons = context.view.lessons(reply.text, turn, won=won)
        supported = [lesson for lesson in lessons if lesson.supported]
        context.recorder.count("lessons", len(supported))
        context.recorder.count("unsupported_lessons", len(lessons) - len(supported))
        records = candidates(supported, context, turn.attempt, n)
        return {"n": n + 1, "candidates": {f"{context.lane}/{turn.attempt}": [record.model_dump(mode="json") for record in records]}}


def attempt_won(state: State, context: Context) -> bool:
    """Whether the verdict on this attempt says it succeeded; a model's verdict alone never does."""
    judged = judge_id(context, state["attempt"])
    return any(item["ok"] for item in state["verdicts"] if item["id"] == judged and item["source"] != "model")


def candidates(lessons: Sequence[Lesson], context: Context, attempt: int, n: int) -> list[Record]:
    """Lessons as records to be written: own reasoning, rooted in this attempt, resting on its steps before `n`."""
    task = context.task
    namespace = context.config.namespace or (task.env or "default",)
    source = f"{context.run}/{attempt}"
    steps = tuple(f"{source}/{context.lane}/{number}" for number in range(n))
    return [
        Record(
            id="",  # the memory gives it: a hash of what the record says and where it holds
            namespace=namespace,
            kind=lesson.kind,
            body=lesson.body,
            when_to_use=lesson.when_to_use,
            task_key=task.key,
            situation_key=task.situation,
            steps=steps,
            origin=Origin(kind="own_reasoning", source=source),
        )
        for lesson in lessons
    ]
