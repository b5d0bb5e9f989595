"""Long conversations with questions and the turns that answer them, in the format of LoCoMo.

The published conversations are evaluation data: they are read from where they lie and never shipped or trained into anything shipped.
Source: Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents" (ACL 2024).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflectory.errors import MissingDependency, ParseError
from reflectory.retrieval.documents import Document


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question.

    Attributes:
        text: What is asked.
        gold: Places of the turns that answer it, ascending; never empty.
    """

    text: str
    gold: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LabelledConversation:
    """A conversation.

    Attributes:
        name: The file's name without its ending.
        documents: Its turns in order; a session is a thread.
        questions: Those with at least one answering turn that exists.
    """

    name: str
    documents: tuple[Document, ...]
    questions: tuple[LabelledQuestion, ...]


def load_conversations(paths: Sequence[Path]) -> list[LabelledConversation]:
    """Read conversations.

    Args:
        paths: Files, or folders of `*.json` files.

    Returns:
        In the order given, a folder's files by name.

    Raises:
        MissingDependency: A path that is not there, or a folder without files.
        ParseError: A file of another form.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found or not found[0].is_file():
            msg = f"there are no conversations at {path}: give LoCoMo-format JSON files, or a folder of them."
            raise MissingDependency(msg)
        files.extend(found)
    return [_conversation(path) for path in files]


def _conversation(path: Path) -> LabelledConversation:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        documents, places = _turns(data)
        questions = [LabelledQuestion(str(item["question"]), _gold(item, places)) for item in data["qa"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = (
            f"{path} is not a LoCoMo-format conversation ({type(error).__name__}: {error}). It needs session_1, session_2, … as lists of "
            "{speaker, dia_id, text}, and qa as a list of {question, evidence}."
        )
        raise ParseError(msg) from error
    return LabelledConversation(path.stem, tuple(documents), tuple(question for question in questions if question.gold))


def _turns(data: Mapping[str, Any]) -> tuple[list[Document], dict[str, int]]:
    """All turns in order, and the place of each turn id."""
    documents: list[Document] = []
    places: dict[str, int] = {}
    numbers = sorted(int(key.removeprefix("session_")) for key in data if key.removeprefix("session_").isdecimal() and key != "qa")
    for number in numbers:
        time = _seconds(str(data.get(f"session_{number}_date_time", "")))
        for position, turn in enumerate(data[f"session_{number}"]):
            places[str(turn["dia_id"])] = len(documents)
            shares = f" [shares {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            text = f"{turn['speaker']}: {turn['text']}{shares}"
            documents.append(Document(text, speaker=str(turn["speaker"]), thread=str(number), position=(float(position),), time=time))
    if not documents:
        msg = "it has no session_1"
        raise ValueError(msg)
    return documents, places


def _gold(item: Mapping[str, Any], places: Mapping[str, int]) -> tuple[int, ...]:
    """Places of the evidence; ids that lead nowhere (the published data has nine) are left out."""
    return tuple(sorted({places[name] for name in item.get("evidence", ()) if name in places}))


def _seconds(text: str) -> float | None:
    """Seconds since 1970 (read as UTC) of "1:56 pm on 8 May, 2023"; None for anything else."""
    try:
        return datetime.datetime.strptime(text.strip(), "%I:%M %p on %d %B, %Y").replace(tzinfo=datetime.UTC).timestamp()
    except ValueError:
        return None
