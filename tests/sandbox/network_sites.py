"""Servers on loopback that network tests reach, or must not reach; and the list of ways to spell a way to them."""

# ruff: noqa: RUF001 - look-alike characters are what this is about

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

#: Addresses that this process connected to, while somebody listens to it; see `connects`.
_heard: list[list[object]] = []


def _audit(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect" and _heard:
        for heard in _heard:
            heard.append(args[1])


sys.addaudithook(_audit)


@contextlib.contextmanager
def connects():
    """All addresses that this process tries to connect to, as the interpreter itself reports them."""
    heard: list[object] = []
    _heard.append(heard)
    try:
        yield heard
    finally:
        _heard.remove(heard)


class Canary:
    """Listens on a port of several loopback addresses and counts who comes."""

    def __init__(self, port: int = 0, hosts: tuple[str, ...] = ("127.0.0.1", "::1")) -> None:
        self.hits, self._sockets, self.port = 0, [], port
        for host in hosts:
            with contextlib.suppress(OSError):  # a machine without IPv6
                sock = socket.create_server((host, self.port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
                self.port = sock.getsockname()[1]
                self._sockets.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError):
            while True:
                client, _ = sock.accept()
                self.hits += 1
                with client, contextlib.suppress(OSError):
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ncanary")

    def close(self):
        for sock in self._sockets:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append(self.requestline)
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path.split("/")[1:]:
            case ["redirect"]:
                return self._answer(b"", 302, Location=query["to"])
            case ["chain", count]:
                return self._answer(b"", 302, Location=f"/chain/{int(count) - 1}" if int(count) > 1 else query.get("to", "/end"))
            case ["big", size]:
                return self._answer(bytes(range(256)) * (int(size) // 256))
            case ["packed"]:
                return self._answer(gzip.compress(bytes(10**6)), **{"Content-Encoding": "gzip"})
            case ["chunked"]:
                return self._chunked()
            case ["hang"]:
                self.server.released.wait(30)
                return None
        said = {"request": self.requestline, "headers": dict(self.headers.items()), "body": self._body().decode("latin-1")}
        return self._answer(json.dumps(said).encode())

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _body(self):
        if self.headers.get("transfer-encoding"):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _answer(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    def _chunked(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            self.wfile.write(b"8\r\npiece %02d\r\n" % number)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args):
        pass


class Site(ThreadingHTTPServer):
    """An HTTP server on 127.0.0.1 that remembers what it was asked."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, wrap=None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[str] = []
        self.released = threading.Event()
        self.port = self.server_address[1]
        if wrap is not None:
            self.socket = wrap(self.socket)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # cut connections are what the tests are about

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self):
        self.released.set()
        self.shutdown()
        self.server_close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def raw(proxy, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes to a proxy and read until it closes."""
    if proxy.path is None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
    else:
        reader, writer = await asyncio.open_unix_connection(str(proxy.path))
    try:
        writer.write(data)
        await writer.drain()
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def get(url: str, host: str | None = None) -> bytes:
    """A request in the form for a proxy."""
    return f"GET {url} HTTP/1.1\r\nHost: {host or urlsplit(url).netloc}\r\n\r\n".encode()


#: Hosts that some program somewhere reads as loopback (for `localhost` forms: with a resolver's help).
LOOPBACK_HOSTS = (
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.000.000.001", "0127.0.0.1", "00127.0.0.1", "0177.0.0.1", "0177.0.0.01"),
    *("0177.1", "0x7f.1", "0x7f.0.0.1", "0x7F.0x0.0x0.0x1", "0X7f.0.0.1", "2130706433", "02130706433", "017700000001", "0x7f000001"),
    *("0x7F000001", "0x000000007f000001", "4294967296", "6425673729", "127.0.0.1..", "127.0.0.0x1", "127.0.256", "127.65536"),
    *("0", "0.0.0.0", "00.0", "0x0", "0x0.0x0", "127.127.127.127", "127.255.255.254"),
    *("[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]"),
    *("[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[2001:0:7f00:1::80ff:fffe]", "[fe80::5efe:127.0.0.1]"),
    *("[::1%25lo]", "[::1%lo]", "[::ffff:0:127.0.0.1]", "[fe80::1%251]", "[::1", "::1", "[127.0.0.1]", "[0x7f.1]"),
    *("localhost", "LOCALHOST", "LocalHost.", "localhost.localdomain", "a.localhost", "ip6-localhost", "loopback", "host.internal"),
    *("127.0.0.1.nip.test", "7f000001.rebind.test", "%31%32%37.0.0.1", "127%2e0%2e0%2e1", "127.0.0.1%00.example.org", "127.0.0.1%09"),
    *(
        "１２７.０.０.１",
        "１２７。０。０。１",
        "127｡0｡0｡1",
        "①②⑦.⓪.⓪.①",
        "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
        "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "ｌｏｃａｌｈｏｓｔ",
        "0𝐱7f.1",
        "127．1",
        "loc\u00adalhost",
    ),
    *("١٢٧.٠.٠.١", "[：：1]", "127.0.0.1\u200b", "\u2488.1"),
)
#: URLs whose host programs disagree on; {port} is the canary's.
LOOPBACK_URLS = (
    *("http://example.org@127.0.0.1:{port}/", "http://127.0.0.1:{port}@example.org/", "http://a:b@127.0.0.1:{port}/"),
    *("http://example.org:80@127.0.0.1:{port}/", "http://127.0.0.1:{port}\\@example.org/", "http://example.org\\@127.0.0.1:{port}/"),
    *(
        "http:\\\\127.0.0.1:{port}\\",
        "http:/127.0.0.1:{port}/",
        "http:127.0.0.1:{port}",
        "http:///127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
    ),
    *("http://127.0.0.1:{port}#@example.org/", "http://127.0.0.1:{port}?@example.org/", "http://127.0.0.1:{port};@example.org/"),
    *(" http://127.0.0.1:{port}/", "\thttp://127.0.0.1:{port}/", "ht\ntp://127.0.0.1:{port}/", "http://127.0.\t0.1:{port}/"),
    *(
        "http://127.0.0.1 :{port}/",
        "http://127.0.0.1:{port} /",
        "http://127.0.0.1\r\nHost: example.org:{port}/",
        "http://\x00127.0.0.1:{port}/",
    ),
    *("http://127.0.0.1:0{port}/", "http://127.0.0.1:+{port}/", "http://127.0.0.1:{port}:80/", "http://127.0.0.1:\uff18{port}/"),
    *(
        "HTTP://127.0.0.1:{port}/",
        "hTTps://127.0.0.1:{port}/",
        "ws://127.0.0.1:{port}/",
        "ftp://127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/_x",
    ),
    *(
        "file:///etc/passwd",
        "file://127.0.0.1/etc/passwd",
        "dict://127.0.0.1:{port}/",
        "data:text/plain,x",
        "javascript:1",
        "unix:///run/x",
    ),
    *("http://example.org:{port}\u2044@127.0.0.1:{port}/", "http://127.0.0.1:{port}\u2100example.org/", "jar:http://127.0.0.1:{port}/!/"),
)
#: Metadata services of clouds.
METADATA_HOSTS = (
    *("169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"),
    *(
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "100.100.100.200",
        "1684301000",
        "169.254.170.2",
        "168.63.129.16",
    ),
    *(
        "192.0.0.192",
        "[fd20:ce::254]",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "metadata",
        "metadata.goog",
        "instance-data",
    ),
    *("１６９.２５４.１６９.２５４", "169.254.169.254.", "169.254.169.254.nip.test"),
)


def hostile_urls(port: int) -> list[str]:
    """Every way here to a canary on loopback, and to metadata services."""
    hosts = [f"http://{host}:{port}/" for host in LOOPBACK_HOSTS] + [f"http://{host}/latest/meta-data/" for host in METADATA_HOSTS]
    return hosts + [url.replace("{port}", str(port)) for url in LOOPBACK_URLS]


def near(host: str, port: int) -> list[str]:
    """A resolver in league with the attacker: every name is loopback, except metadata names."""
    return ["169.254.169.254"] if "169.254" in host or "meta" in host else ["127.0.0.1"]
