"""One inference engine per (checkpoint, dtype, device): micro-batched, with choices, log-probabilities and entropy.

The number of CPU threads is torch's own (`torch.get_num_threads()`, by default one per core; `OMP_NUM_THREADS` or `torch.set_num_threads`
change it). For models of a few million parameters one thread is often fastest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import torch

from reflectory.errors import ModelError, ModelUnavailable
from reflectory.models.batching import Job, MicroBatcher
from reflectory.models.card import Card
from reflectory.models.decoding.choice import ChoiceTrie
from reflectory.models.decoding.loop import Batch, Row, new_cache
from reflectory.models.decoding.score import Scored, score_choices
from reflectory.models.prompting import Prompting
from reflectory.records import Reply, Request, Usage

#: Longest run of equal settings that share a batch.
MAX_BATCH = 64
#: Most places of choice tries that go through the model at once while scoring.
SCORE_ROWS = 256


_NO_MEMORY = (
    "out of memory with {} requests of up to {} prompt tokens, although the batch was halved. Lower max_batch, shorten the prompts, "
    "use a smaller dtype or a smaller checkpoint."
)


@dataclass(slots=True)
class _Call:
    """A job with its prompt's token ids and its choices."""

    job: Job
    prompt: list[int]
    trie: ChoiceTrie | None

    @property
    def scored(self) -> bool:
        """Whether every choice gets a log-probability."""
        return self.job.request.role == "reader" and self.trie is not None

    def usage(self, written: int) -> Usage:
        """Cost of a call that wrote so many tokens."""
        return Usage(calls=1, prompt_tokens=len(self.prompt), output_tokens=written, seconds=time.perf_counter() - self.job.since)


