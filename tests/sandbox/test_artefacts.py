"""Whatever a file in a box is called, outside it is a hash."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from reflectory.errors import SandboxError
from reflectory.execution import Artefact
from reflectory.sandbox.artefacts import ArtefactStore

PIECES = [
    "..",
    "/",
    "\\",
    "\n",
    "\x1b[2J",
    "~",
    "CON",
    "aux.txt",
    "%2e%2e",
    "a" * 300,
    "é",
    "‮",
    ".",
    " ",
    "-rf",
    "$(id)",
    "names.jsonl",
    ";",
]


def artefact(path, content):
    return Artefact(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content), content=content)


def test_500_hostile_names_leave_nothing_but_hashes(tmp_path):
    rng = random.Random(7)
    names = ["".join(rng.choices(PIECES, k=rng.randint(1, 6))) for _ in range(500)]
    given = [artefact(name, rng.randbytes(rng.randint(0, 40))) for name in names]
    store = ArtefactStore(tmp_path / "inner" / "store")
    assert store.keep(given) == [item.sha256 for item in given]
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    hashes = {item.sha256 for item in given}
    assert found == {store.folder / "names.jsonl", *(store.folder / sha[:2] / sha for sha in hashes)}
    lines = (store.folder / "names.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["path"] for line in lines] == names
    assert all(store.read(item.sha256) == item.content for item in given)


def test_what_is_kept_twice_is_there_once_and_both_names_are_told(tmp_path):
    store = ArtefactStore(tmp_path)
    store.keep([artefact("a", b"same")], label="step 1")
    store.keep([artefact("b", b"same")], label="step 2")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    assert [json.loads(line)["label"] for line in (tmp_path / "names.jsonl").read_text().splitlines()] == ["step 1", "step 2"]


def test_a_false_hash_is_refused_and_keeps_nothing_of_its_company(tmp_path):
    store = ArtefactStore(tmp_path / "store")
    false = Artefact(path="b", sha256="0" * 64, size=1, content=b"x")
    with pytest.raises(SandboxError, match="not what its hash says"):
        store.keep([artefact("a", b"good"), false])
    assert not store.folder.exists()


def test_what_was_changed_or_is_not_there_is_not_read(tmp_path):
    store = ArtefactStore(tmp_path)
    [sha] = store.keep([artefact("a", b"good")])
    (tmp_path / sha[:2] / sha).write_bytes(b"evil")
    with pytest.raises(SandboxError, match="was changed"):
        store.read(sha)
    with pytest.raises(SandboxError, match="no artefact"):
        store.read("1" * 64)
    for odd in ("../../etc/passwd", "", "A" * 64, f"{sha}\n"):
        with pytest.raises(SandboxError, match="no sha256"):
            store.read(odd)
