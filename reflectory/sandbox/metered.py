"""Connections of guarded HTTP clients that end at a deadline and after a number of bytes, heads and interim (1xx) answers included."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, cast

import httpcore
import httpx

from reflectory.sandbox.addresses import denied

#: Of a request, written at once: a server that reads drop by drop meets the deadline between two pieces.
PIECE = 2**16
#: A connection serves one request: another host that shares its address must not get it.
_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)


class Meter:
    """What is left for one request.

    Args:
        seconds: Until the deadline, from now on.
        most_bytes: That may be received.
    """

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self._seconds, self._ends = seconds, time.monotonic() + seconds
        self._most, self._got = most_bytes, 0

    def left(self, wanted: float | None, late: type[httpcore.TimeoutException]) -> float:
        """Seconds that the next step may take.

        Args:
            wanted: Its own limit; None for none.
            late: Raised when there is no time left.

        Raises:
            httpcore.TimeoutException: As `late` says.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            msg = f"the request took longer than {self._seconds:g} s"
            raise late(msg)
        return left if wanted is None else min(left, wanted)

    def count(self, data: bytes) -> bytes:
        """Count what was received, and hand it back.

        Raises:
            NetworkDenied: It is too much.
        """
        self._got += len(data)
        if self._got > self._most:
            raise denied("size", f"the server sent more than {self._most} bytes, heads and framing included")
        return data


#: The meter of the request that the running thread or task makes.
_METER: ContextVar[Meter] = ContextVar("reflectory_meter")


@contextlib.contextmanager
def metered(meter: Meter) -> Iterator[None]:
    """Connections that are made inside keep to this meter for as long as they live."""
    token = _METER.set(meter)
    try:
        yield
    finally:
        _METER.reset(token)


class _Stream(httpcore.NetworkStream):
    """A connection that keeps to a meter."""

    def __init__(self, inner: httpcore.NetworkStream, meter: Meter) -> None:
        self._inner, self._meter = inner, meter

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._meter.count(self._inner.read(max_bytes, self._meter.left(timeout, httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE):
            self._inner.write(buffer[start : start + PIECE], self._meter.left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._meter.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._meter)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    """`_Stream`, asynchronous."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, meter: Meter) -> None:
        self._inner, self._meter = inner, meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._meter.count(await self._inner.read(max_bytes, self._meter.left(timeout, httpcore.ReadTimeout)))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, self._meter.left(timeout, httpcore.WriteTimeout))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        left = self._meter.left(timeout, httpcore.ConnectTimeout)
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, left), self._meter)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Opens connections that keep to the meter of their request."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        meter = _METER.get()
        left = meter.left(timeout, httpcore.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left, local_address, socket_options), meter)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """`_Backend`, asynchronous."""

    def __init__(self) -> None:
        # To a type checker it may be the stand-in for a machine without anyio.
        self._inner = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        meter = _METER.get()
        left = meter.left(timeout, httpcore.ConnectTimeout)
        return _AsyncStream(await self._inner.connect_tcp(host, port, left, local_address, socket_options), meter)


class MeteredTransport(httpx.HTTPTransport):
    """httpx's own transport, over connections that keep to a meter; its requests are made inside `metered`.

    Args:
        verify: Trusted certificates.
    """

    def __init__(self, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False, limits=_CONNECTIONS)
        # httpx has no argument for the backend.
        self._pool = httpcore.ConnectionPool(
            ssl_context=verify, max_connections=None, max_keepalive_connections=0, network_backend=_Backend()
        )


class AsyncMeteredTransport(httpx.AsyncHTTPTransport):
    """`MeteredTransport`, asynchronous.

    Args:
        verify: Trusted certificates.
    """

    def __init__(self, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False, limits=_CONNECTIONS)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=verify, max_connections=None, max_keepalive_connections=0, network_backend=_AsyncBackend()
        )
