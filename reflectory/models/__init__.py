"""Who talks: local models on one engine, any LangChain chat model, and scripted models.

`scripted` is imported from its own module: a package attribute of a submodule's name becomes the submodule once that is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.models.adapter import as_model
    from reflectory.models.engine import Engine
    from reflectory.models.loading import load_engine
    from reflectory.models.local import LocalChatModel
    from reflectory.models.resolve import resolve_model

__all__ = ["Engine", "LocalChatModel", "as_model", "load_engine", "resolve_model"]

__getattr__ = lazy(
    __name__,
    {
        "Engine": "reflectory.models.engine",
        "LocalChatModel": "reflectory.models.local",
        "as_model": "reflectory.models.adapter",
        "load_engine": "reflectory.models.loading",
        "resolve_model": "reflectory.models.resolve",
    },
)
