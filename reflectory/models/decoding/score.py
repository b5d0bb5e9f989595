"""The log-probability of every choice: one pass over the prompts, then a batched walk over the trie, level by level."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from transformers import DynamicCache

from reflectory.models.decoding.choice import ChoiceTrie, Node
from reflectory.models.decoding.loop import forward, new_cache


@dataclass(slots=True)
class Scored:
    """What scoring one prompt gave.

    Attributes:
        logprobs: Natural log-probability that the model's whole answer is the choice, per choice.
        best: Index of the most probable choice; the first of equals.
        ids: Token ids of the best choice, its end token included where the checkpoint has one.
        token_logprobs: Log-probability of each of them under the model's full distribution.
        entropy: Entropy in nats of that distribution at each of them.
    """

    logprobs: tuple[float, ...]
    best: int
    ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    entropy: tuple[float, ...]


@dataclass(slots=True, eq=False)
class _Visit:
    """A trie node under one prompt, with the way back to the root."""

    prompt: int
    node: Node
    token: int = -1
    total: float = 0.0
    logprob: float = 0.0
    entropy: float = 0.0
    """Entropy at the place where `token` was written, that is before this node."""
    parent: _Visit | None = None


@dataclass(slots=True, eq=False)
class _Part:
    """Visits of one depth that go through the model together: rows `index` of what their parents left."""

    visits: list[_Visit]
    index: torch.Tensor
    cache: DynamicCache
    mask: torch.Tensor
    lengths: torch.Tensor


@dataclass(slots=True)
class _Walk:
    model: Any
    tries: Sequence[ChoiceTrie]
    rows: int
    ended: list[dict[int, _Visit]] = field(default_factory=list)
    """Per prompt: id of a node where a choice ends → the visit, end token included."""

    def run(self, logits: torch.Tensor, cache: DynamicCache, mask: torch.Tensor, lengths: torch.Tensor) -> None:
        """Visit every node, depth first in parts, so that keys and values of few parts are alive at once."""
        roots = [_Visit(prompt, trie.root) for prompt, trie in enumerate(self.tries)]
        for visit in roots:
            self._note(visit)
        stack = self._parts(self._expand(roots, torch.log_softmax(logits.float(), dim=-1)), cache, mask, lengths)
        while stack:
            part = stack.pop()
            branch = _rows_of(part.cache, part.index)
            tokens = torch.tensor([[visit.token] for visit in part.visits], device=mask.device)
            seen = torch.cat([part.mask[part.index], part.mask.new_ones(len(part.visits), 1)], dim=1)
            before = part.lengths[part.index]
            after = forward(self.model, tokens, before[:, None], seen, (branch, 1))[:, 0]
            stack += self._parts(self._expand(part.visits, torch.log_softmax(after.float(), dim=-1)), branch, seen, before + 1)

    def _parts(self, children: Iterator[tuple[int, _Visit]], cache: DynamicCache, mask: torch.Tensor, lengths: torch.Tensor) -> list[_Part]:
        """Cut (row of the parent, child) pairs into parts of at most `rows`."""
        pairs = list(children)
        cuts = [pairs[first : first + self.rows] for first in range(0, len(pairs), self.rows)]
        return [
            _Part([child for _, child in cut], torch.tensor([row for row, _ in cut], device=mask.device), cache, mask, lengths)
            for cut in cuts
        ]

    def _note(self, visit: _Visit) -> None:
        """Without end tokens a choice is complete as soon as its last token is there."""
        if visit.node.choice is not None and not self.tries[visit.prompt].ends:
            self.ended[visit.prompt][id(visit.node)] = visit

    def _expand(self, visits: list[_Visit], logprobs: torch.Tensor) -> Iterator[tuple[int, _Visit]]:
        """Yield (row of the parent, child) for children that must be fed; note the choices that end."""
        entropy = torch.special.entr(logprobs.exp()).sum(-1).tolist()
        flat = [(row, token, child) for row, visit in enumerate(visits) for token, child in visit.node.children.items()]
        steps = logprobs[[row for row, _, _ in flat], [token for _, token, _ in flat]].tolist() if flat else []
        self._end(visits, logprobs, entropy)
        for (row, token, child), step in zip(flat, steps, strict=True):
            parent = visits[row]
            visit = _Visit(parent.prompt, child, token, parent.total + step, step, entropy[row], parent)
            self._note(visit)
            if child.children or self.tries[parent.prompt].ends:
                yield row, visit

    def _end(self, visits: list[_Visit], logprobs: torch.Tensor, entropy: list[float]) -> None:
        """Close every choice that ends at one of the visits: all end tokens together are the probability of stopping there."""
        closing = [row for row, visit in enumerate(visits) if visit.node.choice is not None and self.tries[visit.prompt].ends]
        if not closing:
            return
        ends = sorted(self.tries[visits[closing[0]].prompt].ends)
        part = logprobs[closing][:, ends]
        for row, stop, which in zip(closing, part.logsumexp(-1).tolist(), part.argmax(-1).tolist(), strict=True):
            visit = visits[row]
            last = _Visit(visit.prompt, visit.node, ends[which], visit.total + stop, stop, entropy[row], visit)
            self.ended[visit.prompt][id(visit.node)] = last


def score_choices(model: Any, prompts: Sequence[Sequence[int]], tries: Sequence[ChoiceTrie], rows: int = 256) -> list[Scored]:
    """Compute the probability of every choice exactly, by the chain rule over its tokens and the end of the answer.

    Args:
        model: A transformers causal language model.
        prompts: Token ids of each prompt.
        tries: The choices of each prompt; all with the same end tokens.
        rows: At most so many places of the tries go through the model at once; bounds the memory for keys and values.

    Returns:
        One result per prompt. Without end tokens the end of the text itself is certain.

    Raises:
        ModelError: The model keeps a recurrent state.
    """
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    width = int(lengths.max())
    tokens = torch.tensor([[*[0] * (width - len(prompt)), *prompt] for prompt in prompts], device=model.device)
    place = torch.arange(width, device=model.device) - (width - lengths)[:, None]
    cache = new_cache(model)
    logits = forward(model, tokens, place.clamp(min=0), place >= 0, (cache, 1))
    walk = _Walk(model, tries, rows, [{} for _ in prompts])
    walk.run(logits[:, 0], cache, place >= 0, lengths)
    return [_result(trie, ended) for trie, ended in zip(tries, walk.ended, strict=True)]


def _result(trie: ChoiceTrie, ended: dict[int, _Visit]) -> Scored:
    logprobs = tuple(ended[id(leaf)].total for leaf in trie.leaves)
    best = max(range(len(logprobs)), key=logprobs.__getitem__)
    way: list[_Visit] = []
    visit: _Visit | None = ended[id(trie.leaves[best])]
    while visit is not None and visit.parent is not None:
        way.append(visit)
        visit = visit.parent
    way.reverse()
    return Scored(logprobs, best, tuple(v.token for v in way), tuple(v.logprob for v in way), tuple(v.entropy for v in way))


def _rows_of(cache: DynamicCache, index: torch.Tensor) -> DynamicCache:
    """A cache with the given rows of another one, which stays as it is."""
    branch = copy.copy(cache)
    branch.layers = [copy.copy(layer) for layer in cache.layers]
    branch.reorder_cache(cast(torch.LongTensor, index))
    return branch
