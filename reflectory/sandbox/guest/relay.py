"""The way from a box without network to the egress proxy: a port on the box's own 127.0.0.1, copied to the proxy's Unix socket.

It decides nothing: what may be reached is up to the proxy, which is outside. It runs as a process of its own that holds nothing but its
listener, so whoever takes it over can do no more than talk to the proxy, which the socket allows anyway.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import selectors
import signal
import socket
import stat
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
#: Open at the same time; more wait in the kernel's queue, which is short too.
CONNECTIONS = 64
BACKLOG = 16
#: Buffered per direction.
PIECE = 2**16
#: A connection without a byte for so long is closed, in seconds; the proxy's own limit is normally reached before.
IDLE = 300.0
#: Between two looks for idle connections, in seconds.
LOOK = 10.0


class Relay(NamedTuple):
    """A running relay.

    Attributes:
        port: On 127.0.0.1 of the box.
        pid: Its process, a child of the one that called `start`.
    """

    port: int
    pid: int


def start(path: str) -> Relay:
    """Start a relay that ends with this process. Call it where loopback is up, before anything untrusted runs.

    Args:
        path: The egress proxy's Unix socket, as the box sees it.

    Raises:
        OSError: There is no such socket, or no loopback.
    """
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        raise OSError(f"{path} is no socket")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind(("127.0.0.1", 0))
        listener.listen(BACKLOG)
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            _become(listener, path, parent)
        return Relay(listener.getsockname()[1], pid)
    finally:
        listener.close()


def environment(port: int) -> dict[str, str]:
    """The variables by which programs in the box find the relay.

    Args:
        port: Of the relay.
    """
    url = f"http://127.0.0.1:{port}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {name: url for upper in names for name in (upper, upper.lower())}


def _become(listener: socket.socket, path: str, parent: int) -> NoReturn:
    """Turn this forked process into the relay."""
    try:
        os.setsid()
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # no ptrace, no /proc/PID/mem for others of its user
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was set
            os._exit(0)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.dup2(listener.detach(), 3)
        os.closerange(4, 2**16)  # what the agent has open, the host's connection above all
        os.chdir("/")
        _Loop(socket.socket(fileno=3), path).run()
    finally:
        os._exit(1)


class _End:
    """One end of a connection, and what waits to be written to it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock, self.waiting = sock, bytearray()
        self.ended = self.shut = False
        self.peer: _End = self
        self.used = time.monotonic()

    @property
    def events(self) -> int:
        """Readable while the other end has room, writable while something waits."""
        room = not self.ended and len(self.peer.waiting) < PIECE
        return (selectors.EVENT_READ if room else 0) | (selectors.EVENT_WRITE if self.waiting else 0)


class _Loop:
    """Copies bytes.

    Args:
        listener: Where the box's programs come.
        path: The proxy's Unix socket.
    """

    def __init__(self, listener: socket.socket, path: str) -> None:
        listener.setblocking(False)
        self._listener, self._path = listener, path
        self._selector = selectors.DefaultSelector()
        self._ends: set[_End] = set()
        self._watch(listener, selectors.EVENT_READ, self._accept)

    def run(self) -> NoReturn:
        """Go on until this process is killed."""
        look = time.monotonic() + LOOK
        while True:
            for key, events in self._selector.select(LOOK):
                key.data(events)
            now = time.monotonic()
            if now >= look:
                look = now + LOOK
                for end in [end for end in self._ends if now - max(end.used, end.peer.used) > IDLE]:
                    self._close(end)

    def _watch(self, sock: socket.socket, events: int, act: Callable[[int], None]) -> None:
        """Say what to wait for on a socket; 0 for nothing."""
        known = sock in self._selector.get_map()
        if known and not events:
            self._selector.unregister(sock)
        elif known:
            self._selector.modify(sock, events, act)
        elif events:
            self._selector.register(sock, events, act)

    def _accept(self, events: int) -> None:
        """Take a connection in and connect it to the proxy; where the proxy takes no more, it is closed."""
        try:
            client = _End(self._listener.accept()[0])
        except OSError:
            return
        proxy = _End(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        client.peer, proxy.peer = proxy, client
        self._ends |= {client, proxy}
        try:
            proxy.sock.connect(self._path)
        except OSError:
            self._close(client)
            return
        self._refresh(client)
        if len(self._ends) >= 2 * CONNECTIONS:
            self._watch(self._listener, 0, self._accept)

    def _move(self, end: _End, events: int) -> None:
        """Read and write what can be read and written at one end."""
        if end not in self._ends:  # closed since the events were collected
            return
        try:
            with contextlib.suppress(BlockingIOError):
                if events & selectors.EVENT_READ:
                    data = end.sock.recv(PIECE)
                    end.peer.waiting += data
                    end.ended = not data
                if events & selectors.EVENT_WRITE:
                    del end.waiting[: end.sock.send(end.waiting)]
            end.used = time.monotonic()
            for one in (end, end.peer):
                if one.peer.ended and not one.waiting and not one.shut:
                    one.shut = True
                    one.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(end)
            return
        if end.shut and end.peer.shut:
            self._close(end)
        else:
            self._refresh(end)

    def _refresh(self, end: _End) -> None:
        """Wait for what can happen next at both ends."""
        for one in (end, end.peer):
            self._watch(one.sock, one.events, functools.partial(self._move, one))

    def _close(self, end: _End) -> None:
        """Forget a connection."""
        for one in (end, end.peer):
            self._watch(one.sock, 0, self._accept)
            one.sock.close()
            self._ends.discard(one)
        self._watch(self._listener, selectors.EVENT_READ, self._accept)
