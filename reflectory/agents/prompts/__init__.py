"""The roles' prompts as text files, with `str.format` fields."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def prompt(name: str) -> str:
    """The text of `NAME.md`, without white space at its ends."""
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8").strip()
