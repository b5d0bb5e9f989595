"""Reading hosts and ports strictly, and telling addresses that anybody on the internet may have from those that only somebody near has.

What browsers, resolvers and libraries read differently (`127.1`, `0x7f.0.0.1`, percent signs, full-width digits in other places than a
browser expects them) is refused, so that what is checked is what is reached.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from reflectory.errors import NetworkDenied

Address = IPv4Address | IPv6Address
#: Why an address is no ordinary public one; the first match counts. After the IANA special-purpose registries and the clouds' own pages.
_SPECIAL: tuple[tuple[str, str], ...] = (
    ("169.254.169.254/32", "a cloud's metadata service"),
    ("169.254.170.2/32", "a cloud's metadata service"),
    ("100.100.100.200/32", "a cloud's metadata service"),
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("192.0.0.192/32", "a cloud's metadata service"),
    ("fd00:ec2::254/128", "a cloud's metadata service"),
    ("fd20:ce::254/128", "a cloud's metadata service"),
    ("0.0.0.0/8", "this host"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "a provider's inner network (CGNAT)"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "reserved for documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "reserved for benchmarks"),
    ("198.51.100.0/24", "reserved for documentation"),
    ("203.0.113.0/24", "reserved for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved, or broadcast"),
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("::/96", "an IPv4-compatible address"),
    ("::ffff:0:0/96", "an IPv4-mapped address"),
    ("::ffff:0:0:0/96", "an IPv4-translated address"),
    ("64:ff9b::/96", "an IPv4 address behind NAT64"),
    ("64:ff9b:1::/48", "an IPv4 address behind NAT64"),
    ("100::/64", "discarded"),
    ("2001::/32", "an IPv4 address behind Teredo"),
    ("2001::/23", "reserved for protocols"),
    ("2001:db8::/32", "reserved for documentation"),
    ("2002::/16", "an IPv4 address behind 6to4"),
    ("3fff::/20", "reserved for documentation"),
    ("fc00::/7", "private (unique local)"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private (site-local)"),
    ("ff00::/8", "multicast"),
)
_NETWORKS: tuple[tuple[IPv4Network | IPv6Network, str], ...] = tuple((ip_network(text), why) for text, why in _SPECIAL)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
#: Middle of the interface part of an ISATAP address, whose last 32 bits are an IPv4 address.
_ISATAP = {0x00005EFE, 0x02005EFE}
#: Names that stand for something near, whatever they resolve to.
_LOCAL_NAMES = re.compile(r"(?:.*\.)?(?:localhost|localdomain|local|lan|internal|intranet|corp|home|home\.arpa)|metadata\.goog")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: A host whose last part looks like this is an IPv4 address or nothing (WHATWG URL standard, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def denied(rule: str, text: str) -> NetworkDenied:
    """The error of a rule, with its name at the end.

    Args:
        rule: Name of the rule, as docs/network.md lists them.
        text: What happened and what to do.
    """
    return NetworkDenied(f"{text} (rule: {rule})")


def shown(text: str) -> str:
    """Foreign text for a message: quoted, escaped, at most about 100 characters."""
    return repr(text if len(text) <= 100 else f"{text[:97]}...")


def why_special(address: Address) -> str:
    """Why an address is not an ordinary public one; "" where it is.

    Forms of IPv6 that carry an IPv4 address (mapped, compatible, 6to4, NAT64, Teredo, ISATAP) are special whatever they carry.
    """
    for network, why in _NETWORKS:
        if address.version == network.version and address in network:
            return why
    if isinstance(address, IPv4Address):
        return ""
    if address not in _GLOBAL_UNICAST:
        return "outside of the global unicast range"
    return "an IPv4 address behind ISATAP" if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP else ""


def is_local_name(host: str) -> bool:
    """Whether a name stands for something near: a single word (search domains complete it), or a name reserved for local use."""
    return "." not in host or _LOCAL_NAMES.fullmatch(host) is not None


def literal(host: str) -> Address | None:
    """The address that a host from `read_host` is, or None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def read_authority(text: str) -> tuple[str, int | None]:
    """Split `host[:port]` and read both.

    Args:
        text: As in a URL, a Host header or a CONNECT request: an IPv6 address stands in brackets.

    Returns:
        The host as `read_host` gives it; the port, None where there is none.

    Raises:
        NetworkDenied: It is not of this form.
    """
    if "@" in text:
        raise denied("userinfo", f"{shown(text)} has a user or password before the host; leave it out")
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise denied("form", f"{shown(text)} is not HOST or HOST:PORT with a port in plain digits")
    port = None if found[2] is None else int(found[2])
    if port is not None and not 0 < port < 65536:
        raise denied("form", f"{shown(text)}: a port is between 1 and 65535")
    return read_host(found[1]), port


def read_host(text: str) -> str:
    """Bring a host into its one form.

    Args:
        text: A name, an IPv4 address in four plain decimal numbers, or an IPv6 address in brackets.

    Returns:
        A name in lower-case ASCII without a dot at the end (international names as `xn--`), or an address in its shortest form, without
        brackets.

    Raises:
        NetworkDenied: It is not of this form, or programs read it in different ways.
    """
    if "%" in text:
        raise denied("percent", f"{shown(text)}: percent signs (also zones of IPv6 addresses) are not read in a host; write it plainly")
    if text.startswith("["):
        return _read_ipv6(text)
    if not text.isascii():
        text = _to_ascii(text)
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _read_ipv4(name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise denied("form", f"{shown(text)} is no host name")
    return name


def _read_ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        what = f"{shown(text)} ends in a number, but is no address of four decimal numbers without leading zeros"
        raise denied("spelling", f"{what}; write it like 192.0.2.1") from None


def _read_ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text[1:-1]))
    except ValueError:
        raise denied("form", f"{shown(text)} is no IPv6 address in brackets") from None


def _to_ascii(text: str) -> str:
    """An international name as browsers encode it (UTS #46); full-width and circled digits become plain ones here."""
    import idna

    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise denied("idna", f"{shown(text)} is no international host name: {error}") from None
