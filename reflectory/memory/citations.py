"""Which of the numbered memories an answer says it used.

Method: RMM (arXiv 2503.08026), citations as [i] or [i, j], [NO_CITE] for none. All groups count, not only the first. From actions no text
has to be read: a recalled place that was used is a citation as well, and whoever knows the world reports it.
"""

from __future__ import annotations

import re

#: Code, where brackets mean something else; an unclosed fence reaches to the end.
_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`", re.DOTALL)
_ITEM = r"\d{1,9}(?:\s*[-\u2013\u2014]\s*\d{1,9})?"
_BODY = rf"{_ITEM}(?:\s*(?:[,;&]|\band\b)\s*{_ITEM})*\s*[,;]?"
#: A bracket that holds numbers only. Not a link `[1](…)`, its definition `[1]: …`, an image `![1]`, or escaped.
_GROUP = re.compile(rf"(?<![\\!])\[\s*(?P<body>{_BODY}|no[_ ]cite)\s*\](?!\()", re.IGNORECASE)
_DEFINITION = re.compile(r"^[ \t]*\[[^\]\n]*\]:\s*\S.*$", re.MULTILINE)
#: A reference link `[text][1]`, where the text is no citation itself.
_REFERENCE = re.compile(r"\[[^\[\]\n]*[^\W\d][^\[\]\n]*\]\[\s*\d+\s*\]")
_NUMBERS = re.compile(r"(\d{1,9})(?:\s*[-\u2013\u2014]\s*(\d{1,9}))?")


def parse_citations(text: str, shown: int) -> tuple[int, ...]:
    """Read an answer's citations.

    Args:
        text: The answer, citing by number from 1: `[1]`, `[1, 3]`, `[2][4]`, `[2-4]`. `[NO_CITE]` is none; so are numbers nobody was shown,
            repetitions, and brackets in code or links.
        shown: How many memories were shown.

    Returns:
        Places in what was shown, counted from 0, in the order first cited.
    """
    cited: dict[int, None] = {}
    for group in _groups(text):
        for first, last in _NUMBERS.findall(group["body"]):
            begin, end = int(first), int(last or first)
            cited.update(dict.fromkeys(number - 1 for number in range(max(begin, 1), min(end, shown) + 1)))
    return tuple(cited)


def without_citations(text: str) -> str:
    """An answer without its citations and the white space before them; code and links stay as they are."""
    kept, end = [], 0
    for group in _groups(text):
        kept.append(text[end : group.start()].rstrip())
        end = group.end()
    return "".join([*kept, text[end:]]).strip()


def _groups(text: str) -> list[re.Match[str]]:
    """All citations outside code and links."""
    return list(_GROUP.finditer(_REFERENCE.sub(_blank_link, _DEFINITION.sub(_blank, _CODE.sub(_blank, text)))))


def _blank(found: re.Match[str]) -> str:
    """Something of the same length that is no citation: places in the text stay what they are."""
    return "\x00" * len(found[0])


def _blank_link(found: re.Match[str]) -> str:
    # `[NO_CITE][1]` has letters in its first bracket and is no link.
    return found[0] if _GROUP.match(found[0]) else _blank(found)
