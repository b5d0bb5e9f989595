"""Importing the package and asking for help are fast and load nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "chromadb", "playwright", "sentence_transformers")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def fresh(*arguments: str) -> str:
    """Stdout of a fresh Python process."""
    done = subprocess.run([sys.executable, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return done.stdout


def test_import_takes_less_than_half_a_second_and_loads_nothing_heavy():
    code = (
        "import sys, time\nbegan = time.perf_counter()\nimport reflectory\nspent = time.perf_counter() - began\n"
        f"print(spent, *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    runs = [fresh("-c", code).split() for _ in range(3)]
    assert [run[1:] for run in runs] == [[]] * 3
    assert min(float(run[0]) for run in runs) < 0.5


def test_what_users_import_first_is_light_too():
    code = (
        "import sys\nfrom reflectory import Budget, RunConfig, Runner, State, StateGraph, Task, open_memory, run\n"
        f"from reflectory.envs.household import household_tasks\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert fresh("-c", code).strip() == "[]"


def test_help_takes_less_than_a_second():
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        said = fresh("-m", "reflectory", "--help")
        spent.append(time.perf_counter() - began)
    assert "eval" in said
    assert min(spent) < 1.0
