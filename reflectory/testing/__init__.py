"""Conformance suites for users: what an environment must keep to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.testing.env import check_env

__all__ = ["check_env"]

__getattr__ = lazy(__name__, {"check_env": "reflectory.testing.env"})
