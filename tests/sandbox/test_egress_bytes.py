"""What the egress proxy counts and measures of what a server sends: interim answers, framing, heads."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from network_sites import Site, get, raw

from reflectory.sandbox.egress import EgressProxy
from reflectory.sandbox.gate import EgressLimits
from reflectory.sandbox.network import NetworkPolicy

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def forgotten(proxy: EgressProxy) -> None:
    """Wait until all connections are over."""
    async with asyncio.timeout(10):
        while proxy.connections:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def proxied(*parts: bytes, endless: bytes = b"", limits: EgressLimits | None = None):
    """A server that sends these bytes, then others without end, and a proxy to it: the proxy, a URL, and how many without end it sent."""
    sent = [0]

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(OSError):
            for part in parts:
                writer.write(part)
            while endless:
                writer.write(endless)
                await writer.drain()
                sent[0] += len(endless)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with EgressProxy(NetworkPolicy(allow=(host,)), limits) as proxy:
            yield proxy, f"http://{host}/", sent
    finally:
        server.close()
        await server.wait_closed()


async def test_interim_answers_without_end_are_counted_and_ended():
    async with proxied(endless=INTERIM * 100, limits=EgressLimits(idle_seconds=5)) as (proxy, url, sent):
        answer = await asyncio.wait_for(raw(proxy, get(url)), 3)
        await forgotten(proxy)
        assert (status(answer), b"interim" in answer) == (502, True)
        assert 0 < proxy.decisions[0].received <= 2**17
    assert sent[0] < 16 * 2**20  # what the buffers of a connection hold


async def test_every_byte_of_the_server_counts():
    """Interim answers, framing and trailers too, though the client gets none of these."""
    parts = [INTERIM * 3, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;e=xxxx\r\na\r\n" * 5, b"0\r\nX: trailer\r\n\r\n"]
    async with proxied(*parts) as (proxy, url, _):
        answer = await raw(proxy, f"GET {url} HTTP/1.0\r\n\r\n".encode())
        assert (status(answer), answer.partition(b"\r\n\r\n")[2]) == (200, b"aaaaa")
        assert proxy.decisions[0].received == len(b"".join(parts))


async def test_framing_without_end_uses_the_traffic_up():
    start, limits = INTERIM + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", EgressLimits(traffic_mb=0.25)
    async with proxied(start, endless=b"1;" + b"e" * 1000 + b"\r\na\r\n", limits=limits) as (proxy, url, _):
        answer = await raw(proxy, get(url))
        await forgotten(proxy)
        assert len(answer) < 2**13
        assert proxy.decisions[0].reason.endswith("(rule: traffic)")
        assert 2**18 - 2**10 <= proxy.decisions[0].received <= 2**18 + 2**16


@pytest.mark.parametrize(("size", "expected"), [(0, 200), (1, 431), (10_000, 431), (56_000, 431)])
async def test_a_head_is_measured_though_it_comes_at_once(size, expected):
    site = Site()
    head = get(site.url()).removesuffix(b"\r\n")
    padding = b"X:" + b" " * (4096 + size - len(head) - 7) + b"y\r\n"  # blanks, which nobody keeps, count too
    request = head + padding + b"\r\n"
    assert len(request) == 4096 + size
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{site.port}",)), EgressLimits(head_kb=4)) as proxy:
        assert status(await raw(proxy, request)) == expected
    site.close()
    assert len(site.requests) == (expected == 200)


@pytest.mark.parametrize(("size", "expected"), [(4096, 200), (4097, 502), (60_000, 502)])
async def test_the_head_of_an_answer_is_measured(size, expected):
    start, end = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ", b"\r\n\r\n"
    head = start + b"x" * (size - len(start) - len(end)) + end
    async with proxied(INTERIM * 2, head + b"ok", limits=EgressLimits(head_kb=4)) as (proxy, url, _):
        assert status(await raw(proxy, get(url))) == expected