class Engine:
    """A transformers causal language model with its tokenizer, shared by all who use the same checkpoint.

    Results do not depend on what else is in a batch: greedy texts are identical to single runs, log-probabilities agree to rounding (1e-4).

    Args:
        model: A causal language model; set to eval mode.
        tokenizer: Its tokenizer.
        name: Identity with version, written into every Step as the policy.
        card: What the checkpoint was made for; None accepts every prompt.
        max_batch: Most requests in one batch.

    Raises:
        ModelUnavailable: The model keeps something else than attention keys and values.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, *, card: Card | None = None, max_batch: int = MAX_BATCH) -> None:
        self.model, self.tokenizer, self.name, self.card = model.eval(), tokenizer, name, card
        try:
            new_cache(model)
        except ModelError as error:
            raise ModelUnavailable(str(error)) from error
        self.ends = _ends(model, tokenizer)
        self._prompting = Prompting(tokenizer, self.ends, _context(model))
        self._batcher = MicroBatcher(self._run, max_batch, f"engine {name}")

    async def generate(self, request: Request) -> Reply:
        """Answer one request; concurrent calls share batches. Cancelling drops the request.

        A request of the role `reader` with choices is scored (see `score`). Any other request with choices is decoded token by token among
        them, whatever `max_tokens` says; its reply has the chosen string exactly, and its log-probabilities are those of the unconstrained
        model. `output_ids` hold the end token where the model decided for it.

        Args:
            request: What to answer. `temperature`, `seed`, `stop`, `max_tokens` and `choices` may differ within a batch.

        Returns:
            The reply with token ids, log-probabilities and entropy.

        Raises:
            UnsupportedTask: The checkpoint's card excludes the prompt.
            ModelUnavailable: Not enough memory, even for half the batch.
            ModelError: The prompt does not fit, or the model failed.
        """
        self._check(request)
        return await self._batcher.ask(request)

    async def score(self, request: Request) -> Reply:
        """Compute the log-probability of every choice under the model: `choice_logprobs`, natural, of the whole answer with its end.

        Args:
            request: A request with choices; several hundred are fine.

        Returns:
            The most probable choice; `logprobs` and `entropy` are those of its tokens.

        Raises:
            ModelError: As in `generate`; also when the request has no choices.
        """
        if request.choices is None:
            msg = "score needs a request with choices; use generate for free text"
            raise ModelError(msg)
        return await self.generate(request.model_copy(update={"role": "reader"}))

    def submit(self, request: Request) -> Future[Reply]:
        """Like `generate`, for threads without event loop.

        Returns:
            A future of the reply; `cancel()` drops the request.
        """
        self._check(request)
        return self._batcher.submit(request)

    def close(self) -> None:
        """Let the running batch end, fail what waits, refuse what comes."""
        self._batcher.close()

    def _check(self, request: Request) -> None:
        if self.card is not None:
            self.card.check(request, self.name)

    @torch.inference_mode()
    def _run(self, jobs: list[Job]) -> None:
        prompts = self._prompting.prompts([job.request for job in jobs])
        refused = [(job, prompt) for job, prompt in zip(jobs, prompts, strict=True) if isinstance(prompt, ModelError)]
        self._batcher.answer([job for job, _ in refused], [error for _, error in refused])
        calls = [
            _Call(job, prompt.ids, prompt.trie) for job, prompt in zip(jobs, prompts, strict=True) if not isinstance(prompt, ModelError)
        ]
        for run, part in (
            (self._decode, [call for call in calls if not call.scored]),
            (self._score, [call for call in calls if call.scored]),
        ):
            for bucket in _buckets(part):
                self._halving(run, bucket)

    def _halving(self, run: Callable[[list[_Call], bool], None], calls: list[_Call]) -> None:
        """Run a batch; out of memory runs its halves once, what fails then is reported to those who wait."""
        if self._fits(run, calls, False):
            return
        middle = (len(calls) + 1) // 2
        for half in (calls[:middle], calls[middle:]):
            left = [call for call in half if call.job.alive]
            if left and not self._fits(run, left, True):
                longest = max(len(call.prompt) for call in left)
                self._batcher.fail([call.job for call in left], ModelUnavailable(_NO_MEMORY.format(len(left), longest)))

    def _fits(self, run: Callable[[list[_Call], bool], None], calls: list[_Call], retry: bool) -> bool:
        """False when memory ran out; any other failure goes to those who wait."""
        try:
            run(calls, retry)
        except Exception as error:
            if _out_of_memory(error):
                return False
            self._batcher.fail([call.job for call in calls], error)
        return True

    def _decode(self, calls: list[_Call], _retry: bool) -> None:
        rows = {self._row(call): call for call in calls}
        batch = Batch(self.model, self.ends, list(rows))
        done = [(row, call) for row, call in rows.items() if row.finish is not None]
        while batch.rows:
            # Choices are a few tokens long: they are answered together, so that their callers come back together.
            # Free text and lines hold nobody up.
            if all(row.trie is None or not row.trie.brief for row in batch.rows):
                self._answer(done)
                done = []
            done += [(row, rows[row]) for row in batch.step()]
            for row in batch.rows:
                if not rows[row].job.alive:
                    row.finish = "stop"
            batch.drop()
        self._answer(done)

    def _row(self, call: _Call) -> Row:
        request = call.job.request
        return Row(
            prompt=call.prompt,
            limit=self._prompting.limit(call.prompt, request),
            temperature=request.temperature,
            seed=request.seed,
            trie=call.trie,
            stopped=self._prompting.stopper(request.stop),
        )

    def _answer(self, done: list[tuple[Row, _Call]]) -> None:
        if done:
            self._batcher.answer([call.job for _, call in done], [self._reply(row, call) for row, call in done])

    def _reply(self, row: Row, call: _Call) -> Reply:
        request = call.job.request
        chosen = None if request.choices is None or row.choice is None else request.choices[row.choice]
        return Reply(
            text=self._prompting.text(row.ids, request.stop) if chosen is None else chosen,
            prompt_ids=tuple(call.prompt),
            output_ids=tuple(row.ids),
            logprobs=tuple(row.logprobs),
            entropy=tuple(row.entropy),
            finish=row.finish or "stop",
            usage=call.usage(len(row.ids)),
        )

    def _score(self, calls: list[_Call], retry: bool) -> None:
        tries = [call.trie for call in calls if call.trie is not None]
        results = score_choices(self.model, [call.prompt for call in calls], tries, SCORE_ROWS // 2 if retry else SCORE_ROWS)
        self._batcher.answer(
            [call.job for call in calls], [_scored_reply(call, result) for call, result in zip(calls, results, strict=True)]
        )


def _scored_reply(call: _Call, scored: Scored) -> Reply:
    return Reply(
        text=(call.job.request.choices or ())[scored.best],
        prompt_ids=tuple(call.prompt),
        output_ids=scored.ids,
        logprobs=scored.token_logprobs,
        entropy=scored.entropy,
        finish="choice",
        usage=call.usage(len(scored.ids)),
        choice_logprobs=scored.logprobs,
    )


def _buckets(calls: list[_Call]) -> list[list[_Call]]:
    """Split calls whose prompts differ much in length: padding a short prompt to a long one costs more than a pass of its own."""
    buckets: list[list[_Call]] = []
    for call in sorted(calls, key=lambda call: len(call.prompt)):
        if buckets and len(call.prompt) <= 2 * len(buckets[-1][0].prompt) + 64:
            buckets[-1].append(call)
        else:
            buckets.append([call])
    return buckets


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        # torch's CPU allocator has no exception type of its own
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids of the end tokens: the tokenizer's, and those of the generation config that the tokenizer knows as special.

    A configuration names id 2 when nobody set it; in another vocabulary that is a word.
    """
    listed = getattr(model.generation_config, "eos_token_id", None)
    listed = [] if listed is None else [listed] if isinstance(listed, int) else list(listed)
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return frozenset([*own, *(index for index in listed if index in special)])


def _context(model: Any) -> int:
    """Most tokens the model's positions reach."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31)
