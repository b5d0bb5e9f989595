"""One connection of the egress proxy: one request, checked, forwarded or tunnelled; then it is closed."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Iterable
from http import HTTPStatus
from typing import Any, Literal

import h11

from reflectory.errors import NetworkDenied
from reflectory.sandbox.addresses import denied, read_authority, shown
from reflectory.sandbox.gate import PIECE, Decision, Gate

#: Headers of one hop; they are not passed on, nor are those that a Connection header names.
_HOP = {
    *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
    *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host", b"expect", b"http2-settings"),
}
#: What a client that is answered "no" gets to read the answer, in seconds.
LINGER = 1.0
#: Interim (1xx) answers of a server before its answer; they are not passed on.
INTERIM = 8
Way = Literal["sent", "received"]
Headers = list[tuple[bytes, bytes]]
Streams = tuple[StreamReader, StreamWriter]


class Failed(Exception):
    """The request ends with an error answer.

    Args:
        status: HTTP status.
        reason: For the client and the log.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Exchange:
    """Serves one connection.

    Args:
        gate: Decides and connects.
        reader: From the client.
        writer: To the client.
    """

    def __init__(self, gate: Gate, reader: StreamReader, writer: StreamWriter) -> None:
        self._gate, self._reader, self._writer = gate, reader, writer
        self._client = h11.Connection(h11.SERVER, max_incomplete_event_size=gate.limits.head_kb * 1024)
        self._decision = Decision()
        self._clock: asyncio.Timeout | None = None
        self._upstream: StreamWriter | None = None
        self._method = b""

    async def serve(self) -> None:
        """Serve the request; both connections are closed when this returns."""
        self._gate.log(self._decision)
        _unbuffered(self._writer)
        try:
            async with asyncio.timeout(self._gate.limits.idle_seconds) as self._clock:
                await self._serve()
        except TimeoutError:
            self._note(f"idle for {self._gate.limits.idle_seconds:g} s")
        except OSError as error:
            self._note(f"the connection broke: {error}")
        finally:
            for writer in (self._upstream, self._writer):
                if writer is not None:
                    writer.transport.abort()  # all that was to be sent has been: see `_unbuffered`

    async def _serve(self) -> None:
        try:
            request = await self._next(self._client, self._reader)
            if not isinstance(request, h11.Request):
                self._note("closed without a request")
                return
            self._method = request.method
            self._decision.method = request.method.decode("ascii")[:32]
            await (self._tunnel(request) if request.method == b"CONNECT" else self._forward(request))
        except NetworkDenied as error:
            await self._refuse(403, str(error))
        except Failed as error:
            await self._refuse(error.status, error.reason)
        except h11.ProtocolError as error:
            await self._refuse(error.error_status_hint, f"this is no HTTP request: {error}")

    async def _tunnel(self, request: h11.Request) -> None:
        """CONNECT: bytes both ways; what they mean is not looked at."""
        asked = request.target.decode("ascii")
        self._decision.host = asked[:255]
        host, port = read_authority(asked)
        if port is None or any(name in {b"content-length", b"transfer-encoding"} for name, _ in request.headers):
            raise Failed(400, "a CONNECT request names HOST:PORT and has no body")
        if not self._gate.policy.tunnels:
            raise denied("scheme", "only plain http is allowed, so nothing is tunnelled")
        _same_host(request, host, port, default=port)
        reader, writer = await self._open(host, port)
        await self._next(self._client, self._reader)  # the end of the request
        await self._say(h11.Response(status_code=200, reason=b"Connection established", headers=[]))
        if early := self._client.trailing_data[0]:
            await self._write(writer, early, "sent")
        async with _together() as group:
            group.create_task(self._pump(self._reader, writer, "sent"))
            group.create_task(self._pump(reader, self._writer, "received"))

    async def _pump(self, source: StreamReader, sink: StreamWriter, way: Way) -> None:
        while data := await source.read(PIECE):
            await self._write(sink, data, way)
        sink.write_eof()

    async def _forward(self, request: h11.Request) -> None:
        """A request for an absolute http URL, written anew for the server; neither side sees the other's framing."""
        asked = request.target.decode("ascii")
        self._decision.host = asked.partition("://")[2].partition("/")[0].rpartition("@")[2][:255]
        if "://" not in asked:
            raise Failed(400, "this is a proxy: ask for an absolute http:// URL, or CONNECT HOST:PORT")
        target = self._gate.policy.check(asked)
        if target.scheme != "http":
            raise Failed(400, f"{target.scheme} goes through CONNECT {target.host}:{target.port}")
        _same_host(request, target.host, target.port, default=80)
        reader, writer = await self._open(target.host, target.port)
        upstream = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._gate.limits.head_kb * 1024)
        headers = [(b"Host", target.authority.encode("ascii")), *_passed(request.headers)]
        data = upstream.send(h11.Request(method=request.method, target=target.path.encode("ascii"), headers=headers))
        await self._write(writer, data or b"", "sent")
        if self._client.they_are_waiting_for_100_continue:
            await self._say(h11.InformationalResponse(status_code=100, headers=[]))
        async with _together() as group:
            upload = group.create_task(self._upload(upstream, writer))
            await self._download(upstream, reader)
            upload.cancel()

    async def _upload(self, upstream: h11.Connection, writer: StreamWriter) -> None:
        """The request's body. A server that stops listening may still answer, so that ends this quietly."""
        with contextlib.suppress(ConnectionError):
            while isinstance(event := await self._next(self._client, self._reader), h11.Data | h11.EndOfMessage):
                ends = isinstance(event, h11.EndOfMessage)
                await self._write(writer, upstream.send(h11.EndOfMessage() if ends else event) or b"", "sent")
                if ends:
                    return

    async def _download(self, upstream: h11.Connection, reader: StreamReader) -> None:
        """The answer."""
        for _ in range(INTERIM + 1):
            event = await self._from_server(self._next(upstream, reader, "received"))
            if not isinstance(event, h11.InformationalResponse):
                break
        else:
            raise Failed(502, f"the server sent more than {INTERIM} interim answers")
        if not isinstance(event, h11.Response):
            raise Failed(502, "the server closed the connection without an answer")
        answer = h11.Response(status_code=event.status_code, reason=event.reason, headers=_passed(event.headers))
        await self._say(answer)
        while isinstance(event := await self._from_server(self._next(upstream, reader, "received")), h11.Data):
            await self._say(event)
        await self._say(h11.EndOfMessage())

    async def _from_server(self, event: Awaitable[Any]) -> Any:
        try:
            return await event
        except (h11.RemoteProtocolError, ConnectionError) as error:
            raise Failed(502, f"the server's answer is broken: {error}") from None

    async def _open(self, host: str, port: int) -> Streams:
        """Connect to the server.

        Raises:
            NetworkDenied: The policy does not allow it.
            Failed: It does not answer.
        """
        self._decision.host, self._decision.port = host, port
        try:
            reader, self._upstream = await self._gate.connect(host, port)
        except TimeoutError:
            self._decision.allowed = True
            raise Failed(504, f"{host}:{port} does not answer") from None
        except OSError as error:
            self._decision.allowed = True
            raise Failed(502, f"{host}:{port} cannot be reached: {error}") from None
        self._decision.allowed = True
        _unbuffered(self._upstream)
        return reader, self._upstream

    async def _next(self, connection: h11.Connection, reader: StreamReader, way: Way | None = None) -> Any:
        """The next event of a connection; h11's own types. All that is read counts, whatever it turns out to be.

        Raises:
            h11.RemoteProtocolError: Among other reasons: a head is too long. (h11 itself bounds only one whose end has not come.)
        """
        in_head = connection.their_state in {h11.IDLE, h11.SEND_RESPONSE}
        held = len(connection.trailing_data[0]) if in_head else 0
        while (event := connection.next_event()) is h11.NEED_DATA:
            data = await reader.read(PIECE)
            held += len(data)
            self._count(len(data), way)
            connection.receive_data(data)
        most = self._gate.limits.head_kb * 1024
        if in_head and held - len(connection.trailing_data[0]) > most:
            msg = f"the head is longer than {most} bytes"
            raise h11.RemoteProtocolError(msg, error_status_hint=431)
        return event

    async def _say(self, event: h11.Event) -> None:
        await self._write(self._writer, self._client.send(event) or b"")

    def _count(self, size: int, way: Way | None) -> None:
        """Count traffic with the server.

        Raises:
            NetworkDenied: There is none left.
        """
        if way:
            setattr(self._decision, way, getattr(self._decision, way) + size)
            self._gate.spend(size)

    async def _write(self, writer: StreamWriter, data: bytes, way: Way | None = None) -> None:
        """Count, write and start the idle clock anew."""
        self._count(len(data), way)
        writer.write(data)
        await writer.drain()
        assert self._clock is not None
        self._clock.reschedule(asyncio.get_running_loop().time() + self._gate.limits.idle_seconds)

    async def _refuse(self, status: int, reason: str) -> None:
        """Say no, unless an answer has begun: then the connection just ends, cut off."""
        self._note(reason)
        if self._client.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        body = f"{reason}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), ("Connection", "close")]
        await self._say(h11.Response(status_code=status, reason=HTTPStatus(status).phrase.encode(), headers=headers))
        if self._method != b"HEAD":
            await self._say(h11.Data(data=body))
        await self._say(h11.EndOfMessage())
        # Closed at once, with something unread, the connection would take the answer with it.
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while await self._reader.read(PIECE):
                    pass

    def _note(self, reason: str) -> None:
        self._decision.reason = self._decision.reason or reason[:500]


@contextlib.asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks that end together; the first error comes out as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _unbuffered(writer: StreamWriter) -> None:
    """Make `drain` wait until the kernel has everything."""
    writer.transport.set_write_buffer_limits(high=0)


def _same_host(request: h11.Request, host: str, port: int, *, default: int) -> None:
    """Compare the Host header with what was asked for.

    Raises:
        NetworkDenied: They differ.
    """
    for name, value in request.headers:
        if name == b"host":
            said, said_port = read_authority(value.decode("latin-1"))
            if (said, said_port or default) != (host, port):
                raise denied("host", f"the Host header says {shown(value.decode('latin-1'))}, the request asks for {host}:{port}")


def _passed(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers for the next hop, with one framing and the end of the connection said."""
    received = list(headers)
    named = {word.strip().lower() for name, value in received if name == b"connection" for word in value.split(b",")}
    chunked = any(name == b"transfer-encoding" for name, _ in received)
    dropped = _HOP | named | ({b"content-length"} if chunked else set())
    kept = [(name, value) for name, value in received if name not in dropped]
    return [*kept, *([(b"Transfer-Encoding", b"chunked")] if chunked else []), (b"Connection", b"close")]
