"""`search`: passages, ranking against a brute-force oracle, files that change."""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.errors import ToolError
from reflectory.retrieval import HashingEmbedder
from reflectory.retrieval.documents import content_terms
from reflectory.tools import SearchTool, search
from reflectory.tools.passages import passages
from reflectory.tools.search import MOST_FILE_MB, Corpus

LINES = st.lists(st.one_of(st.text("ab #`é", max_size=30), st.sampled_from(["", "# A", "## B b", "```", "x" * 95, "one two"])), max_size=40)


@given(LINES, st.integers(20, 120), st.integers(0, 40))
def test_every_line_is_in_a_passage_at_its_place(lines, size, overlap):
    text = "\n".join(lines)
    cut = list(passages("doc", text, size=size, overlap=overlap))
    lines = text.split("\n")
    covered = set()
    for piece in cut:
        assert 1 <= piece.first <= piece.last <= len(lines)
        assert len(piece.text) <= size + 1
        covered |= set(range(piece.first, piece.last + 1))
        words = piece.text.split()
        assert all(word in "\n".join(lines[piece.first - 1 : piece.last]) for word in words)
    assert covered >= {number for number, line in enumerate(lines, start=1) if line.strip()}
    # Nothing is lost: what the lines hold in all, the passages hold.
    assert set("".join(lines).replace(" ", "")) <= set("".join(piece.text for piece in cut))
    assert [piece.last for piece in cut] == sorted(piece.last for piece in cut)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (36, [(1, 1, ""), (3, 6, "Top"), (8, 13, "Top > Below"), (14, 15, "Next")]),
        (60, [(1, 6, ""), (8, 13, "Top > Below"), (14, 15, "Next")]),  # a passage of less than a sixth goes on below the next heading
        (1200, [(1, 15, "")]),
    ],
)
def test_short_passages_are_their_lines_word_for_word(size, expected):
    text = "intro\n\n# Top\n\nfirst line\nsecond line\n\n## Below\ndeep\n\n```\n# no heading\n```\n# Next\nlast"
    cut = list(passages("doc", text, size=size))
    assert [(piece.first, piece.last, piece.headings) for piece in cut] == expected
    lines = text.split("\n")
    assert all(piece.text == "\n".join(lines[piece.first - 1 : piece.last]) for piece in cut)


def test_neighbours_overlap_by_whole_paragraphs():
    text = "\n\n".join(f"paragraph {number} {'x' * 40}" for number in range(10))
    cut = list(passages("doc", text, size=170, overlap=60))
    assert len(cut) > 3
    for before, after in itertools.pairwise(cut):
        assert before.text.rpartition("\n\n")[2] == after.text.partition("\n\n")[0]
        assert after.first == before.last


WORDS = ["river", "bank", "loan", "money", "water", "boat", "credit", "stone", "fish", "bridge"]


def brute_force(texts, query, embedder):
    """BM25 (k1 1.5, b 0.75) and cosine, each scaled to 0..1, half and half: by loops over plain lists."""
    split = [content_terms(text) for text in texts]
    mean = max(sum(map(len, split)) / len(split), 1.0)
    lexical = []
    for terms in split:
        score = 0.0
        for term in set(content_terms(query)):
            having = sum(term in other for other in split)
            rarity = math.log(1 + (len(split) - having + 0.5) / (having + 0.5))
            score += rarity * terms.count(term) * 2.5 / (terms.count(term) + 1.5 * (0.25 + 0.75 * len(terms) / mean))
        lexical.append(score)
    asked = embedder.embed([query])[0].tolist()
    cosine = [round(sum(a * b for a, b in zip(embedder.embed([text])[0].tolist(), asked, strict=True)), 6) for text in texts]

    def scaled(scores):
        low, high = min(scores), max(scores)
        return [(score - low) / (high - low) if high > low else 0.0 for score in scores]

    return [0.5 * a + 0.5 * b for a, b in zip(scaled(cosine), scaled(lexical), strict=True)]


@pytest.mark.parametrize("seed", range(8))
def test_the_ranking_is_that_of_brute_force(seed):
    draw = random.Random(seed)
    documents = {f"{number:03}": " ".join(draw.choices(WORDS, k=draw.randint(3, 30))) for number in range(40)}
    query = " ".join(draw.choices(WORDS, k=3))
    embedder = HashingEmbedder()
    found = Corpus(documents, embedder).find(query, 10)
    expected = brute_force(list(documents.values()), query, embedder)
    best = sorted(range(40), key=lambda place: (-round(expected[place], 5), place))[:10]
    assert [hit.score for hit in found] == pytest.approx([expected[place] for place in best], abs=2e-6)
    for hit in found:
        assert hit.score == pytest.approx(expected[int(hit.passage.source)], abs=2e-6)


