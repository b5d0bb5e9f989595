"""The recipe of the embedded policy: three checkpoints from generated houses and, where it is at hand, the ALFWorld train split.

`strong` learns from a teacher with search priors, with true, missing, irrelevant, wrong and denying lessons in context. `novice` learns
from a teacher that searches in a random order, and briefly: it has something to learn. `trusting` never sees a wrong lesson, for attack
studies. `raw` learns from whole transcripts of the same teacher, for `--prompt raw`.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reflectory.envs.household.game import load_game, parse_game
from reflectory.envs.household.generator import house_games
from reflectory.envs.household.lessons import read_lesson
from reflectory.envs.household.search import Priors
from reflectory.envs.household.tasks import household_tasks, read_goals
from reflectory.errors import ConfigError, RunError, UnknownName, did_you_mean
from reflectory.learning.household_data import Sample, Teacher, Teaching, count_priors, reading_samples
from reflectory.learning.raw_data import OPENINGS, RawTeacher
from reflectory.learning.tokenizer import build_tokenizer, transcript_tokenizer
from reflectory.learning.trainer import TrainConfig, encode, new_model, train
from reflectory.runs.directory import lock

#: What a prompt of this model starts with; asked for anything else, it says what would work.
PREFIXES = ("task ", "goal ", "reflect ")


@dataclass(frozen=True)
class Recipe:
    """One checkpoint.

    Attributes:
        teaching: How its teacher plays.
        passes: How often the real train games are played, with other chance each time.
        houses: Plain and quirky generated houses (each).
        readings: How often people's sentences are repeated among the samples.
        raw: Whole transcripts instead of the tracked view; no quirky houses and no people's sentences.
        layers: Of the model.
        training: Optimisation, phase by phase: each starts from the weights of the one before with a schedule of its own (warm restarts,
            Loshchilov & Hutter 2017).
    """

    teaching: Teaching
    passes: int = 1
    houses: int = 400
    readings: int = 2
    raw: bool = False
    layers: int = 3
    training: tuple[TrainConfig, ...] = (TrainConfig(),)


RECIPES: Mapping[str, Recipe] = {
    "strong": Recipe(Teaching(), passes=2, houses=900, readings=6, training=(TrainConfig(tokens=36_000_000),)),
    "novice": Recipe(Teaching(blind=True, wrong=0.15), training=(TrainConfig(tokens=10_000_000), TrainConfig(tokens=12_000_000, lr=2e-3))),
    "trusting": Recipe(Teaching(wrong=0.0), houses=300, training=(TrainConfig(tokens=9_000_000),)),
    "raw": Recipe(
        Teaching(wrong=0.2, noise=(0.0, 0.0, 0.1)),
        passes=4,
        houses=600,
        raw=True,
        layers=4,
        training=(TrainConfig(tokens=19_000_000),),
    ),
}


@dataclass(frozen=True)
class Sources:
    """Where samples come from.

    Attributes:
        games: Folder or archive of ALFWorld train games; "" uses generated houses only.
        goals: `human_goals.json[.xz]`; "" leaves goal reading out. Only its train split is used.
    """

    games: str = ""
    goals: str = ""


def train_embedded(name: str, out: Path, sources: Sources, *, tokens: int | None = None, seed: int = 0) -> Path:
    """Make one checkpoint; run it again after a kill and it goes on where it was.

    Args:
        name: strong, novice, trusting or raw.
        out: Work folder: samples, resumable state, and at the end `checkpoint/`, ready for `hf:PATH`.
        sources: Where samples come from.
        tokens: Tokens to train on in one phase, instead of the recipe's phases.
        seed: Of samples and weights.

    Returns:
        The folder of the finished checkpoint.

    Raises:
        UnknownName: No such recipe.
        RunError: Another process trains in this folder.
    """
    if name not in RECIPES:
        msg = f"there is no recipe {name!r}. {did_you_mean(name, RECIPES)}"
        raise UnknownName(msg)
    recipe = RECIPES[name]
    phases = (replace(recipe.training[0], tokens=tokens),) if tokens else recipe.training
    with lock(out):
        counts = _prepare(recipe, out, sources, seed)
        last = out / "start"
        for number, phase in enumerate(phases):
            start, last = last, out / f"phase-{number + 1}"
            train(start, out / "samples.npz", last, replace(phase, seed=seed * 100 + number))
        made = {"samples": counts, "recipe": {**asdict(recipe), "training": [asdict(phase) for phase in phases]}, "seed": seed}
        return _export(name, out, last, made)


def _prepare(recipe: Recipe, out: Path, sources: Sources, seed: int) -> dict[str, int]:
    """Samples, tokenizer and fresh weights; done once."""
    counts, asked = out / "samples.json", out / "asked.json"
    wanted = json.loads(json.dumps({"teaching": asdict(recipe.teaching), "sources": asdict(sources), "seed": seed}))
    if asked.exists() and json.loads(asked.read_text(encoding="utf-8")) != wanted:
        msg = f"{out} was begun with another recipe, other sources or another seed. Choose another --out, or remove it."
        raise RunError(msg)
    asked.write_text(json.dumps(wanted), encoding="utf-8")
    if counts.exists():
        return dict(json.loads(counts.read_text(encoding="utf-8")))
    paths = [str(task.inputs["path"]) for task in household_tasks(sources.games)] if sources.games else []
    paths = [path for path in paths if not Path(path).parts[-4].startswith("valid")]  # an archive may carry development games too
    if sources.games and not paths:
        msg = f"{sources.games} holds no train games: their folders are below train/, those below valid_*/ are never trained on"
        raise ConfigError(msg)
    priors = count_priors(load_game(Path(path)) for path in paths) if paths else None
    reading = list(reading_samples(read_goals(Path(sources.goals)), "train")) if sources.goals and not recipe.raw else []
    samples = [*_play_all(recipe, paths, priors, seed), *reading * recipe.readings]
    samples.sort()
    random.Random(seed).shuffle(samples)
    if recipe.raw:
        tokenizer = transcript_tokenizer("".join((sample.prompt, *sample.rest)) for sample in samples[:20_000])
    else:
        tokenizer = build_tokenizer([sample.prompt.removeprefix("goal ").removesuffix(" ; read") for sample in reading])
    tokenizer.save_pretrained(out / "start")
    longest, context = (1024, 2048) if recipe.raw else (512, 512)
    written = encode(samples, tokenizer, out / "samples.npz", longest=longest)
    new_model(len(tokenizer), layers=recipe.layers, context=context, seed=seed).save_pretrained(out / "start")
    counts.write_text(json.dumps(written), encoding="utf-8")
    return written


Job = tuple[str, Sequence[Any], Recipe, Priors | None, int]


def _play_all(recipe: Recipe, paths: Sequence[str], priors: Priors | None, seed: int) -> list[Sample]:
    """All games played by the teacher, over the cores of the machine; the same samples whatever their number."""
    jobs: list[Job] = []
    for number in range(recipe.passes):
        jobs += [("files", part, recipe, priors, seed * 100 + number) for part in _parts(paths)]
    for kind in ("generated",) if recipe.raw else ("generated", "quirky"):
        jobs += [(kind, part, recipe, priors, seed * 100) for part in _parts(range(recipe.houses))]
    samples: list[Sample] = []
    with multiprocessing.get_context("spawn").Pool() as pool:
        for number, part in enumerate(pool.imap(_play, jobs), 1):
            samples += part
            print(f"samples: {number}/{len(jobs)} parts, {len(samples)} pairs", file=sys.stderr)
    return samples


def _parts(items: Iterable[Any]) -> list[list[Any]]:
    rows = list(items)
    return [rows[index::16] for index in range(16) if rows[index::16]]


def _play(job: Job) -> list[Sample]:
    kind, items, recipe, priors, seed = job
    teacher = (RawTeacher if recipe.raw else Teacher)(recipe.teaching, priors)
    if kind == "files":
        return [sample for path in items for sample in teacher.samples(load_game(Path(path)), random.Random(f"{seed}/{_game_key(path)}"))]
    return [sample for number in items for sample in _play_house(teacher, number, kind == "quirky", seed)]


def _game_key(path: str) -> str:
    """The game's own name, so that samples do not depend on where the data lies."""
    return "/".join(Path(path).parts[-3:-1])


