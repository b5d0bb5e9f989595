"""A process with a Chroma index killed at each of its steps: what it leaves is opened, or built anew, and answers as the scan does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chroma_memories import INSTALLED, answers, exact, fill, opened, small

pytestmark = pytest.mark.skipif(not INSTALLED, reason="chromadb is not installed")

#: One process imports Chroma and opens nothing; those that are killed are forked from it. It says how each of them ended.
NURSERY = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import chromadb
import pytest
from chroma_memories import answers, fill, opened, small
from reflectory.retrieval import chroma_client
from reflectory.runs.bench.crash_process import spawn

def work(path, left):
    def step(name):
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    chroma_client.STEP = step
    small(pytest.MonkeyPatch())
    with opened(path) as store:
        answers(store)
        fill(store, range(200, 300))
        answers(store)
        store.memory.rebuild()

for folder in sys.argv[2:]:
    said, status = spawn(lambda fd: work(Path(folder) / "m.sqlite", int(folder.rsplit("-", 1)[1]) // 2))
    print(status, *said)
"""


def killed_at(points, tmp_path, monkeypatch):
    """How the processes ended, each killed at a step; every second one began with an index that was there, the others without."""
    small(monkeypatch)
    with opened(tmp_path / "m.sqlite") as store:
        fill(store, range(200))
        answers(store)
    folders = [tmp_path / f"at-{point}" for point in points]
    for point, folder in zip(points, folders, strict=True):
        folder.mkdir()
        shutil.copy(tmp_path / "m.sqlite", folder)
        if point % 2:
            shutil.copytree(tmp_path / "m.sqlite-chroma", folder / "m.sqlite-chroma")
    command = [sys.executable, "-c", NURSERY, str(Path(__file__).parent), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for folder in folders:
        wanted = exact(folder / "m.sqlite")
        with opened(folder / "m.sqlite") as store:
            assert answers(store) == wanted
            assert store.memory._replica.nearest.applied is not None
    return [int(line) for line in done.stdout.splitlines()]


def test_killed_while_rebuilding(tmp_path, monkeypatch):
    assert killed_at([2, 6, 7], tmp_path, monkeypatch) == [-9, -9, -9]


@pytest.mark.slow
def test_killed_at_every_step(tmp_path, monkeypatch):
    codes = killed_at(range(40), tmp_path, monkeypatch)
    assert codes[-2:] == [0, 0]
    assert codes.count(-9) >= 15
