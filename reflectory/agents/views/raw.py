"""The raw view: the transcript as it is, no tracker and no typed state; for honest comparison with LLM agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reflectory.agents.view import Lesson, Prompt, Turn
from reflectory.records import Hit, Message, Request, Task

_SYSTEM = "You act in a text world. Answer with one command and nothing else."
_REFLECT = (
    "Look back at this attempt. Write down what would help next time, one short sentence a line, only what you saw yourself: "
    "where things are, which commands did not work and what worked instead. Write nothing else."
)


class RawView:
    """Instructions, lessons, transcript.

    Args:
        keep: At most so many of the latest turns are shown; the first observation always is.
        lessons: At most so many recalled lessons are shown, the best first.
    """

    def __init__(self, *, keep: int = 40, lessons: int = 8) -> None:
        self.keep, self.most = keep, lessons

    def query(self, task: Task, work: dict[str, Any] | None) -> str:
        """The goal as it is written."""
        return str((work or {}).get("sentence") or task.goal)

    def read_goal(self, turn: Turn) -> Request | None:
        """Never: the model reads the sentence itself."""
        return None

    def _transcript(self, turn: Turn) -> str:
        turns = turn.history[:1] + turn.history[1:][-self.keep :]
        if turns and turns[-1][1] != turn.observation.text:  # a refusal is not in the history, but its words are read once
            turns = (*turns, ("", turn.observation.text))
        return "".join(self.script([hit.record.body for hit in turn.hits], turns))

    def script(self, lessons: Sequence[str], turns: Sequence[tuple[str, str]]) -> list[str]:
        """The transcript in parts: text, action, text, action, …, text.

        Args:
            lessons: Recalled sentences, best first; the first few are shown.
            turns: (action, observation text) pairs; the opening has no action.
        """
        shown = "".join(f"- {body}\n" for body in lessons[: self.most])
        parts = [f"What earlier attempts noted (may be wrong):\n{shown}\n" if shown else ""]
        for action, text in turns:
            if action:
                parts[-1] += "> "
                parts += [action, "\n"]
            parts[-1] += f"{text}\n"
        return parts

    def solve(self, turn: Turn) -> Prompt:
        """The transcript so far; the choices are the admissible commands, where the world knows them."""
        user = Message(role="user", content=f"{self._transcript(turn)}> ")
        return Prompt(
            messages=(Message(role="system", content=_SYSTEM), user),
            choices=turn.observation.choices,
            shown=tuple(hit.record.id for hit in turn.hits[: self.most]),
            work=turn.work,
        )

    def reflect(self, turn: Turn, *, won: bool) -> Request | None:
        """The transcript, its end, and the question."""
        end = "The task was solved." if won else "The task was not solved."
        messages = (Message(role="system", content=_REFLECT), Message(role="user", content=f"{self._transcript(turn)}\n{end}"))
        return Request(messages=messages, max_tokens=200, role="reflector", work=turn.work)

    def lessons(self, text: str, turn: Turn, *, won: bool) -> Sequence[Lesson]:
        """One lesson a line, bullets stripped; empty lines are none."""
        lines = (line.strip().lstrip("-*•0123456789. ").strip() for line in text.splitlines())
        return [Lesson(body=line) for line in dict.fromkeys(lines) if line]

    def cited(self, action: str, prompt: Prompt, hits: Sequence[Hit]) -> tuple[str, ...]:
        """Lessons that contain the action's object word for word."""
        name = action.rpartition(" to ")[2].rpartition(" from ")[2].strip()
        return tuple(hit.record.id for hit in hits if len(name) > 3 and name in hit.record.body and hit.record.id in prompt.shown)
