"""Where a run was made: versions, git state, machine. Enough to tell two runs apart, nothing that names a person or a path."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("langchain-core", "langgraph", "numpy", "pydantic", "reflectory", "tokenizers", "torch", "transformers")


def provenance() -> dict[str, Any]:
    """Python and package versions, the git commit of the package with a dirty flag, and the machine."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "git": _git(),
        "machine": {
            "system": platform.system(),
            "machine": platform.machine(),
            "cpus": len(os.sched_getaffinity(0)),
            "byteorder": sys.byteorder,
        },
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git() -> dict[str, Any] | None:
    """The commit the package's own checkout stands at; None for an installed package or without git."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _run(["git", "rev-parse", "HEAD"], folder)
        dirty = _run(["git", "status", "--porcelain", "--untracked-files=no"], folder) != ""
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}


def _run(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
