"""The Chroma index under damage, two writers and kills: answers are always those of the exact scan.

Every test runs with a double that keeps files as Chroma does, and with Chroma itself where it is installed.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reflectory.errors import ConfigError, MemoryFault, MissingDependency
from reflectory.memory import MemoryStore, nearest, open_memory
from reflectory.retrieval import chroma_client
from reflectory.retrieval.chroma import ChromaFolder
from reflectory.retrieval.chroma_server import ChromaServer
from reflectory.retrieval.vector_index import Applied, IndexLocked

HERE = Path(__file__).parent
INSTALLED = importlib.util.find_spec("chromadb") is not None
DIM = 16


@pytest.fixture(params=["double", pytest.param("chroma", marks=pytest.mark.skipif(not INSTALLED, reason="chromadb is not installed"))])
def chroma(request, monkeypatch):
    if request.param == "double":
        spec = importlib.util.spec_from_file_location("chroma_double", HERE / "chroma_double.py")
        double = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(double)
        for name in ("chromadb", "chromadb.config"):
            monkeypatch.setitem(sys.modules, name, None)
        double.install()
    monkeypatch.setattr(nearest, "EXACT", 20)
    monkeypatch.setattr(nearest, "TAIL", 50)
    return request.param


class Numbers:
    """Texts are numbers; a number's vector is drawn from it."""

    id, dim = "numbers", DIM

    def embed(self, texts):
        vectors = np.array([np.random.default_rng(int(text.split()[-1])).standard_normal(DIM) for text in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


FIELDS = {"fields": ["text"]}


def opened(path, index="chroma"):
    return MemoryStore(open_memory(path, embedder=Numbers(), index=index), index=FIELDS, owned=True)


def fill(store, numbers):
    from langgraph.store.base import PutOp

    store.batch([PutOp(("n", str(number % 3)), str(number), {"text": f"no {number}", "n": number}) for number in numbers])


def answers(store):
    return [
        [(item.namespace, item.key, item.score) for item in store.search(prefix, query=f"no {number}", filter=wanted, limit=7)]
        for number in (3, 77, 1000)
        for prefix in ((), ("n", "1"))
        for wanted in (None, {"n": {"$lt": 90}})
    ]


def exact(path):
    with opened(path, "exact") as store:
        return answers(store)


@pytest.fixture
def filled(chroma, tmp_path):
    path = tmp_path / "m.sqlite"
    with opened(path) as store:
        fill(store, range(200))
        assert answers(store)
        assert store.memory._replica.nearest.applied.rows == 200
    return path


def generation(path):
    folder = Path(f"{path}-chroma")
    return folder / (folder / "CURRENT").read_text()


def test_answers_are_those_of_the_exact_scan_whatever_is_written(filled):
    wanted = exact(filled)
    before = generation(filled)
    with opened(filled) as store:
        assert answers(store) == wanted
        fill(store, range(200, 220))  # beside the index
        store.delete(("n", "0"), "3")
        store.put(("n", "2"), "77", {"text": "no 1000", "n": 1})
        beside = answers(store)
        assert store.memory._replica.nearest.applied.rows == 200
        fill(store, range(220, 300))  # into the index
        after = answers(store)
        assert store.memory._replica.nearest.applied.rows == 301
    assert after == exact(filled)
    assert beside[0] != wanted[0]
    assert generation(filled) == before  # nothing had to be built anew
    with opened(filled) as store:
        assert generation(filled) == before
        assert answers(store) == after


def flip(path):
    data = bytearray(path.read_bytes())
    for place in range(200, len(data), 97):
        data[place] ^= 0x41
    path.write_bytes(data)


DAMAGE = {
    "segment folder deleted": lambda folder: [shutil.rmtree(item) for item in (folder / "chroma").iterdir() if item.is_dir()],
    "vectors cut in half": lambda folder: [
        item.write_bytes(item.read_bytes()[: item.stat().st_size // 2]) for item in folder.rglob("data_level0.bin")
    ],
    "bytes flipped": lambda folder: [flip(item) for item in folder.rglob("data_level0.bin")],
    "every file emptied": lambda folder: [item.write_bytes(b"") for item in (folder / "chroma").rglob("*") if item.is_file()],
    "manifest gone": lambda folder: (folder / "manifest.json").unlink(),
    "manifest no json": lambda folder: (folder / "manifest.json").write_text("{"),
    "a file too many": lambda folder: (folder / "chroma" / "more").write_text("x"),
    "pointer astray": lambda folder: (folder.parent / "CURRENT").write_text("../.."),
    "pointer gone": lambda folder: (folder.parent / "CURRENT").unlink(),
    "everything gone": lambda folder: shutil.rmtree(folder.parent),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_built_anew_and_never_opened(filled, damage):
    wanted, before = exact(filled), generation(filled)
    DAMAGE[damage](before)
    with opened(filled) as store:
        assert answers(store) == wanted
        assert store.memory._replica.nearest.applied.rows == 200
    assert not (before / "chroma" / "more").exists()
    after = generation(filled)
    with opened(filled) as store:
        assert answers(store) == wanted
    assert generation(filled) == after


def test_texts_without_vectors_do_not_matter_to_the_index(filled):
    """Items that are not indexed, or that have several texts, have rows whose own vector nobody has made."""
    with opened(filled) as store:
        for number in range(300, 360):
            store.put(("n", "1"), str(number), {"text": f"no {number}", "n": 5}, index=False)
            store.put(("n", "2"), str(number), {"text": f"no {number}", "more": f"no {number + 9000}", "n": 5}, index=["text", "more"])
        wanted = answers(store)
        assert store.search((), query="no 9333", limit=1)[0].key == "333"
    before = generation(filled)
    with opened(filled) as store:
        assert answers(store) == wanted
        assert store.search((), query="no 9333", limit=1)[0].key == "333"
    assert (generation(filled), exact(filled)) == (before, wanted)


def test_an_index_of_another_past_is_built_anew(filled, tmp_path):
    """The same number of events, but not the same: the journal's hash tells."""
    other = tmp_path / "other.sqlite"
    with opened(other, "exact") as store:
        fill(store, range(1000, 1200))
    shutil.copytree(f"{filled}-chroma", f"{other}-chroma")
    wanted = exact(other)
    with opened(other) as store:
        assert answers(store) == wanted
    with MemoryStore(open_memory(other, index="chroma"), index=FIELDS, owned=True) as store:  # another embedder
        assert store.search((), query="no 1100", limit=1)[0].key == "1100"


def test_vectors_that_are_not_the_memorys_are_found_out(filled):
    """Whole files with fitting hashes, but other vectors in them: the sample that is read back tells."""
    folder = Path(f"{filled}-chroma")
    index = ChromaFolder(folder, "numbers", DIM)
    applied = index.applied
    index.rebuild(Numbers().embed([f"no {number + 5000}" for number in range(applied.rows)]), applied)
    index.close()
    wanted = exact(filled)
    with opened(filled) as store:
        assert answers(store) == wanted


def test_a_second_writer_is_refused_and_searches_exactly(filled):
    wanted = exact(filled)
    with opened(filled) as first:
        with pytest.raises(IndexLocked, match="another process"):
            ChromaFolder(Path(f"{filled}-chroma"), "numbers", DIM)
        with opened(filled) as second:
            assert second.memory._replica.nearest is None
            assert answers(second) == wanted
            fill(second, range(200, 280))
            assert answers(second) == answers(first)
    assert exact(filled) == answers(opened(filled))


def test_an_index_that_fails_while_searching_is_put_away(filled):
    class Panic(BaseException):
        pass

    with opened(filled) as store:
        wanted = answers(store)

        def fail(*arguments):
            raise Panic

        store.memory._replica.nearest._index.search = fail
        assert answers(store) == wanted
        assert store.memory._replica.nearest.applied is None
    assert not (generation(filled) / "manifest.json").exists()  # the next one to open it builds anew
    with opened(filled) as store:
        assert answers(store) == wanted


CHILD = """
import os, signal, sys
if sys.argv[3] == "double":
    sys.path.insert(0, sys.argv[4]); import chroma_double; chroma_double.install()
sys.path.insert(0, sys.argv[4])
from test_chroma_index import opened, fill, answers
from reflectory.memory import nearest
from reflectory.retrieval import chroma_client
nearest.EXACT, nearest.TAIL = 20, 50
left = int(sys.argv[2])
def step(name):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
chroma_client.STEP = step
with opened(sys.argv[1]) as store:
    answers(store)
    fill(store, range(200, 300))
    answers(store)
    store.memory._replica.nearest.rebuild()
print("survived")
"""


def kill_at(point, path, chroma):
    return subprocess.run([sys.executable, "-c", CHILD, str(path), str(point), chroma, str(HERE)], capture_output=True, text=True)


def check_kill(chroma, path, base, point):
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
    shutil.rmtree(f"{path}-chroma", ignore_errors=True)
    shutil.copy(base, path)
    if point % 2:  # from nothing, and from an index that is there
        shutil.copytree(f"{base}-chroma", f"{path}-chroma")
    done = kill_at(point // 2, path, chroma)
    assert done.returncode in (-9, 0), done.stderr
    wanted = exact(path)
    with opened(path) as store:
        assert answers(store) == wanted
        assert store.memory._replica.nearest.applied is not None
    return done.returncode


def test_killed_while_rebuilding(chroma, filled, tmp_path):
    assert check_kill(chroma, tmp_path / "copy.sqlite", filled, 6) == -9


@pytest.mark.slow
def test_killed_at_every_step(chroma, filled, tmp_path):
    codes = [check_kill(chroma, tmp_path / "copy.sqlite", filled, point) for point in range(40)]
    assert codes[-2:] == [0, 0]
    assert codes.count(-9) >= 15


def test_the_steps_are_named(chroma, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(chroma_client, "STEP", seen.append)
    index = ChromaFolder(tmp_path / "index", "numbers", DIM)
    vectors = Numbers().embed([f"no {number}" for number in range(20)])
    with pytest.raises(MemoryFault, match="rebuild"):
        index.add(vectors, Applied(20, "aa", 20))
    index.rebuild(vectors, Applied(20, "aa", 20))
    index.add(vectors[:5], Applied(25, "bb", 25))
    index.close()
    index.close()
    assert list(dict.fromkeys(seen)) == [
        "chroma.rebuild",
        "chroma.batch",
        "chroma.rebuild.manifest",
        "chroma.rebuild.swap",
        "chroma.rebuild.swapped",
        "chroma.add",
        "chroma.added",
        "chroma.close.manifest",
    ]
    again = ChromaFolder(tmp_path / "index", "numbers", DIM)
    assert again.applied == Applied(25, "bb", 25)
    assert np.allclose(again.read(np.array([0, 24])), vectors[[0, 4]])
    assert again.search(vectors[7], 3)[0] == 7
    again.close()


def test_a_server_is_shared_and_rebuilt_beside(chroma, tmp_path):
    if chroma == "chroma":
        pytest.skip("needs a running server; see the slow test")
    path, url = tmp_path / "m.sqlite", "http://localhost:8123"
    with opened(path, url) as store:
        fill(store, range(150))
        wanted = answers(store)
        with opened(path, url) as other:
            assert answers(other) == wanted
            fill(other, range(150, 260))
            both = answers(other)
            assert other.memory._replica.nearest.applied.rows == 260
        assert answers(store) == both
        store.memory._replica.nearest.rebuild()
        assert answers(store) == both == exact(path)
    with pytest.raises(ConfigError, match="http://localhost:8000"):
        ChromaServer("ftp://x", "m", "numbers", DIM)


def test_what_cannot_have_an_index_says_so(chroma, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="without a file"):
        open_memory(None, index="chroma")
    open_memory(tmp_path / "m.sqlite").close()
    with open_memory(tmp_path / "m.sqlite", index="chroma", read_only=True) as memory:
        assert memory._replica.nearest is None
    assert [item.name for item in tmp_path.iterdir()] == ["m.sqlite"]
    monkeypatch.setattr(chroma_client, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install"):
        open_memory(tmp_path / "m.sqlite", index="chroma")
