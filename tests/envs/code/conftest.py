from __future__ import annotations

import pytest

from reflectory.envs.code import CodeEnv
from reflectory.sandbox import LocalSandbox


@pytest.fixture
def sandbox():
    """No isolation: the tests' own programs, and the cheats, which do no harm."""
    return LocalSandbox("none", allow_unsafe=True)


@pytest.fixture
async def env(sandbox):
    env = CodeEnv(sandbox)
    yield env
    await env.close()
