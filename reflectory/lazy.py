"""Lazy exports: a package names what it offers without importing it (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def lazy(package: str, exports: dict[str, str]) -> Callable[[str], Any]:
    """Make a module `__getattr__` that imports an export on first use.

    Args:
        package: The `__name__` of the calling package.
        exports: Public name → dotted module that defines it.

    Returns:
        The function to bind to `__getattr__`; it raises AttributeError for other names.
    """

    def getattr_(name: str) -> Any:
        if name not in exports:
            msg = f"module {package!r} has no attribute {name!r}; it offers {', '.join(sorted(exports))}"
            raise AttributeError(msg)
        return getattr(importlib.import_module(exports[name]), name)

    return getattr_
