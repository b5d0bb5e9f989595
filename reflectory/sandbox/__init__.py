"""Where code that nobody vouches for runs: bubblewrap, Landlock or a container, with limits, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.sandbox.box import LiveBox
    from reflectory.sandbox.launch import Settings
    from reflectory.sandbox.local import LocalSandbox, reports

__all__ = ["LiveBox", "LocalSandbox", "Settings", "reports"]
__getattr__ = lazy(
    __name__,
    {
        "LiveBox": "reflectory.sandbox.box",
        "LocalSandbox": "reflectory.sandbox.local",
        "Settings": "reflectory.sandbox.launch",
        "reports": "reflectory.sandbox.local",
    },
)
