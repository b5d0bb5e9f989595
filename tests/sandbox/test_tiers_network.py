"""A box that may reach an allow-list, through the egress proxy, and nothing else."""

from __future__ import annotations

import pytest
from boxes import local
from network_sites import Canary, Site

from reflectory.errors import SandboxError
from reflectory.sandbox.egress import EgressProxy
from reflectory.sandbox.network import NetworkPolicy

ASK = """
import urllib.error, urllib.request
def ask(url):
    try: return urllib.request.urlopen(url, timeout=3).status
    except urllib.error.HTTPError as error: return error.code
    except OSError as error: return type(error).__name__
"""


@pytest.mark.enable_socket
async def test_what_is_allowed_is_reached_and_nothing_else() -> None:
    site, canary = Site(), Canary()
    try:
        policy = NetworkPolicy(allow=(f"127.0.0.1:{site.port}",))
        async with EgressProxy(policy) as proxy, await local("bubblewrap", proxy=proxy.path).open() as box:
            await box.python(ASK)
            assert (await box.python(f"ask({site.url('/end')!r})")).value == "200"
            assert (await box.python(f"ask('http://127.0.0.1:{canary.port}/')")).value == "403"
            direct = f"import socket\nsocket.create_connection(('127.0.0.1', {site.port}), 2)"
            assert (await box.python(direct)).error == "ConnectionRefusedError"
            await box.shell("kill -9 -1")  # the relay may go with the rest; the box stays, cut off
            assert (await box.run(["echo", "fine"])).stdout.text == "fine\n"
        assert canary.hits == 0
    finally:
        site.close()
        canary.close()


async def test_a_tier_that_cannot_limit_the_network_refuses_it(tmp_path: object) -> None:
    sandbox = local("landlock", proxy=f"{tmp_path}/proxy")
    with pytest.raises(SandboxError, match="Use bubblewrap"):
        await sandbox.open()
