"""HTTP clients that keep to a network policy: every request is checked, every hop of a redirect too, and goes to the checked address."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from reflectory.errors import NetworkDenied
from reflectory.sandbox.addresses import denied, shown
from reflectory.sandbox.metered import AsyncMeteredTransport, Meter, MeteredTransport, metered
from reflectory.sandbox.network import NetworkPolicy, Resolver, Target

#: Received bytes of one request: so many for heads, and so many times those of the body, for its framing.
_HEAD_BYTES = 2**16
_FRAMING = 2


@dataclass(frozen=True)
class Guard:
    """What a guarded client keeps to.

    Attributes:
        policy: Who may be reached.
        resolver: Looks names up; None asks the system.
        most_bytes: Of the body of one response.
        redirects: How many are followed; each is checked like a request of its own.
        seconds: Longest time of one request, from its look-up to the last byte of its answer. (Only the asynchronous client can leave
            a look-up of the system that hangs.)
        verify: Trusted certificates; None means the usual ones.
    """

    policy: NetworkPolicy
    resolver: Resolver | None = None
    most_bytes: int = 16 * 2**20
    redirects: int = 5
    seconds: float = 30.0
    verify: ssl.SSLContext | None = None

    def addresses(self, target: Target) -> tuple[str, ...]:
        """Checked addresses of a target.

        Raises:
            NetworkDenied: One is not allowed.
            httpx.ConnectError: The name does not resolve.
        """
        try:
            return self.policy.resolve(target.host, target.port, self.resolver)
        except OSError as error:
            msg = f"{target.host} does not resolve: {error}"
            raise httpx.ConnectError(msg) from error

    def meter(self) -> Meter:
        """The bounds of one request, which begins now."""
        return Meter(self.seconds, _HEAD_BYTES + _FRAMING * self.most_bytes)


class GuardedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """The transport of guarded clients, for a `httpx.Client` or `httpx.AsyncClient` with other settings.

    Give such a client no `mounts` and no `proxy`, and `trust_env=False`: what goes past this transport is not checked.

    Args:
        guard: What it keeps to.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        verify = guard.verify or httpx.create_ssl_context(trust_env=False)
        self._sync = MeteredTransport(verify)
        self._async = AsyncMeteredTransport(verify)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Check, connect to the checked address, and bound the answer.

        Raises:
            NetworkDenied: The policy does not allow it, or the answer is too long or packed.
            httpx.TransportError: As with every transport.
        """
        target, meter = self._guard.policy.check(str(request.url)), self._guard.meter()
        addresses = self._guard.addresses(target)
        for address in addresses:
            try:
                with metered(meter):
                    response = self._sync.handle_request(_pinned(request, target, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
                continue
            if packing := _packing(response):
                response.close()
                raise _packed(packing)
            break
        response.stream = _Counted(response.stream, self._guard.most_bytes)
        return response

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As `handle_request`; names are looked up on a worker thread."""
        target, meter = self._guard.policy.check(str(request.url)), self._guard.meter()
        try:
            addresses = await asyncio.wait_for(asyncio.to_thread(self._guard.addresses, target), self._guard.seconds)
        except TimeoutError:
            msg = f"{target.host} did not resolve within {self._guard.seconds:g} s"
            raise httpx.ConnectTimeout(msg) from None
        for address in addresses:
            try:
                with metered(meter):
                    response = await self._async.handle_async_request(_pinned(request, target, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
                continue
            if packing := _packing(response):
                await response.aclose()
                raise _packed(packing)
            break
        response.stream = _Counted(response.stream, self._guard.most_bytes)
        return response

    def close(self) -> None:
        """Close what is open."""
        self._sync.close()

    async def aclose(self) -> None:
        """Close what is open."""
        await self._async.aclose()


@contextlib.contextmanager
def _readable(url: httpx.URL | str) -> Iterator[None]:
    """Turn what httpx says of a URL that it cannot read into the error of this module."""
    try:
        httpx.URL(url)  # a lone surrogate is a UnicodeError
    except (httpx.InvalidURL, UnicodeError) as error:
        raise denied("form", f"{shown(str(url))} is no URL: {error}") from None
    try:
        yield
    except httpx.InvalidURL as error:  # with the parameters, or where a redirect leads
        raise denied("form", f"{shown(str(url))} leads to no URL: {error}") from None


class _Client(httpx.Client):
    """A client whose errors are NetworkDenied and httpx.HTTPError."""

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        with _readable(url):
            return super().build_request(method, url, **options)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        with _readable(request.url):
            return super().send(request, **options)


class _AsyncClient(httpx.AsyncClient):
    """`_Client`, asynchronous."""

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        with _readable(url):
            return super().build_request(method, url, **options)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        with _readable(request.url):
            return await super().send(request, **options)


def guarded_transport(guard: Guard | NetworkPolicy) -> GuardedTransport:
    """A transport for a client with settings of its own; see `GuardedTransport`."""
    return GuardedTransport(_guard(guard))


def guarded_client(guard: Guard | NetworkPolicy) -> httpx.Client:
    """A client that follows redirects within the policy; proxies and settings of the environment are not read.

    Args:
        guard: What it keeps to, or only the policy of it.

    Returns:
        A client to be closed; its requests raise NetworkDenied (also for what is no URL), or httpx.HTTPError as usual.
    """
    return _Client(transport=guarded_transport(guard), **_options(_guard(guard)))


def guarded_async_client(guard: Guard | NetworkPolicy) -> httpx.AsyncClient:
    """`guarded_client`, asynchronous."""
    return _AsyncClient(transport=guarded_transport(guard), **_options(_guard(guard)))


def _guard(guard: Guard | NetworkPolicy) -> Guard:
    return guard if isinstance(guard, Guard) else Guard(guard)


def _options(guard: Guard) -> dict[str, Any]:
    return {"trust_env": False, "follow_redirects": True, "max_redirects": guard.redirects, "timeout": guard.seconds}


def _pinned(request: httpx.Request, target: Target, address: str) -> httpx.Request:
    """The request as it goes to an address: Host header and certificate are those of the target, whatever the request says."""
    own = [
        (b"Host", target.authority.encode("ascii")),
        (b"Accept-Encoding", b"identity"),  # some kilobytes can unpack to gigabytes
    ]
    rest = [(name, value) for name, value in request.headers.raw if name.lower() not in {b"host", b"accept-encoding"}]
    url = request.url.copy_with(host=address, port=target.port)
    extensions = {**request.extensions, "sni_hostname": target.host}
    return httpx.Request(request.method, url, headers=own + rest, stream=request.stream, extensions=extensions)


def _packing(response: httpx.Response) -> str:
    """How the body is packed; "" where it is not."""
    packing = str(response.headers.get("content-encoding", "")).strip().lower()
    return "" if packing == "identity" else packing


def _packed(packing: str) -> NetworkDenied:
    return denied("encoding", f"the server packed its answer ({shown(packing)}) though it was asked not to, and it is not unpacked")


class _Counted(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends with an error when it is too long."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, most: int) -> None:
        self._stream, self._most, self._got = stream, most, 0

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._stream, httpx.SyncByteStream)
        for part in self._stream:
            yield self._count(part)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._stream, httpx.AsyncByteStream)
        async for part in self._stream:
            yield self._count(part)

    def close(self) -> None:
        assert isinstance(self._stream, httpx.SyncByteStream)
        self._stream.close()

    async def aclose(self) -> None:
        assert isinstance(self._stream, httpx.AsyncByteStream)
        await self._stream.aclose()

    def _count(self, part: bytes) -> bytes:
        self._got += len(part)
        if self._got > self._most:
            raise denied("size", f"the answer is longer than {self._most} bytes")
        return part
