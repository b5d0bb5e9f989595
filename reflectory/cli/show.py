"""`reflectory show`: read a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")],
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="Show this task's attempts step by step.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show what a run did: all its results, or one task step by step."""
    from reflectory.cli.output import emit, table
    from reflectory.errors import ConfigError, did_you_mean
    from reflectory.runs.directory import RunDirectory

    directory = RunDirectory.open(run)
    results = sorted(directory.results().values(), key=lambda line: (line["task"], line["trial"]))
    if task is None:
        head = ("task", "trial", "outcome", "steps")
        rows = [[line[key] for key in head] for line in results]
        told = f"{directory.manifest['kind']} {directory.id}: {directory.manifest['status']}"
        value = {"id": directory.id, "status": directory.manifest["status"], "results": [dict(zip(head, row, strict=True)) for row in rows]}
        emit(value, as_json=json, text=f"{told}\n{table(rows, head)}")
        return
    lines = [line for line in results if line["task"] == task]
    if not lines:
        msg = f"the run has no result of task {task!r}. {did_you_mean(task, {line['task'] for line in results})}"
        raise ConfigError(msg)
    attempts = [attempt for line in lines for attempt in directory.trajectories(line)]
    emit(attempts, as_json=json, text="\n\n".join(transcript(attempt) for attempt in attempts))


def transcript(attempt: dict[str, Any]) -> str:
    """An attempt as text: goal, observations, `> action`, what the reflector said, outcome."""
    lines = [f"{attempt['goal']} (attempt {attempt['attempt']})"]
    for step in attempt["steps"]:
        if step.get("action") is not None:
            lines.append(f"> {step['action']}")
        elif step["role"] != "env":
            lines.append(f"[{step['role']}] {step.get('output', '')}")
        if step.get("observation") is not None:
            lines.append("".join(span["text"] for span in step["observation"]["spans"]))
    return "\n".join([*lines, str(attempt["outcome"])])
