"""`reflectory demo`: watch a small model learn, offline."""

from __future__ import annotations

import time
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def demo(
    fast: Annotated[bool, typer.Option("--fast", help="A quarter of the games.")] = False,
    seed: Annotated[int, typer.Option(help="Which houses.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Play household games with memory and without: a novice of 0.8 M parameters, houses with quirks, three trials."""
    import contextlib
    import sys

    from reflectory.cli.output import emit, progress
    from reflectory.runs.demo import MODEL, STEPS, TASKS, play_demo
    from reflectory.runs.evaluation import Watch

    limit = 20 if fast else 80
    print(f"{limit} games of {TASKS}, {STEPS} steps each, three trials, model {MODEL}; first with memory, then without.", file=sys.stderr)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:

        def watch(name: str) -> Watch:
            stack.close()
            print(name, file=sys.stderr)
            return stack.enter_context(progress())

        result = play_demo(limit, watch, seed=seed)
    emit(result.model_dump(mode="json"), as_json=json, text=describe(result, time.monotonic() - began))


def describe(result: object, seconds: float) -> str:
    """The table, three stories and where to look next."""
    from reflectory.cli.output import table
    from reflectory.runs.demo import MODEL, Demo
    from reflectory.runs.metrics import wilson

    assert isinstance(result, Demo)
    memory, control = result.memory, result.control
    rows = []
    for trial in range(memory.trials):
        low, high = wilson(round(memory.success_by_trial[trial] * memory.tasks), memory.tasks)
        share = f"{memory.success_by_trial[trial]:.2f} ({low:.2f}..{high:.2f})"
        rows.append((trial + 1, share, f"{control.success_by_trial[trial]:.2f}", f"{memory.steps_by_trial[trial]:.1f}"))
    lines = [table(rows, ("trial", "solved so far, with memory (95 %)", "retry only", "steps with memory")), ""]
    for story in result.stories:
        lines.append(f"lost, then solved in trial {story.solved_in}: {story.task}")
        lines += [f"    noted: {body}" for body in story.lessons]
    tokens = memory.tokens + control.tokens
    lines += [
        "",
        f"{seconds:.0f} s, {tokens} tokens, on this machine, offline. {MODEL} was trained without search habits so that learning shows.",
        "The prompt is typed state kept by a tracker, not raw text (docs/household.md).",
        f"look inside: reflectory show {memory.run_dir}",
        f"             reflectory memory list {memory.run_dir}/memory",
    ]
    return "\n".join(lines)
