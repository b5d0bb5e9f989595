"""The Chroma index under damage, two writers and broken pieces: answers are always those of the exact scan."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from chroma_memories import DIM, FIELDS, INSTALLED, Clusters, Numbers, answers, exact, fill, found, generation, opened, small, watched

from reflectory.errors import ConfigError, MemoryFault, MissingDependency
from reflectory.memory import MemoryStore, nearest, open_memory
from reflectory.retrieval import chroma, chroma_client
from reflectory.retrieval.chroma import ChromaFolder
from reflectory.retrieval.vector_index import Applied, IndexLocked

pytestmark = pytest.mark.skipif(not INSTALLED, reason="chromadb is not installed")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small(monkeypatch)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("chroma") / "m.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        with opened(path) as store:
            fill(store, range(200))
            assert answers(store)
            assert store.memory._replica.nearest.applied.rows == 200
    return path


@pytest.fixture
def filled(base, tmp_path):
    shutil.copy(base, tmp_path / "m.sqlite")
    shutil.copytree(f"{base}-chroma", tmp_path / "m.sqlite-chroma")
    return tmp_path / "m.sqlite"


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


def overwrite(path):
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * 4096)


DAMAGE = {
    "segment folder deleted": lambda folder: [shutil.rmtree(item) for item in (folder / "chroma").iterdir() if item.is_dir()],
    "vectors cut in half": lambda folder: [
        item.write_bytes(item.read_bytes()[: item.stat().st_size // 2]) for item in folder.rglob("data_level0.bin")
    ],
    "bytes flipped": lambda folder: [flip(item) for item in folder.rglob("data_level0.bin")],
    "a page of the database overwritten": lambda folder: overwrite(folder / "chroma" / "chroma.sqlite3"),
    "the database gone": lambda folder: (folder / "chroma" / "chroma.sqlite3").unlink(),
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
    with opened(filled) as store:
        assert answers(store) == exact(filled)


def test_what_is_damaged_beneath_an_open_index_harms_nothing(filled):
    """Its files are cut while it is in use; whatever Chroma does with them then, answers stay those of the scan."""
    wanted = exact(filled)
    with opened(filled) as store:
        for path in (generation(filled) / "chroma").rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
        assert answers(store) == wanted
        fill(store, range(200, 280))
        after = answers(store)
    assert after == exact(filled)
    with opened(filled) as store:
        assert answers(store) == after


class Panic(BaseException):
    """What Chroma's own panics are: no Exception."""


def test_a_folder_that_chroma_does_not_open_is_built_anew(filled, monkeypatch):
    wanted, before, open_folder = exact(filled), generation(filled), chroma.open_folder

    def fail(path):
        if path.parent == before:
            raise Panic
        return open_folder(path)

    monkeypatch.setattr(chroma, "open_folder", fail)
    with opened(filled) as store:
        assert answers(store) == wanted
        assert store.memory._replica.nearest.applied.rows == 200
    assert generation(filled) != before
    assert not before.exists()


def test_an_index_that_cannot_be_built_leaves_the_scan(filled, monkeypatch):
    wanted = exact(filled)
    shutil.rmtree(f"{filled}-chroma")

    def fail(*arguments):
        raise Panic

    with opened(filled) as store, monkeypatch.context() as patch:
        patch.setattr(chroma, "insert_rows", fail)
        with pytest.raises(MemoryFault, match="searched exactly from now on"):
            store.memory.rebuild()
        assert answers(store) == wanted
        with opened(filled) as other:
            assert other.memory._replica.nearest.applied is None
            assert answers(other) == wanted
    with opened(filled) as store:
        assert answers(store) == wanted
        assert store.memory._replica.nearest.applied.rows == 200


def test_what_a_killed_builder_left_is_cleared_away(filled):
    left = generation(filled).with_name("gen-99")
    shutil.copytree(generation(filled), left)
    with opened(filled):
        assert generation(filled).name != "gen-99"
        assert not left.exists()


def test_an_index_that_misses_the_nearest_is_not_used(filled, monkeypatch, caplog):
    """It reads back what it should, but proposes anything: newly built it is no better, so everything is scanned."""
    wanted = exact(filled)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(chroma.ChromaFolder, "search", lambda self, vector, k: rng.permutation(self.applied.rows)[:k])
    with opened(filled) as store:
        assert store.memory._replica.nearest.applied is None
        assert answers(store) == wanted
    assert "misses too many" in caplog.text


def test_equal_scores_beyond_what_was_proposed_are_not_lost(tmp_path, monkeypatch):
    """More items share one text than the index proposes; the order among them is that of the scan all the same."""
    with opened(tmp_path / "m.sqlite") as store:
        for number in range(400):
            store.put(("n",), str((number * 7) % 400), {"text": f"no {number % 4}"})
        seen = watched(store, monkeypatch)
        served = [found(store, f"no {number}") for number in range(4)]
        assert seen
    with opened(tmp_path / "m.sqlite", "exact") as store:
        assert served == [found(store, f"no {number}") for number in range(4)]


def compare(path, count, dim, monkeypatch):
    """Plain and filtered searches through the index and by the scan; how many of them the index was asked for, and how many it served."""
    embedder = Clusters(count + 60, dim)
    with opened(path, "exact", embedder) as store:
        for start in range(0, count, 1000):
            fill(store, range(start, min(start + 1000, count)), "{}")
        fields = [None, {"n": {"$lt": count // 50}}, {"n": {"$gte": count - count // 5}}]
        wanted = [found(store, str(count + query), prefix, where) for query in range(60) for prefix in ((), ("n", "2")) for where in fields]
    with opened(path, "chroma", embedder) as store:
        asked, scored = watched(store, monkeypatch), []
        corpus = store.memory._replica.corpus
        cosines = corpus.cosines
        monkeypatch.setattr(corpus, "cosines", lambda vector, rows: scored.append(len(rows)) or cosines(vector, rows))
        served = [found(store, str(count + query), prefix, where) for query in range(60) for prefix in ((), ("n", "2")) for where in fields]
    assert served == wanted
    return len(asked), sum(rows <= nearest.FEWEST for rows in scored), len(served)


def test_clustered_vectors_plain_and_filtered(tmp_path, monkeypatch):
    asked, served, searches = compare(tmp_path / "m.sqlite", 2500, 64, monkeypatch)
    assert asked > 2 * searches // 3
    assert served > searches // 3  # the others, mostly the narrow filters, were scanned


@pytest.mark.slow
def test_clustered_vectors_of_usual_length_at_the_usual_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(nearest, "EXACT", 5_000)
    asked, served, searches = compare(tmp_path / "m.sqlite", 30_000, 384, monkeypatch)
    assert asked > searches // 3
    assert served > asked // 2


def test_an_index_that_fails_while_searching_is_put_away(filled):
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


def test_the_steps_are_named(tmp_path, monkeypatch):
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


def test_what_cannot_have_an_index_says_so(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="without a file"):
        open_memory(None, index="chroma")
    open_memory(tmp_path / "m.sqlite").close()
    with open_memory(tmp_path / "m.sqlite", index="chroma", read_only=True) as memory:
        assert memory._replica.nearest is None
    assert [item.name for item in tmp_path.iterdir()] == ["m.sqlite"]
    monkeypatch.setattr(chroma_client, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install"):
        open_memory(tmp_path / "m.sqlite", index="chroma")
