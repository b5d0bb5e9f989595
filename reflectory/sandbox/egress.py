"""The egress proxy: the only way out of a sandbox or a browser, and it keeps to the network policy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from asyncio import StreamReader, StreamWriter
from pathlib import Path

from reflectory.errors import SandboxError
from reflectory.sandbox.exchange import Exchange
from reflectory.sandbox.gate import PIECE, Decision, EgressLimits, Gate
from reflectory.sandbox.network import NetworkPolicy, Resolver

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#: Connections the kernel keeps until they are accepted.
BACKLOG = 64


class EgressProxy:
    """An HTTP proxy that lets through what a policy allows; an async context manager.

    It listens on a Unix socket (mode 0600 in a folder of its own, mode 0700), which a sandbox gets to see, or with `tcp` on a free port
    of 127.0.0.1, for a browser: there every program of this machine can use it, within the policy.

    Args:
        policy: Who may be reached.
        limits: How much.
        resolver: Looks names up; None asks the system.
        tcp: Whether to listen on a port of 127.0.0.1.
        user: Numeric user who may use the Unix socket, where this process may choose; None means the own one.
    """

    def __init__(
        self,
        policy: NetworkPolicy,
        limits: EgressLimits | None = None,
        *,
        resolver: Resolver | None = None,
        tcp: bool = False,
        user: int | None = None,
    ) -> None:
        self._gate = Gate(policy, limits or EgressLimits(), resolver)
        self._tcp, self._user = tcp, user
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: The Unix socket, for `Settings.proxy`; None before the start and with `tcp`.
        self.path: Path | None = None
        #: The address, as a browser or `HTTP_PROXY` wants it; "" before the start and with a Unix socket.
        self.url = ""

    @property
    def decisions(self) -> list[Decision]:
        """What came of each request, in the order they came, for the record of a run."""
        return self._gate.decisions

    @property
    def dropped(self) -> int:
        """How many decisions did not fit into the log."""
        return self._gate.dropped

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._tasks)

    async def start(self) -> EgressProxy:
        """Listen.

        Raises:
            SandboxError: It cannot; the message says why.
        """
        try:
            listener = self._listen_tcp() if self._tcp else self._listen_unix()
            self._server = await asyncio.start_server(self._accept, sock=listener, limit=PIECE, backlog=BACKLOG)
        except OSError as error:
            await self.close()
            msg = f"the egress proxy cannot listen: {error}. A Unix socket's path is at most 107 bytes long; TMPDIR says where it goes."
            raise SandboxError(msg) from error
        return self

    async def close(self) -> None:
        """End all connections and take the socket away; may be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if server is not None:
            await server.wait_closed()
        self._gate.close()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()
        self.path, self.url = None, ""

    async def __aenter__(self) -> EgressProxy:
        return await self.start()

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _listen_unix(self) -> socket.socket:
        self._folder = tempfile.TemporaryDirectory(prefix="reflectory-egress-")  # mode 0700
        path = Path(self._folder.name) / "socket"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            path.chmod(0o600)  # nobody can be faster: the folder is closed, and nothing listens yet
            if self._user is not None:
                os.chown(path, self._user, -1)
                os.chown(path.parent, self._user, -1)
        except OSError:
            listener.close()
            raise
        self.path = path
        return listener

    def _listen_tcp(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return listener

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection; asyncio runs each in a task of its own."""
        if self._server is None or len(self._tasks) >= self._gate.limits.connections:
            writer.write(_BUSY)
            writer.transport.abort() if self._server is None else writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await Exchange(self._gate, reader, writer).serve()
        finally:
            self._tasks.discard(task)
