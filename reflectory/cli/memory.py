"""`reflectory memory`: read, explain, move and mend a memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reflectory.cli.opening import embedder_of, memory_of, opened, position, ranked

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Read, explain, move and mend a memory.")

Folder = Annotated[str, typer.Argument(metavar="DIR", help="A memory folder, or the run directory of a run with its own memory.")]
RecordId = Annotated[str, typer.Argument(metavar="ID", help="A record's id.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
AsOf = Annotated[str | None, typer.Option("--as-of", metavar="POSITION", help="Read at a journal position or snapshot.")]


@app.command("list")
def list_records(folder: Folder, as_of: AsOf = None, json: Json = False) -> None:
    """List all records."""
    from reflectory.cli.output import emit, table

    with opened(folder) as memory:
        records = list(memory.records(as_of=position(as_of)))
    rows = [
        (
            item.id,
            item.kind,
            item.status,
            f"{item.cited}/{item.shown}",
            "/".join(item.namespace),
            item.task_key or item.situation_key,
            item.body,
        )
        for item in records
    ]
    text = table(rows, ("id", "kind", "status", "cited", "namespace", "where", "text"))
    emit([item.model_dump(mode="json") for item in records], as_json=json, text=text)


@app.command()
def show(folder: Folder, record: RecordId, json: Json = False) -> None:
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
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Find the records that fit best."""
    from reflectory.cli.output import emit, table
    from reflectory.records import Query

    with ranked(folder) as memory:
        hits = memory.recall(Query(text=words, k=k, as_of=memory.position(position(as_of))))
    rows = [(f"{hit.score:.3f}", hit.record.id, hit.record.kind, hit.record.body) for hit in hits]
    emit([hit.model_dump(mode="json") for hit in hits], as_json=json, text=table(rows, ("score", "id", "kind", "text")))


@app.command()
def audit(
    folder: Folder,
    record: RecordId,
    query: Annotated[str | None, typer.Option("--query", help="Also why this text finds the record, or does not.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many the query returns.")] = 8,
    namespace: Annotated[str, typer.Option(help="Namespace of the query, parts divided by /.")] = "",
    task: Annotated[str, typer.Option(help="Ask in the scope of this task.")] = "",
    situation: Annotated[str, typer.Option(help="Ask in the scope of this place.")] = "",
    json: Json = False,
) -> None:
    """Explain a record: where it comes from, what happened to it, and why a query finds it or not."""
    from reflectory.cli.output import emit
    from reflectory.errors import ConfigError
    from reflectory.memory.explain import explain
    from reflectory.records import Query, Scope

    if task and situation:
        msg = "a query asks in the scope of a task or of a place: give --task or --situation."
        raise ConfigError(msg)
    scope: Scope = "task" if task else "house" if situation else "all"
    path = tuple(part for part in namespace.split("/") if part)
    asked = None if query is None else Query(text=query, k=k, namespace=path, scope=scope, task_key=task, situation_key=situation)
    with ranked(folder) as memory:
        told = explain(memory, record, asked)
    emit(told, as_json=json, text=_audit_text(told))


