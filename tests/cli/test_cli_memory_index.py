"""`reflectory memory`: indexes, learned order, other embedders, positions."""

from __future__ import annotations

import json
import sys

import pytest

from reflectory.cli import main
from reflectory.memory import MemoryStore, Retrospective, open_memory
from reflectory.records import Origin, Query, Record
from reflectory.retrieval import HashingEmbedder
from reflectory.retrieval.linear import LearnerConfig


def call(capsys, *arguments):
    """Exit status, the whole of stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main(["memory", *(str(argument) for argument in arguments)])
    printed = capsys.readouterr()
    return ended.value.code or 0, printed.out, printed.err


def facts(count):
    origin = Origin(kind="user", source="a")
    texts = [f"mug number {number} is in cabinet {number % 7}" for number in range(count)]
    return [Record(id="", namespace=("house", "kitchen"), kind="fact", body=text, origin=origin) for text in texts]


def test_rebuild_takes_the_chroma_folder_along(tmp_path, capsys):
    pytest.importorskip("chromadb")
    file = tmp_path / "journal.sqlite"
    with open_memory(file, index="chroma") as memory:
        store = MemoryStore(memory)
        for number in range(5):
            store.put(("u",), str(number), {"t": f"text {number}"})
    folder = tmp_path / "journal.sqlite-chroma"
    before = {path.name for path in folder.glob("gen-*")}
    status, out, _ = call(capsys, "rebuild", tmp_path, "--json")
    assert (status, json.loads(out)["index"]) == (0, 5)
    assert {path.name for path in folder.glob("gen-*")} != before
    status, out, _ = call(capsys, "rebuild", tmp_path, "--json", "--index", tmp_path / "elsewhere")
    assert (status, json.loads(out)["index"]) == (0, 5)
    assert (tmp_path / "elsewhere").is_dir()


def test_a_position_that_is_not_there_says_which_are(tmp_path, capsys):
    with open_memory(tmp_path / "journal.sqlite") as memory:
        memory.record(facts(3))
    for wrong in ("-1", "9"):
        status, _, said = call(capsys, "list", tmp_path, "--as-of", wrong)
        assert (status, f"no journal position {wrong}; this memory has 0 to 3" in said) == (1, True)
    status, out, _ = call(capsys, "list", tmp_path)
    assert "house/kitchen" in out
    assert "namespace" in out.splitlines()[0]


def test_search_and_audit_rank_by_what_was_learned(tmp_path, capsys):
    ranker, query = Retrospective(LearnerConfig(batch=1)), Query(text="which mug is in cabinet 3")
    with open_memory(tmp_path / "journal.sqlite", ranker=ranker) as memory:
        ranker.attach(memory)
        memory.record(facts(20))
        for _ in range(8):
            hits = memory.recall(query)
            ranker.learn(query, hits, [hits[-1].record.id])
        learned = [(hit.record.id, hit.score) for hit in memory.recall(query)]
    with open_memory(tmp_path / "journal.sqlite", read_only=True) as memory:
        assert [(hit.record.id, hit.score) for hit in memory.recall(query)] != learned
    status, out, _ = call(capsys, "search", tmp_path, query.text, "--json")
    assert (status, [(hit["record"]["id"], hit["score"]) for hit in json.loads(out)]) == (0, learned)
    status, out, _ = call(capsys, "audit", tmp_path, learned[2][0], "--query", query.text, "--json")
    assert (json.loads(out)["query"]["rank"], json.loads(out)["query"]["score"]) == (3, learned[2][1])


class Registered(HashingEmbedder):
    def __init__(self):
        super().__init__(64)


def test_the_embedder_that_wrote_the_vectors_is_used_or_named(tmp_path, capsys, monkeypatch):
    with open_memory(tmp_path / "journal.sqlite", embedder=Registered()) as memory:
        memory.record(facts(20))
        expected = [hit.score for hit in memory.recall(Query(text="cabinet 3"))]
    status, out, said = call(capsys, "search", tmp_path, "cabinet 3", "--json")
    assert (status, f"made by {Registered().id}" in said) == (0, True)
    assert [hit["score"] for hit in json.loads(out)] != expected
    monkeypatch.setitem(sys.modules, "small_embedder", type(sys)("small_embedder"))
    sys.modules["small_embedder"].Registered = Registered
    monkeypatch.setattr("reflectory.registry.BUILTIN", {"embedder": {"small": "small_embedder:Registered"}})
    status, out, said = call(capsys, "search", tmp_path, "cabinet 3", "--json")
    assert (status, said, [hit["score"] for hit in json.loads(out)]) == (0, "", expected)