def _play_house(teacher: Teacher, number: int, quirky: bool, seed: int) -> Iterator[Sample]:
    """The tasks of one train house, some with what an earlier task in the same house taught."""
    before: list[str] = []
    for task, data in enumerate(house_games("train", number, quirky)):
        rng = random.Random(f"{seed}/{quirky}/{number}/{task}")
        told = before if rng.random() < 0.5 else ()
        samples = list(teacher.samples(parse_game(data, f"house {number}, task {task}"), rng, before=told))
        yield from samples
        notes = next((sample.answer for sample in samples if sample.kind == "reflect"), "")
        before = [body.strip() for body in re.split(r" \.|\n", notes) if read_lesson(body)] or before


def _export(name: str, out: Path, weights: Path, made: Mapping[str, Any]) -> Path:
    """The trained weights with tokenizer and card."""
    target = out / "checkpoint"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for source in (weights / "model.safetensors", weights / "config.json"):
        shutil.copyfile(source, target / source.name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(out / "start" / file, target / file)
    prefixes = list(OPENINGS if RECIPES[name].raw else PREFIXES)
    card = {
        "format": 1, "family": "household-embedded", "name": name, "supports": ["household"], "prefixes": prefixes, "trained": dict(made),
    }  # fmt: skip
    (target / "reflectory.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return target
