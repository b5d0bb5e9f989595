"""Prepares the box and takes rights away from a process for good."""

from __future__ import annotations

import os
import resource
from typing import Any


def prepare(spec: dict[str, Any]) -> None:
    """Make what needs rights that are about to be given up."""


def confine(spec: dict[str, Any], seccomp: bytes) -> None:
    """Confine this process and all it will start."""
    limits = spec["limits"]
    space = (2 * limits["memory_mb"] + 512) * 2**20
    for kind, value in {
        resource.RLIMIT_AS: space,
        resource.RLIMIT_FSIZE: limits["disk_mb"] * 2**20,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
    }.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    os.umask(0o022)


def facts() -> dict[str, Any]:
    """What the kernel says this process has become."""
    return {}
