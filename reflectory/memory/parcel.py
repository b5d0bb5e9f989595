"""Reading one line of an import. Nothing in it is trusted: not its form, not its numbers, not its kind, not where it says it comes from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from pydantic import ValidationError

from reflectory.errors import MemoryFault
from reflectory.memory.admit import ADVICE, DERIVED
from reflectory.memory.events import canonical
from reflectory.memory.items import DEEPEST, LONGEST, too_deep
from reflectory.memory.view import search_text
from reflectory.records import Origin, Record

#: Longest line, in characters (in bytes when read from a file).
LINE = 1 << 20
#: The years 1 to 9999 in seconds since 1970, a day less at both ends: anywhere on earth they have dates.
FIRST, LAST = -62_135_596_800 + 86_400, 253_402_300_800 - 86_400
_ADVICE = tuple(ADVICE)  # a tuple: looking up what cannot be hashed is no error
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Parcel:
    """One line that is in order.

    Attributes:
        line: Its number, from 1.
        record: The record as it will be stored, but for id and parents.
        claims: (kind, source) of the lineage it claims, or of the origin.
        given: The id it came with.
        was: The kind it came with.
        source: Where it comes from.
        item: What a store keeps beside the text; None for a record that is no item.
    """

    line: int
    record: Record
    claims: list[tuple[str, str]]
    given: str
    was: str
    source: str
    item: Mapping[str, Any] | None = None

    @property
    def texts(self) -> list[str]:
        """What is embedded."""
        texts = [search_text(self.record)]
        return texts if self.item is None else self.item.get("texts", texts)


def unpack(number: int, line: str | bytes, source: str) -> Parcel | None:
    """Read one line.

    Args:
        number: Its number.
        line: Anything at all; all but `body` may be left out.
        source: Where it comes from.

    Returns:
        What it holds; None for a blank line.

    Raises:
        ValueError: It is not a record, with the reason.
        RecursionError: It is nested too deeply.
    """
    value = _object(line)
    if value is None:
        return None
    claims, was, item = _claims(value.pop("lineage", [])), value.get("kind", "fact"), _item(value.pop("item", None))
    known = {key: part for key, part in value.items() if key not in DERIVED}
    own = Origin(kind="import", source=source)
    plain = {"id": "", "namespace": [], "origin": own.model_dump(), **known, "kind": "fact" if was in _ADVICE else was}
    record = _record(plain)
    if item is not None and (was != "fact" or record.task_key or record.situation_key):
        msg = "item: not a fact without task and place, as a store keeps them"
        raise ValueError(msg)
    claims = claims or ([] if record.origin == own else [(record.origin.kind, record.origin.source)])
    return Parcel(number, record, claims, record.id, was, source, item)


def _object(line: str | bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None for a blank one."""
    if len(line) > LINE:
        msg = f"longer than {LINE} characters"
        raise ValueError(msg)
    text = line.decode("utf-8") if isinstance(line, bytes) else line
    if not text.strip():
        return None
    value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    if not isinstance(value, dict) or _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        msg = "half of a surrogate pair: no text" if isinstance(value, dict) else "not an object"
        raise ValueError(msg)
    return value


def _record(fields: Mapping[str, Any]) -> Record:
    """A record with a text, and with times that a calendar knows."""
    try:
        record = Record.model_validate_json(canonical(fields), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        msg = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise ValueError(msg) from error
    except MemoryFault as error:
        raise ValueError(str(error)) from error
    if not record.body.strip():
        msg = "body: empty"
        raise ValueError(msg)
    for name in ("valid_from", "valid_to"):
        at = getattr(record, name)
        if at is not None and not FIRST <= at < LAST:
            msg = f"{name}: outside the years 1 to 9999"
            raise ValueError(msg)
    return record


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, each cut where it is longer than a good one can be: a hostile file must not fill the memory.

    Args:
        file: Open for reading bytes.

    Yields:
        Lines without their end.
    """
    while line := file.readline(LINE + 2):
        ended = line.endswith(b"\n")
        yield line.removesuffix(b"\n")
        while not ended and (rest := file.readline(LINE)):
            ended = rest.endswith(b"\n")


def _claims(value: Any) -> list[tuple[str, str]]:
    """The lineage a line claims, each pair a possible origin."""
    if not isinstance(value, list):
        msg = "lineage: not a list"
        raise ValueError(msg)
    try:
        origins = [Origin.model_validate({"kind": kind, "source": source}, strict=True) for kind, source in value]
    except (ValidationError, TypeError, ValueError) as error:
        msg = "lineage: not a list of [kind, source]"
        raise ValueError(msg) from error
    return [(origin.kind, origin.source) for origin in origins]


def _item(value: Any) -> Mapping[str, Any] | None:
    """A store's item as it would be written here; its end of life and its times are those it claims."""
    if value is None:
        return None
    forms: dict[str, Any] = {"key": str, "value": dict, "created": int, "updated": int, "ttl": int | float, "expires": int, "texts": list}
    fits = isinstance(value, dict) and {"key", "value", "created", "updated"} <= set(value) <= set(forms)
    fits = fits and all(isinstance(part, forms[name]) and not isinstance(part, bool) for name, part in value.items())
    if fits and too_deep(value["value"]):
        msg = f"item: nested more than {DEEPEST} deep"
        raise ValueError(msg)
    if not fits or not all(isinstance(text, str) for text in value.get("texts", ())) or not _times(value):
        msg = "item: not what a store keeps"
        raise ValueError(msg)
    return dict(value)


def _times(item: Mapping[str, Any]) -> bool:
    """Whether the times are of this and the next centuries, so that they have dates, and lifetimes are possible ones."""
    years = all(0 <= item.get(name, 0) < 1 << 53 for name in ("created", "updated", "expires"))
    return years and 0 <= item.get("ttl", 0) < LONGEST and ("ttl" in item) == ("expires" in item)


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON number"
    raise ValueError(msg)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        msg = f"{text[:40]} is no number that can be kept"
        raise ValueError(msg)
    return number
