"""How commands speak: one JSON value on stdout, or text; progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from reflectory.runs.evaluation import Watch


def emit(value: Any, *, as_json: bool, text: str) -> None:
    """Print the result: as one line of JSON, or as text.

    Args:
        value: JSON values.
        as_json: Whether `--json` was given.
        text: What a person reads.
    """
    print(json.dumps(value, ensure_ascii=False) if as_json else text, flush=True)


def table(rows: Sequence[Sequence[object]], head: Sequence[str]) -> str:
    """Aligned columns under a head, as plain text."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


@contextmanager
def progress() -> Iterator[Watch]:
    """A watcher of an evaluation: a bar on a terminal, else a plain line every tenth of a trial."""
    if sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield _plain


def _plain(trial: int, finished: int, tasks: int, solved: int) -> None:
    if finished == tasks or finished % max(1, tasks // 10) == 0:
        print(f"trial {trial}: {finished}/{tasks} played, {solved} solved", file=sys.stderr, flush=True)


@contextmanager
def _bar() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        bars: dict[int, Any] = {}

        def watch(trial: int, finished: int, tasks: int, solved: int) -> None:
            if trial not in bars:
                bars[trial] = bar.add_task(f"trial {trial}", total=tasks)
            bar.update(bars[trial], completed=finished, description=f"trial {trial}: {solved} solved")

        yield watch
