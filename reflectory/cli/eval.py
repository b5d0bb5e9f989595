"""`reflectory eval`: every task of a set in every trial."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def evaluate(
    tasks_of: Annotated[
        str, typer.Argument(metavar="SET", help="A task set: household, code, one of its parts such as code:repair, or a dotted path.")
    ] = "household",
    tasks: Annotated[str | None, typer.Option(help="Where the tasks are.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many tasks.")] = None,
    graph: Annotated[str, typer.Option(help="act, reflexion, or a dotted path.")] = "act",
    model: Annotated[list[str] | None, typer.Option(help="One model, or `role=model` several times.")] = None,
    prompt: Annotated[str | None, typer.Option(help="How the world is shown: auto, tracked, raw, code, or a dotted path.")] = None,
    goals: Annotated[str, typer.Option(help="template, or a file of goals in people's words.")] = "template",
    trials: Annotated[int | None, typer.Option(min=1, help="Attempts per task.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Actions per attempt.")] = None,
    memory: Annotated[
        str | None, typer.Option(help="A folder, or none. Default: one in the run directory, where the graph writes.")
    ] = None,
    scope: Annotated[str | None, typer.Option(help="Which memories an attempt sees: task, house, all, none.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Episodes in flight per process.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seeds every random choice.")] = None,
    out: Annotated[str | None, typer.Option(help="The run directory; one that holds a part of this run is continued.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    set_: Annotated[list[str] | None, typer.Option("-c", help="`key=value`, or a YAML file.")] = None,
) -> None:
    """Play every task of a set in every trial; the same command again continues after a kill."""
    from reflectory.cli.options import models, settings, task_set
    from reflectory.cli.output import emit, progress
    from reflectory.runs.runner import Runner

    named = {"prompt": prompt, "trials": trials, "scope": scope, "workers": workers, "concurrency": concurrency, "seed": seed, "out": out}
    config = settings(set_ or [], budget__steps=max_steps, **named)
    chosen = task_set(tasks_of, tasks, limit=limit, seed=config.seed, goals=goals)
    runner = Runner(graph=graph, model=models(model or ["embedded"]), memory=memory, config=config)
    with progress() as watch:
        metrics = runner.eval(chosen, watch)
    value = metrics.model_dump(mode="json", exclude={"sandbox"} if metrics.sandbox is None else None)
    emit(value, as_json=json, text=describe(metrics))
    if metrics.errors == metrics.tasks * metrics.trials:
        raise typer.Exit(1)


def describe(metrics: object) -> str:
    """The metrics as a table and one line below it."""
    from reflectory.cli.output import table
    from reflectory.runs.metrics import Metrics, wilson
    from reflectory.runs.worlds import kept_in

    assert isinstance(metrics, Metrics)
    rows = []
    for trial in range(metrics.trials):
        low, high = wilson(round(metrics.success_by_trial[trial] * metrics.tasks), metrics.tasks)
        shares = (f"{metrics.success_in_trial[trial]:.3f}", f"{metrics.success_by_trial[trial]:.3f} ({low:.3f}..{high:.3f})")
        rows.append((trial + 1, *shares, f"{metrics.steps_by_trial[trial]:.2f}"))
    head = ("trial", "solved in it", "solved so far (95 %)", "steps")
    speed = f"{metrics.tasks} tasks, {metrics.steps_per_s:.0f} steps/s, {metrics.wall_s:.1f} s, {metrics.tokens} tokens"
    return f"{table(rows, head)}\n{speed}, {metrics.errors} errors{kept_in(metrics.sandbox)}, in {metrics.run_dir}"