def test_a_merged_passage_has_the_headings_that_are_above_all_of_it():
    text = "# A\n## B\nx\n## C\ny\n"
    assert [piece.headings for piece in passages("doc", text)] == ["A"]


@pytest.mark.parametrize(
    "unit",
    [
        "# {n}\n",
        "## {n}\n\nx\n\n",
        "{n}\n",
        "a\n\n",
        "a\n",
        "# " + "h" * 1500 + "{n}\n" + "x " * 900 + "\n",
        "```\n",
        "\n",
        "é" * 997 + "\n\n",
    ],
)
def test_passages_of_hostile_texts_are_few_and_small(unit):
    size = 2**20
    text = "".join(unit.replace("{n}", str(number)) for number in range(size // len(unit)))
    began = time.process_time()
    cut = list(passages("doc", text))
    assert time.process_time() - began < 5
    assert len(cut) <= len(text) / 200 + 1
    assert sum(len(piece.searched) for piece in cut) < 3 * len(text) + 1000


def test_a_heading_as_long_as_a_file_is_not_repeated_in_every_passage():
    text = "# " + "h" * 2**20 + "\n" + "word\n\n" * 100_000
    assert sum(len(piece.searched) for piece in passages("doc", text)) < 3 * len(text)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Boats\n\nThe red boat lies under the bridge.\n")
    (tmp_path / "b.txt").write_text("Money is lent by the bank.\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0boat")
    (tmp_path / "latin.txt").write_bytes("Brücke".encode("latin-1"))
    (tmp_path / "huge.txt").write_bytes(b"boat " * (MOST_FILE_MB * 2**20 // 5 + 1))
    (tmp_path / ".hidden").write_text("boat")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("boat")
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


async def test_a_folder_is_searched_and_its_passages_cited(folder):
    search = SearchTool(folder, about="the harbour's files", k=1)
    assert (search.name, search.effect) == ("search", "read")
    assert "the harbour's files" in search.description
    result = await search.call({"query": "where is the boat"})
    assert result.origin == "content"
    assert "[1] notes/a.md:1-3 (Boats)\n# Boats\n\nThe red boat lies under the bridge." in result.text
    assert "1 of 2 passages (2 files; left out: 2 binary, 1 large)" in result.text
    assert (await search.call({})).error == "arguments"


async def test_only_what_changed_is_read_again(folder):
    embedded = []

    class Counting(HashingEmbedder):
        def embed(self, texts):
            embedded.extend(texts)
            return super().embed(texts)

    search = SearchTool(folder, k=3, embedder=Counting())
    await search.call({"query": "q"})
    assert len(embedded) == 3
    (folder / "b.txt").write_text("The bank closes at noon.\n")
    (folder / "c.txt").write_text("The fish is gone.\n")
    os.utime(folder / "notes" / "a.md", ns=(1, 1))  # touched, not changed
    result = await search.call({"query": "noon"})
    assert sorted(embedded[3:]) == ["The bank closes at noon.", "The fish is gone.", "noon"]
    assert "[1] b.txt:1-1" in result.text
    assert "lent" not in result.text
    (folder / "b.txt").unlink()
    assert "noon" not in (await search.call({"query": "noon"})).text.replace("noon", "", 0).partition("\n\n")[2]
    assert search.corpus.files == 2


async def test_documents_and_nothing_can_be_searched(tmp_path):
    assert "[1] b:1-1\nfish" in (await SearchTool({"a": "stone", "b": "fish"}, k=1).call({"query": "fish"})).text
    assert "nothing to search (0 files)" in (await SearchTool(tmp_path).call({"query": "x"})).text
    assert re.match(r"There is nothing", (await SearchTool({"a": " \n"}).call({"query": "x"})).text)
    with pytest.raises(ToolError, match="no folder"):
        SearchTool(tmp_path / "none")


def shrink(monkeypatch, **bounds):
    for name, value in bounds.items():
        monkeypatch.setattr(search, name, value)


async def test_what_is_beyond_the_bounds_is_left_out_and_told(tmp_path, monkeypatch):
    shrink(monkeypatch, MOST_FILE_PASSAGES=4, MOST_PASSAGES=10)
    paragraph = "word " * 239 + "\n\n"  # a passage each
    for name, count in {"a": 3, "b": 9, "c": 4, "d": 1, "e": 2}.items():
        (tmp_path / name).write_text(paragraph * count)
    tool = SearchTool(tmp_path, k=20)
    text = (await tool.call({"query": "word"})).text
    assert text.startswith("10 of 10 passages (3 files; left out: 2 beyond the total, 2 cut short)")
    (tmp_path / "a").unlink()  # now there is room for others
    text = (await tool.call({"query": "word"})).text
    assert text.startswith("10 of 10 passages (4 files; left out: 2 cut short)")
    assert {hit.passage.source for hit in tool.corpus.find("word", 20)} == {"b", "c", "d", "e"}
    (tmp_path / "b").unlink()
    assert (await tool.call({"query": "word"})).text.startswith("7 of 7 passages (3 files)")
    documents = SearchTool({name: paragraph * 4 for name in "abcd"}, k=20)
    assert "10 of 10 passages (3 files; left out: 1 beyond the total, 1 cut short)" in (await documents.call({"query": "word"})).text


async def test_the_bytes_of_all_files_are_bounded_and_empty_ones_count(tmp_path, monkeypatch):
    shrink(monkeypatch, MOST_MB=1, MOST_PASSAGES=50)
    for name in "abc":
        (tmp_path / name).write_text(" " * 2**19)
    assert "(2 files; left out: 1 beyond the total)" in (await SearchTool(tmp_path).call({"query": "x"})).text
    (tmp_path / "empty").mkdir()
    for number in range(60):
        (tmp_path / "empty" / f"{number}").touch()
    assert "(50 files; left out: 13 beyond the total)" in (await SearchTool(tmp_path).call({"query": "x"})).text


MEASURE = """
import resource, sys
from reflectory.tools.search import Corpus
Corpus({"a": "# A\\n"}).find("x", 1)  # what is loaded once
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
corpus = Corpus(sys.argv[1])
corpus.find("x", 1)
print(len(corpus), corpus.skipped["cut short"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_file_of_many_headings_costs_little(tmp_path):
    (tmp_path / "a.md").write_text("".join(f"# {number:x}\n" for number in range(245_000)))
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    held, cut_short, kilobytes = map(int, done.stdout.split())
    assert (held, cut_short) == (search.MOST_FILE_PASSAGES, 1)
    assert kilobytes < 200 * 1024


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "link to a folder above"])
def test_what_becomes_something_else_after_a_look_is_not_read(tmp_path, monkeypatch, kind):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside / "sub", outside):
        folder.mkdir(parents=True)
        (folder / "file.txt").write_text(f"word {folder.name}")
    looked = os.stat

    def swap(path, *args, **options):
        facts = looked(path, *args, **options)
        if path == "file.txt" and kind != "link to a folder above" and not (inside / "was").exists():
            (inside / "sub" / "file.txt").rename(inside / "was")
            {"link": lambda new: new.symlink_to(outside / "file.txt"), "pipe": os.mkfifo, "folder": os.mkdir}[kind](
                inside / "sub" / "file.txt"
            )
        elif path == "sub" and kind == "link to a folder above":
            (inside / "sub").rename(inside / ".was")
            (inside / "sub").symlink_to(outside)
        return facts

    monkeypatch.setattr(os, "stat", swap)
    corpus = Corpus(inside)
    found = corpus.find("word", 5)
    assert found == []
    assert corpus.skipped == ({} if kind == "link to a folder above" else {"unreadable": 1})


def test_a_file_and_a_link_that_take_turns_never_lead_outside(tmp_path):
    inside, secret = tmp_path / "inside", tmp_path / "secret"
    inside.mkdir()
    secret.write_text("word secret")
    over = threading.Event()

    def take_turns():
        while not over.is_set():
            (tmp_path / "new").symlink_to(secret)
            (tmp_path / "new").replace(inside / "a.txt")
            (tmp_path / "new").write_text("word plain")
            (tmp_path / "new").replace(inside / "a.txt")

    swapping = threading.Thread(target=take_turns)
    swapping.start()
    corpus, texts = Corpus(inside), set()
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        texts |= {hit.passage.text for hit in corpus.find("word", 5)}
    over.set()
    swapping.join()
    assert texts == {"word plain"}
