"""Replay of recorded transcripts: does the engine say, offer and reward exactly what the reference did?"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reflectory.envs.household.engine import House
from reflectory.envs.household.game import load_game, parse_game
from reflectory.envs.household.tasks import tarfile_like, unpack
from reflectory.errors import ConfigError, MissingDependency


def transcripts(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a transcript file, plain or `.xz`: {"game", "steps": [...]}; a line may carry the game itself under "data".

    Raises:
        MissingDependency: Not there.
        ConfigError: A line that is no transcript; the message names it.
    """
    if not path.exists():
        msg = f"there is no transcript file at {path}"
        raise MissingDependency(msg)
    try:
        lines = (lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()).decode().split("\n")
    except (lzma.LZMAError, EOFError, OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise ConfigError(msg) from error
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            msg = f"{path}, line {number}: not JSON ({error})"
            raise ConfigError(msg) from error
        if not _is_transcript(row):
            form = '{"game": path, "steps": [{"text", "admissible"}, {"cmd", "text", "admissible", "reward", "done"}, …]}'
            msg = f"{path}, line {number}: a transcript is {form}"
            raise ConfigError(msg)
        yield row


def _is_transcript(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("game"), str) or not isinstance(row.get("steps"), list):
        return False
    fields = [{"text", "admissible"}, *({"cmd", "text", "admissible", "reward", "done"} for _ in row["steps"][1:])]
    return all(isinstance(step, dict) and wanted <= step.keys() for wanted, step in zip(fields, row["steps"], strict=False))


def replay(path: Path, games: Path | None) -> dict[str, Any]:
    """Play every transcript and compare text, admissible commands, reward and done.

    Args:
        path: Transcripts in the format of `transcripts`.
        games: Folder or archive the game paths are relative to; may be None when the transcripts carry their games.

    Returns:
        {"games", "steps", "differences", "first_difference"}: the last is None or {"game", "step", "cmd", "field", "ours", "reference"}.
    """
    root = unpack(games) if games is not None and games.is_file() and tarfile_like(games) else games
    result: dict[str, Any] = {"games": 0, "steps": 0, "differences": 0, "first_difference": None}
    for row in transcripts(path):
        result["games"] += 1
        house = _open(row, root)
        for number, expected in enumerate(row["steps"]):
            result["steps"] += 1
            difference = _compare(house, number, expected)
            if difference:
                result["differences"] += 1
                result["first_difference"] = result["first_difference"] or {
                    "game": row["game"],
                    "step": number,
                    "cmd": expected.get("cmd"),
                    **difference,
                }
    if not result["games"]:
        msg = f"{path} holds no transcript"
        raise ConfigError(msg)
    return result


def _open(row: dict[str, Any], root: Path | None) -> House:
    if "data" in row:
        return House(parse_game(row["data"], row["game"]))
    if root is None or not (root / row["game"]).exists():
        msg = f"the game {row['game']} is not below {root}; name the folder or archive of the games with --games"
        raise MissingDependency(msg)
    return House(load_game(root / row["game"]))


def _compare(house: House, number: int, expected: dict[str, Any]) -> dict[str, Any] | None:
    ours: dict[str, Any]
    if number == 0:
        ours = {"text": house.intro(), "admissible": house.admissible()}
    else:
        text, reward, done = house.step(expected["cmd"])
        ours = {"text": text, "admissible": house.admissible(), "reward": reward, "done": done}
    for field, value in ours.items():
        if field in expected and value != expected[field]:
            return {"field": field, "ours": value, "reference": expected[field]}
    return None
