"""Where code that nobody vouches for runs, and what of the network may be reached: bubblewrap, Landlock or a container, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reflectory.lazy import lazy

if TYPE_CHECKING:
    from reflectory.sandbox.artefacts import ArtefactStore
    from reflectory.sandbox.box import LiveBox
    from reflectory.sandbox.egress import EgressProxy
    from reflectory.sandbox.guarded import Guard, guarded_async_client, guarded_client
    from reflectory.sandbox.launch import Settings
    from reflectory.sandbox.local import LocalSandbox, reports
    from reflectory.sandbox.network import NetworkPolicy

__all__ = [
    "ArtefactStore",
    "EgressProxy",
    "Guard",
    "LiveBox",
    "LocalSandbox",
    "NetworkPolicy",
    "Settings",
    "guarded_async_client",
    "guarded_client",
    "reports",
]
_ROOM = "reflectory.sandbox"
__getattr__ = lazy(
    __name__,
    {
        "ArtefactStore": f"{_ROOM}.artefacts",
        "EgressProxy": f"{_ROOM}.egress",
        "Guard": f"{_ROOM}.guarded",
        "LiveBox": f"{_ROOM}.box",
        "LocalSandbox": f"{_ROOM}.local",
        "NetworkPolicy": f"{_ROOM}.network",
        "Settings": f"{_ROOM}.launch",
        "guarded_async_client": f"{_ROOM}.guarded",
        "guarded_client": f"{_ROOM}.guarded",
        "reports": f"{_ROOM}.local",
    },
)
