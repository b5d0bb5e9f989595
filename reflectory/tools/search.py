"""`search`: a folder of text, or given documents, searched by words and by meaning."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ToolError
from reflectory.execution import Limits
from reflectory.protocols import Embedder
from reflectory.tools.function import FunctionTool, Options
from reflectory.tools.passages import Passage, passages

if TYPE_CHECKING:
    from reflectory.retrieval.collection import Collection

#: Larger files are left out.
MOST_FILE_MB = 2
#: A file with a NUL byte among its first ones is no text.
_HEAD = 8192


class Found(NamedTuple):
    """A passage with its score: half BM25, half cosine, each scaled to 0..1 over all passages."""

    passage: Passage
    score: float


@dataclass(frozen=True, eq=False)
class _Indexed:
    """A file as it was read: what its folder said of it, the hash of its content, its passages and their vectors."""

    stamp: tuple[int, ...]
    sha256: str
    passages: tuple[Passage, ...]
    vectors: NDArray[np.float32]


class Corpus:
    """Passages of a folder or of documents, indexed once; a file that has changed is read again at the next search.

    Args:
        source: A folder, or name → text. Below a folder every UTF-8 file is read; links, hidden files, binary ones and those of more than
            `MOST_FILE_MB` are left out.
        embedder: Makes the vectors; None is the one without weights.

    Raises:
        ToolError: There is no such folder.
    """

    def __init__(self, source: str | Path | Mapping[str, str], embedder: Embedder | None = None) -> None:
        if embedder is None:
            from reflectory.retrieval import HashingEmbedder

            embedder = HashingEmbedder()
        self._embedder = embedder
        self._documents = source if isinstance(source, Mapping) else None
        self._folder = None if isinstance(source, Mapping) else Path(source)
        if self._folder is not None and not self._folder.is_dir():
            msg = f"{self._folder} is no folder to be searched. Give one, or a mapping of names to texts."
            raise ToolError(msg)
        self._files: dict[str, _Indexed] = {}
        self._collection: Collection | None = None
        self._passages: list[Passage] = []
        self._matrix: NDArray[np.float32] = np.empty((0, embedder.dim), dtype=np.float32)
        self._lock = threading.Lock()
        #: Why files were left out → how many: binary, large, unreadable.
        self.skipped: Counter[str] = Counter()

    @property
    def files(self) -> int:
        """Files or documents that can be searched."""
        return len(self._files)

    def __len__(self) -> int:
        return len(self._passages)

    def refresh(self) -> None:
        """Read what is new or has changed, forget what is gone."""
        with self._lock:
            self._refresh()

    def find(self, query: str, k: int) -> list[Found]:
        """The passages that fit best.

        Args:
            query: Any text.
            k: At most so many.

        Returns:
            Best first; equal ones in order of source and line.
        """
        from reflectory.retrieval.documents import question
        from reflectory.retrieval.scan import cosines

        with self._lock:
            self._refresh()
            if self._collection is None or not self._passages:
                return []
            vector = np.asarray(self._embedder.embed([query]), dtype=np.float32)[0]
            scores = self._collection.prior(cosines(self._matrix, vector), question(query))
            best = np.lexsort((np.arange(len(scores)), -scores))[:k]
            return [Found(self._passages[place], float(scores[place])) for place in best.tolist()]

    def _refresh(self) -> None:
        from reflectory.retrieval.collection import Collection
        from reflectory.retrieval.documents import Document

        read = self._from_documents() if self._folder is None else self._from_folder(self._folder)
        if self._collection is not None and read == self._files:
            return
        self._files = read
        self._passages = [passage for _, file in sorted(read.items()) for passage in file.passages]
        vectors = [file.vectors for _, file in sorted(read.items())]
        self._matrix = np.concatenate(vectors) if vectors else np.empty((0, self._embedder.dim), dtype=np.float32)
        # Without a thread: passages overlap already, so neighbours need no share of each other's scores.
        self._collection = Collection([Document(passage.searched) for passage in self._passages])

    def _from_documents(self) -> dict[str, _Indexed]:
        return {name: self._index(name, text, ()) for name, text in (self._documents or {}).items()}

    def _from_folder(self, folder: Path) -> dict[str, _Indexed]:
        read: dict[str, _Indexed] = {}
        self.skipped = Counter()
        for name, path, stamp in _walk(folder):
            known = self._files.get(name)
            if known is not None and known.stamp == stamp:
                read[name] = known
                continue
            if stamp[0] > MOST_FILE_MB * 2**20:
                self.skipped["large"] += 1
                continue
            try:
                data = path.read_bytes()
                text = data.decode("utf-8")
            except OSError:
                self.skipped["unreadable"] += 1
            except UnicodeDecodeError:
                self.skipped["binary"] += 1
            else:
                if b"\0" in data[:_HEAD]:
                    self.skipped["binary"] += 1
                else:
                    read[name] = self._index(name, text, stamp)
        return read

    def _index(self, name: str, text: str, stamp: tuple[int, ...]) -> _Indexed:
        """A text's passages and vectors, those already there where its content is the same."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        known = self._files.get(name)
        if known is not None and known.sha256 == digest:
            return known if known.stamp == stamp else _Indexed(stamp, digest, known.passages, known.vectors)
        cut = tuple(passages(name, text))
        vectors = np.asarray(self._embedder.embed([passage.searched for passage in cut]), dtype=np.float32)
        return _Indexed(stamp, digest, cut, vectors.reshape(len(cut), self._embedder.dim))


class SearchTool(FunctionTool):
    """Search in a folder of text, or in given documents. Its answers are `content`: whoever wrote the files wrote them.

    Args:
        source: A folder, or name → text; see `Corpus`.
        about: What is there, for the model: "the manual of the machine".
        k: Passages per answer.
        embedder: Makes the vectors; None is the one without weights.
        limits: `seconds` and `output_kb` hold. A first search reads the whole folder; `corpus.refresh()` does so ahead.

    Raises:
        ToolError: There is no such folder.
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, str],
        *,
        about: str = "the documents",
        k: int = 5,
        embedder: Embedder | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.corpus, self._k = Corpus(source, embedder), k
        told = f"Search {about}. Returns the {k} passages that fit best, each with its source and lines."
        super().__init__(self._search, Options(name="search", description=told, effect="read", limits=limits or Limits()))

    def _search(self, query: str) -> str:
        """Search.

        Args:
            query: Words to look for.
        """
        found = self.corpus.find(query, self._k)
        left_out = ", ".join(f"{count} {why}" for why, count in sorted(self.corpus.skipped.items()))
        size = f"{self.corpus.files} files" + (f"; left out: {left_out}" if left_out else "")
        if not found:
            return f"There is nothing to search ({size})."
        head = f"{len(found)} of {len(self.corpus)} passages ({size})"
        return "\n\n".join([head, *(_shown(number, hit.passage) for number, hit in enumerate(found, start=1))])


def _shown(number: int, passage: Passage) -> str:
    above = f" ({passage.headings})" if passage.headings else ""
    return f"[{number}] {passage.source}:{passage.first}-{passage.last}{above}\n{passage.text}"


def _walk(folder: Path) -> Iterator[tuple[str, Path, tuple[int, ...]]]:
    """(Relative POSIX path, path, what the folder says of it: size first) of regular files, in order of paths; links are not followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            try:
                facts = path.lstat()
            except OSError:
                continue
            if stat.S_ISREG(facts.st_mode) and not name.startswith("."):
                stamp = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
                yield path.relative_to(folder).as_posix(), path, stamp
