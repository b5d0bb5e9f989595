"""Guarded HTTP clients and servers without end: bytes, time, look-ups; and what is no URL."""

from __future__ import annotations

import asyncio
import contextlib
import socketserver
import threading
import time

import httpx
import pytest

from reflectory.errors import NetworkDenied
from reflectory.sandbox.guarded import Guard, guarded_async_client, guarded_client
from reflectory.sandbox.network import NetworkPolicy


@contextlib.contextmanager
def floods(first: bytes, endless: bytes):
    """A server whose answers have no end: its port, and how many bytes it could send."""
    sent = [0]

    class Flood(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(2**16)
            with contextlib.suppress(OSError):
                self.request.sendall(first)
                while sent[0] < 2**28:
                    sent[0] += self.request.send(endless)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Flood) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1], sent
        server.shutdown()


FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500),
    "a head": (b"HTTP/1.1 200 OK\r\n", b"A: " + b"x" * 1000 + b"\r\n"),
    "framing": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 900 + b"\r\na\r\n"),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_all_that_a_server_sends_is_bounded(kind):
    with floods(*FLOODS[kind]) as (port, sent):
        guard = Guard(NetworkPolicy(allow=(f"127.0.0.1:{port}",)), most_bytes=1000)
        with guarded_client(guard) as client, pytest.raises((NetworkDenied, httpx.RemoteProtocolError)):
            client.get(f"http://127.0.0.1:{port}/")
        async with guarded_async_client(guard) as client:
            with pytest.raises((NetworkDenied, httpx.RemoteProtocolError)):
                await asyncio.wait_for(client.get(f"http://127.0.0.1:{port}/"), 10)
    assert sent[0] < 32 * 2**20  # what the buffers of two connections hold


@contextlib.contextmanager
def drips(first: bytes, drop: bytes):
    """A server that sends a little every 20 ms, or reads as little, for as long as the client stays."""
    gone = threading.Event()

    class Drip(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                self.request.sendall(first)
                while not gone.wait(0.02):
                    self.request.sendall(drop)
                    self.request.recv(1)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Drip) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        gone.set()
        server.shutdown()


@pytest.mark.parametrize("drop", [b"HTTP/1.1 102 Processing\r\n\r\n", b"", b"body"], ids=["interim", "no reader", "body"])
async def test_a_request_ends_in_time_though_something_always_comes(drop):
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" if drop == b"body" else b""
    with drips(first, drop) as port:
        guard, url = Guard(NetworkPolicy(allow=(f"127.0.0.1:{port}",)), seconds=0.4), f"http://127.0.0.1:{port}/"
        body = bytes(0 if drop else 2**25)
        began = time.monotonic()
        with guarded_client(guard) as client, pytest.raises(httpx.TimeoutException):
            client.post(url, content=body)
        async with guarded_async_client(guard) as client:
            with pytest.raises(httpx.TimeoutException):
                await asyncio.wait_for(client.post(url, content=body), 10)
    assert 0.7 < time.monotonic() - began < 4


async def test_a_look_up_that_hangs_is_left():
    release = threading.Event()

    def resolver(host, port):
        release.wait(10)
        return ["127.0.0.1"]

    async with guarded_async_client(Guard(NetworkPolicy(allow=("slow.test",)), resolver, seconds=0.2)) as client:
        with pytest.raises(httpx.ConnectTimeout, match=r"slow\.test"):
            await client.get("http://slow.test/")
    release.set()


@pytest.mark.parametrize("url", ["http://[::1", "http://a\0b/", "http://\ud800/", "http://a.test/\udcff", "http://a.test/" + "x" * 70_000])
async def test_what_is_no_url_is_denied(url):
    policy = NetworkPolicy(allow=("*",))
    with guarded_client(policy) as client, pytest.raises(NetworkDenied, match="rule: form"):
        client.get(url)
    async with guarded_async_client(policy) as client:
        with pytest.raises(NetworkDenied, match="rule: form"):
            await client.get(url)
