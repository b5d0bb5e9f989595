"""Conformance suites for users: what an environment must keep to, and what a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.testing.env import check_env
    from reflectory.testing.sandbox import check_sandbox

__all__ = ["check_env", "check_sandbox"]

__getattr__ = lazy(__name__, {"check_env": "reflectory.testing.env", "check_sandbox": "reflectory.testing.sandbox"})
