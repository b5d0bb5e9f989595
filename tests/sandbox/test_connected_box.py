"""A box with an allow-list: it reaches the named host through its proxy and nothing else."""

from __future__ import annotations

import http.server
import threading

import pytest

from reflectory.errors import ConfigError
from reflectory.execution import Limits
from reflectory.sandbox import LocalSandbox, NetworkPolicy, Settings, reports

BUBBLEWRAP = next(report for report in reports() if report.tier == "bubblewrap")
needs_bubblewrap = pytest.mark.skipif(not BUBBLEWRAP.available, reason=BUBBLEWRAP.why)
FETCH = """
import os, urllib.request
def fetch(url, **options):
    try:
        return urllib.request.urlopen(url, timeout=3, **options).read().decode()
    except Exception as error:
        return type(error).__name__
"""


@pytest.fixture
def sites():
    """Two servers on loopback that count their visitors."""
    hits = {}

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits[self.server.server_port] = hits.get(self.server.server_port, 0) + 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"welcome")

        def log_message(self, *arguments):
            pass

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield *(server.server_port for server in servers), hits
    for server in servers:
        server.shutdown()
        server.server_close()


@needs_bubblewrap
async def test_a_box_reaches_the_named_host_and_nothing_else(sites):
    open_port, closed_port, hits = sites
    policy = NetworkPolicy(allow=(f"127.0.0.1:{open_port}",))
    sandbox = LocalSandbox("bubblewrap", settings=Settings(limits=Limits(seconds=8)), network=policy)
    async with await sandbox.open() as box:
        await box.python(FETCH)
        assert (await box.python(f"fetch('http://127.0.0.1:{open_port}/')")).value == "'welcome'"
        assert (await box.python(f"fetch('http://127.0.0.1:{closed_port}/')")).value == "'HTTPError'"
        past = f"urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open('http://127.0.0.1:{open_port}/', timeout=3)"
        assert (await box.python(past)).error == "URLError"
        reached, refused = box.decisions
        assert (reached.allowed, reached.port) == (True, open_port)
        assert (refused.allowed, refused.host) == (False, f"127.0.0.1:{closed_port}")  # as it was asked for
    assert hits == {open_port: 1}


@needs_bubblewrap
async def test_without_an_allow_list_there_is_no_way_out(sites):
    open_port, _, hits = sites
    for network in (None, NetworkPolicy()):
        async with await LocalSandbox("bubblewrap", network=network).open() as box:
            await box.python(FETCH)
            assert (await box.python(f"fetch('http://127.0.0.1:{open_port}/')")).value == "'URLError'"
    assert hits == {}


@pytest.mark.parametrize("tier", ["landlock", "none"])
def test_a_tier_that_cannot_hold_a_box_to_hosts_is_refused(tier):
    if not next(report for report in reports() if report.tier == tier).available:
        pytest.skip(f"{tier} does not work here")
    with pytest.raises(ConfigError, match="bubblewrap"):
        LocalSandbox(tier, network=NetworkPolicy(allow=("example.org",)), allow_unsafe=True)
