"""Text files cut into passages: by headings and paragraphs, with line numbers and some overlap."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

#: A longer one is a paragraph: every passage below it repeats it.
_HEADING = re.compile(r"(#{1,6})\s+(\S.{0,198})")
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a text.

    Attributes:
        source: Where it stands: a path below the folder, or a document's name.
        first: Its first line, from 1.
        last: Its last line.
        headings: Headings above all of it, outermost first, as "A > B"; "" for none.
        text: Its lines.
    """

    source: str
    first: int
    last: int
    headings: str
    text: str

    @property
    def searched(self) -> str:
        """What is indexed: the headings above and the text."""
        return f"{self.headings}\n{self.text}" if self.headings else self.text


@dataclass(slots=True)
class _Block:
    """Lines that belong together: a paragraph, or a piece of a long one; `size` counts characters, one for the end of each line."""

    first: int
    lines: list[str]
    headings: tuple[str, ...]
    size: int

    @property
    def last(self) -> int:
        return self.first + len(self.lines) - 1


def passages(source: str, text: str, *, size: int = 1200, overlap: int = 200) -> Iterator[Passage]:
    """Cut a text.

    A passage ends where a heading begins, unless it would be shorter than a sixth of `size`; and where the next paragraph would make it
    longer than `size`: then the next one repeats the paragraphs (or lines) at its end that fit into `overlap`, if no heading begins. A
    line longer than `size` is cut into pieces that share its number.

    Args:
        source: Name of the text.
        text: Plain text or Markdown.
        size: Characters of a passage.
        overlap: Characters two neighbours may share.

    Yields:
        In order, each made when it is asked for; every line that is not blank is in at least one.
    """
    held: list[_Block] = []
    room = size
    for block in _blocks(text, size):
        begins = bool(held) and block.headings != held[-1].headings
        if held and (block.size > room or (begins and size - room >= size // 6)):
            yield _passage(source, held)
            held = [] if begins else _tail(held, min(overlap, size - block.size))
            room = size - sum(part.size for part in held)
        held.append(block)
        room -= block.size
    if held:
        yield _passage(source, held)


def _blocks(text: str, size: int) -> Iterator[_Block]:
    """Paragraphs with their headings; long ones in pieces of at most `size` characters."""
    block: _Block | None = None
    headings: tuple[str, ...] = ()
    fenced, open_ = False, False
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        heading = None if fenced else _HEADING.fullmatch(line.rstrip())
        if _FENCE.match(line):
            fenced = not fenced
        if heading:
            headings = (*headings[: len(heading[1]) - 1], heading[2])
        if not line.strip():
            open_ = False
            continue
        for start in range(0, len(line), size):
            piece = line[start : start + size]
            if block is None or not open_ or heading or block.size + len(piece) + 1 > size:
                if block is not None:
                    yield block
                block = _Block(number, [], headings, 0)
            block.lines.append(piece)
            block.size += len(piece) + 1
            open_ = start + size >= len(line)
    if block is not None:
        yield block


def _tail(held: list[_Block], room: int) -> list[_Block]:
    """The blocks, or the lines of the last one, at the end that fit into so many characters."""
    kept: list[_Block] = []
    for block in reversed(held):
        if block.size > room:
            if not kept:
                kept = _last_lines(block, room)
            break
        kept.insert(0, block)
        room -= block.size
    return kept


def _last_lines(block: _Block, room: int) -> list[_Block]:
    count = 0
    for line in reversed(block.lines):
        room -= len(line) + 1
        if room < 0:
            break
        count += 1
    if not count:
        return []
    kept = block.lines[-count:]
    return [_Block(block.first + len(block.lines) - count, kept, block.headings, sum(len(line) + 1 for line in kept))]


def _passage(source: str, held: list[_Block]) -> Passage:
    text = "\n".join(held[0].lines)
    for before, after in itertools.pairwise(held):
        gap = after.first - before.last  # 0: pieces of one line, 1: of one paragraph
        text += "\n" * min(gap, 2) + "\n".join(after.lines)
    levels = zip(*(block.headings for block in held), strict=False)  # down to the deepest that all have
    above = [names[0] for names in itertools.takewhile(lambda names: len(set(names)) == 1, levels)]
    return Passage(source, held[0].first, held[-1].last, " > ".join(above), text)
