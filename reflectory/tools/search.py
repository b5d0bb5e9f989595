"""`search`: a folder of text, or given documents, searched by words and by meaning."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reflectory.errors import ToolError
from reflectory.execution import Limits
from reflectory.protocols import Embedder
from reflectory.tools.folder import Entry, files
from reflectory.tools.function import FunctionTool, Options
from reflectory.tools.passages import Passage, passages

if TYPE_CHECKING:
    from reflectory.retrieval.collection import Collection

#: Larger files are left out.
MOST_FILE_MB = 2
#: Of one file or document, about what 2 MB of text make; the rest of it is left out.
MOST_FILE_PASSAGES = 2500
#: Of all together, a file counting as one passage at least; what comes later is left out. Passages of nothing but new words need about
#: 50 kB of memory each.
MOST_MB = 32
MOST_PASSAGES = 8000
#: A file with a NUL byte among its first ones is no text.
_HEAD = 8192


class Found(NamedTuple):
    """A passage with its score: half BM25, half cosine, each scaled to 0..1 over all passages."""

    passage: Passage
    score: float


@dataclass(frozen=True, eq=False)
class _Indexed:
    """A file as it was read: what its folder said of it, the hash of its content, its passages, whether they are all, their vectors."""

    stamp: tuple[int, ...]
    sha256: str
    passages: tuple[Passage, ...]
    whole: bool
    vectors: NDArray[np.float32]

    def serves(self, most: int) -> bool:
        """Whether there is nothing to be gained from cutting the same content again into at most so many passages."""
        return self.whole or len(self.passages) >= most


class _Read:
    """What one refresh reads, within the bounds of all files together."""

    def __init__(self) -> None:
        self.files: dict[str, _Indexed] = {}
        self.skipped: Counter[str] = Counter()
        self._bytes, self._left = 0, MOST_PASSAGES

    @property
    def most(self) -> int:
        """Passages that the next file may have."""
        return min(self._left, MOST_FILE_PASSAGES)

    def room(self, size: int) -> bool:
        """Whether a file of so many bytes may be read; counted if not."""
        fits = self._bytes + size <= MOST_MB * 2**20 and self.most > 0
        if not fits:
            self.skipped["beyond the total"] += 1
        return fits

    def add(self, name: str, size: int, file: _Indexed) -> None:
        """Take a file in, or as much of it as there is room for."""
        if len(file.passages) > self.most:
            file = dataclasses.replace(file, passages=file.passages[: self.most], whole=False, vectors=file.vectors[: self.most].copy())
        self._bytes += size
        self._left -= max(len(file.passages), 1)
        self.skipped["cut short"] += not file.whole
        self.files[name] = file


class Corpus:
    """Passages of a folder or of documents, indexed once; a file that has changed is read again at the next search.

    Args:
        source: A folder, or name → text. Below a folder every UTF-8 file is read; links, hidden files, binary ones and those of more than
            `MOST_FILE_MB` are left out. `MOST_FILE_PASSAGES`, `MOST_MB` and `MOST_PASSAGES` bound what is held of either.
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
        #: Why files were left out → how many: binary, large, unreadable, beyond the total, cut short.
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

        found = self._from_documents() if self._folder is None else self._from_folder(self._folder)
        self.skipped, read = +found.skipped, found.files
        if self._collection is not None and read == self._files:
            return
        self._files = read
        self._passages = [passage for _, file in sorted(read.items()) for passage in file.passages]
        vectors = [file.vectors for _, file in sorted(read.items())]
        self._matrix = np.concatenate(vectors) if vectors else np.empty((0, self._embedder.dim), dtype=np.float32)
        # Without a thread: passages overlap already, so neighbours need no share of each other's scores.
        self._collection = Collection([Document(passage.searched) for passage in self._passages])

    def _from_documents(self) -> _Read:
        read = _Read()
        for name, text in (self._documents or {}).items():
            if read.room(len(text)):
                read.add(name, len(text), self._index(name, text, (), read.most))
        return read

    def _from_folder(self, folder: Path) -> _Read:
        read = _Read()
        with contextlib.closing(files(folder)) as entries:
            for entry in entries:
                if entry.stamp[0] > MOST_FILE_MB * 2**20:
                    read.skipped["large"] += 1
                elif read.room(entry.stamp[0]):
                    file = self._from_file(entry, read.most)
                    if isinstance(file, str):
                        read.skipped[file] += 1
                    else:
                        read.add(entry.name, entry.stamp[0], file)
        return read

    def _from_file(self, entry: Entry, most: int) -> _Indexed | str:
        """A file, or why it is left out."""
        known = self._files.get(entry.name)
        if known is not None and known.stamp == entry.stamp and known.serves(most):
            return known
        try:
            data = entry.read(entry.stamp[0])  # no more than was counted
            text = data.decode("utf-8")
        except OSError:
            return "unreadable"
        except UnicodeDecodeError:
            return "binary"
        return "binary" if b"\0" in data[:_HEAD] else self._index(entry.name, text, entry.stamp, most)

    def _index(self, name: str, text: str, stamp: tuple[int, ...], most: int) -> _Indexed:
        """A text's first passages and their vectors, those already there where its content is the same."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        known = self._files.get(name)
        if known is not None and known.sha256 == digest and known.serves(most):
            return known if known.stamp == stamp else dataclasses.replace(known, stamp=stamp)
        pieces = passages(name, text)
        cut = tuple(itertools.islice(pieces, most))
        whole = next(pieces, None) is None
        vectors = np.asarray(self._embedder.embed([passage.searched for passage in cut]), dtype=np.float32)
        return _Indexed(stamp, digest, cut, whole, vectors.reshape(len(cut), self._embedder.dim))


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
