"""Sets of household tasks: generated and quirky houses from a seed, ALFWorld data from a folder or archive, people's goal sentences."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import lzma
import os
import random
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reflectory.envs.household.game import read_task
from reflectory.envs.household.generator import SPLITS, house_name, house_tasks
from reflectory.errors import ConfigError, GameFileError, MissingDependency, did_you_mean
from reflectory.records import Task

#: Tasks taken from each generated house, so that a set has many houses and each hosts more than one task.
PER_HOUSE = 2
_FAMILIES = ("generated", "quirky")
_GAME = "game.tw-pddl"
_FLOOR = re.compile(r"-(\d+)/trial")


def household_tasks(source: str = "", *, limit: int | None = None, seed: int = 0, goals: str = "template") -> Iterator[Task]:
    """The tasks of a set, always in the same order for the same arguments.

    Args:
        source: `generated:SPLIT` or `quirky:SPLIT` (train, dev, test; endless, so they need a limit: 140 when none is given),
            or a folder or `.tar.xz` of games, or one game file; "" means `$ALFWORLD_DATA`.
        limit: At most so many; of a folder, a sample drawn by the seed.
        seed: Which houses of a generated set (seeds never share one), which sample of a folder.
        goals: "template", or the path of a `human_goals.json[.xz]`: then one task per human sentence.

    Raises:
        ConfigError: Unknown set, or goals that match no game.
        MissingDependency: The folder or file is not there.
    """
    family, colon, split = source.partition(":")
    if colon and family in _FAMILIES:
        if goals != "template":
            msg = "people's goal sentences belong to games of the ALFWorld data; give --tasks PATH with --goals"
            raise ConfigError(msg)
        yield from itertools.islice(_generated(split, quirky=family == "quirky", seed=seed), 140 if limit is None else limit)
        return
    paths = _game_files(source)
    tasks = [_from_file(path) for path in paths] if goals == "template" else list(_from_sentences(paths, Path(goals)))
    if limit is not None and limit < len(tasks):
        keep = sorted(random.Random(f"sample/{seed}").sample(range(len(tasks)), limit))
        tasks = [tasks[index] for index in keep]
    yield from tasks


def _generated(split: str, *, quirky: bool, seed: int) -> Iterator[Task]:
    if split not in SPLITS:
        msg = f"there is no split {split!r}. {did_you_mean(split, SPLITS)}"
        raise ConfigError(msg)
    for house in itertools.count(seed * 10_000):
        yield from house_of_tasks(split, house, quirky=quirky, limit=PER_HOUSE)


def house_of_tasks(split: str, house: int, *, quirky: bool = False, limit: int = 8) -> list[Task]:
    """Tasks that play in one generated house."""
    name = house_name(split, house, quirky=quirky)
    found = house_tasks(split, house, quirky=quirky)[:limit]
    return [
        Task(
            goal=sentence.partition(": ")[2],
            env="household",
            id=f"{name}/{number}",
            inputs={"split": split, "house": house, "number": number, "quirky": quirky, "situation": name},
        )
        for number, sentence in enumerate(found)
    ]


def _game_files(source: str) -> list[Path]:
    place = source or os.environ.get("ALFWORLD_DATA", "")
    if not place:
        msg = "no games named: give --tasks generated:dev, quirky:dev or a PATH, or set ALFWORLD_DATA to the folder of the ALFWorld data"
        raise MissingDependency(msg)
    path = Path(place).expanduser()
    if not path.exists():
        msg = f"there is nothing at {path}. {did_you_mean(source, [f'{family}:{split}' for family in _FAMILIES for split in SPLITS])}"
        raise MissingDependency(msg)
    if path.is_file() and not tarfile_like(path):
        return [path]
    root = unpack(path) if path.is_file() else path
    found = sorted(root.rglob(f"*{_GAME}"))
    if not found:
        msg = f"{path} holds no {_GAME}"
        raise MissingDependency(msg)
    return found


def tarfile_like(path: Path) -> bool:
    """Is this an archive by its name?"""
    return path.name.endswith((".tar.xz", ".tar.gz", ".tar", ".txz", ".tgz"))


def unpack(archive: Path) -> Path:
    """Unpack the game files of an archive once into the user's cache folder, and give the folder.

    Raises:
        ConfigError: Not a readable archive, or one that would unpack outside its folder.
    """
    stat = archive.stat()
    key = hashlib.sha256(f"{archive.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reflectory" / "archives"
    target = cache / key
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as fresh:
        try:
            with tarfile.open(archive) as tar:
                members = [member for member in tar if member.isfile() and member.name.endswith(_GAME)]
                tar.extractall(fresh, members=members, filter="data")
        except (tarfile.TarError, OSError, EOFError, lzma.LZMAError) as error:
            msg = f"{archive} cannot be unpacked: {error}"
            raise ConfigError(msg) from error
        with contextlib.suppress(OSError):  # another process may have put its copy there first
            Path(fresh).rename(target)
            Path(fresh).mkdir()  # for the context manager to remove
    return target


def _from_file(path: Path) -> Task:
    floor = _FLOOR.search(str(path))
    try:
        grammar = json.loads(path.read_text(encoding="utf-8"))["grammar"]
        if not isinstance(grammar, str):
            msg = f"{path} is no game file: its grammar is not text"
            raise GameFileError(msg)
    except (ValueError, OSError, TypeError, KeyError) as error:
        msg = f"{path} is no game file: {error!r}"
        raise GameFileError(msg) from error
    return Task(
        goal=read_task(grammar, str(path)).partition(": ")[2], env="household", id="/".join(path.parts[-4:-1]),
        inputs={"path": str(path), "situation": f"FloorPlan{floor.group(1)}" if floor else str(path.parent)},
    )  # fmt: skip


def _from_sentences(paths: list[Path], goals: Path) -> Iterator[Task]:
    entries = read_goals(goals)
    by_game = {tuple(key.split("/")[-2:]): entry["human_goals"] for key, entry in entries.items()}
    matched = 0
    for path in paths:
        task = _from_file(path)
        for number, sentence in enumerate(by_game.get(path.parts[-3:-1], ())):
            matched += 1
            yield task.model_copy(update={"id": f"{task.id}#{number}", "goal": sentence, "inputs": {**task.inputs, "sentence": sentence}})
    if not matched:
        msg = f"none of the {len(paths)} games has a sentence in {goals}"
        raise ConfigError(msg)


def read_goals(path: Path) -> dict[str, Any]:
    """Content of a `human_goals.json`, plain or `.xz`.

    Raises:
        MissingDependency: Not there.
        ConfigError: Not such a file.
    """
    if not path.exists():
        msg = f"there is no goals file at {path}; give 'template' or the path of a human_goals.json[.xz]"
        raise MissingDependency(msg)
    try:
        text = lzma.decompress(path.read_bytes()).decode() if path.suffix == ".xz" else path.read_text(encoding="utf-8")
        data: dict[str, Any] = json.loads(text)
        entries = data.values() if isinstance(data, dict) else [None]
        if not all(isinstance(entry, dict) and isinstance(entry.get("human_goals"), list) for entry in entries):
            msg = f"{path} is not a goals file: a JSON object of games, each with human_goals"
            raise ConfigError(msg)
    except (ValueError, lzma.LZMAError, OSError) as error:
        msg = f"{path} cannot be read as goals: {error}"
        raise ConfigError(msg) from error
    return data
