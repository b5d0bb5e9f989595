"""Merge error: how often a merger merges what it must not, and leaves apart what says the same."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reflectory.memory.merge import Merger, RuleMerger
from reflectory.protocols import Embedder
from reflectory.records import Origin, Record
from reflectory.retrieval.hashing import HashingEmbedder
from reflectory.retrieval.words import words
from reflectory.runs.bench.pairs import DIFFERENT, SAME, Pair, Pool, make_pairs
from reflectory.runs.metrics import wilson
from reflectory.runs.runner import synchronous

#: Thresholds of the baselines: what other memories merge by, without looking further.
JACCARD, COSINE = 0.9, 0.85
#: Kinds of pairs of which the newer statement never makes the older one untrue.
STAND = (*SAME, "other subject", "roles swapped")
Judge = Callable[[Pair], bool]


def bench_merge(
    pairs: int = 2400,
    *,
    seed: int = 0,
    pool: Pool = "test",
    embedder: Embedder | None = None,
    mergers: dict[str, Merger] | None = None,
) -> dict[str, Any]:
    """Judge labelled pairs with the deterministic merger, with baselines, and with any further merger.

    Args:
        pairs: How many, half of them the same.
        seed: Which pairs.
        pool: `test` holds statements the rules were not made on.
        embedder: For the cosine baseline; None is the hashing embedder.
        mergers: Further mergers by name, for example a model's.

    Returns:
        pairs, pool, seed, `methods`: {name: {false_merge, false_merge_ci, missed_merge, missed_merge_ci, ms_per_pair, by_kind}}, where
        false_merge is the share of different pairs that were merged, missed_merge the share of same pairs that were not, the intervals are
        Wilson's at 95 %, and by_kind gives the error per kind; and `updates` of the rules: missed_denial, the share of denials that did not
        supersede what they deny, and false_update, the share of pairs that may both be true whose older statement was superseded.
    """
    made = make_pairs(pairs, pool=pool, seed=seed)
    vectors = embedder or HashingEmbedder()
    methods: dict[str, Any] = {
        "exact": _timed(made, lambda pair: words(pair.old) == words(pair.new)),
        f"jaccard_{JACCARD}": _timed(made, lambda pair: jaccard(pair.old, pair.new) >= JACCARD),
        f"cosine_{COSINE}": _timed(made, lambda pair: cosine(vectors, pair) >= COSINE),
    }
    for name, merger in {"rules": RuleMerger(), **(mergers or {})}.items():
        methods[name] = synchronous(_merger(made, merger))
    return {"pairs": len(made), "pool": pool, "seed": seed, "embedder": vectors.id, "methods": methods, "updates": _updates(made)}


def _updates(made: Sequence[Pair]) -> dict[str, Any]:
    """How the rules treat denials, and pairs that may both be true."""
    rules = RuleMerger()
    denied, stand = (
        [rules.judge(pair.new, [pair.old]).act == "update" for pair in made if pair.kind in kinds] for kinds in (("denied",), STAND)
    )
    return {
        "missed_denial": 1 - _share(denied),
        "missed_denial_ci": list(wilson(len(denied) - sum(denied), len(denied))),
        "false_update": _share(stand),
        "false_update_ci": list(wilson(sum(stand), len(stand))),
    }


def jaccard(a: str, b: str) -> float:
    """Share of common words among all words of two texts."""
    left, right = {*words(a)}, {*words(b)}
    return len(left & right) / len(left | right) if left | right else 1.0


def cosine(embedder: Embedder, pair: Pair) -> float:
    """Cosine of two statements' vectors."""
    old, new = embedder.embed([pair.old, pair.new])
    return float(np.dot(old, new))


def _timed(pairs: Sequence[Pair], judge: Judge) -> dict[str, Any]:
    began = time.perf_counter()
    merged = [judge(pair) for pair in pairs]
    return _errors(pairs, merged, time.perf_counter() - began)


async def _merger(pairs: Sequence[Pair], merger: Merger) -> dict[str, Any]:
    began, merged = time.perf_counter(), []
    for pair in pairs:
        old, new = (_record(text, name) for name, text in (("old", pair.old), ("new", pair.new)))
        merged.append((await merger.decide(new, [old])).act in ("same", "merge"))
    return _errors(pairs, merged, time.perf_counter() - began)


def _errors(pairs: Sequence[Pair], merged: Sequence[bool], seconds: float) -> dict[str, Any]:
    wrong: dict[str, list[bool]] = {}
    for pair, joined in zip(pairs, merged, strict=True):
        wrong.setdefault(pair.kind, []).append(joined != pair.same)
    false = [item for kind in DIFFERENT for item in wrong.get(kind, ())]
    missed = [item for kind, items in wrong.items() if kind not in DIFFERENT for item in items]
    return {
        "false_merge": _share(false),
        "false_merge_ci": list(wilson(sum(false), len(false))),
        "missed_merge": _share(missed),
        "missed_merge_ci": list(wilson(sum(missed), len(missed))),
        "different": len(false),
        "same": len(missed),
        "ms_per_pair": 1000 * seconds / max(1, len(pairs)),
        "by_kind": {kind: _share(items) for kind, items in sorted(wrong.items())},
    }


def _share(items: Sequence[bool]) -> float:
    return sum(items) / len(items) if items else 0.0


def _record(text: str, name: str) -> Record:
    return Record(id=name, namespace=("bench",), kind="fact", body=re.sub(r"\s+", " ", text), origin=Origin(kind="user", source="u"))
