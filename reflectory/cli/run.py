"""`reflectory run`: one task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reflectory.records import Task
    from reflectory.runs.runner import Run

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    what: Annotated[
        str, typer.Argument(metavar="GOAL_OR_TASK", help="A task of the set (its key, its number, a part of its goal), or a goal.")
    ],
    tasks_of: Annotated[str, typer.Option("--set", help="The task set: household, code, code:repair …, or a dotted path.")] = "household",
    tasks: Annotated[str | None, typer.Option(help="Where the set's tasks are.")] = None,
    env: Annotated[str | None, typer.Option(help="Take the words as a goal in this environment, not as a task of a set.")] = None,
    graph: Annotated[str, typer.Option(help="act, reflexion, or a dotted path.")] = "act",
    model: Annotated[list[str] | None, typer.Option(help="One model, or `role=model` several times.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Attempts.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Actions per attempt.")] = None,
    memory: Annotated[str | None, typer.Option(help="A folder, or none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seeds every random choice.")] = None,
    out: Annotated[str | None, typer.Option(help="The run directory.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    set_: Annotated[list[str] | None, typer.Option("-c", help="`key=value`, or a YAML file.")] = None,
) -> None:
    """Run one task. Exit status 0: solved; 1: not."""
    from reflectory.cli.options import models, settings, task_set
    from reflectory.records import Task
    from reflectory.runs.runner import Runner
    from reflectory.tools.approval import console

    config = settings(set_ or [], budget__steps=max_steps, trials=trials, seed=seed, out=out)
    if env is not None:
        task = Task(goal=what, env=env, seed=config.seed)
    else:
        task = pick(what, task_set(tasks_of, tasks, limit=None, seed=config.seed, goals="template"))
    approve = console if config.approvals != "auto" else None
    runner = Runner(graph=graph, model=models(model or ["embedded"]), memory=memory, config=config, approve=approve)
    report(runner.run(task), as_json=json)


def report(result: Run, *, as_json: bool) -> None:
    """Print a run and leave with status 0 when it was solved, else 1."""
    from reflectory.cli.output import emit

    value = {
        "task": result.task.key,
        "goal": result.task.goal,
        "outcome": result.outcome,
        "answer": result.answer,
        "attempts": len(result.attempts),
        "steps": result.steps,
        "tokens": result.usage.tokens,
        "wall_s": result.seconds,
        "error": result.error,
        "run_dir": result.path,
        "sandbox": result.sandbox,
    }
    emit(value, as_json=as_json, text=f"{result}\n{result.error}" if result.error else str(result))
    raise typer.Exit(0 if result.solved else 1)


def pick(what: str, tasks: list[Task]) -> Task:
    """The one task that is meant: by key, by number from 0, or by a part of key or goal.

    Raises:
        ConfigError: None is meant, or several are.
    """
    from reflectory.errors import ConfigError, did_you_mean

    by_key = {task.key: task for task in tasks}
    if what in by_key:
        return by_key[what]
    if what.isdecimal() and int(what) < len(tasks):
        return tasks[int(what)]
    meant = [task for task in tasks if what.casefold() in f"{task.key} {task.goal}".casefold()]
    if len(meant) == 1:
        return meant[0]
    if meant:
        msg = f"{what!r} fits {len(meant)} tasks, for example {meant[0].key} and {meant[1].key}. Say the key of one."
        raise ConfigError(msg)
    msg = f"no task of the set fits {what!r}. {did_you_mean(what, list(by_key)[:50])} For a goal of your own name its world: --env."
    raise ConfigError(msg)
