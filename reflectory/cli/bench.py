"""`reflectory bench`: figures against a baseline measured in the same run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Figures against a baseline measured in the same run."
)
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
Seed = Annotated[int, typer.Option(help="Seeds every random choice.")]


def _text(result: dict[str, Any], indent: str = "") -> str:
    lines = []
    for key, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", _text(value, f"{indent}  ")]
        else:
            lines.append(f"{indent}{key}: {value:.4g}" if isinstance(value, float) else f"{indent}{key}: {value}")
    return "\n".join(lines)


class ManyPaths(TyperCommand):
    """A command whose path options take several values: `--train a.json b.json` is `--train a.json --train b.json`."""

    SEVERAL = ("--train", "--test")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write the option's name before each of its values."""
        spread: list[str] = []
        option = ""
        for word in args:
            if word.startswith("-"):
                option = word if word in self.SEVERAL else ""
            elif option and spread[-1] != option:
                spread.append(option)
            spread.append(word)
        return super().parse_args(ctx, spread)


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


@app.command(cls=ManyPaths)
def retrieval(
    train: Annotated[list[Path], typer.Option(help="Conversations in LoCoMo's format to learn from: folders or files.")],
    test: Annotated[list[Path], typer.Option(help="Conversations to measure on.")],
    noise: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of wrong citations.")] = 0.0,
    seeds: Annotated[int, typer.Option(min=1, help="Learners, each with its own noise and order.")] = 3,
    folds: Annotated[bool, typer.Option("--folds", help="Cross-validate over the conversations of both sets instead.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Where embeddings are kept; default: the user's cache folder.")] = None,
    json: Json = False,
) -> None:
    """Share of answering turns among the five best: cosine, BM25, the fixed priors, and what learns from citations."""
    import sys

    from reflectory.cli.output import emit
    from reflectory.runs.bench.retrieval import bench_retrieval, cached_minilm, cross_validate

    def say(what: str) -> None:
        print(what, file=sys.stderr)

    embedder = cached_minilm(cache)
    if folds:
        result = cross_validate(list(dict.fromkeys([*train, *test])), noise=noise, seeds=seeds, embedder=embedder, say=say)
    else:
        result = bench_retrieval(train, test, noise=noise, seeds=seeds, embedder=embedder, say=say)
    emit(result, as_json=json, text=_text(result))


@app.command()
def store(
    sizes: Annotated[str, typer.Option(help="Items in the store, several separated by commas.")] = "1000,10000",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="A folder on the disk to be measured; default: the temporary folder.")] = None,
    json: Json = False,
) -> None:
    """The store beside raw Chroma, LangGraph's InMemoryStore, a bare commit and a bare matrix-vector product."""
    from reflectory.cli.output import emit
    from reflectory.errors import ConfigError
    from reflectory.runs.bench.store import bench_store

    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes.split(",")):
        msg = f"--sizes {sizes!r} is not a list of numbers. Give for example --sizes 1000,10000"
        raise ConfigError(msg)
    with tempfile.TemporaryDirectory() as scratch:
        result = bench_store(out or Path(scratch), sizes=[int(size) for size in sizes.split(",")], seed=seed)
    emit(result, as_json=json, text=_text(result))


@app.command()
def crash(
    points: Annotated[int, typer.Option(min=1, help="Kills.")] = 1000,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Where the memories lie and what went wrong stays; default: memory, else disk.")] = None,
    json: Json = False,
) -> None:
    """Kill writers at every step of journal, index and rebuild, damage files, fill a disk, and count what is lost."""
    from reflectory.cli.output import emit
    from reflectory.runs.bench.crash import bench_crash

    memory = Path("/dev/shm")  # what a killed process has handed to the kernel is there, on whatever file system
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        result = bench_crash(out or Path(scratch), points=points, seed=seed)
    emit(result, as_json=json, text=_text(result))
    broken = result["lost"] + result["duplicated"] + result["stale_index"] + result["wrong"]
    raise typer.Exit(1 if broken else 0)


@app.command()
def merge(
    pairs: Annotated[int, typer.Option(min=1, help="Labelled pairs, half of them the same fact.")] = 2400,
    embedder: Annotated[str, typer.Option(help="Of the cosine baseline: minilm or hashing.")] = "minilm",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """How often two facts are wrongly merged, or wrongly kept apart, beside exact text, Jaccard and cosine."""
    from reflectory.cli.output import emit
    from reflectory.registry import lookup
    from reflectory.runs.bench.merge import bench_merge

    result = bench_merge(pairs, seed=seed, embedder=lookup("embedder", embedder)())
    emit(result, as_json=json, text=_text(result))


@app.command()
def sandbox(
    runs: Annotated[int, typer.Option(min=1, help="Fresh starts that are timed.")] = 30,
    user: Annotated[int | None, typer.Option(help="Number of the ordinary user tried beside root; default: a free one.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Attack every sandbox tier and time it beside a bare interpreter. Exit status 1: something got out, or a control failed."""
    from reflectory.cli.output import emit
    from reflectory.runs.bench.sandbox import bench_sandbox

    result = bench_sandbox(runs=runs, seed=seed, user=user)
    emit(result, as_json=json, text=_text(result))
    open_, inside = result["tiers"]["none"], [tier for name, tier in result["tiers"].items() if name != "none"]
    inside += list((result["ordinary_user"] or {}).values())
    broken = open_["escaped"] != open_["probes"]  # a probe that fails without a sandbox proves nothing
    raise typer.Exit(1 if broken or any(tier["escaped"] for tier in inside) else 0)


@app.command()
def tools(json: Json = False) -> None:
    """Call hostile tools of many kinds: each must come back as text, in time, in bounded memory. Exit status 1: one did not."""
    from reflectory.cli.output import emit
    from reflectory.runs.bench.tools import bench_tools

    result = bench_tools()
    emit(result, as_json=json, text=_text(result))
    raise typer.Exit(0 if result["answered"] == 1.0 else 1)
