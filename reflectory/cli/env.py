"""`reflectory env`: which environments there are, and whether one keeps to its promises."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import typer

from reflectory.cli.app import Table


class Commands(Table):
    """The commands of `reflectory env`: those below, and those of the table."""

    modules: ClassVar[dict[str, str]] = {"replay": "reflectory.cli.replay"}

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands that are there."""
        return [*self.commands, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        return self.commands.get(cmd_name) or super().get_command(ctx, cmd_name)


app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Look at environments.")


@app.command("list")
def list_envs(json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False) -> None:
    """List the environments."""
    from reflectory.cli.output import emit
    from reflectory.registry import names

    found = names("env")
    emit(found, as_json=json, text="\n".join(found))


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="An environment's name, one with a part of its task set such as code:repair, or a dotted path.")
    ],
    tasks_of: Annotated[str | None, typer.Option("--set", help="Its task set; default: the one of the same name.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Where the tasks are.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many tasks.")] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Check that an oracle wins, doing nothing does not, seeds reproduce, snapshots come back. Exit status 1: it does not."""
    from reflectory.cli.options import split_set, task_set
    from reflectory.cli.output import emit
    from reflectory.config import RunConfig
    from reflectory.runs.worlds import Worlds
    from reflectory.testing import check_env

    chosen = task_set(tasks_of or name, tasks, limit=limit, seed=0, goals="template")
    factory = Worlds(RunConfig()).maker(split_set(name)[0])
    problems = check_env(factory, chosen)
    text = "\n".join(problems) if problems else f"{name} keeps to all promises in {len(chosen)} tasks"
    emit({"env": name, "tasks": len(chosen), "problems": problems}, as_json=json, text=text)
    if problems:
        raise typer.Exit(1)
