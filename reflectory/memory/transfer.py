"""Taking in records from somewhere else. Nothing in a line is trusted: not its form, not its kind, not its id, not its trust."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from reflectory.errors import MemoryFault
from reflectory.memory.admit import ADVICE, content_id, normal, same_place
from reflectory.memory.corpus import embed
from reflectory.memory.events import canonical
from reflectory.memory.replica import Replica
from reflectory.memory.state import State
from reflectory.memory.view import search_text
from reflectory.protocols import Embedder
from reflectory.records import Origin, Record

#: Longest line, in characters (in bytes when read from a file); trust at most; refused lines named in a report at most.
LINE, TRUST, NAMED = 1 << 20, 0.5, 1000
#: Fields the journal counts itself: read over, not taken over.
_DERIVED = ("revision", "seq", "shown", "cited", "helped", "harmed")
_ADVICE = tuple(ADVICE)  # a tuple: looking up what cannot be hashed is no error
_HASH = re.compile(r"[0-9a-f]{24}|i[0-9a-f]{23}")  # the forms of `content_id` and `item_id`
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Parcel:
    """One line that is in order.

    Attributes:
        line: Its number, from 1.
        record: The record as it will be stored, but for id and parents.
        claims: (kind, source) of the lineage it claims.
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


def take_in(replica: Replica, embedder: Embedder, lines: Iterable[str | bytes], source: str) -> dict[str, Any]:
    """Store the good lines in one commit and report the others.

    Every record gets the origin import:SOURCE in its lineage, a trust of at most `TRUST`, and the kind `fact` when it was advice. Its id
    is kept when it is free and cannot be mistaken for the hash of another text; else it is derived from the content. A text that is here
    already is left alone: an import neither taints nor changes what the memory knows.

    Args:
        replica: The memory to write.
        embedder: Makes the vectors; those of an export are never read.
        lines: Text or UTF-8; blank ones count and are skipped.
        source: Where they come from.

    Returns:
        Numbers of `lines` read, records `imported` and `known` already; of these records, how many were `demoted` to facts (their event
        says what they were) and `renamed`; `orphans`: parents that are in neither place; `refused` lines; `why`: [[line, reason], …] for
        the first `NAMED` of those; `seq` afterwards.

    Raises:
        MemoryFault: An empty source, or the journal cannot be written.
    """
    if not source.strip():
        msg = "an import needs a source: whoever reads its records later must see where they came from. Give a file name or a host."
        raise MemoryFault(msg)
    parcels: list[Parcel] = []
    refused: list[list[Any]] = []
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            parcel = unpack(number, line, source)
        except (ValueError, RecursionError) as error:
            refused.append([number, " ".join(str(error).split())[:200]])
        else:
            parcels += [] if parcel is None else [parcel]
    redactor = replica.journal.redactor
    if redactor is not None:
        parcels = [replace(one, record=redactor.record(one.record), item=one.item and redactor.payload(dict(one.item))) for one in parcels]
    texts = list(dict.fromkeys(text for parcel in parcels for text in parcel.texts))
    vectors = dict(zip(texts, embed(embedder, texts), strict=True)) if texts else {}
    counted: Counter[str] = Counter()
    with replica.writing():
        ids: dict[str, str] = {}
        begun = replica.view.seq
        for parcel in _parents_first(parcels):
            counted.update(_keep(replica, parcel, ids, begun, [vectors[text] for text in parcel.texts]))
        seq = replica.view.seq
    numbers = {name: counted[name] for name in ("imported", "known", "demoted", "renamed", "orphans")}
    return {"lines": number, **numbers, "refused": len(refused), "why": refused[:NAMED], "seq": seq}


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
    if len(line) > LINE:
        msg = f"longer than {LINE} characters"
        raise ValueError(msg)
    text = line.decode("utf-8") if isinstance(line, bytes) else line
    if not text.strip():
        return None
    value = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(value, dict) or _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        msg = "half of a surrogate pair: no text" if isinstance(value, dict) else "not an object"
        raise ValueError(msg)
    claims, was, item = _claims(value.pop("lineage", [])), value.get("kind", "fact"), _item(value.pop("item", None))
    known = {key: item for key, item in value.items() if key not in _DERIVED}
    default = {"id": "", "namespace": [], "origin": {"kind": "import", "source": source}}
    try:
        plain = canonical({**default, **known, "kind": "fact" if was in _ADVICE else was})
        record = Record.model_validate_json(plain, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        msg = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise ValueError(msg) from error
    except MemoryFault as error:
        raise ValueError(str(error)) from error
    if not record.body.strip():
        msg = "body: empty"
        raise ValueError(msg)
    return Parcel(number, record, claims, record.id, was, source, item)


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


def _keep(replica: Replica, parcel: Parcel, ids: dict[str, str], begun: int, vectors: Sequence[NDArray[np.float32]]) -> Counter[str]:
    """Store one record, unless its text is here already.

    Args:
        replica: The memory, being written.
        parcel: What to store.
        ids: Ids of the import → ids here; gets this one's.
        begun: The position before the import: parents from before it pass on their lineage, those of the import say theirs themselves.
        vectors: Of its texts, each of shape (dim,).

    Returns:
        What to count.
    """
    parents = [ids.get(parent, parent) for parent in parcel.record.parents]
    found = {parent: state for parent in parents if (state := _state(replica, parent)) is not None}
    trust = min([parcel.record.trust, TRUST, *(state.record.trust for state in found.values())])
    record = parcel.record.model_copy(update={"trust": trust, "parents": tuple(found)})
    record_id, known = _choose_id(replica, parcel, record)
    if parcel.given:
        ids[parcel.given] = record_id
    if known:
        return Counter(known=1)
    inherited = [(origin.kind, origin.source) for state in found.values() if state.text <= begun for origin in state.lineage]
    own = parcel.claims or [(record.origin.kind, record.origin.source)]
    lineage = [list(pair) for pair in dict.fromkeys([("import", parcel.source), *own, *inherited])]
    fields = record.model_dump(mode="json", exclude={"id", *_DERIVED})
    note = {"source": parcel.source, "line": parcel.line, "id": parcel.given, "kind": parcel.was}
    item = {} if parcel.item is None else {"item": parcel.item}
    vector = np.concatenate(vectors) if vectors else None
    replica.append("add", record_id, {"record": fields, "lineage": lineage, "imported": note, **item}, vector)
    return Counter(
        imported=1,
        demoted=parcel.was != record.kind,
        renamed=parcel.given not in ("", record_id),
        orphans=len(parents) - len([parent for parent in parents if parent in found]),
    )


def _choose_id(replica: Replica, parcel: Parcel, record: Record) -> tuple[str, bool]:
    """The id to store under, and whether the text is there already: the given id, the content's, or one of the content in this import."""
    if parcel.item is not None:
        from reflectory.memory.store_items import item_id  # brings LangGraph's store along, so only where an item comes

        item = item_id(record.namespace, parcel.item["key"])
        return item, item in replica.view.histories and _state(replica, item) is not None
    derived = content_id(record)
    given = [parcel.given] if _may_stay(parcel, derived) else []
    salted = (hashlib.sha256(f"{derived}|{parcel.source}|{number}".encode()).hexdigest()[:24] for number in itertools.count())
    for candidate in itertools.chain(given, [derived], salted):
        history = replica.view.histories.get(candidate)
        last = None if history is None else history.last()
        if last is None:
            return candidate, False
        if same_place(record, last.record) and normal(last.record.body) == normal(record.body):
            return candidate, _state(replica, candidate) is not None
    raise AssertionError  # the numbers never end


def _may_stay(parcel: Parcel, derived: str) -> bool:
    """Whether the given id could stay: one that looks like a hash would keep another text from being stored under its own."""
    given = parcel.given
    return bool(given) and len(given) <= 200 and given.isprintable() and (given == derived or not _HASH.fullmatch(given))


def _state(replica: Replica, record_id: str) -> State | None:
    history = replica.view.histories.get(record_id)
    return None if history is None else history.state(replica.view.seq)


def _parents_first(parcels: Sequence[Parcel]) -> list[Parcel]:
    """The parcels in their order, but each after its parents; a ring is cut where it is met first."""
    by_id = {parcel.given: parcel for parcel in reversed(parcels) if parcel.given}
    entered: set[int] = set()
    ordered: list[Parcel] = []
    for start in parcels:
        stack = [(start, False)]
        while stack:
            parcel, left = stack.pop()
            if left:
                ordered.append(parcel)
            elif parcel.line not in entered:
                entered.add(parcel.line)
                stack.append((parcel, True))
                stack.extend((by_id[parent], False) for parent in reversed(parcel.record.parents) if parent in by_id)
    return ordered


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
    if not fits or not all(isinstance(text, str) for text in value.get("texts", ())) or not _times(value):
        msg = "item: not what a store keeps"
        raise ValueError(msg)
    return dict(value)


def _times(item: Mapping[str, Any]) -> bool:
    """Whether the times are of this and the next centuries, so that they have dates, and lifetimes are possible ones."""
    years = all(0 <= item.get(name, 0) < 1 << 53 for name in ("created", "updated", "expires"))
    return years and 0 <= item.get("ttl", 0) < 1e9 and ("ttl" in item) == ("expires" in item)


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON number"
    raise ValueError(msg)
