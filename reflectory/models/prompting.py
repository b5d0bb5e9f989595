"""From messages and choices to token ids, and back to text.

Everything here runs on the engine's worker thread: a fast tokenizer is not safe in several threads at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reflectory.errors import ModelError
from reflectory.models.decoding.choice import ChoiceTrie
from reflectory.models.decoding.lines import LineTrie
from reflectory.records import Request

#: So many choices and more keep their trie for the next request; small sets change with every step of a world, and keeping them would only
#: give the garbage collector work.
LARGE = 64
#: How many large sets keep their trie, and how many single choices their token ids.
TRIES, CHOICES = 32, 65_536


@dataclass(slots=True)
class Prompt:
    """A request as the decoder takes it: token ids to read (at least one), and the admissible answers where there are any."""

    ids: list[int]
    trie: ChoiceTrie | None


class Prompting:
    """How one checkpoint wants to be spoken to.

    With a chat template the template renders the messages (and writes all special tokens). Without one the prompt is the contents of the
    messages, one per line, with nothing added; special tokens come from the tokenizer's own post-processor.

    Args:
        tokenizer: A transformers tokenizer.
        ends: Token ids that end an answer.
        context: Most tokens of prompt and answer together.
    """

    def __init__(self, tokenizer: Any, ends: frozenset[int], context: int) -> None:
        self._tokenizer, self._ends, self._context = tokenizer, ends, context
        self._ids: dict[str, list[int]] = {}
        self._tries: OrderedDict[tuple[str, ...], ChoiceTrie] = OrderedDict()

    def prompts(self, requests: Sequence[Request]) -> list[Prompt | ModelError]:
        """What the decoder needs of each request, or why it cannot be had.

        Args:
            requests: The requests.

        Returns:
            One entry per request, in order. A prompt that does not fit into the context is an error, it is never cut.
        """
        texts = [self._render(request) for request in requests]
        good = [text for text in texts if isinstance(text, str)]
        plain = self._tokenizer.chat_template is None
        encoded = iter(self._tokenizer(good, add_special_tokens=plain, return_attention_mask=False)["input_ids"] if good else ())
        return [self._fit(next(encoded), request) if isinstance(text, str) else text for text, request in zip(texts, requests, strict=True)]

    def trie(self, choices: tuple[str, ...]) -> ChoiceTrie:
        """The trie over a request's choices; each is tokenised as a text of its own, without special tokens.

        Raises:
            ModelError: The choices cannot be told apart.
        """
        known = self._tries.get(choices)
        if known is not None:
            self._tries.move_to_end(choices)
            return known
        trie = ChoiceTrie(self._spell(choices), self._ends)
        if len(choices) >= LARGE:
            self._tries[choices] = trie
        if len(self._tries) > TRIES:
            self._tries.popitem(last=False)
        return trie

    def _spell(self, texts: tuple[str, ...]) -> list[list[int]]:
        """The token ids of choices or lines; those of earlier requests are remembered."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if len(self._ids) + len(fresh) > CHOICES:
            self._ids.clear()
            fresh = list(dict.fromkeys(texts))
        if fresh:
            encoded = self._tokenizer(fresh, add_special_tokens=False, return_attention_mask=False)["input_ids"]
            self._ids.update(zip(fresh, encoded, strict=True))
        return [self._ids[text] for text in texts]

    def _constraint(self, request: Request) -> ChoiceTrie | None:
        """What holds the answer: its choices, its lines (for checkpoints with an end token), or nothing."""
        if request.choices is not None:
            return self.trie(request.choices)
        lines = tuple(dict.fromkeys(request.lines or ()))
        return LineTrie(self._spell(lines), self._ends) if lines and self._ends else None

    def limit(self, prompt: Sequence[int], request: Request) -> int:
        """How many tokens a free answer may have: the request's limit, or what is left of the context."""
        return min(request.max_tokens, self._context - len(prompt))

    def text(self, ids: Sequence[int], stop: tuple[str, ...] = ()) -> str:
        """The text of written tokens, without special tokens and up to the first stop string."""
        whole: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        cuts = [at for at in (whole.find(word) for word in stop if word) if at >= 0]
        return whole[: min(cuts)] if cuts else whole

    def stopper(self, stop: tuple[str, ...]) -> Callable[[list[int]], bool] | None:
        """A test whether a stop string stands in the written tokens; None when the request has none."""
        words = tuple(word for word in stop if word)
        if not words:
            return None

        def stopped(ids: list[int]) -> bool:
            text = self._tokenizer.decode(ids, skip_special_tokens=True)
            return any(word in text for word in words)

        return stopped

    def _render(self, request: Request) -> str | ModelError:
        if self._tokenizer.chat_template is None:
            return "\n".join(message.content for message in request.messages)
        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        try:
            # A template that can open a thinking section must not do so before a choice; others ignore the flag.
            rendered: str = self._tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=False, enable_thinking=request.choices is None
            )
        except Exception as error:  # templates are programs of their own and raise what they like
            roles = ", ".join(turn["role"] for turn in turns)
            return ModelError(f"the checkpoint's chat template refuses messages of the roles {roles}: {error}. Merge or rename the roles.")
        return rendered

    def _fit(self, ids: list[int], request: Request) -> Prompt | ModelError:
        if not ids:
            return ModelError("the prompt is empty: give at least one message with text")
        try:
            trie = self._constraint(request)
        except ModelError as error:
            return error
        room = 1 if trie is None else trie.longest
        if len(ids) + room > self._context:
            return ModelError(
                f"the prompt has {len(ids)} tokens and the answer needs at least {room} more, but the model's context holds "
                f"{self._context}. Shorten the prompt, or use a model with a longer context."
            )
        return Prompt(ids, trie)
