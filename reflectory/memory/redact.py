"""Keys and tokens are replaced before they reach the journal: what is written there stays for ever.

Conservative on purpose: a form must be unmistakable (a vendor's prefix, a key block, a URL with a password, an assignment to a name that
means a secret). Hashes, record ids and sentences that only talk about passwords stay as they are.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any, Final

from reflectory.errors import MemoryFault
from reflectory.records import Record

_NAMES = "id namespace kind task_key situation_key steps parents status by seq records shown cited name key"
#: Fields of a payload, its record and its item that other things are found by; a replaced name would find nothing.
NAMES: frozenset[str] = frozenset(_NAMES.split())
_PEM = r"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_NAME = (
    r"(?<![\w.-])(?i:(?:[a-z0-9]+[_.-])*(?:passwd|password|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|"
    r"private[_-]?key|auth[_-]?key|client[_-]?secret|credentials?)(?:[_-](?:key|value))?)"
)
_OPEN = r"[^\s\"'\\&;,<>{}$*\[\]()]"  # what an unquoted value is made of: no quotes, no placeholders
_PATTERNS: Final = (
    ("private_key", rf"-----BEGIN {_PEM}(?:(?!-----END)[^\"])*(?:-----END {_PEM})?"),
    ("jwt", r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    ("aws_key", r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    ("github_token", r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})(?![A-Za-z0-9])"),
    ("gitlab_token", r"(?<![\w-])gl(?:pat|dt|rt|ptt)-[\w-]{20,}"),
    ("slack_token", r"(?<![A-Za-z0-9])(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{20,})"),
    ("slack_hook", r"hooks\.slack\.com/(?:services|workflows)/(?P<value>[\w/]{20,})"),
    ("api_key", r"(?<![\w-])(?P<random>(?:sk|rk|pk)[_-][\w-]{20,})"),
    ("google_key", r"(?<![\w-])AIza[\w-]{35}(?![\w-])"),
    ("hf_token", r"(?<![A-Za-z0-9])hf_[A-Za-z]{34}(?![A-Za-z0-9])"),
    ("npm_token", r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    ("pypi_token", r"(?<![A-Za-z0-9])pypi-AgE[\w-]{50,}"),
    ("authorization", r"(?i:authorization)[\"']?\s*[:=]\s*[\"']?(?i:bearer|basic|token)\s+(?P<value>[\w.~+/=-]{6,})"),
    ("bearer", r"(?<!\w)(?i:bearer)\s+(?P<random>[\w.~+/-]{20,}=*)"),
    ("url_password", r"(?<![\w+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:@/\"'\\<>\[]{0,256}:(?P<value>[^\s@/\"'\\<>\[]{1,256})@"),
    ("password", rf"{_NAME}=(?P<value>{_OPEN}{{4,}})"),
    ("password", rf"{_NAME}[\"']?\s*(?::=|=>|=|:)\s*[\"'](?P<value>[^\s\"'\\<>{{}}$*\[\]]{{4,}})[\"']"),
    ("password", rf"{_NAME}\s*[=:]\s+(?P<mixed>{_OPEN}{{6,}})"),
    ("secret", r"(?<![\w.-])(?i:[\w.-]{0,40}(?:key|token|secret|auth))[\"']?\s*[=:]\s*[\"']?(?P<random>[\w+/=-]{24,})"),
)
_FORMS: Final = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)
#: A text without any of these holds none of the forms: most texts end here.
_HINT = re.compile(
    r"-----BEGIN|eyJ|AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat_|gl(?:pat|dt|rt|ptt)-|xox|xapp-|hooks\.slack|[srp]k[_-]|AIza|hf_|npm_|pypi-|"
    r"://|(?i:bearer\s|(?:pass|pwd|secret|token|key|credential|auth)\w{0,40}[\"']?\s*[:=])"  # bounded: linear time
)
_SECRET: Final = re.compile(rf"{_NAME}s?")
#: Names of secrets below which a number is more likely a count, and of lists below which words are more likely words.
_COUNTED: Final = re.compile(r"(?i:.*(?:token.*|keys?))", re.DOTALL)
_DONE: Final = re.compile(r"\[redacted:\w+\]")
#: A shorter text or number below a secret's name is a placeholder.
SHORTEST = 4
#: What lies below a name: nothing secret; secret are words of letters and digits; texts; texts and numbers.
_OPEN_TO_ALL, _MIXED, _TEXTS, _ALL = range(4)
#: Shortest run of letters and digits, and bits per character in it, that is taken for random.
RUN, ENTROPY = 16, 3.2


class Redactor:
    """Replaces what it takes for a secret by `[redacted:KIND]`, and counts.

    Attributes:
        found: How many were replaced, by kind.
    """

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """A text without its secrets; applying it twice is the same as once.

        Args:
            text: Anything.

        Returns:
            The text itself where nothing was found.
        """
        before = None
        while text != before and _HINT.search(text) is not None:  # what is replaced may uncover the edge of another
            before = text
            for kind, pattern in _FORMS:
                text = pattern.sub(lambda match, kind=kind: self._replace(kind, match), text)  # type: ignore[misc]
        return text

    def record(self, record: Record) -> Record:
        """A record without secrets in what is searched, before its id and its vector are made of it."""
        body, when_to_use = self.text(record.body), self.text(record.when_to_use)
        same = body == record.body and when_to_use == record.when_to_use
        return record if same else record.model_copy(update={"body": body, "when_to_use": when_to_use})

    def payload(self, payload: dict[str, Any]) -> dict[str, Any]:
        """An event's payload with every text cleaned, but for the fields in `NAMES`.

        Args:
            payload: JSON values; left as they are, what changes is copied.

        Raises:
            MemoryFault: They are nested too deeply.
        """
        try:
            return {
                key: self.payload(item)
                if key in ("record", "item") and isinstance(item, dict)
                else item
                if key in NAMES
                else self._deep(item)
                for key, item in payload.items()
            }
        except RecursionError as error:
            msg = "cannot write this to the memory: it is nested too deeply. Flatten it, or keep it as one text."
            raise MemoryFault(msg) from error

    def _deep(self, value: Any, below: int = _OPEN_TO_ALL) -> Any:
        """A value of any form; `below` says what names above it make of it."""
        if isinstance(value, dict):
            return self._mapping(value, below)
        if isinstance(value, list | tuple):
            return [self._deep(item, below) for item in value]
        text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) and below == _ALL else value
        if not isinstance(text, str):
            return value
        hidden = below >= _TEXTS or (below == _MIXED and _mixed(text))
        if not hidden or len(text) < SHORTEST or _DONE.fullmatch(text):
            return self.text(value) if isinstance(value, str) else value
        self.found["password"] += 1
        return "[redacted:password]"

    def _mapping(self, mapping: dict[Any, Any], below: int) -> dict[Any, Any]:
        """A mapping, its keys cleaned too; keys that become the same are numbered."""
        clean: dict[Any, Any] = {}
        for key, item in mapping.items():
            name, number = self.text(key) if isinstance(key, str) else key, 1
            while name in clean:
                number += 1
                name = f"{self.text(str(key))} ({number})"
            clean[name] = self._deep(item, max(below, _meant(key)))
        return clean

    def _replace(self, kind: str, match: re.Match[str]) -> str:
        name = next(iter(match.groupdict()), None)
        whole = match[0]
        if (name == "random" and not random_looking(match[name])) or (name == "mixed" and not _mixed(match[name])):
            return whole
        self.found[kind] += 1
        start, end = (0, len(whole)) if name is None else (match.start(name) - match.start(), match.end(name) - match.start())
        return f"{whole[:start]}[redacted:{kind}]{whole[end:]}"


def _meant(name: Any) -> int:
    """What a name of a mapping makes of what is below it."""
    if not isinstance(name, str) or _SECRET.fullmatch(name) is None:
        return _OPEN_TO_ALL
    return _MIXED if name.lower().endswith("tokens") else _TEXTS if _COUNTED.fullmatch(name) else _ALL


def random_looking(text: str) -> bool:
    """Whether a word looks drawn by chance: letters and digits, and a long run of them without the repetitions of language.

    Args:
        text: Without white space. Hexadecimal runs are hashes and ids, not secrets.
    """
    return _mixed(text) and any(len(run) >= RUN and not _HEX.fullmatch(run) and _entropy(run) >= ENTROPY for run in _RUNS.findall(text))


_RUNS = re.compile(r"[A-Za-z0-9]+")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")


def _mixed(text: str) -> bool:
    return any(character.isdigit() for character in text) and any(character.isalpha() for character in text)


def _entropy(text: str) -> float:
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())
