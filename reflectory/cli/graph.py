"""`reflectory graph`: which graphs there are, and how they look."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Which graphs there are, and how they look.")


@app.command("list")
def list_graphs(json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False) -> None:
    """List the graphs."""
    from reflectory.cli.output import emit
    from reflectory.registry import names

    found = names("graph")
    emit(found, as_json=json, text="\n".join(found))


@app.command()
def draw(
    name: Annotated[str, typer.Argument(help="A graph's name, or a dotted path.")],
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Draw a graph as Mermaid text."""
    from reflectory.cli.output import emit
    from reflectory.config import RunConfig
    from reflectory.graphs.wiring import Wiring
    from reflectory.runs.build import make_graph

    graph = make_graph(name, RunConfig())
    compiled = graph.compile() if isinstance(graph, Wiring) else graph
    mermaid = compiled.get_graph().draw_mermaid()
    emit({"graph": name, "mermaid": mermaid}, as_json=json, text=mermaid)
