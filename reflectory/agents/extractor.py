"""A model as extractor and merger of prospective reflection; what it answers is checked, what cannot be read falls back on the rules.

Prompts after RMM (arXiv 2503.08026): JSON `extracted_memories` or NO_TRAIT; `Add()` or `Merge(index, text)`.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from reflectory.agents.prompts import prompt
from reflectory.config import Granularity
from reflectory.memory.dates import resolve
from reflectory.memory.extract import Conversation, Extracted, RuleExtractor, Sentence
from reflectory.memory.meaning import meaning
from reflectory.memory.merge import Decision, RuleMerger, agrees, updates
from reflectory.records import Origin, OriginKind, Record
from reflectory.retrieval.words import words

#: (role, prompt) → the model's answer.
Ask = Callable[[Literal["extractor", "merger"], str], Awaitable[str]]
#: Adds to a named counter.
Count = Callable[[str], None]

_WHO: dict[OriginKind, str] = {"user": "a user said", "own_reasoning": "an assistant said", "content": "that stood in a text"}
_MERGE = re.compile(r"merge\s*\(\s*\[?\s*(\d+)\s*\]?\s*,\s*(.+?)\s*\)?\s*$", re.IGNORECASE)
_STARTS = 200
_ADD = re.compile(r"add\s*\(", re.IGNORECASE)


class ModelExtractor:
    """Asks a model what is worth remembering, for every origin apart.

    Counted are `extract_unparsed` (answers that could not be read; the rules take over) and `extract_refused` (memories with numbers or
    names that stand in none of their lines, or that rest on no line).

    Args:
        ask: Asks the model.
        count: Counts.
        granularity: What is put into one prompt: an utterance, a turn, or the session.
    """

    def __init__(self, ask: Ask, count: Count, granularity: Granularity = "session") -> None:
        self._ask, self._count, self._granularity = ask, count, granularity
        self._rules = RuleExtractor()

    async def extract(self, conversation: Conversation, fresh: Sequence[Sentence]) -> list[Extracted]:
        """See `reflectory.memory.extract.Extractor`."""
        groups: dict[tuple[Origin, object], list[Sentence]] = {}
        for item in fresh:
            place = {"utterance": item.step, "turn": item.turn, "session": ""}[self._granularity]
            groups.setdefault((item.origin, place), []).append(item)
        found: list[Extracted] = []
        for (origin, _), group in groups.items():
            # What an agent or a page says is mostly not worth a call; what a user says nearly always is.
            if origin.kind == "user" or await self._rules.extract(conversation, group):
                found += await self._of(conversation, group)
        return found

    async def _of(self, conversation: Conversation, group: Sequence[Sentence]) -> list[Extracted]:
        day, origin = datetime.date.fromtimestamp(conversation.at), group[0].origin
        # Dates first: what a model is shown is also what its numbers are checked against.
        group = [item.model_copy(update={"text": resolve(item.text, day)}) for item in group]
        lines = "\n".join(f"[{number}] {item.text}" for number, item in enumerate(group))
        who = _WHO.get(origin.kind, "that were seen")
        items = parse_extraction(await self._ask("extractor", prompt("extract").format(who=who, day=day.isoformat(), lines=lines)))
        if items is None:
            self._count("extract_unparsed")
            return await self._rules.extract(conversation, group)
        found: list[Extracted] = []
        for summary, references in items:
            rests = [group[number] for number in references if number < len(group)]
            if not rests or not _borne_out(summary, rests):
                self._count("extract_refused")
                continue
            steps = tuple(dict.fromkeys(item.step for item in rests))
            found.append(Extracted(body=resolve(summary, day), origin=origin, steps=steps))
        return found


class ModelMerger:
    """Asks a model whether to merge, where the rules see neither a repetition nor a change.

    Counted are `merge_unparsed` (the rules take over) and `merge_refused`: merges of what the rules know to contradict each other, or whose
    text brings numbers, dates, names or persons of its own.

    Args:
        ask: Asks the model.
        count: Counts.
    """

    def __init__(self, ask: Ask, count: Count) -> None:
        self._ask, self._count = ask, count
        self._rules = RuleMerger()

    async def decide(self, candidate: Record, neighbours: Sequence[Record]) -> Decision:
        """See `reflectory.memory.merge.Merger`."""
        others = [item.body for item in neighbours]
        ruled = self._rules.judge(candidate.body, others)
        if ruled.act in ("same", "update"):
            return ruled
        lines = "\n".join(f"[{number}] {' '.join(body.split())}" for number, body in enumerate(others))
        read = parse_update(await self._ask("merger", prompt("update").format(candidate=candidate.body, neighbours=lines)), len(others))
        if read is None:
            self._count("merge_unparsed")
            return ruled
        if read.act == "merge":
            other = others[read.index]
            if updates(candidate.body, other) or not agrees(read.text, [candidate.body, other]):
                self._count("merge_refused")
                return ruled
        return read


def parse_extraction(text: str) -> list[tuple[str, list[int]]] | None:
    """Read an extractor's answer.

    Args:
        text: The model's answer; JSON may stand anywhere in it, also in a code fence or after thoughts.

    Returns:
        (summary, references), empty for NO_TRAIT; None when it cannot be read.
    """
    for value in _json_values(text):
        items = value.get("extracted_memories") if isinstance(value, dict) else value
        if isinstance(items, list) and all(isinstance(item, dict) and isinstance(item.get("summary"), str) for item in items):
            read = [(" ".join(item["summary"].split()), _references(item.get("reference"))) for item in items]
            return [(summary, references) for summary, references in read if summary]
    return [] if re.search(r"\bno_trait\b", text, re.IGNORECASE) else None


def parse_update(text: str, neighbours: int) -> Decision | None:
    """Read a merger's answer: its first line that is `Add()` or a `Merge` with an existing number and a text; None without one."""
    for line in text.splitlines():
        found = _MERGE.search(line)
        if found is not None:
            merged = found[2].strip().strip("\"'").strip()
            if int(found[1][:6]) < neighbours and merged:
                return Decision(act="merge", index=int(found[1]), text=merged)
        elif _ADD.search(line):
            return Decision(act="add")
    return None


def _json_values(text: str) -> list[Any]:
    """The JSON objects and arrays that begin somewhere in a text and are not part of an earlier one; at most `_STARTS` places are tried."""
    decoder, found, at = json.JSONDecoder(), [], 0
    for _ in range(_STARTS):
        begin = re.compile(r"[{\[]").search(text, at)
        if begin is None:
            break
        try:
            value, at = decoder.raw_decode(text, begin.start())
            found.append(value)
        except (ValueError, RecursionError):
            at = begin.end()
    return found


def _references(raw: object) -> list[int]:
    """Line numbers, whether given as numbers, texts like "[3]", or one of them alone."""
    items = raw if isinstance(raw, list) else [raw]
    return [int(number) for item in items if isinstance(item, int | str) for number in re.findall(r"\d{1,6}", str(item))]


def _borne_out(summary: str, rests: Sequence[Sentence]) -> bool:
    """Whether all numbers and names of a memory stand in the lines it rests on."""
    taken, text = meaning(summary), " ".join(item.text for item in rests)
    return taken.numbers <= meaning(text).numbers and {*taken.names} <= {*words(text)}
