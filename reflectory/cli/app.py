"""The command line: a table of commands, each in a module of its own that is imported when it is called.

Conventions: with --json exactly one JSON value on one line is the last thing on stdout; progress and logs go to stderr. Exit status 0: it
ran; 1: what it checks failed; 2: usage; 3: something is missing.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command

from reflectory.errors import ReflectoryError


class Table(TyperGroup):
    """A group whose commands stand in a table: name → module with a Typer named `app`. A module that is not installed is not listed."""

    modules: ClassVar[dict[str, str]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands that are there."""
        return [name for name, module in self.modules.items() if find_spec(module) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = get_command(importlib.import_module(self.modules[cmd_name]).app)
        command.name = cmd_name
        return command


class Root(Table):
    """The commands of `reflectory`."""

    modules: ClassVar[dict[str, str]] = {
        "run": "reflectory.cli.run",
        "eval": "reflectory.cli.eval",
        "chat": "reflectory.cli.chat",
        "resume": "reflectory.cli.resume",
        "show": "reflectory.cli.show",
        "memory": "reflectory.cli.memory",
        "graph": "reflectory.cli.graph",
        "env": "reflectory.cli.env",
        "bench": "reflectory.cli.bench",
        "train": "reflectory.cli.train",
        "demo": "reflectory.cli.demo",
        "doctor": "reflectory.cli.doctor",
    }


app = typer.Typer(
    cls=Root,
    name="reflectory",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    help="Agents that remember what they learned, on local models.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        try:
            typer.echo(metadata.version("reflectory"))
        except metadata.PackageNotFoundError:
            typer.echo("not installed")
        raise typer.Exit


@app.callback()
def root(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Agents that remember what they learned, on local models."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Without the program's name; None means `sys.argv`.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if str(Path.cwd()) not in sys.path:  # dotted paths may name modules beside the caller; the installed packages come first
        sys.path.append(str(Path.cwd()))
    try:
        get_command(app)(args=given, prog_name="reflectory")
    except ReflectoryError as error:
        if "--debug" in given:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_status) from None
