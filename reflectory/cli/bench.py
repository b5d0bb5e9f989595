"""`reflectory bench`: figures against a baseline measured in the same run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Figures against a baseline measured in the same run."
)
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
Seed = Annotated[int, typer.Option(help="Seeds every random choice.")]


def _text(result: dict[str, object]) -> str:
    return "\n".join(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}" for key, value in result.items())


@app.command()
def household(
    tasks: Annotated[str, typer.Option(help="Games: generated:SPLIT, quirky:SPLIT, a folder or an archive.")] = "generated:dev",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many games.")] = None,
    reference_games: Annotated[int, typer.Option(min=0, help="Games the reference engine plays; 0 leaves it out.")] = 3,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Speed and size of the household engine, beside the reference engine where it is installed."""
    from reflectory.cli.output import emit
    from reflectory.envs.household import household_tasks
    from reflectory.runs.bench.household import bench_household

    chosen = list(household_tasks(tasks, limit=limit, seed=seed))
    result = bench_household(chosen, seed=seed, reference_games=reference_games)
    emit(result, as_json=json, text=_text(result))


@app.command()
def carryover(
    houses: Annotated[int, typer.Option(min=1, help="Houses, two tasks each.")] = 100,
    model: Annotated[str, typer.Option(help="Who plays.")] = "embedded",
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    quirky: Annotated[bool, typer.Option("--quirky/--plain", help="Quirky or plain houses.")] = True,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Keep the runs here.")] = None,
    json: Json = False,
) -> None:
    """The second task in a house already lived in, with memory and without."""
    from reflectory.cli.output import emit
    from reflectory.runs.bench.carryover import bench_carryover

    with tempfile.TemporaryDirectory() as scratch:
        result = bench_carryover(out or Path(scratch), houses=houses, model=model, split=split, quirky=quirky, seed=seed)
    emit(result, as_json=json, text=_text(result))


@app.command()
def concurrency(
    tasks: Annotated[str, typer.Option(help="Household games.")] = "generated:dev",
    limit: Annotated[int, typer.Option(min=1, help="At most so many games.")] = 140,
    width: Annotated[int, typer.Option(min=1, help="Episodes in flight.")] = 16,
    model: Annotated[str, typer.Option(help="A local model.")] = "embedded",
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 3,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Episodes in flight through the Runner against a hand-written batch loop that plays the same games."""
    from reflectory.cli.output import emit
    from reflectory.envs.household import household_tasks
    from reflectory.runs.bench.concurrency import bench_concurrency

    chosen = list(household_tasks(tasks, limit=limit, seed=seed))
    with tempfile.TemporaryDirectory() as scratch:
        result = bench_concurrency(Path(scratch), chosen, model=model, width=width, rounds=rounds)
    emit(result, as_json=json, text=_text(result))
