"""Attacks over the network and over sockets; what counts is what arrived at the host's listeners."""

# Attacks name the system calls they make.
from __future__ import annotations

import socket
from typing import Any

from reflectory.sandbox.probes.inside import Told, escaped
from reflectory.sandbox.probes.probe import Probe, add, attack

add(
    Probe(
        "tcp_by_shell",
        "network",
        "The shell connects to a listener of the host",
        command="echo hello >/dev/tcp/127.0.0.1/{tcp}",
        control="user",
    )
)


@attack(control="user")
def tcp_loopback(told: Told) -> None:
    """Connects to a listener of the host on 127.0.0.1."""
    socket.create_connection(("127.0.0.1", told["tcp"]), timeout=1).send(b"hello")


@attack(control="user")
def tcp_fast_open(told: Told) -> None:
    """Reaches a listener of the host without connect, by TCP fast open."""
    with socket.socket() as out:
        out.settimeout(1)
        out.sendto(b"hello", socket.MSG_FASTOPEN, ("127.0.0.1", told["tcp"]))


@attack(control="user")
def tcp_multipath(told: Told) -> Any:
    """Connects to a listener of the host with multipath TCP."""
    try:
        out = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    except OSError as error:
        return {"contained": str(error), "missing": f"multipath TCP: {error}"}
    out.settimeout(1)
    return out.connect(("127.0.0.1", told["tcp"]))


@attack(control="user")
def tcp_ipv6(told: Told) -> None:
    """Connects to a listener of the host on ::1."""
    socket.create_connection(("::1", told["tcp6"]), timeout=1).send(b"hello")


@attack(control="user")
def tcp_mapped(told: Told) -> None:
    """Connects to a listener of the host by an IPv4 address in IPv6 clothes."""
    with socket.socket(socket.AF_INET6) as out:
        out.settimeout(1)
        out.connect(("::ffff:127.0.0.1", told["tcp"]))


@attack(control="user")
def tcp_any_address(told: Told) -> None:
    """Connects to a listener of the host on 0.0.0.0."""
    socket.create_connection(("0.0.0.0", told["tcp"]), timeout=1).send(b"hello")


@attack(control="user")
def udp_loopback(told: Told) -> None:
    """Sends a datagram to the host on 127.0.0.1."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", told["udp"]))


@attack(control="user")
def unix_path(told: Told) -> None:
    """Connects to a Unix socket of the host by its path."""
    socket.socket(socket.AF_UNIX).connect(told["unix"])


@attack(control="user")
def unix_path_datagram(told: Told) -> None:
    """Sends a datagram to a Unix socket of the host by its path."""
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"hello", told["unix_datagram"])


@attack(control="user")
def unix_abstract(told: Told) -> None:
    """Connects to an abstract Unix socket of the host."""
    socket.socket(socket.AF_UNIX).connect("\0" + told["abstract"])


@attack(control="user")
def unix_abstract_datagram(told: Told) -> None:
    """Sends a datagram to an abstract Unix socket of the host."""
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"hello", "\0" + told["abstract_datagram"])


@attack()
def address_outside(told: Told) -> dict[str, Any]:
    """Sends a datagram to an address outside that nobody has (RFC 5737); it must find no way."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 9))
    return escaped("a datagram to 192.0.2.1 left")


@attack()
def address_outside_ipv6(told: Told) -> dict[str, Any]:
    """Sends a datagram to an IPv6 address outside that nobody has (RFC 3849); it must find no way."""
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b"", ("2001:db8::1", 9))
    return escaped("a datagram to 2001:db8::1 left")


@attack()
def name_server(told: Told) -> dict[str, Any]:
    """Sends an empty datagram to the port of every name server it finds in the settings."""
    with open("/etc/resolv.conf") as file:
        servers = [line.split()[1] for line in file if line.startswith("nameserver")]
    sent = []
    for server in servers:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        socket.socket(family, socket.SOCK_DGRAM).sendto(b"", (server, 53))
        sent.append(server)
    return escaped(f"a datagram to the name servers {sent} left") if sent else {"contained": "no name server"}


@attack(control="user")
def interfaces(told: Told) -> dict[str, Any]:
    """Lists the network interfaces; those of the host must not be among them."""
    return {"interfaces": [name for _, name in socket.if_nameindex()]}


@attack(control="root")
def packet_socket(told: Told) -> dict[str, Any]:
    """Opens a socket for raw packets."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    return escaped("AF_PACKET was allowed")


@attack(control="root")
def raw_socket(told: Told) -> dict[str, Any]:
    """Opens a raw IP socket."""
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return escaped("SOCK_RAW was allowed")


@attack(control="user")
def vsock(told: Told) -> dict[str, Any]:
    """Opens a socket to the hypervisor; no namespace holds these."""
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError as error:
        return {"contained": str(error), "missing": f"AF_VSOCK: {error}"}
    return escaped("AF_VSOCK was allowed")


@attack(control="user")
def crypto_socket(told: Told) -> dict[str, Any]:
    """Opens a socket to the kernel's cryptography, which it does not need."""
    try:
        socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
    except OSError as error:
        return {"contained": str(error), "missing": f"AF_ALG: {error}"}
    return escaped("AF_ALG was allowed")
