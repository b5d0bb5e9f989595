"""The `reflectory` command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.cli.app import main

__all__ = ["main"]

__getattr__ = lazy(__name__, {"main": "reflectory.cli.app"})
