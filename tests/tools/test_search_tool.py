"""`search`: passages, ranking against a brute-force oracle, files that change."""

from __future__ import annotations

import itertools
import math
import os
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflectory.errors import ToolError
from reflectory.retrieval import HashingEmbedder
from reflectory.retrieval.documents import content_terms
from reflectory.tools import SearchTool
from reflectory.tools.passages import passages
from reflectory.tools.search import MOST_FILE_MB, Corpus

LINES = st.lists(st.one_of(st.text("ab #`é", max_size=30), st.sampled_from(["", "# A", "## B b", "```", "x" * 95, "one two"])), max_size=40)


@given(LINES, st.integers(20, 120), st.integers(0, 40))
def test_every_line_is_in_a_passage_at_its_place(lines, size, overlap):
    text = "\n".join(lines)
    cut = passages("doc", text, size=size, overlap=overlap)
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


def test_short_passages_are_their_lines_word_for_word():
    text = "intro\n\n# Top\n\nfirst line\nsecond line\n\n## Below\ndeep\n\n```\n# no heading\n```\n# Next\nlast"
    cut = passages("doc", text)
    assert [(piece.first, piece.last, piece.headings) for piece in cut] == [
        (1, 1, ""),
        (3, 6, "Top"),
        (8, 13, "Top > Below"),
        (14, 15, "Next"),
    ]
    lines = text.split("\n")
    assert all(piece.text == "\n".join(lines[piece.first - 1 : piece.last]) for piece in cut)


def test_neighbours_overlap_by_whole_paragraphs():
    text = "\n\n".join(f"paragraph {number} {'x' * 40}" for number in range(10))
    cut = passages("doc", text, size=170, overlap=60)
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
