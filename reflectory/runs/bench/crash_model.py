"""What a memory should hold, in a plain dictionary, and the operations that lead there: the oracle of the crash benchmark."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass, field
from typing import Any, cast

from langgraph.store.base import PutOp

from reflectory.memory import JournalMemory, MemoryStore
from reflectory.memory.store import Mark
from reflectory.memory.store_items import item_id
from reflectory.records import Origin, Record

#: (name, number, id of the record it is about, text): all that is needed to perform it and to say what it should do.
Operation = tuple[str, int, str, str]
#: Operations that change what a memory holds, in the order in which they are gone through.
CHANGES = (
    "record put batch merge revise cite quarantine promote revoke forget learn snapshot rollback undo together import drop puts".split()  # noqa: SIM905
)
#: Operations that must change nothing.
UPKEEP = ("rebuild", "close", "migrate")
#: Where the items of the store are.
SPACE = ("bench",)
#: Operations that write one event, so that `undo` of the newest event takes them back.
_SINGLE = frozenset({"record", "merge", "revise", "cite", "quarantine", "promote", "revoke", "forget", "learn", "rollback", "put", "drop"})
_STATUS = {"quarantine": "quarantined", "promote": "active", "revoke": "revoked"}
_WORDS = "apple bread cabinet drawer fridge lamp mug plate shelf sink soap stove table towel vase window".split()  # noqa: SIM905


@dataclass
class Model:
    """What should be in a memory.

    Attributes:
        records: By id: body, status, shown, cited, sources.
        learned: By name.
        names: Named copies of the two above.
        before: The two above before the newest event; None when undoing it is not foreseen here.
        keys: Keys of the store's items by id of their record, those that are gone included.
    """

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    learned: dict[str, Any] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    before: Any = None
    keys: dict[str, str] = field(default_factory=dict)

    def after(self, operation: Operation) -> Model:
        """A copy with an operation done."""
        other = copy.deepcopy(self)
        other.apply(operation)
        return other

    def apply(self, operation: Operation) -> None:
        """Do an operation; one that was done already changes nothing when it is a `record` or `batch`."""
        name, number, record_id, text = operation
        kept = copy.deepcopy((self.records, self.learned))
        if name in ("record", "batch", "import"):
            for part in range(1 if name == "record" else 3):
                source = ["import:bench", f"world:bench/world:e{number}"] if name == "import" else [f"world:e{number}"]
                new = {"body": f"{text} {part}", "status": "active", "shown": 0, "cited": 0, "sources": sorted(source)}
                self.records.setdefault(f"{record_id}-{part}", new)
        elif name in ("put", "puts"):
            self._put([record_id] if name == "put" else [f"{record_id}-{part}" for part in range(3)], text)
        elif name in ("merge", "revise"):
            entry = self.records[record_id]
            entry["sources"] = sorted({*entry["sources"], f"world:e{number}"})
            entry["body"] = entry["body"] if name == "merge" else text
        elif name in ("rollback", "undo"):
            self.records, self.learned = copy.deepcopy(self.names[text] if name == "rollback" else self.before)
        elif name == "snapshot":
            self.names[text] = kept
        elif name not in UPKEEP:
            self._touch(name, number, record_id, text)
        repeated = name in ("record", "batch") and kept[0] == self.records  # writes no event
        if name not in UPKEEP and not repeated:
            self.before = kept if name in _SINGLE else None

    def _put(self, keys: list[str], text: str) -> None:
        for key in keys:
            new = {"body": f"{text} {key}", "status": "active", "shown": 0, "cited": 0, "sources": ["import:store"]}
            self.keys[item_id(SPACE, key)] = key
            self.records.setdefault(item_id(SPACE, key), new)["body"] = new["body"]

    def _touch(self, name: str, number: int, record_id: str, text: str) -> None:
        if name == "learn":
            self.learned["weights"] = [number, text]
        elif name in ("forget", "drop"):
            del self.records[record_id if name == "forget" else item_id(SPACE, record_id)]
        elif name in _STATUS:
            self.records[record_id]["status"] = _STATUS[name]
        elif name == "cite":
            self.records[record_id]["shown"] += 1
            self.records[record_id]["cited"] += 1
        else:  # together
            self.apply(("record", number, f"t{number}", text))
            self._touch("quarantine", number, record_id, text)
            self._touch("cite", number, f"t{number}-0", text)

    def seen(self) -> dict[str, Any]:
        """What `observe` of the benchmark should find, as JSON values."""
        return {"records": self.records, "learned": self.learned, "snapshots": sorted(self.names)}

    def choose(self, name: str, number: int, rng: random.Random) -> Operation:
        """An operation of a kind, with arguments that make sense here; a `record` where none do."""
        text = f"{' '.join(rng.choices(_WORDS, k=rng.randint(2, 12)))} {number}"
        ids = sorted(self.records)
        # The store refuses to write over what is quarantined, and begins anew over what is revoked: only active items are chosen.
        items = [self.keys[record_id] for record_id in ids if record_id in self.keys and self.records[record_id]["status"] == "active"]
        if name in ("merge", "revise"):  # items are changed through the store alone
            ids = [record_id for record_id in ids if record_id not in self.keys]
        if name in ("put", "puts", "drop"):
            known = items and (name == "drop" or (name == "put" and rng.random() < 0.5))
            return "put" if name == "drop" and not items else name, number, rng.choice(items) if known else f"k{number}", text
        if name == "rollback" and self.names:
            return name, number, "", rng.choice(sorted(self.names))
        if name == "snapshot":
            return name, number, "", f"s{number}"
        if (name == "undo" and self.before is not None) or name in UPKEEP or name == "learn":
            return name, number, "", text
        if name in ("merge", "revise", "cite", "forget", "together", *_STATUS) and ids:
            return name, number, rng.choice(ids), text
        return name if name in ("batch", "import") else "record", number, f"r{number}", text


def perform(memory: JournalMemory, operation: Operation) -> None:
    """Do an operation through the memory's own methods.

    Args:
        memory: Open for writing.
        operation: Any but `migrate`, which opening does.
    """
    name, number, record_id, text = operation
    if name in ("record", "batch"):
        memory.record([_record(f"{record_id}-{part}", f"{text} {part}", number) for part in range(1 if name == "record" else 3)])
    elif name in ("put", "puts", "drop"):
        _store(memory, name, record_id, text)
    elif name == "import":
        parts = [_record(f"{record_id}-{part}", f"{text} {part}", number) for part in range(3)]
        memory.import_jsonl([json.dumps(part.model_dump(mode="json")) for part in parts], source="bench")
    elif name == "merge":
        known = memory.find(record_id)
        memory.record([_record(record_id, "" if known is None else known.body, number)])
    elif name == "revise":
        memory.record([_record(record_id, text, number)])
    elif name == "cite":
        memory.cite([record_id], shown=[record_id], helped=True)
    elif name in ("quarantine", "promote", "revoke"):
        memory.mark(record_id, cast(Mark, name), reason="bench")
    elif name == "together":
        with memory.together():
            perform(memory, ("record", number, f"t{number}", text))
            memory.mark(record_id, "quarantine")
            memory.cite([f"t{number}-0"], shown=[f"t{number}-0"])
    else:
        _history(memory, name, number, record_id, text)


def store_of(memory: JournalMemory) -> MemoryStore:
    """The store over a memory that the operations use."""
    return MemoryStore(memory, index={"fields": ["text"]})


def _store(memory: JournalMemory, name: str, key: str, text: str) -> None:
    store = store_of(memory)
    if name == "put":
        store.put(SPACE, key, {"text": f"{text} {key}"})
    elif name == "puts":
        keys = [f"{key}-{part}" for part in range(3)]
        store.batch([PutOp(SPACE, each, {"text": f"{text} {each}"}) for each in keys])
        store.search(SPACE, query=text)  # an index takes in what it lacks when it is searched
    else:
        store.delete(SPACE, key)


def _history(memory: JournalMemory, name: str, number: int, record_id: str, text: str) -> None:
    if name == "forget":
        memory.forget(record_id)
    elif name == "learn":
        memory.learn("weights", [number, text])
    elif name == "snapshot":
        memory.snapshot(text)
    elif name == "rollback":
        memory.rollback(text)
    elif name == "undo":
        memory.undo(memory.seq)
    elif name == "rebuild":
        memory.rebuild()
    elif name == "close":
        memory.close()


def _record(record_id: str, body: str, number: int) -> Record:
    return Record(id=record_id, namespace=("bench",), kind="fact", body=body, origin=Origin(kind="world", source=f"e{number}"))
