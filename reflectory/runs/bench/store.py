"""What storing and searching cost: this project's store, raw Chroma and LangGraph's in-memory store on the same items, in the same run.

Every duration stands beside a bound measured between the same calls: a bare FULL commit of the same bytes for writing, one
matrix-vector product of the same size for searching. Vectors are given, so nothing of an embedder is in any figure.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reflectory.runs.bench.store_arms import SHARES, Arm, Chroma, Items, K, LangGraph, Ours, TooLong

#: Timed calls per figure, and at most so many for an arm whose first call took longer than `SLOW` seconds.
CALLS, FEW, SLOW = 200, 3, 1.0


def bench_store(out: Path, *, sizes: Sequence[int], seed: int = 0) -> dict[str, Any]:
    """Measure adding, updating, searching, reopening and rebuilding.

    Args:
        out: Folder for the files, on the disk that is to be measured; what was written there is removed.
        sizes: Items in the store when it is measured.
        seed: Seeds vectors and the choice of items.

    Returns:
        {"sizes": {"N": {"ours", "chroma", "langgraph": {add_ms, update_ms, search_ms, filtered_ms (the worse of filtered_2_ms and
        filtered_20_ms), reopen_s, rebuild_s, recall, synchronous, load_s}, "commit_ms", "matvec_ms"}}}. Milliseconds are medians, with
        the 95th percentile beside as `…_p95_ms`; recall is the share of the true ten nearest among the ten found; what was not
        measured is null, with the reason beside as `…_why`.
    """
    return {"dim": Items.DIM, "k": K, "seed": seed, "sizes": {str(size): _size(out / f"store-{size}", size, seed) for size in sizes}}


def _size(folder: Path, size: int, seed: int) -> dict[str, Any]:
    items = Items(size, size + 4 * CALLS, seed)
    result: dict[str, Any] = {}
    for name, arm in (("ours", Ours), ("chroma", Chroma), ("langgraph", LangGraph)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with _progress(f"{size} items, {name}"):
            try:
                result[name], bounds = _arm(arm(folder, items), folder, items)
            except TooLong as reason:
                result[name], bounds = unmeasured(str(reason)), {}
        if name == "ours":
            result |= bounds
    shutil.rmtree(folder, ignore_errors=True)
    return result


def unmeasured(why: str) -> dict[str, Any]:
    """An arm that was left out."""
    names = ("add_ms", "update_ms", "search_ms", "filtered_ms", "reopen_s", "rebuild_s", "recall", "synchronous")
    return {key: value for name in names for key, value in ((name, None), (f"{name}_why", why))}


def _arm(arm: Arm, folder: Path, items: Items) -> tuple[dict[str, Any], dict[str, Any]]:
    """An arm's figures, and the bounds measured between its calls."""
    try:
        load = _seconds(arm.load)
        figures: dict[str, Any] = {"load_s": load}
        with _bare(folder, arm.bytes_per_item()) as commit:
            adds, commits = _times([lambda at: arm.put(items.size + at), commit])
            updates, _ = _times([lambda at: arm.put(items.some(at), items.size + CALLS + at), commit])
        for name, times in (("add", adds), ("update", updates)):
            figures |= _summary(name, times)
        vectors = items.vectors[: items.size]
        found: dict[int, Sequence[int]] = {}
        arm.search(items.query(-1), None)  # the first search is not like the others: it may read what was only mapped
        queries = [items.query(at) for at in range(CALLS)]
        products, searches = _times([lambda at: vectors @ queries[at], lambda at: found.update({at: arm.search(queries[at], None)})])
        figures |= _summary("search", searches)
        for share in SHARES:
            (times,) = _times([lambda at, share=share: arm.search(queries[at], share)])  # type: ignore[misc]
            figures |= _summary(f"filtered_{share}", times)
        figures["filtered_ms"] = max(figures[f"filtered_{share}_ms"] for share in SHARES)
        figures["recall"] = float(np.mean([items.hits(at, rows) for at, rows in found.items()]))
        figures |= arm.finish(_seconds)
    finally:
        arm.close()
    return figures, {**_summary("commit", commits), **_summary("matvec", products)}


def _times(calls: Sequence[Callable[[int], object]]) -> list[list[float]]:
    """Seconds of each of several calls, made in turn so that all see the same machine; fewer turns when one is slow."""
    taken: list[list[float]] = [[] for _ in calls]
    count, at = CALLS, 0
    while at < count:
        for times, call in zip(taken, calls, strict=True):
            began = time.perf_counter()
            call(at)
            times.append(time.perf_counter() - began)
            if times[-1] > SLOW:
                count = min(count, FEW)
        at += 1
    return taken


def _summary(name: str, times: Sequence[float]) -> dict[str, float]:
    return {f"{name}_ms": float(np.median(times)) * 1e3, f"{name}_p95_ms": float(np.percentile(times, 95)) * 1e3}


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@contextmanager
def _bare(folder: Path, sizes: tuple[int, int]) -> Iterator[Callable[[int], None]]:
    """One commit of two blobs, as bare as SQLite has it: WAL, synchronous FULL."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE t (payload BLOB, vector BLOB)")
        row = tuple(np.random.default_rng(0).bytes(size) for size in sizes)

        def commit(at: int) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO t VALUES (?, ?)", row)
            connection.execute("COMMIT")

        yield commit
    finally:
        connection.close()


@contextmanager
def _progress(text: str) -> Iterator[None]:
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield
