"""What the egress proxy bears: silence, floods, endless bodies, look-ups that hang; and that it forgets what is over."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path

import pytest
from network_sites import Canary, Site, get, near, raw

from reflectory.sandbox.egress import EgressProxy
from reflectory.sandbox.gate import EgressLimits
from reflectory.sandbox.network import NetworkPolicy

IDLE = 0.3


@pytest.fixture
def site():
    here = Site()
    yield here
    here.close()


@pytest.fixture
def policy(site):
    return NetworkPolicy(allow=(f"127.0.0.1:{site.port}",))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def forgotten(proxy: EgressProxy, seconds: float = 10.0) -> None:
    """Wait until all connections are over."""
    async with asyncio.timeout(seconds):
        while proxy.connections:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("said", ["nothing", "half a head", "half a body", "a request to a server that hangs", "an idle tunnel"])
async def test_a_connection_that_falls_silent_ends(site, policy, said):
    host = f"127.0.0.1:{site.port}"
    data = {
        "nothing": b"",
        "half a head": get(site.url())[:-2],
        "half a body": f"POST {site.url()} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\nabc".encode(),
        "a request to a server that hangs": get(site.url("/hang")),
        "an idle tunnel": f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
    }[said]
    async with EgressProxy(policy, EgressLimits(idle_seconds=IDLE)) as proxy:
        began = time.monotonic()
        answer = await raw(proxy, data)
        took = time.monotonic() - began
        await forgotten(proxy)
        assert proxy.decisions[0].reason == "idle for 0.3 s"
    assert answer == b"" or status(answer) == 200
    assert IDLE * 0.9 < took < IDLE + 2


async def test_a_head_that_drips_ends_and_a_long_one_is_refused(site, policy):
    async with EgressProxy(policy, EgressLimits(idle_seconds=IDLE, head_kb=4)) as proxy:
        began = time.monotonic()
        reader, writer = await asyncio.open_unix_connection(str(proxy.path))
        with contextlib.suppress(ConnectionError):
            for byte in b"GET http://127.0.0.1/" + b"a" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                if reader.at_eof() or await _readable(reader, 0.02):
                    break
        assert time.monotonic() - began < IDLE + 2
        writer.close()
        long = b"GET http://127.0.0.1/ HTTP/1.1\r\n" + b"X: " + b"y" * 5000
        assert status(await raw(proxy, long)) == 431
    assert site.requests == []


async def _readable(reader, seconds):
    try:
        return await asyncio.wait_for(reader.read(1), seconds) is not None
    except TimeoutError:
        return False


async def test_a_client_that_does_not_read_ends(site, policy):
    async with EgressProxy(policy, EgressLimits(idle_seconds=IDLE)) as proxy:
        reader, writer = await asyncio.open_unix_connection(str(proxy.path), limit=2**10)
        writer.write(get(site.url(f"/big/{64 * 2**20}")))
        async with asyncio.timeout(5):
            while not proxy.decisions:
                await asyncio.sleep(0.01)
        await forgotten(proxy)
        assert proxy.decisions[0].reason == "idle for 0.3 s"
        assert proxy.decisions[0].received < 8 * 2**20
        writer.close()
    assert reader is not None


@pytest.mark.parametrize("kilobytes", [64, 224, 272, 1024])
async def test_a_client_that_reads_late_gets_everything(site, policy, kilobytes):
    async with EgressProxy(policy) as proxy:
        reader, writer = await asyncio.open_unix_connection(str(proxy.path), limit=2**10)
        writer.write(get(site.url(f"/big/{kilobytes * 1024}")))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE):  # the proxy is done, or waits for the client
                while not proxy.decisions or proxy.connections:
                    await asyncio.sleep(0.01)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert len(answer.partition(b"\r\n\r\n")[2]) == kilobytes * 1024


async def test_bytes_that_keep_coming_keep_a_connection(policy):
    """A tunnel lives longer than the idle limit while either side speaks."""

    async def clock(reader, writer):
        for _ in range(8):
            writer.write(b"tick")
            await asyncio.sleep(IDLE / 3)
        writer.close()

    server = await asyncio.start_server(clock, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{port}",)), EgressLimits(idle_seconds=IDLE)) as proxy:
        answer = await raw(proxy, f"CONNECT 127.0.0.1:{port} HTTP/1.0\r\n\r\n".encode())
        assert answer.count(b"tick") == 8
    server.close()
    await server.wait_closed()


async def test_a_flood_of_connections_is_bounded(site, policy):
    limits = EgressLimits(connections=8, idle_seconds=20)
    async with EgressProxy(policy, limits) as proxy:
        before = descriptors()
        held = [await asyncio.open_unix_connection(str(proxy.path)) for _ in range(8)]
        async with asyncio.timeout(5):
            while proxy.connections < 8:
                await asyncio.sleep(0.01)
        flood = [asyncio.create_task(_quietly(proxy, get(site.url()))) for _ in range(200)]
        answers = await asyncio.gather(*flood)
        assert proxy.connections == 8
        assert all(answer == b"" or status(answer) == 503 for answer in answers)
        assert status(await raw(proxy, b"")) == 503
        assert descriptors() <= before + 2 * 8
        for _, writer in held:
            writer.close()
        await forgotten(proxy)
        assert status(await raw(proxy, get(site.url()))) == 200
    assert site.requests == ["GET / HTTP/1.1"]


async def _quietly(proxy, data):
    with contextlib.suppress(OSError):
        return await raw(proxy, data)
    return b""


async def test_traffic_is_bounded_over_all_connections(site, policy):
    async with EgressProxy(policy, EgressLimits(traffic_mb=1)) as proxy:
        assert len(await raw(proxy, get(site.url(f"/big/{2**19}")))) > 2**19
        cut = await raw(proxy, get(site.url(f"/big/{2**21}")))
        assert 0 < len(cut) < 2**19 + 2**17
        refused = await raw(proxy, get(site.url()))
        assert (status(refused), b"(rule: traffic)" in refused) == (403, True)
        assert [entry.reason.endswith("(rule: traffic)") for entry in proxy.decisions] == [False, True, True]
    assert len(site.requests) == 2


async def test_a_body_without_end_from_the_client_is_bounded(policy):
    """The sandbox cannot send more than the traffic allows either."""
    got = []

    async def swallow(reader, writer):
        while data := await reader.read(2**16):
            got.append(len(data))
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{port}",)), EgressLimits(traffic_mb=1)) as proxy:
        assert await _quietly(proxy, f"CONNECT 127.0.0.1:{port} HTTP/1.0\r\n\r\n".encode() + bytes(4 * 2**20)) is not None
        await forgotten(proxy)
    server.close()
    await server.wait_closed()
    assert sum(got) <= 2**20


async def test_the_log_is_bounded_and_counts_the_rest(policy):
    async with EgressProxy(policy, EgressLimits(decisions=5)) as proxy:
        for number in range(9):
            assert status(await raw(proxy, get(f"http://host{number}.test/"))) == 403
        assert [entry.host for entry in proxy.decisions] == [f"host{number}.test" for number in range(5)]
        assert proxy.dropped == 4
        await raw(proxy, b"CONNECT " + b"x" * 5000 + b":443 HTTP/1.0\r\n\r\n")
    assert all(len(entry.host) < 300 and len(entry.reason) <= 500 for entry in proxy.decisions)


async def test_look_ups_that_hang_end_and_stop_nobody_else(site):
    release = threading.Event()

    def resolver(host, port):
        if host == "slow.test":
            release.wait(20)
        return near(host, port)

    policy = NetworkPolicy(allow=(f"*:{site.port}", f"127.0.0.1:{site.port}"))
    try:
        async with EgressProxy(policy, EgressLimits(connect_seconds=IDLE), resolver=resolver) as proxy:
            began = time.monotonic()
            slow = [asyncio.create_task(raw(proxy, get(f"http://slow.test:{site.port}/"))) for _ in range(3)]
            assert status(await raw(proxy, get(f"http://fast.test:{site.port}/"))) == 200
            slow += [asyncio.create_task(raw(proxy, get(f"http://slow.test:{site.port}/"))) for _ in range(45)]
            while proxy.connections < 48:
                await asyncio.sleep(0.01)
            assert await asyncio.wait_for(asyncio.to_thread(int, "1"), 5) == 1  # the process's own threads are free
            assert {status(answer) for answer in await asyncio.gather(*slow)} == {504}
            assert time.monotonic() - began < 2 * IDLE + 2
    finally:
        release.set()


@pytest.mark.parametrize("names", [4, 40])
async def test_slow_names_below_one_name_stop_only_their_own_kind(site, names):
    release, asked = threading.Event(), []

    def resolver(host, port):
        asked.append(host)
        if host.endswith(".slow.test"):
            release.wait(20)
        return near(host, port)

    allow = ("*.slow.test", "fast.test", "*.other.test", "127.0.0.1")
    policy = NetworkPolicy(allow=tuple(f"{entry}:{site.port}" for entry in allow))
    try:
        async with EgressProxy(policy, EgressLimits(connect_seconds=2), resolver=resolver) as proxy:
            slow = [asyncio.create_task(raw(proxy, get(f"http://{n}.slow.test:{site.port}/"))) for n in range(names)]
            while proxy.connections < names or not asked:
                await asyncio.sleep(0.01)
            for host in ("fast.test", "a.other.test", "127.0.0.1"):
                assert status(await raw(proxy, get(f"http://{host}:{site.port}/"))) == 200
            assert {status(answer) for answer in await asyncio.gather(*slow)} == {504}
            assert sum(host.endswith("slow.test") for host in asked) == 4  # a turn ends with its thread, not with who asked
            release.set()
            async with asyncio.timeout(5):
                while status(await raw(proxy, get(f"http://late.slow.test:{site.port}/"))) != 200:
                    pass
    finally:
        release.set()


async def test_nothing_is_left_of_two_hundred_connections(site, policy):
    canary = Canary()
    host = f"127.0.0.1:{site.port}"
    kinds = [
        get(site.url()),
        get(site.url("/big/65536")),
        f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(),
        get(f"http://127.0.0.1:{canary.port}/"),
        b"nonsense\r\n\r\n",
    ]
    async with EgressProxy(policy) as proxy:
        await raw(proxy, kinds[0])  # what is made once is there now
        await forgotten(proxy)
        before, tasks = descriptors(), len(asyncio.all_tasks())
        for start in range(0, 200, 20):
            answers = await asyncio.gather(*(raw(proxy, kinds[number % 5]) for number in range(start, start + 20)))
            assert [status(answer) for answer in answers] == [200, 200, 200, 403, 400] * 4
        for _ in range(20):  # clients that leave in the middle
            _, writer = await asyncio.open_unix_connection(str(proxy.path))
            writer.write(get(site.url("/big/16777216")))
            await writer.drain()
            writer.transport.abort()
        await forgotten(proxy)
        await asyncio.sleep(0)
        assert (descriptors(), len(asyncio.all_tasks())) == (before, tasks)
        assert len(proxy.decisions) == 221
    canary.close()
    assert canary.hits == 0


async def test_closing_ends_what_is_open(site, policy):
    proxy = await EgressProxy(policy).start()
    host = f"127.0.0.1:{site.port}"
    before = len(asyncio.all_tasks())
    open_now = [get(site.url("/hang")), b"", f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()]
    asked = [asyncio.create_task(_quietly(proxy, data)) for data in open_now]
    async with asyncio.timeout(5):
        while proxy.connections < 3 or len(proxy.decisions) < 3 or sum(entry.allowed for entry in proxy.decisions) < 2:
            await asyncio.sleep(0.01)
    began = time.monotonic()
    await proxy.close()
    assert time.monotonic() - began < 2
    await asyncio.gather(*asked)
    assert proxy.connections == 0
    assert len(asyncio.all_tasks()) <= before
