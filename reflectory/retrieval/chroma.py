"""A Chroma index in a folder. Rebuildable, never the source of truth.

A folder holds generations, each a Chroma folder with a manifest: how far it goes, and the sha256 of every file as it was when Chroma had
closed it. `CURRENT` names the generation in use and is replaced by rename. The manifest goes before the first write and comes back at a
clean close, so a killed writer, a lost segment, a cut or a flipped byte all read as "no manifest that fits", and the index is built anew
beside the old one: Chroma itself opens such folders without a word, answers wrongly, or takes the process down with it.
One process at a time may open a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import MemoryFault
from reflectory.retrieval.chroma_client import FORMAT, close_client, insert_rows, open_folder, read_rows, require, search_rows, step
from reflectory.retrieval.vector_index import Applied, IndexLocked

_log = logging.getLogger(__name__)
_GENERATION = re.compile(r"gen-[0-9]{1,9}")


class ChromaFolder:
    """An index in a folder of its own.

    Args:
        folder: Created when absent; nothing else may lie in it.
        embedder: Id of the embedder; vectors of another are never compared.
        dim: Length of a vector.

    Raises:
        IndexLocked: Another process has the folder open.
        MissingDependency: Chroma is not installed.
    """

    def __init__(self, folder: Path, embedder: str, dim: int) -> None:
        require()
        self.folder, self._embedder, self._dim = folder, embedder, dim
        self._applied = Applied()
        self._client: Any = None
        self._collection: Any = None
        self._generation: Path | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = _lock(folder / "LOCK")
        try:
            self._open_current()
        except BaseException:
            self.close()
            raise

    @property
    def applied(self) -> Applied:
        """How far it goes; nothing when there is no generation that its manifest fits."""
        return self._applied

    def add(self, vectors: NDArray[np.float32], applied: Applied) -> None:
        """Append rows; see `VectorIndex.add`."""
        if self._generation is None:
            msg = f"the index {self.folder} is empty; rebuild it before rows are added."
            raise MemoryFault(msg)
        generation, self._generation = self._generation, None  # a failure on the way leaves nothing that a manifest could vouch for
        (generation / "manifest.json").unlink(missing_ok=True)
        _sync(generation)
        step("chroma.add")
        insert_rows(self._client, self._collection, vectors, self._applied.rows)
        self._applied, self._generation = applied, generation
        step("chroma.added")

    def search(self, vector: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Rows near a vector; see `VectorIndex.search`."""
        return search_rows(self._collection, vector, k)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of rows; see `VectorIndex.read`."""
        return read_rows(self._collection, rows)

    def rebuild(self, vectors: NDArray[np.float32], applied: Applied) -> None:
        """Build a new generation and swap; see `VectorIndex.rebuild`."""
        self._shut()
        self._applied, self._generation = Applied(), None
        new = self.folder / f"gen-{1 + max((int(path.name[4:]) for path in self._generations()), default=0)}"
        step("chroma.rebuild")
        client, collection = open_folder(new / "chroma")
        try:
            insert_rows(client, collection, vectors, 0)
        finally:
            close_client(client)
        step("chroma.rebuild.manifest")
        self._write_manifest(new, applied)
        step("chroma.rebuild.swap")
        _replace(self.folder / "CURRENT", new.name)
        step("chroma.rebuild.swapped")
        self._remove_others(new)
        self._open_current()

    def close(self, *, trusted: bool = True) -> None:
        """Close Chroma, write the manifest, and let go of the folder; may be called twice. See `VectorIndex.close`."""
        generation, self._generation = self._generation, None
        self._shut()
        if generation is not None:
            step("chroma.close.manifest")
            if trusted:
                self._write_manifest(generation, self._applied)  # Chroma may have tidied its files even where nothing was added
            else:
                (generation / "manifest.json").unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _generations(self) -> list[Path]:
        return [path for path in self.folder.glob("gen-*") if _GENERATION.fullmatch(path.name)]

    def _remove_others(self, current: Path) -> None:
        for path in self._generations():
            if path != current:
                shutil.rmtree(path, ignore_errors=True)

    def _open_current(self) -> None:
        try:
            name = (self.folder / "CURRENT").read_text(encoding="utf-8")
            manifest = json.loads((self.folder / name / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if not _GENERATION.fullmatch(name):
            return
        generation = self.folder / name
        own = {"format": FORMAT, "embedder": self._embedder, "dim": self._dim, "files": _digests(generation / "chroma")}
        if not isinstance(manifest, dict) or any(manifest.get(key) != value for key, value in own.items()):
            return
        try:
            self._client, self._collection = open_folder(generation / "chroma")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # written by a newer Chroma, say; its Rust panics are no Exceptions
            _log.warning("the index %s cannot be opened: %s", generation, error)
            return
        self._generation = generation
        self._applied = Applied(int(manifest["seq"]), str(manifest["digest"]), int(manifest["rows"]))
        self._remove_others(generation)  # left by a process that was killed while it built them

    def _shut(self) -> None:
        if self._client is not None:
            close_client(self._client)
            self._client = self._collection = None

    def _write_manifest(self, generation: Path, applied: Applied) -> None:
        own = {"format": FORMAT, "embedder": self._embedder, "dim": self._dim, **applied._asdict()}
        _replace(generation / "manifest.json", json.dumps({**own, "files": _digests(generation / "chroma")}))


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        msg = f"the index {path.parent} is open in another process. Close it there, or search exactly: index='exact'."
        raise IndexLocked(msg) from error
    return handle


def _digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by relative path."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _replace(path: Path, text: str) -> None:
    """Write a small file whole, or not at all."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
