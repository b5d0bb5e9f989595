"""One meter per episode: counts every model call and refuses the next one when the Budget of the attempt is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from reflectory.errors import LimitReached, ModelError, ReflectoryError
from reflectory.protocols import Model
from reflectory.records import Budget, Reply, Request, Usage

#: Set while a metered model answers: a LangChain model inside it reports to the callback too and must not be counted twice.
_counted: ContextVar[bool] = ContextVar("reflectory_counted", default=False)


class BudgetMeter:
    """Counts calls, tokens, reflections and seconds.

    Limits hold per attempt, `usage` runs on over the whole episode. Steps are counted by the `env` node, which ends the attempt.

    Args:
        budget: The limits of one attempt.
        clock: Seconds, monotone.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self._clock = clock
        self._calls = self._prompt = self._output = self._reflections = 0
        self._seconds = 0.0
        self._base = (0, 0, 0)
        self._since = clock()

    @property
    def usage(self) -> Usage:
        """What the episode cost so far, all attempts together."""
        return Usage(calls=self._calls, prompt_tokens=self._prompt, output_tokens=self._output, seconds=self._seconds)

    def start_attempt(self) -> None:
        """Let the limits count from here."""
        self._base = (self._calls, self._prompt + self._output, self._reflections)
        self._since = self._clock()

    def admit(self, max_tokens: int) -> int:
        """Let one more model call in.

        Args:
            max_tokens: How many tokens it may write.

        Returns:
            That number, cut to the tokens that are left.

        Raises:
            LimitReached: Calls, tokens or seconds are spent.
        """
        budget = self.budget
        calls, tokens, _ = self._base
        if budget.calls is not None:
            self._refuse("calls", self._calls - calls, budget.calls)
        if budget.seconds is not None:
            self._refuse("seconds", self._clock() - self._since, budget.seconds)
        if budget.tokens is None:
            return max_tokens
        used = self._prompt + self._output - tokens
        self._refuse("tokens", used, budget.tokens)
        return min(max_tokens, budget.tokens - used)

    def add(self, usage: Usage) -> None:
        """Count a call that was made."""
        self._calls += usage.calls
        self._prompt += usage.prompt_tokens
        self._output += usage.output_tokens
        self._seconds += usage.seconds

    def take_reflection(self) -> None:
        """Count one reflection.

        Raises:
            LimitReached: The budget of reflections is spent.
        """
        if self.budget.reflections is not None:
            self._refuse("reflections", self._reflections - self._base[2], self.budget.reflections)
        self._reflections += 1

    @staticmethod
    def _refuse(name: str, used: float, limit: float) -> None:
        if used >= limit:
            raise LimitReached(name, used, limit)


class Metered:
    """A model behind a meter.

    Args:
        model: Who answers.
        meter: Who counts.
    """

    def __init__(self, model: Model, meter: BudgetMeter) -> None:
        self._model, self._meter = model, meter
        self.name = model.name

    async def generate(self, request: Request) -> Reply:
        """Answer one request within the budget.

        Raises:
            LimitReached: The budget is spent; the model is not asked.
            ModelError: The model failed, with whatever exception.
        """
        left = self._meter.admit(request.max_tokens)
        if left < request.max_tokens:
            request = request.model_copy(update={"max_tokens": left})
        token = _counted.set(True)
        try:
            reply = await self._model.generate(request)
        except ReflectoryError:
            raise
        except Exception as error:
            msg = f"the model {self.name} failed: {type(error).__name__}: {error}."
            raise ModelError(msg) from error
        finally:
            _counted.reset(token)
        self._meter.add(reply.usage)
        return reply


class MeterCallback(AsyncCallbackHandler):
    """Counts the LangChain model calls that a user's own nodes make; put into the run's `callbacks`.

    Args:
        meter: Who counts.
    """

    #: LangChain swallows what a callback raises unless told otherwise; LimitReached must get through.
    raise_error = True

    def __init__(self, meter: BudgetMeter) -> None:
        self._meter = meter
        self._since: dict[UUID, float] = {}

    async def on_chat_model_start(
        self, serialized: Mapping[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Refuse the call when the budget is spent."""
        self._start(run_id)

    async def on_llm_start(self, serialized: Mapping[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any) -> None:
        """Refuse the call when the budget is spent."""
        self._start(run_id)

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Count the call."""
        since = self._since.pop(run_id, None)
        if since is None:
            return
        prompt, output = tokens_of(response)
        self._meter.add(Usage(calls=1, prompt_tokens=prompt, output_tokens=output, seconds=time.monotonic() - since))

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Forget the call."""
        self._since.pop(run_id, None)

    def _start(self, run_id: UUID) -> None:
        if not _counted.get():
            self._meter.admit(1)
            self._since[run_id] = time.monotonic()


def tokens_of(response: LLMResult) -> tuple[int, int]:
    """Prompt and output tokens a LangChain result reports; 0 where it reports none."""
    prompt = output = 0
    for generations in response.generations:
        for generation in generations:
            usage = getattr(getattr(generation, "message", None), "usage_metadata", None) or {}
            prompt += int(usage.get("input_tokens", 0))
            output += int(usage.get("output_tokens", 0))
    return prompt, output
