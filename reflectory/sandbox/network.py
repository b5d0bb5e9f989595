"""The network policy: which hosts may be reached. Shared by sandboxes (through the egress proxy), tools and browsers."""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Literal, NamedTuple

from pydantic import field_validator

from reflectory.errors import NetworkDenied
from reflectory.records import Frozen
from reflectory.sandbox.addresses import denied, is_local_name, literal, read_authority, read_host, shown, why_special

Scheme = Literal["http", "https", "ws", "wss"]
#: (host, port) → its addresses as text; raises OSError where there are none.
Resolver = Callable[[str, int], Sequence[str]]
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
#: Addresses of one name that are worth a try when the first does not answer.
MOST_ADDRESSES = 4
#: No longer URL is read.
MOST_URL = 8192
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?")


class Target(NamedTuple):
    """Where a checked URL leads.

    Attributes:
        scheme: In lower case.
        host: A name or an address, in the form of `read_host`.
        port: Given, or the scheme's own.
        path: Path and query, at least "/"; not changed, since it does not decide what is reached.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of its Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class Entry(NamedTuple):
    """One entry of the allow list.

    Attributes:
        host: A host, or with `below` the name that all allowed ones end with; "" with `below` means every host.
        port: The only port; None means those of the policy.
        below: Whether names below `host` are meant, not `host` itself.
    """

    host: str
    port: int | None
    below: bool

    def names(self, host: str) -> bool:
        """Whether it is about this host."""
        if not self.below:
            return host == self.host
        if is_local_name(host) and literal(host) is None:  # only by its own entry
            return False
        return not self.host or host.endswith(f".{self.host}")


class NetworkPolicy(Frozen):
    """Who may be reached; nobody, unless it is said.

    An address that is not public (loopback, private, link-local, a metadata service, an IPv6 form that carries an IPv4 address …) is
    reached only where an entry gives that very address with its port. Every address a name resolves to must be allowed.

    Attributes:
        allow: `example.org` (that host), `*.example.org` (names below it, not itself), `*` (every public host), each also with `:PORT`;
            or an address, `8.8.8.8`, `127.0.0.1:8000`, `[::1]:8000`. `localhost`, single words and names such as `x.internal` are
            reached by an entry of their own only, never by a `*`.
        schemes: What a URL may begin with.
        ports: Ports of entries that give none.

    Raises:
        pydantic.ValidationError: An entry is not of these forms, or is an address that is not public and has no port.
    """

    allow: tuple[str, ...] = ()
    schemes: tuple[Scheme, ...] = ("http", "https")
    ports: tuple[int, ...] = (80, 443)

    @field_validator("allow")
    @classmethod
    def _readable(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for text in allow:
            try:
                entry = read_entry(text)
            except NetworkDenied as error:
                raise ValueError(str(error)) from None
            address = literal(entry.host)
            if address is not None and entry.port is None and (why := why_special(address)):
                msg = f"{text!r} is {why}: give the port too, for example '{text}:8000'"
                raise ValueError(msg)
        return allow

    @functools.cached_property
    def _entries(self) -> tuple[Entry, ...]:
        return tuple(read_entry(text) for text in self.allow)

    @functools.cached_property
    def _special(self) -> frozenset[tuple[str, int]]:
        """Addresses with ports that are reached though they may not be public."""
        return frozenset((entry.host, entry.port) for entry in self._entries if entry.port is not None and not entry.below)

    @property
    def tunnels(self) -> bool:
        """Whether a CONNECT request may be answered: some allowed scheme needs one."""
        return any(scheme != "http" for scheme in self.schemes)

    def check(self, url: str) -> Target:
        """Read a URL and decide on its scheme, host and port; nothing is looked up.

        Args:
            url: An absolute URL.

        Raises:
            NetworkDenied: It is not allowed, or programs could read it in different ways; the message ends with the rule.
        """
        if len(url) > MOST_URL:
            raise denied("form", f"the URL is longer than {MOST_URL} characters")
        if "\\" in url or any(not char.isprintable() or char.isspace() for char in url):
            raise denied("characters", f"{shown(url)} holds a space, a control character or a backslash; encode it with %")
        found = _URL.fullmatch(url)
        if found is None:
            raise denied("form", f"{shown(url)} is no absolute URL, like https://example.org/")
        scheme, path = found[1].lower(), found[3]
        if scheme not in self.schemes:
            raise denied("scheme", f"the scheme {shown(scheme)} is not allowed; allowed: {', '.join(self.schemes) or 'none'}")
        host, port = read_authority(found[2])
        port = port or DEFAULT_PORTS[scheme]
        self._admit(host, port)
        return Target(scheme, host, port, path if path.startswith("/") else f"/{path}")

    def resolve(self, host: str, port: int, resolver: Resolver | None = None) -> tuple[str, ...]:
        """Where to connect: check a host, look it up once and check every address found.

        Connect to what this returns and look nothing up again: a name may resolve to something else a moment later.

        Args:
            host: As in `Target`.
            port: As in `Target`.
            resolver: Looks names up; None asks the system.

        Returns:
            One to `MOST_ADDRESSES` addresses, the system's favourite first; all that were found are checked.

        Raises:
            NetworkDenied: The host is not allowed, or one of its addresses is not.
            OSError: The name does not resolve.
        """
        self._admit(host, port)
        if literal(host) is not None:
            return (host,)
        found = dict.fromkeys(ip_address(text) for text in (resolver or lookup)(host, port))
        if not found:
            msg = f"{host} has no address"
            raise OSError(msg)
        for address in found:
            why = why_special(address)
            if why and (str(address), port) not in self._special:
                raise denied("resolved", f"{host} resolves to {address}, which is {why}")
        return tuple(map(str, found))[:MOST_ADDRESSES]

    def group(self, host: str) -> str:
        """Hosts whose names may be served by the same hand, for fair bounds: they have the same group.

        Args:
            host: As in `Target`.

        Returns:
            The host where an entry names it alone, else the longest name of an entry above it, else its last two words.
        """
        about = [entry for entry in self._entries if entry.names(host)]
        if literal(host) is not None or any(not entry.below for entry in about):
            return host
        above = max((entry.host for entry in about), key=len, default="")
        return above or ".".join(host.split(".")[-2:])

    def _admit(self, host: str, port: int) -> None:
        """Decide on a host in the form of `read_host`.

        Raises:
            NetworkDenied: It may not be reached at this port.
        """
        if not self.allow:
            raise denied("allow", f"{shown(host)} is not reached: the allow list is empty, so there is no network")
        address = literal(host)
        why = "" if address is None else why_special(address)
        if why and (host, port) not in self._special:
            raise denied("address", f"{host} is {why}; only an entry of this very address with its port {port} would allow it")
        about = [entry for entry in self._entries if entry.names(host)]
        if not about and address is None and is_local_name(host):
            raise denied("local", f"{shown(host)} stands for something near; only an entry of this very name would allow it")
        if not about:
            raise denied("allow", f"{shown(host)} is not on the allow list, which has {', '.join(self.allow[:20])}")
        if not any(port in self.ports if entry.port is None else port == entry.port for entry in about):
            raise denied("port", f"port {port} of {host} is not allowed; add '{host}:{port}' to allow it")


def read_entry(text: str) -> Entry:
    """Read an entry of an allow list.

    Raises:
        NetworkDenied: It is not of a known form.
    """
    if text == "*" or text.startswith("*:"):
        return Entry("", read_authority(f"any{text[1:]}")[1], below=True)
    if text.count(":") > 1 and not text.startswith("["):  # an IPv6 address alone
        return Entry(read_host(f"[{text}]"), None, below=False)
    below = text.startswith("*.")
    host, port = read_authority(text.removeprefix("*.") if below else text)
    if below and literal(host) is not None:
        raise denied("form", f"{shown(text)}: there is nothing below an address")
    return Entry(host, port, below)


def lookup(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a name.

    Raises:
        OSError: It has none, or nobody answered.
    """
    # As bytes: given text, Python would apply its own, older international encoding.
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
