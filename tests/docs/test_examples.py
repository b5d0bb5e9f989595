"""Every example runs as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What the last lines of an example must say.
SAYS = {
    "custom_env.py": "solved: Guess the number. (1 attempt, 4 steps",
    "dialogue.py": "My sister's birthday is on May 5. | cites",
    "langchain_model.py": "solved: ",
    "own_graph.py": "solved: ",
    "solve_household.py": "solved so far, by trial: [",
    "store.py": "Where is the key? | I remember: The key is under the mat.",
}


def test_every_example_is_tried():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs(name, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert SAYS[name] in done.stdout
