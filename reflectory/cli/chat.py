"""`reflectory chat`: talk with an agent that remembers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reflectory.memory.prospective import Written
    from reflectory.runs.live import Answer
    from reflectory.runs.runner import Runner

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def chat(
    message: Annotated[
        str | None, typer.Argument(help="Say this and leave; without it, talk until an empty line or the end of input.")
    ] = None,
    memory: Annotated[str, typer.Option(help="The memory's folder, or none.")] = "memory",
    model: Annotated[list[str] | None, typer.Option(help="One model, or `role=model` several times.")] = None,
    user: Annotated[str, typer.Option(help="Who speaks; every user has a memory of their own.")] = "user",
    thread: Annotated[str, typer.Option(help="Which conversation.")] = "main",
    reflect: Annotated[str | None, typer.Option(help="Who extracts and merges memories: rules (default) or model.")] = None,
    shared: Annotated[str | None, typer.Option(help="A further namespace to read, parts joined by /.")] = None,
    out: Annotated[str | None, typer.Option(help="The run directory.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per answer.")] = False,
    set_: Annotated[list[str] | None, typer.Option("-c", help="`key=value`, or a YAML file.")] = None,
) -> None:
    """Talk with an agent that remembers. Leaving files what the session taught."""
    from reflectory.cli.options import models, settings
    from reflectory.runs.runner import Runner, new_directory

    space = None if shared is None else [part for part in shared.split("/") if part]
    config = settings(set_ or [], out=out or new_directory("chat"), dialogue__reflect=reflect, dialogue__shared=space)
    with Runner(graph="dialogue", model=models(model or ["scripted:extractive"]), memory=memory, config=config) as runner:
        for said in [message] if message is not None else _lines():
            report(runner.send(said, thread=thread, user=user), as_json=json)
        farewell(runner, thread, user, as_json=json)


def _lines() -> Iterator[str]:
    """What is typed, line by line, until an empty one.

    Raises:
        ConfigError: Bytes that are no text.
    """
    import sys

    from reflectory.errors import ConfigError

    tty = sys.stdin.isatty()
    while True:
        if tty:
            print("> ", end="", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline().strip()
        except UnicodeDecodeError as error:
            msg = f"the input is no {error.encoding.upper()}. Convert it first, for example with iconv -f latin1 -t utf-8."
            raise ConfigError(msg) from error
        if not line:
            return
        yield line


def report(answer: Answer, *, as_json: bool) -> None:
    """Print an answer with what it cites."""
    from reflectory.cli.output import emit

    cited = [{"id": record.id, "body": record.body, "origin": record.origin.kind} for record in answer.cited]
    value = {"answer": answer.text, "cited": cited, "shown": len(answer.shown), "session": answer.session}
    value |= {"tokens": answer.usage.tokens, "wall_s": answer.seconds}
    notes = "".join(f"\n  remembered: {item['body']}" for item in cited)
    emit(value, as_json=as_json, text=f"{answer.text}{notes}")


def farewell(runner: Runner, thread: str, user: str, *, as_json: bool) -> None:
    """Leave the thread and say on stderr what was filed."""
    import sys

    written: list[Written] = runner.leave(thread, user=user)
    counted = {act: sum(item.act == act for item in written) for act in dict.fromkeys(item.act for item in written)}
    told = ", ".join(f"{count} {act}" for act, count in counted.items()) or "nothing new"
    if not as_json:
        print(f"remembered from this session: {told}", file=sys.stderr)
