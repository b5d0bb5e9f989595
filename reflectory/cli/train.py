"""`reflectory train`: recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Train what this package ships.")


@app.callback()
def recipes() -> None:
    """Train what this package ships."""


@app.command()
def embedded(
    name: Annotated[str, typer.Argument(help="strong, novice, trusting or raw.")] = "strong",
    games: Annotated[str, typer.Option(help="Folder or archive of ALFWorld train games; default: generated houses only.")] = "",
    goals: Annotated[str, typer.Option(help="human_goals.json[.xz], for goals in people's words; only its train split is used.")] = "",
    out: Annotated[Path | None, typer.Option(help="Work folder; the same again continues. Default: runs/train-NAME.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens to train on instead of the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Of samples and weights.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Train a checkpoint of the embedded policy; CPU or GPU, resumable. Use it with `--model hf:OUT/checkpoint`."""
    from reflectory.cli.output import emit
    from reflectory.learning.embedded import Sources, train_embedded

    folder = train_embedded(name, out or Path("runs") / f"train-{name}", Sources(games, goals), tokens=tokens, seed=seed)
    emit({"checkpoint": str(folder)}, as_json=json, text=f"trained: --model hf:{folder}")