def _audit_text(told: dict[str, Any]) -> str:
    record = told["record"]
    head = f"{told['id']}  {record['kind']}, {record['status']}: {record['body']}" if record else f"{told['id']}  (not there any more)"
    lines = [head, f"from    {', '.join(f'{kind}:{source}' for kind, source in told['lineage']) or '-'}"]
    lines += [f"{name:<7} {', '.join(told[name])}" for name in ("steps", "parents") if told[name]]
    lines += [f"{chapter['seq']:>6}  {chapter['words']}" for chapter in told["story"]]
    judged = told.get("query")
    if judged is not None:
        lines += ["", f"{judged['text']!r}: {judged['why']}"]
        lines += [f"{rival['rank']:>6}  {rival['score']:.4g}  {rival['id']}  {rival['body']}" for rival in judged.get("ahead", [])]
    return "\n".join(lines)


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file; else to stdout.")] = None,
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Write all records as lines of JSON, with their lineage and without vectors."""
    from reflectory.cli.output import emit
    from reflectory.errors import ConfigError

    if json and out is None:
        msg = "with --json the result is the last line of stdout, so the records need a file: give --out FILE."
        raise ConfigError(msg)
    with opened(folder) as memory:
        seq = memory.position(position(as_of))
        lines, digest = list(memory.export_jsonl(seq)), memory.content_digest(seq)
    if out is None:
        print("\n".join(lines), flush=True) if lines else None
        return
    try:
        out.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    except OSError as error:
        msg = f"cannot write {out}: {error.strerror or error}."
        raise ConfigError(msg) from error
    emit({"records": len(lines), "digest": digest, "out": str(out)}, as_json=json, text=f"{len(lines)} records in {out}")


@app.command("import")
def import_records(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help="Lines of JSON, as `export` writes them.")],
    source: Annotated[str | None, typer.Option(help="Where they come from; else the file's name.")] = None,
    json: Json = False,
) -> None:
    """Take in records as untrusted facts. Exit status 1 when a line was refused; the good ones are stored all the same."""
    from reflectory.cli.output import emit
    from reflectory.errors import MissingDependency
    from reflectory.memory.parcel import lines_of

    try:
        with file.open("rb") as lines, opened(folder, write=True, create=True) as memory:
            report = memory.import_jsonl(lines_of(lines), source=source or file.name)
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror or error}."
        raise MissingDependency(msg) from error
    text = [f"{report['imported']} imported, {report['known']} known already, {report['refused']} refused"]
    text += [f"line {number}: {why}" for number, why in report["why"]]
    emit(report, as_json=json, text="\n".join(text))
    if report["refused"]:
        raise typer.Exit(1)


@app.command()
def snapshot(
    folder: Folder, name: Annotated[str | None, typer.Argument(help="Its name; without one, list all.")] = None, json: Json = False
) -> None:
    """Give the current position a name, or list the names."""
    from reflectory.cli.output import emit, table

    with opened(folder, write=name is not None) as memory:
        if name is not None:
            memory.snapshot(name)
        known = memory.snapshots()
    emit(known, as_json=json, text=table(list(known.items()), ("name", "position")))


@app.command()
def diff(
    folder: Folder,
    a: Annotated[str, typer.Argument(help="A journal position or snapshot.")],
    b: Annotated[str | None, typer.Argument(help="Another one; else the newest position.")] = None,
    json: Json = False,
) -> None:
    """Show what is different at the second position from the first."""
    from reflectory.cli.output import emit

    with opened(folder) as memory:
        found = memory.diff(memory.position(position(a)), position(b))
    lines = [f"{found['from']} → {found['to']}"]
    lines += [f"+ {item['id']}  {item['kind']}: {item['body']}" for item in found["added"]]
    lines += [f"- {item['id']}  {item['kind']}: {item['body']}" for item in found["removed"]]
    lines += [
        f"~ {item['id']}  {name}: {both['old']} → {both['new']}" for item in found["changed"] for name, both in item["fields"].items()
    ]
    lines += [f"! {item['id']}  {item['old']} → {item['new']}" for item in found["status"]]
    lines += [f"# {item.pop('id')}  {', '.join(f'{name} {both:+}' for name, both in _steps(item))}" for item in map(dict, found["counts"])]
    lines += [f"* learned: {name}" for name in found["learned"]]
    emit(found, as_json=json, text="\n".join(lines))


def _steps(item: dict[str, Any]) -> list[tuple[str, int]]:
    """By how much each counter moved."""
    return [(name, both["new"] - both["old"]) for name, both in item.items()]


@app.command()
def rollback(folder: Folder, to: Annotated[str, typer.Argument(help="A journal position or snapshot.")], json: Json = False) -> None:
    """Make everything what it was at a position. Nothing is lost: `undo` of the event printed takes it back."""
    from reflectory.cli.output import emit

    with opened(folder, write=True) as memory:
        seq = memory.rollback(memory.position(position(to)))
        records = sum(1 for _ in memory.records())
    emit({"seq": seq, "records": records}, as_json=json, text=f"event {seq}: rolled back to {to}, {records} records")


@app.command()
def undo(folder: Folder, seq: Annotated[int, typer.Argument(help="The event's position.")], json: Json = False) -> None:
    """Make everything what it would be without an event."""
    from reflectory.cli.output import emit

    with opened(folder, write=True) as memory:
        memory.undo(seq)
        value = {"seq": memory.seq, "undone": seq, "records": sum(1 for _ in memory.records())}
    emit(value, as_json=json, text=f"event {value['seq']}: event {seq} undone, {value['records']} records")


@app.command()
def rebuild(
    folder: Folder,
    index: Annotated[
        str | None,
        typer.Option(
            metavar="chroma|FOLDER|URL", help="Also this vector index; else the Chroma folder beside the journal, if there is one."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Derive everything again from the journal, with every hash checked. Exit status 1 when it was not what it should be."""
    from reflectory.cli.output import emit
    from reflectory.memory import open_memory

    file = memory_of(folder)
    where = index or ("chroma" if Path(f"{file}-chroma").is_dir() else "exact")
    exact = where == "exact"
    with open_memory(file, embedder=None if exact else embedder_of(file), read_only=exact, index=where) as memory:
        report = memory.rebuild()
        nearest = memory._replica.nearest
        applied = None if nearest is None else nearest.applied
        report["index"] = None if applied is None else applied.rows
    text = f"{report['records']} records from {report['events']} events in {report['seconds']:.2f} s"
    if not exact:
        text += "; the index was not rebuilt" if applied is None else f"; index of {applied.rows} vectors"
    emit(report, as_json=json, text=text)
    if (applied is None and not exact) or not report["unchanged"]:
        raise typer.Exit(1)
