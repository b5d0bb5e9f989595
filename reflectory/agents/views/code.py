"""Programming tasks as a conversation: the task, what was done and what came of it, and lessons of earlier attempts as data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from reflectory.agents.view import Lesson, Prompt, Turn
from reflectory.records import Hit, Message, Request, Task

_SYSTEM = """\
You solve programming tasks by giving one command at a time. Answer with one command and nothing else. The first line is the command:
write PATH - the file's new content on the following lines
edit PATH - then blocks of <<<<<<< SEARCH, old lines, =======, new lines, >>>>>>> REPLACE
read PATH [FROM-TO] - show a file
list - show the names of the files
python - code on the following lines, run by an interpreter that keeps its names
shell - commands on the following lines, run by a shell that keeps its folder
test - run the visible tests
submit - hand in; hidden tests decide, and the task is over
A program alone in a ```python block is written to solution.py and tested. Look at the tests before you submit."""
_REFLECT = """\
You look back at a programming attempt that failed. Write down what would help the next attempt, at most four lines, each one short
sentence on a line of its own: the mistake that was made, and the check that would have found it before it was handed in. Say it in your
own words; do not copy program output. Write nothing else."""
_WORD = re.compile(r"\w+")
#: What looks like a name of a program: in backquotes, or with an underscore, a dot or brackets in it.
_NAME = re.compile(r"`([^`\n]{2,60})`|\b([A-Za-z]\w*(?:[._]\w+)+|[A-Za-z]\w{2,}(?=\())")
#: So many words in a row that also stand in a program's output make a quotation.
_QUOTE = 5


class CodeView:
    """Instructions, the task, the latest turns in full and older ones shortened.

    Args:
        keep: At most so many of the latest turns are shown; the task always is.
        full: So many of them are shown in full.
        short: Longest action or output of an older turn, in characters.
        lessons: At most so many recalled lessons are shown, the best first.
    """

    def __init__(self, *, keep: int = 12, full: int = 3, short: int = 400, lessons: int = 6) -> None:
        self.keep, self.full, self.short, self.most = keep, full, short, lessons

    def query(self, task: Task, work: dict[str, Any] | None) -> str:
        """The beginning of the goal, which names the function and says what it does."""
        return task.goal[:600]

    def read_goal(self, turn: Turn) -> Request | None:
        """Never: the model reads the task itself."""
        return None

    def _messages(self, turn: Turn) -> list[Message]:
        """The conversation: task and lessons, then action and answer in turn; it ends with what the world said last."""
        lessons = "".join(f"- {hit.record.body}\n" for hit in turn.hits[: self.most])
        told = f"\n\nNotes of earlier attempts (data, may be wrong):\n{lessons}" if lessons else ""
        opening = turn.history[0][1] if turn.history else turn.observation.text
        messages = [Message(role="user", content=f"{opening}{told}".rstrip())]
        turns = turn.history[1:]
        kept = turns[-self.keep :]
        if len(kept) < len(turns):
            messages = _said(messages, "user", f"({len(turns) - len(kept)} earlier turns are left out.)")
        for number, (action, text) in enumerate(kept):
            whole = number >= len(kept) - self.full
            messages = _said(messages, "assistant", action if whole else _shortened(action, self.short))
            messages = _said(messages, "user", text if whole else _shortened(text, self.short))
        last = kept[-1][1] if kept else opening
        if turn.observation.text != last:  # a refusal is not in the history, but its words are read once
            messages = _said(messages, "user", turn.observation.text)
        return messages

    def solve(self, turn: Turn) -> Prompt:
        """The conversation so far; any text is an answer."""
        return Prompt(
            messages=(Message(role="system", content=_SYSTEM), *self._messages(turn)),
            choices=turn.observation.choices,
            shown=tuple(hit.record.id for hit in turn.hits[: self.most]),
            work=turn.work,
        )

    def reflect(self, turn: Turn, *, won: bool) -> Request | None:
        """After a failed attempt: the mistake, and the check that would have found it."""
        if won:
            return None
        said = [f"{'Agent' if message.role == 'assistant' else 'World'}:\n{message.content}" for message in self._messages(turn)]
        user = "\n\n".join([*said, "The attempt failed. Which mistake was made, and which check would have found it?"])
        messages = (Message(role="system", content=_REFLECT), Message(role="user", content=user))
        return Request(messages=messages, max_tokens=200, role="reflector", work=turn.work)

    def lessons(self, text: str, turn: Turn, *, won: bool) -> Sequence[Lesson]:
        """One lesson a line, bullets stripped; lines that quote what a program printed are not supported."""
        lines = (line.strip().lstrip("-*•0123456789. ").strip() for line in text.splitlines())
        printed = set(_printed(turn))
        return [Lesson(body=line, supported=not _runs(line) & printed) for line in dict.fromkeys(lines) if _WORD.search(line)]

    def cited(self, action: str, prompt: Prompt, hits: Sequence[Hit]) -> tuple[str, ...]:
        """Lessons that name something of a program (`strip()`, os.path, max_size) that stands in the action."""
        return tuple(
            hit.record.id
            for hit in hits
            if hit.record.id in prompt.shown
            and any((found[1] or found[2]).removesuffix("()") in action for found in _NAME.finditer(hit.record.body))
        )


def _said(messages: list[Message], role: str, content: str) -> list[Message]:
    """The conversation with one more message; two of the same speaker in a row are one."""
    if messages and messages[-1].role == role:
        return [*messages[:-1], messages[-1].model_copy(update={"content": f"{messages[-1].content}\n\n{content}"})]
    return [*messages, Message.model_validate({"role": role, "content": content})]


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3]}\n[… {len(text) - most} characters left out …]\n{text[-most // 3 :]}"


def _printed(turn: Turn) -> Iterator[tuple[str, ...]]:
    """Runs of words of what programs printed: all that was seen after the opening, where older origins are not known any more."""
    for _, text in turn.history[1:]:
        for line in text.splitlines():
            yield from _runs(line)
    for span in turn.observation.spans:
        if span.origin == "content":
            for line in span.text.splitlines():
                yield from _runs(line)


def _runs(line: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(line.casefold())
    return {tuple(words[start : start + _QUOTE]) for start in range(len(words) - _QUOTE + 1)}
