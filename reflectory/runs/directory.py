"""The run directory: the record of a run, readable at any moment, and the place a killed run continues from."""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reflectory.config import RunConfig, dump, load
from reflectory.errors import ConfigError, RunError
from reflectory.records import Task, Trajectory
from reflectory.runs.build import Setup
from reflectory.runs.files import append_line, read_line_at, read_lines, replace_file
from reflectory.runs.provenance import provenance
from reflectory.runs.recorder import step_json
from reflectory.runs.worlds import sandbox_of

FORMAT = 1
Result = dict[str, Any]


#: What a run puts into its folder before the manifest.
_OWN = frozenset({"lock", "trajectories", "memory", "config.yaml", "tasks.jsonl"})


class RunDirectory:
    """Files of one run.

    `manifest.json` what was run with what · `config.yaml` the settings · `tasks.jsonl` the tasks as played · `results.jsonl` one line
    per finished trial · `trajectories/WORKER.jsonl` one line per attempt · `memory/` a journal of its own, exports before and after ·
    `run.sqlite` the workers' queue, and what was done once.

    Args:
        path: The folder.
        manifest: Its manifest.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open an existing run.

        Raises:
            RunError: There is no run, or its format is newer than this version reads.
        """
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"{path} is not a run directory: its manifest.json cannot be read ({error})."
            raise RunError(msg) from error
        if manifest.get("format") != FORMAT:
            msg = f"{path} has format {manifest.get('format')!r}; this version reads format {FORMAT}."
            raise RunError(msg)
        return cls(path, manifest)

    @classmethod
    def claim(cls, path: Path, setup: Setup, tasks: Sequence[Task], *, kind: str, memory_digest: str) -> RunDirectory:
        """Begin a run in a folder that exists and is locked, or continue the one that is there.

        Args:
            path: The folder.
            setup: What is run.
            tasks: The tasks.
            kind: `eval` or `run`.
            memory_digest: Hash of the memory before the run; part of the new run's id.

        Raises:
            RunError: The folder holds another run, or files that are no run.
        """
        played = digest([task.model_dump(mode="json") for task in tasks])
        identity = {**setup.identity(), "kind": kind, "config": setup.config.essence(), "tasks": played}
        if (path / "manifest.json").exists():
            found = cls.open(path)
            _same(found.manifest["identity"], identity, path)
            return found
        # A kill while the folder was being made leaves our own names without a manifest; the manifest is written last.
        if any(entry.name not in _OWN and not entry.name.startswith(".") for entry in path.iterdir()):
            msg = f"{path} is not empty and holds no run. Choose another folder."
            raise RunError(msg)
        (path / "trajectories").mkdir(exist_ok=True)
        (path / "memory").mkdir(exist_ok=True)
        replace_file(path / "config.yaml", dump(setup.config))
        replace_file(path / "tasks.jsonl", "".join(task.model_dump_json() + "\n" for task in tasks))
        identified = digest([identity, memory_digest])[:12]
        head = {"format": FORMAT, "id": identified, "kind": kind, "status": "new", "created": _now(), "identity": identity}
        kept_in = sandbox_of(setup.config, tasks, setup.tools)
        sandbox = None if kept_in is None else kept_in.model_dump(mode="json", include={"tier", "level", "leaks"})
        rest: dict[str, Any] = {
            "portable": _portable(setup),
            "memory_before": memory_digest,
            "trials": [],
            "wall_s": 0.0,
            "sandbox": sandbox,
        }
        directory = cls(path, {**head, **rest, **provenance()})
        directory.save()
        return directory

    @property
    def id(self) -> str:
        """The run's id: a hash of all that decides its result."""
        return str(self.manifest["id"])

    @property
    def sandbox(self) -> str | None:
        """Tier of the sandbox of the worlds that run code; None where none does."""
        kept = self.manifest.get("sandbox")
        return None if kept is None else str(kept["tier"])

    def config(self) -> RunConfig:
        """The settings it was begun with."""
        return load(self.path / "config.yaml").model_copy(update={"out": str(self.path)})

    def tasks(self) -> list[Task]:
        """The tasks, in order."""
        return [Task.model_validate(item) for item in read_lines(self.path / "tasks.jsonl")]

    def save(self, **changes: Any) -> None:
        """Write the manifest with changes, by rename."""
        self.manifest.update(changes)
        replace_file(self.path / "manifest.json", json.dumps(self.manifest, indent=1) + "\n")

    def results(self) -> dict[tuple[int, str], Result]:
        """(trial, task) → result line. A later line replaces an earlier one: only errors are ever tried again."""
        return {(line["trial"], line["task"]): line for line in read_lines(self.path / "results.jsonl") if line.get("format") == FORMAT}

    def add(self, result: Result, trajectories: Sequence[Trajectory], worker: str) -> None:
        """Write a finished trial: its trajectories first, then the line that makes it count. Returns when both are on disk."""
        name = f"trajectories/{worker}.jsonl"
        offsets = [append_line(self.path / name, trajectory_json(item)) for item in trajectories]
        line = {"format": FORMAT, **result, "trajectories": [[name, offset] for offset in offsets]}
        append_line(self.path / "results.jsonl", json.dumps(line))

    def trajectories(self, result: Result) -> Iterator[dict[str, Any]]:
        """The attempts of a result line, as JSON."""
        for name, offset in result["trajectories"]:
            item = read_line_at(self.path / name, offset)
            if item is not None:
                yield item


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a run directory, made when absent: a second process that wants it is refused.

    Raises:
        RunError: Another process runs it now.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        msg = f"{path} cannot be a run directory: {error.strerror or error}. Choose another --out."
        raise RunError(msg) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"{path} is being run by another process. Wait for it, or choose another --out."
            raise RunError(msg) from error
        yield
    finally:
        os.close(handle)


def digest(value: Any) -> str:
    """A hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def trajectory_json(item: Trajectory) -> str:
    """One attempt as a line of JSON; the task is named by its key, tasks.jsonl holds the rest."""
    head = {"format": FORMAT, "task": item.task.key, "goal": item.task.goal, "attempt": item.attempt, "outcome": item.outcome}
    tail = f'"reward":{json.dumps(item.reward)},"usage":{item.usage.model_dump_json()},"steps":[{",".join(map(step_json, item.steps))}]'
    return f"{json.dumps(head)[:-1]},{tail}}}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _portable(setup: Setup) -> dict[str, Any] | None:
    try:
        return setup.portable()
    except ConfigError:
        return None


def _same(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    differ = [key for key in sorted({*old, *new}) if key != "config" and old.get(key) != new.get(key)]
    config = (old.get("config", {}), new.get("config", {}))
    differ += [f"config.{key}" for key in sorted({*config[0], *config[1]}) if config[0].get(key) != config[1].get(key)]
    if differ:
        told = ", ".join(differ)
        msg = f"{path} holds a run with other settings ({told}). Continue it with `reflectory resume {path}`, or choose another --out."
        raise RunError(msg)
