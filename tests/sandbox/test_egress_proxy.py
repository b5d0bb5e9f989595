"""The egress proxy as clients see it: what goes through unchanged, what is refused, what it writes down."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_sites import Canary, Site, connects, free_port, get, hostile_urls, near, raw

from reflectory.errors import SandboxError
from reflectory.sandbox.egress import EgressProxy
from reflectory.sandbox.gate import EgressLimits
from reflectory.sandbox.network import NetworkPolicy


@pytest.fixture
def canary():
    here = Canary()
    yield here
    here.close()


@pytest.fixture
def site():
    here = Site()
    yield here
    here.close()


@pytest.fixture(params=[False, True], ids=["unix", "tcp"])
async def proxy(site, request):
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{site.port}",)), tcp=request.param) as running:
        yield running


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def connect(authority: str, then: bytes = b"", version: str = "1.1") -> bytes:
    return f"CONNECT {authority} HTTP/{version}\r\nHost: {authority}\r\n\r\n".encode() + then


async def test_a_request_goes_through(site, proxy):
    answer = await raw(proxy, get(site.url("/a?b=%20c")))
    said = json.loads(body(answer))
    assert status(answer) == 200
    assert said["request"] == "GET /a?b=%20c HTTP/1.1"
    assert said["headers"] == {"Host": f"127.0.0.1:{site.port}", "Connection": "close"}
    [decision] = proxy.decisions
    assert (decision.method, decision.host, decision.port, decision.allowed, decision.reason) == ("GET", "127.0.0.1", site.port, True, "")
    assert decision.received == len(answer) - len(b"Connection: close\r\n")  # which the proxy adds
    assert decision.sent > 0


async def test_bodies_go_through_in_either_framing(site, proxy):
    head = f"POST {site.url()} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
    plain = await raw(proxy, f"{head}Content-Length: 5\r\n\r\nhello".encode())
    chunked = await raw(proxy, f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n".encode())
    waits = await raw(proxy, f"{head}Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello".encode())
    assert waits.startswith(b"HTTP/1.1 100 ")
    for answer in (plain, chunked, waits.partition(b"\r\n\r\n")[2]):
        assert json.loads(body(answer))["body"] == "hello"
    big = await raw(proxy, get(site.url(f"/big/{3 * 2**20}")))
    assert hashlib.sha256(body(big)).hexdigest() == hashlib.sha256(bytes(range(256)) * (3 * 2**12)).hexdigest()
    assert b"\r\npiece 01\r\n" in await raw(proxy, get(site.url("/chunked")))
    old = await raw(proxy, f"GET {site.url('/chunked')} HTTP/1.0\r\n\r\n".encode())
    assert body(old) == b"piece 00piece 01piece 02"
    assert body(await raw(proxy, get(site.url()).replace(b"GET", b"HEAD"))) == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_tunnel_carries_bytes_both_ways(site, proxy, version):
    request = b"GET /in?tunnel HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    authority = f"127.0.0.1:{site.port}"
    early = await raw(proxy, connect(authority, request, version))
    assert early.startswith(b"HTTP/1.1 200 Connection established\r\n")
    assert body(early).startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body(body(early)))["request"] == "GET /in?tunnel HTTP/1.1"
    assert json.loads(body(body(await raw(proxy, connect(authority, request), end=True))))["headers"]["Host"] == "x"
    assert [(entry.method, entry.allowed, entry.sent) for entry in proxy.decisions] == [("CONNECT", True, len(request))] * 2


async def test_hostile_urls_do_not_reach_the_canary_and_an_entry_for_it_does(canary):
    wide = NetworkPolicy(allow=("*", f"*:{canary.port}"), schemes=("http", "https", "ws", "wss"))
    refused = 0
    with connects() as made:
        async with EgressProxy(wide, resolver=near) as proxy:
            for url in hostile_urls(canary.port):
                text = url.encode("utf-8").decode("latin-1")
                authority = text.partition("://")[2].partition("/")[0] or text
                for request in (
                    f"GET {text} HTTP/1.1\r\nHost: example.org\r\n\r\n",
                    f"GET {text} HTTP/1.1\r\nHost: {authority}\r\n\r\n",
                    f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n",
                    f"CONNECT {authority}:{canary.port} HTTP/1.0\r\n\r\n",
                ):
                    assert status(await raw(proxy, request.encode("latin-1"))) in {400, 403}, request
                    refused += 1
            assert not any(decision.allowed for decision in proxy.decisions)
            assert len(proxy.decisions) + proxy.dropped == refused >= 4 * 60
    assert (canary.hits, [address for address in made if address != str(proxy.path) and isinstance(address, tuple)]) == (0, [])
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{canary.port}",))) as proxy:
        assert body(await raw(proxy, get(f"http://127.0.0.1:{canary.port}/"))) == b"canary"
        assert body(body(await raw(proxy, connect(f"127.0.0.1:{canary.port}")))) == b"canary"
    assert canary.hits == 2


async def test_a_name_is_looked_up_once_per_request_and_that_address_is_connected_to(site):
    other = Canary(site.port, ("127.0.0.2",))
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"], ["93.184.216.34", "127.0.0.2"]]
    policy = NetworkPolicy(allow=(f"rebind.test:{site.port}", f"127.0.0.1:{site.port}"))
    name = f"rebind.test:{site.port}"
    with connects() as made:
        async with EgressProxy(policy, resolver=lambda host, port: answers.pop(0)) as proxy:
            got = [status(await raw(proxy, request)) for request in (get(f"http://{name}/"), get(f"http://{name}/"))]
            ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            got += [status(await raw(proxy, request)) for request in (connect(name, ask), connect(name, ask))]
    other.close()
    assert (got, answers, other.hits) == ([200, 403, 200, 403], [], 0)
    assert [address for address in made if isinstance(address, tuple)] == [("127.0.0.1", site.port)] * 2


async def test_nothing_is_smuggled(site, canary, proxy):
    host = f"127.0.0.1:{site.port}"
    second = get(f"http://127.0.0.1:{canary.port}/") + get(site.url("/second"))
    hidden = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = {
        get(site.url("/first")) + second: 200,
        f"POST {site.url('/first')} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc".encode() + second: 200,
        get(site.url(), host="example.org"): 403,
        get(site.url(), host=f"127.0.0.1:{canary.port}"): 403,
        get(site.url(), host="127.0.0.1"): 403,
        f"CONNECT {host} HTTP/1.1\r\nHost: example.org:443\r\n\r\n".encode(): 403,
        f"GET {site.url()} HTTP/1.1\r\nHost: {host}\r\nHost: example.org\r\n\r\n".encode(): 400,
        f"GET {site.url()} HTTP/1.1\r\n\r\n".encode(): 400,
        f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(hidden)}\r\n\r\n".encode() + hidden: 400,
        f"POST {site.url()} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".encode(): 400,
        f"POST {site.url()} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".encode(): 501,
        f"GET {site.url()} HTTP/1.1\r\nHost : {host}\r\n\r\n".encode(): 400,
        f"GET {site.url()}\x00 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(): 400,
        f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(): 400,
        f"OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(): 400,
        f"GET https://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(): 400,
        f"CONNECT {host.partition(':')[0]} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(): 400,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": 400,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    }
    for request, expected in requests.items():
        answer = await raw(proxy, request)
        assert (status(answer), answer.count(b"HTTP/1.1 ")) == (expected, 1), (request, answer)
    assert site.requests == ["GET /first HTTP/1.1", "POST /first HTTP/1.1"]
    assert canary.hits == 0


async def test_the_server_sees_one_framing_only(site, proxy):
    """Both lengths given: the chunks count, and only they are passed on; what would be the next request stays part of nothing."""
    head = f"POST {site.url()} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\n"
    extra = "Proxy-Authorization: Basic eDp5\r\nUpgrade: websocket\r\nTE: trailers\r\nKeep-Alive: timeout=9\r\nX-End: 1\r\n"
    tail = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    said = json.loads(body(await raw(proxy, (head + extra + tail).encode())))
    assert said["body"] == ""
    own = {"Host": f"127.0.0.1:{site.port}", "Transfer-Encoding": "chunked", "Connection": "close"}
    assert {name.title(): value for name, value in said["headers"].items()} == {**own, "X-End": "1"}
    assert len(site.requests) == 1


async def test_plain_http_alone_means_no_tunnels(site):
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{site.port}",), schemes=("http",))) as proxy:
        assert status(await raw(proxy, connect(f"127.0.0.1:{site.port}"))) == 403
        assert status(await raw(proxy, get(site.url()))) == 200


async def test_an_answer_that_is_cut_off_stays_recognisable(proxy, site):
    for answer in (b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 101 Switching\r\n\r\n"):
        server = await asyncio.start_server(lambda _, writer, answer=answer: (writer.write(answer), writer.close()), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{port}",))) as other:
            got = await raw(other, get(f"http://127.0.0.1:{port}/"))
            assert other.decisions[0].reason
        server.close()
        await server.wait_closed()
        if b"half" in answer:
            assert b"content-length: 9" in got.lower()
            assert body(got) == b"half"
        else:
            assert status(got) == 502


async def test_what_cannot_be_reached_is_said():
    port = free_port()

    def resolver(host, port):
        if host == "nowhere.test":
            raise OSError("no such name")
        return ["127.0.0.1"]

    policy = NetworkPolicy(allow=(f"*:{port}", f"127.0.0.1:{port}"))
    async with EgressProxy(policy, resolver=resolver) as proxy:
        for host in ("gone.test", "nowhere.test"):
            answer = await raw(proxy, get(f"http://{host}:{port}/"))
            assert status(answer) == 502
            assert host.encode() in body(answer)
        assert [entry.allowed for entry in proxy.decisions] == [True, True]
        denied = await raw(proxy, get("http://other.test/"))
    assert status(denied) == 403
    assert b"(rule: port)" in body(denied)
    assert proxy.decisions[-1].host == "other.test"


async def test_the_socket_is_closed_to_others_and_goes_away():
    async with EgressProxy(NetworkPolicy()) as proxy:
        path = proxy.path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert proxy.url == ""
        assert status(await raw(proxy, get("http://example.org/"))) == 403
    assert not path.parent.exists()
    await proxy.close()
    if os.geteuid() == 0:
        async with EgressProxy(NetworkPolicy(), user=65534) as given:
            assert (given.path.stat().st_uid, given.path.parent.stat().st_uid) == (65534, 65534)


async def test_a_path_too_long_for_a_socket_is_said(tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(SandboxError, match="TMPDIR"):
        await EgressProxy(NetworkPolicy()).start()
    assert list(folder.iterdir()) == []


WORDS = [
    b"GET ",
    b"CONNECT ",
    b"http://",
    b"127.0.0.1",
    b"PORT",
    b":",
    b"/",
    b" HTTP/1.1\r\n",
    b"Host: ",
    b"\r\n",
    b"\r\n\r\n",
    b"\x00",
    b"@",
    b"\\",
    b"#",
]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=14))
def test_any_bytes_are_answered_or_cut_and_reach_nobody(canary, pieces):
    data = b"".join(pieces).replace(b"PORT", str(canary.port).encode())

    async def ask():
        async with EgressProxy(NetworkPolicy(allow=("*", f"*:{canary.port}")), EgressLimits(idle_seconds=5), resolver=near) as proxy:
            with contextlib.suppress(ConnectionError):
                answer = await raw(proxy, data, end=True)
                assert answer == b"" or status(answer) >= 400
            assert [entry.allowed for entry in proxy.decisions] == [False]

    asyncio.run(ask())
    assert canary.hits == 0
