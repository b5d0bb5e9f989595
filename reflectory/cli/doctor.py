"""`reflectory doctor`: what is here, what is missing, what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reflectory.execution import SandboxReport

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def doctor(json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False) -> None:
    """Check this machine. Exit status 3: something the main job needs is missing."""
    from reflectory.cli.output import emit, table
    from reflectory.runs.provenance import provenance
    from reflectory.sandbox.local import reports

    tiers = reports()
    checks = [_sqlite(), _embedded(), _accelerator(), _sentences(), *(_sandbox(tier) for tier in tiers if tier.level != "none")]
    missing = [check for check in checks if check["needed"] and not check["ok"]]
    rows = []
    for check in checks:
        rows.append(("ok" if check["ok"] else "MISSING" if check["needed"] else "absent", check["name"], check["detail"]))
        rows += [("", "", f"- {note}") for note in check["notes"]]
    found = {**provenance(), "checks": checks, "sandbox": [tier.model_dump(mode="json") for tier in tiers], "ok": not missing}
    emit(found, as_json=json, text=table(rows, ("", "what", "detail")))
    if missing:
        raise typer.Exit(3)


def _check(name: str, ok: bool, detail: str, *, needed: bool, notes: Sequence[str] = ()) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail, "needed": needed, "notes": list(notes)}


def _sandbox(tier: SandboxReport) -> dict[str, Any]:
    detail = f"a box was opened and ran a program; {len(tier.leaks)} things it does not contain follow" if tier.available else tier.why
    return _check(f"sandbox {tier.tier}", tier.available, detail, needed=False, notes=tier.leaks if tier.available else ())


def _sqlite() -> dict[str, Any]:
    import sqlite3

    try:
        sqlite3.connect(":memory:").execute("create virtual table words using fts5 (text)")
    except sqlite3.OperationalError:
        return _check("memory", False, f"SQLite {sqlite3.sqlite_version} has no FTS5; use a Python that has it", needed=True)
    return _check("memory", True, f"SQLite {sqlite3.sqlite_version} with FTS5", needed=True)


def _embedded() -> dict[str, Any]:
    from reflectory.errors import ReflectoryError
    from reflectory.runs.build import make_models

    try:
        models, _ = make_models("embedded")
    except (ReflectoryError, ImportError) as error:
        return _check("embedded model", False, f"{error} Install the extra: pip install 'reflectory[local]'", needed=True)
    return _check("embedded model", True, models["solver"].name, needed=True)


def _accelerator() -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        return _check("accelerator", False, "torch is not installed: pip install 'reflectory[local]'", needed=False)
    if not torch.cuda.is_available():
        return _check("accelerator", False, f"torch {torch.__version__} runs on the CPU", needed=False)
    free, total = torch.cuda.mem_get_info()
    return _check("accelerator", True, f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free", needed=False)


def _sentences() -> dict[str, Any]:
    from importlib.util import find_spec

    found = find_spec("sentence_transformers") is not None
    detail = "sentence embeddings" if found else "words are matched without it: pip install 'reflectory[minilm]'"
    return _check("minilm", found, detail, needed=False)
