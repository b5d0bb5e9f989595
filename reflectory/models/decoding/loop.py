"""Batched decoding: rows with settings of their own go through the model together, one forward pass per step, and leave when finished."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from reflectory.errors import ModelError
from reflectory.models.decoding.choice import ChoiceTrie, Node
from reflectory.models.decoding.sample import pick, pick_among, uniforms


@dataclass(slots=True, eq=False)
class Row:
    """One answer in the making.

    Attributes:
        prompt: Token ids to read; at least one.
        limit: Upper limit of written tokens of a free answer; a choice is always written to its end.
        temperature: 0 is greedy.
        seed: Of this row's random numbers.
        trie: The admissible answers; None for free text.
        ids: Token ids written so far, the end token included where the model decided for it.
        logprobs: Natural log-probability of each under the model's full distribution, before constraint and temperature.
        entropy: Entropy in nats of that distribution at each written token.
        finish: Why the row left; None while it runs.
        choice: Index of the chosen choice.
    """

    prompt: Sequence[int]
    limit: int = 256
    temperature: float = 0.0
    seed: int = 0
    trie: ChoiceTrie | None = None
    stopped: Callable[[list[int]], bool] | None = None
    """Tells from the ids written so far whether a stop string has appeared."""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    finish: Literal["stop", "length", "choice"] | None = None
    choice: int | None = None
    node: Node | None = None
    feed: list[int] = field(default_factory=list)
    """Token ids to put into the next forward pass."""
    targets: list[int | None] = field(default_factory=list)
    """What follows the last `len(targets)` fed tokens: a forced token, or None where the model decides."""
    seen: int = 0
    rng: np.random.Generator | None = None

    def start(self) -> None:
        """Prepare the first forward pass: the prompt, and what is forced behind it."""
        self.feed = list(self.prompt)
        if self.trie is None:
            self.targets = [None]
            self.finish = "length" if self.limit <= 0 else None
            return
        forced, self.node = self.trie.root.forced()
        self._follow(forced)
        if not self.targets:
            self._end_choice(self.node)

    def take(self, token: int, ends: frozenset[int]) -> None:
        """Go on behind a token the model decided for, or finish.

        Args:
            token: The token.
            ends: Token ids that end a free answer.
        """
        self.feed = [token]
        if self.trie is None:
            self.targets = [None]
            if token in ends or (self.stopped is not None and self.stopped(self.ids)):
                self.finish = "stop"
            elif len(self.ids) >= self.limit:
                self.finish = "length"
            return
        at = self.node
        assert at is not None
        after = self.trie.step(at, token)
        if after is None:
            self._end_choice(at)
            return
        forced, self.node = after.forced()
        self._follow(forced)
        if not self.targets:
            self._end_choice(self.node)

    def read(self) -> None:
        """Finish a choice whose last forced tokens have been read."""
        if self.node is not None and not self.targets:
            self._end_choice(self.node)

    def draw(self) -> float:
        """The next uniform number of this row; greedy rows take none."""
        if self.temperature <= 0:
            return 0.0
        if self.rng is None:
            self.rng = uniforms(self.seed)
        return float(self.rng.random())

    def _follow(self, forced: list[int]) -> None:
        assert self.node is not None
        if self.node.options:
            self.feed = [*self.feed, *forced]
            self.targets = [*forced, None]
        else:
            self.feed = [*self.feed, *forced[:-1]]
            self.targets = list(forced)

    def _end_choice(self, node: Node) -> None:
        self.choice, self.finish = node.choice, "choice"


class Batch:
    """Rows that share forward passes and a key/value cache.

    Prompts are padded on the left. Later passes take one token or a run of forced tokens per row, again padded on the left; padding is
    masked for good. A sliding-window layer counts cache places, padding included, so models with such layers get one token per pass.

    Args:
        model: A transformers causal language model in eval mode.
        ends: Token ids that end a free answer.
        rows: The rows; at least one.

    Raises:
        ModelError: The model keeps a recurrent state, which left padding would spoil.
    """

    def __init__(self, model: Any, ends: frozenset[int], rows: Sequence[Row]) -> None:
        self.model, self.ends = model, ends
        self.cache = new_cache(model)
        self.ragged = not any(isinstance(layer, DynamicSlidingWindowLayer) for layer in self.cache.layers)
        for row in rows:
            row.start()
        self.rows = [row for row in rows if row.finish is None]
        self.mask: torch.Tensor | None = None

    def step(self) -> list[Row]:
        """Run one forward pass over all rows.

        Returns:
            The rows that are finished with it; they have left the batch.

        Raises:
            ModelError: The model's output is not finite.
        """
        chunks = [len(row.feed) if self.ragged or row.seen == 0 else 1 for row in self.rows]
        due = [row.targets[: len(row.targets) - len(row.feed) + chunk] for row, chunk in zip(self.rows, chunks, strict=True)]
        logits = self._forward(chunks, max(len(targets) for targets in due))
        self._write(due, logits)
        for row, chunk, targets in zip(self.rows, chunks, due, strict=True):
            row.seen += chunk
            row.feed, row.targets = row.feed[chunk:], row.targets[len(targets) :]
            if targets and targets[-1] is None:
                row.take(row.ids[-1], self.ends)
            else:
                row.read()
        return self.drop()

    def drop(self) -> list[Row]:
        """Take finished rows out of the batch.

        Returns:
            The rows that left.
        """
        left = [row for row in self.rows if row.finish is not None]
        if left:
            keep = [index for index, row in enumerate(self.rows) if row.finish is None]
            self.rows = [self.rows[index] for index in keep]
            if keep and self.mask is not None:
                index = torch.tensor(keep, device=self.mask.device)
                self.cache.reorder_cache(cast(torch.LongTensor, index))
                self.mask = self.mask[index]
        return left

    def _forward(self, chunks: list[int], keep: int) -> torch.Tensor:
        """Feed `chunks[i]` tokens of row i; returns logits of the last `keep` places, shape (rows, keep, vocabulary)."""
        width = max(chunks)
        tokens = np.zeros((len(chunks), width), dtype=np.int64)
        for index, (row, chunk) in enumerate(zip(self.rows, chunks, strict=True)):
            tokens[index, width - chunk :] = row.feed[:chunk]
        place = np.arange(width) - (width - np.array(chunks))[:, None]
        positions = place.clip(min=0) + np.array([row.seen for row in self.rows])[:, None]
        device = self.model.device
        fresh = torch.from_numpy(place >= 0).to(device)
        self.mask = fresh if self.mask is None else torch.cat([self.mask, fresh], dim=1)
        return forward(
            self.model, torch.from_numpy(tokens).to(device), torch.from_numpy(positions).to(device), self.mask, (self.cache, keep)
        )

    def _write(self, due: list[list[int | None]], logits: torch.Tensor) -> None:
        """Fix the token at every place that is due and note its log-probability and the entropy there."""
        owners = [index for index, targets in enumerate(due) for _ in targets]
        if not owners:
            return
        flat = [token for targets in due for token in targets]
        if len(flat) == len(due) and logits.shape[1] == 1:
            places = logits[:, 0]
        else:
            where = [logits.shape[1] - len(targets) + offset for targets in due for offset in range(len(targets))]
            places = logits[torch.tensor(owners, device=logits.device), torch.tensor(where, device=logits.device)]
        logprobs = torch.log_softmax(places.float(), dim=-1)
        entropy = torch.special.entr(logprobs.exp()).sum(-1).tolist()
        tokens = torch.tensor([0 if token is None else token for token in flat], device=logits.device)
        self._decide([self.rows[owner] for owner in owners], flat, logprobs, tokens)
        chosen = logprobs.gather(1, tokens[:, None])[:, 0].tolist()
        for owner, token, logprob, nats in zip(owners, tokens.tolist(), chosen, entropy, strict=True):
            if not math.isfinite(logprob):
                msg = f"the model gave log-probability {logprob} to token {token}: its weights or its dtype are broken; try dtype float32"
                raise ModelError(msg)
            row = self.rows[owner]
            row.ids.append(token)
            row.logprobs.append(logprob)
            row.entropy.append(nats)

    def _decide(self, owners: list[Row], flat: list[int | None], logprobs: torch.Tensor, tokens: torch.Tensor) -> None:
        """Fill `tokens` where the model decides."""
        for free in (True, False):
            spots = [
                index for index, (row, token) in enumerate(zip(owners, flat, strict=True)) if token is None and (row.trie is None) is free
            ]
            if not spots:
                continue
            rows = [owners[index] for index in spots]
            heat, draws = [row.temperature for row in rows], [row.draw() for row in rows]
            index = torch.tensor(spots, device=tokens.device)
            here = logprobs if len(spots) == len(flat) else logprobs[index]
            options = [row.node.options for row in rows if row.node is not None]
            tokens[index] = pick(here, heat, draws) if free else pick_among(here, options, heat, draws)


def new_cache(model: Any) -> DynamicCache:
    """An empty key/value cache for a model.

    Args:
        model: A transformers causal language model.

    Returns:
        A cache whose layers can be reordered by row.

    Raises:
        ModelError: A layer keeps something else than keys and values.
    """
    cache = DynamicCache(config=model.config)
    strange = {type(layer).__name__ for layer in cache.layers} - {DynamicLayer.__name__, DynamicSlidingWindowLayer.__name__}
    if strange:
        msg = (
            f"{type(model).__name__} keeps {', '.join(sorted(strange))}: models with recurrent state cannot be batched here; use one "
            f"with attention layers only"
        )
        raise ModelError(msg)
    return cache


def forward(model: Any, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, cache: tuple[DynamicCache, int]) -> torch.Tensor:
    """One forward pass.

    Args:
        model: A transformers causal language model.
        tokens: Token ids, shape (rows, width), int64.
        positions: Place of each token in its own text, shape (rows, width), int64.
        mask: True where a cache place or a token of this pass is real, shape (rows, places + width), bool.
        cache: The cache, extended in place, and the number of last places to compute logits for.

    Returns:
        Logits, shape (rows, kept places, vocabulary), in the model's dtype.
    """
    keys, keep = cache
    output = model(input_ids=tokens, position_ids=positions, attention_mask=mask, past_key_values=keys, use_cache=True, logits_to_keep=keep)
    logits: torch.Tensor = output.logits
    return logits[:, -keep:]
