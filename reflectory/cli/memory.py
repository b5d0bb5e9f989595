"""`reflectory memory`: read a memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reflectory.memory import JournalMemory

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Read a memory.")

Folder = Annotated[str, typer.Argument(metavar="DIR", help="A memory folder, or the run directory of a run with its own memory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


@contextmanager
def opened(folder: str) -> Iterator[JournalMemory]:
    """The memory of a folder, for reading."""
    from pathlib import Path

    from reflectory.errors import MissingDependency
    from reflectory.memory import open_memory
    from reflectory.runs.build import memory_file

    file = next((file for file in (memory_file(folder), memory_file(Path(folder) / "memory")) if file.exists()), None)
    if file is None:
        msg = f"there is no memory in {folder}: no {memory_file(folder).name}."
        raise MissingDependency(msg)
    with open_memory(file, read_only=True) as memory:
        yield memory


@app.command("list")
def list_records(folder: Folder, json: Json = False) -> None:
    """List all records."""
    from reflectory.cli.output import emit, table

    with opened(folder) as memory:
        records = list(memory.records())
    rows = [
        (item.id, item.kind, item.status, f"{item.cited}/{item.shown}", item.task_key or item.situation_key, item.body) for item in records
    ]
    text = table(rows, ("id", "kind", "status", "cited", "where", "text"))
    emit([item.model_dump(mode="json") for item in records], as_json=json, text=text)


@app.command()
def show(folder: Folder, record: Annotated[str, typer.Argument(help="A record's id.")], json: Json = False) -> None:
    """Show every event that touched a record."""
    from reflectory.cli.output import emit

    with opened(folder) as memory:
        events = memory.audit(record)
    emit(events, as_json=json, text="\n".join(f"{event['seq']:>6}  {event['event']}  {event['payload']}" for event in events))


@app.command()
def search(
    folder: Folder,
    words: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", min=1, help="At most so many.")] = 8,
    json: Json = False,
) -> None:
    """Find the records that fit best."""
    from reflectory.cli.output import emit, table
    from reflectory.records import Query

    with opened(folder) as memory:
        hits = memory.recall(Query(text=words, k=k))
    rows = [(f"{hit.score:.3f}", hit.record.id, hit.record.kind, hit.record.body) for hit in hits]
    emit([hit.model_dump(mode="json") for hit in hits], as_json=json, text=table(rows, ("score", "id", "kind", "text")))
