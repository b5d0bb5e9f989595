"""`reflectory resume`: continue a run that was interrupted."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def resume(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run directory.")],
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Continue a run with the settings it was begun with; a finished one is read back."""
    from reflectory.cli.eval import describe
    from reflectory.cli.output import emit, progress
    from reflectory.cli.run import report
    from reflectory.runs.metrics import Metrics
    from reflectory.runs.runner import resume as resume_run

    with progress() as watch:
        result = resume_run(run, watch)
    if isinstance(result, Metrics):
        emit(result.model_dump(mode="json"), as_json=json, text=describe(result))
    else:
        report(result, as_json=json)
