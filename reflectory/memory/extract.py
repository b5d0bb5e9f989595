"""What a conversation says that is worth remembering: from utterances to candidate records, each with the origin of its words.

Method: the extraction half of RMM's prospective reflection (arXiv 2503.08026), at utterance, turn or session granularity. Changed: every
origin is extracted by itself, so that no text of a page or tool can come out as what the user said, whatever a model makes of it; what
memory itself showed is taken out first (`reflectory.memory.echo`); rules do the work where no model does.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from reflectory.config import Granularity
from reflectory.memory.admit import content_id
from reflectory.memory.dates import resolve
from reflectory.memory.echo import EchoGuard
from reflectory.memory.events import canonical
from reflectory.memory.meaning import meaning
from reflectory.memory.statements import clauses, keepable, promised, quotable, sentences
from reflectory.records import UNTRUSTED, Frozen, Origin, Record, RecordKind, Span

#: Trust of records by where their words come from.
UNTRUSTED_TRUST = 0.3
#: At most so many sentences of one third-party text become records, so that a page cannot flood a memory.
MOST_QUOTED = 16


class Utterance(Frozen):
    """What was said at once.

    Attributes:
        step: Id of its Step, "run/attempt/lane/n".
        speaker: Who said it.
        turn: Which exchange it belongs to, from 0.
        spans: The text with its origins: a user's message may hold a page.
        host: Where spans of origin `content` come from; "" when unknown.
        recalled: What memory showed the agent before it said this, with the origins of the records.
    """

    step: str
    speaker: Literal["user", "agent"]
    turn: int
    spans: tuple[Span, ...]
    host: str = ""
    recalled: tuple[Span, ...] = ()


class Conversation(Frozen):
    """A session of a dialogue.

    Attributes:
        id: Its identity: the source of what the agent itself said.
        user: Who spoke with the agent: the source of what the user said.
        at: When it began, seconds since 1970; relative dates are read against this day, in local time.
        namespace: Where its records go.
        utterances: In order.
    """

    id: str
    user: str
    at: float
    namespace: tuple[str, ...]
    utterances: tuple[Utterance, ...]


class Sentence(Frozen):
    """A sentence that is no echo, with the origin of its words."""

    text: str
    origin: Origin
    step: str
    turn: int


class Extracted(Frozen):
    """Something worth remembering. `steps` are the utterances it rests on."""

    body: str
    kind: RecordKind = "fact"
    origin: Origin
    steps: tuple[str, ...]


class Extractor(Protocol):
    """Finds what is worth remembering."""

    async def extract(self, conversation: Conversation, fresh: Sequence[Sentence]) -> list[Extracted]:
        """What the sentences say that is worth remembering; an empty list when nothing is.

        Args:
            conversation: Where they were said.
            fresh: Its sentences without echoes, in order, each with the origin that what is made of it must carry.
        """
        ...


def fresh_sentences(conversation: Conversation) -> list[Sentence]:
    """The sentences of a conversation that are no echo of what memory showed in it, nor the agent repeating the user.

    An agent's sentence said after third-party text or an untrusted record was put before it may rest on that text, so it counts as
    content itself: nothing is laundered by being repeated.
    """
    recalled, heard = EchoGuard(), EchoGuard()
    found: list[Sentence] = []
    taint: Origin | None = None
    for utterance in conversation.utterances:
        for span in utterance.recalled:
            recalled.show(span.text)
            if span.origin in UNTRUSTED and taint is None:
                taint = Origin(kind="content", source=conversation.id)
        for span in utterance.spans:
            origin = _origin(conversation, utterance, span)
            if origin.kind in UNTRUSTED and taint is None:
                taint = origin
            own = utterance.speaker == "agent" and origin.kind == "own_reasoning"
            for text in sentences(span.text):
                if (recalled.repeats(text) or heard.repeats(text)) if own else recalled.restates(text):
                    continue
                stamp = taint if own and taint is not None else origin
                found.append(Sentence(text=text, origin=stamp, step=utterance.step, turn=utterance.turn))
            if not own:
                for text in sentences(span.text):
                    heard.show(text)
    return found


def candidates(conversation: Conversation, found: Iterable[Extracted]) -> list[Record]:
    """What was extracted as records to be written. The same extraction again gives the same ids."""
    return [
        identified(
            Record(
                id="",
                namespace=conversation.namespace,
                kind=item.kind,
                body=item.body,
                steps=item.steps,
                origin=item.origin,
                trust=UNTRUSTED_TRUST if item.origin.kind in UNTRUSTED else 1.0,
                valid_from=conversation.at,
            )
        )
        for item in found
    ]


def identified(record: Record) -> Record:
    """The record with an id of what it says, where, who said it and at which step.

    Unlike the memory's own id it is not shared by equal texts of different origin: a page that repeats a user's fact must not taint it,
    and a fact that is true again after a change must not fall back on its superseded record.
    """
    key = [content_id(record), record.origin.kind, record.origin.source, list(record.steps)]
    return record.model_copy(update={"id": hashlib.sha256(canonical(key).encode("ascii")).hexdigest()[:24]})


class RuleExtractor:
    """Extracts without a model: keeps the statements that say something, with their relative dates resolved.

    Args:
        granularity: One record per `utterance` sentence (a fact), per `turn` or per topic of the `session` (episodes); any of them.
    """

    def __init__(self, granularity: Sequence[Granularity] = ("utterance",)) -> None:
        self.granularity = tuple(granularity)

    async def extract(self, conversation: Conversation, fresh: Sequence[Sentence]) -> list[Extracted]:
        """See `Extractor.extract`."""
        return await asyncio.to_thread(self.keep, conversation, fresh)

    def keep(self, conversation: Conversation, fresh: Sequence[Sentence]) -> list[Extracted]:
        """The same without waiting."""
        kept = _kept(conversation, fresh)
        found: list[Extracted] = []
        if "utterance" in self.granularity:
            found += [Extracted(body=item.text, origin=item.origin, steps=(item.step,)) for item in kept]
        if "turn" in self.granularity:
            groups: dict[tuple[int, Origin], list[Sentence]] = {}
            for item in kept:
                groups.setdefault((item.turn, item.origin), []).append(item)
            found += [_episode(group) for group in groups.values()]
        if "session" in self.granularity:
            found += [_episode(group) for group in topics(kept)]
        return found


def topics(kept: Sequence[Sentence]) -> list[list[Sentence]]:
    """Sentences grouped by topic: each joins the first group of its origin with which it shares a content word."""
    groups: list[tuple[set[str], list[Sentence]]] = []
    for item in kept:
        own = {*meaning(item.text).content}
        for vocabulary, group in groups:
            if group[0].origin == item.origin and vocabulary & own:
                vocabulary |= own
                group.append(item)
                break
        else:
            groups.append((own, [item]))
    return [group for _, group in groups]


def _origin(conversation: Conversation, utterance: Utterance, span: Span) -> Origin:
    if span.origin == "user":
        return Origin(kind="user", source=conversation.user)
    if span.origin == "content":
        return Origin(kind="content", source=utterance.host or conversation.id)
    return Origin(kind=span.origin, source=conversation.id)


def _kept(conversation: Conversation, fresh: Sequence[Sentence]) -> list[Sentence]:
    day = datetime.date.fromtimestamp(conversation.at)
    kept: list[Sentence] = []
    quoted: dict[str, int] = {}
    for item in fresh:
        untrusted = item.origin.kind in UNTRUSTED
        rule = quotable if untrusted else promised if item.origin.kind == "own_reasoning" else keepable
        text = rule(item.text)
        quoted[item.step] = quoted.get(item.step, 0) + (untrusted and text is not None)
        if text is None or quoted[item.step] > MOST_QUOTED:
            continue
        parts = [text] if untrusted else filter(None, map(rule, clauses(text)))
        kept += [item.model_copy(update={"text": resolve(part, day)}) for part in parts]
    return kept


def _episode(group: Sequence[Sentence]) -> Extracted:
    body = " ".join(item.text if item.text.endswith((".", "!", "?")) else f"{item.text}." for item in group)
    steps = tuple(dict.fromkeys(item.step for item in group))
    return Extracted(body=body, kind="episode", origin=group[0].origin, steps=steps)
