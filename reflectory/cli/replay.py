"""`reflectory env replay`: recorded transcripts against our engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def replay(
    world: Annotated[str, typer.Argument(metavar="WORLD", help="Only household can be replayed.")],
    transcripts: Annotated[Path, typer.Argument(help="Transcripts, .jsonl or .jsonl.xz.")],
    games: Annotated[Path | None, typer.Option(help="Folder or archive the game paths are relative to.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Compare text, admissible commands, reward and done of every recorded step. Exit status 1: they differ."""
    from reflectory.cli.output import emit
    from reflectory.envs.household.replay import replay as compare
    from reflectory.errors import UnknownName, did_you_mean

    if world != "household":
        msg = f"there is nothing to replay for {world!r}. {did_you_mean(world, ['household'])}"
        raise UnknownName(msg)
    result = compare(transcripts, games)
    text = "{games} games, {steps} steps, {differences} differences".format(**result)
    if result["first_difference"]:
        text += f"\nfirst: {result['first_difference']}"
    emit(result, as_json=json, text=text)
    if result["differences"]:
        raise typer.Exit(1)
