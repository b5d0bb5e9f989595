"""The network policy: what is read, what is allowed, against Python's own reading of addresses."""

# ruff: noqa: RUF001 - look-alike characters are what this is about

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from network_sites import LOOPBACK_HOSTS, LOOPBACK_URLS, METADATA_HOSTS, connects, hostile_urls, near
from pydantic import ValidationError

from reflectory.errors import NetworkDenied
from reflectory.sandbox.network import NetworkPolicy, Target

PORT = 18080
#: The most generous policy without an address: everything public, also at the canary's port.
WIDE = NetworkPolicy(allow=("*", f"*:{PORT}"), schemes=("http", "https", "ws", "wss"))


def reached(policy, url, resolver=near):
    """Addresses that a URL leads to."""
    target = policy.check(url)
    return policy.resolve(target.host, target.port, resolver)


def test_there_are_enough_hostile_forms():
    assert len(set(LOOPBACK_HOSTS) | set(LOOPBACK_URLS) | set(METADATA_HOSTS)) >= 60


@pytest.mark.parametrize("url", hostile_urls(PORT), ids=ascii)
def test_no_way_leads_to_loopback_or_metadata(url):
    with connects() as made, pytest.raises(NetworkDenied, match=r"\(rule: \w+\)"):
        reached(WIDE, url)
    assert made == []


@pytest.mark.parametrize(
    ("allow", "url", "target"),
    [
        ("example.org", "http://example.org", Target("http", "example.org", 80, "/")),
        ("example.org", "HTTPS://EXAMPLE.org.:443/a?b=c#d", Target("https", "example.org", 443, "/a?b=c")),
        ("Example.ORG.", "http://example.org?q", Target("http", "example.org", 80, "/?q")),
        ("*.example.org", "http://a.b.example.org/", Target("http", "a.b.example.org", 80, "/")),
        ("example.org:8443", "https://example.org:8443/", Target("https", "example.org", 8443, "/")),
        ("bücher.example", "http://xn--bcher-kva.example/", Target("http", "xn--bcher-kva.example", 80, "/")),
        ("xn--bcher-kva.example", "http://BÜCHER。example/", Target("http", "xn--bcher-kva.example", 80, "/")),
        ("8.8.8.8", "http://8.8.8.8/", Target("http", "8.8.8.8", 80, "/")),
        ("2606:4700::1111", "http://[2606:4700:0::1111]/", Target("http", "2606:4700::1111", 80, "/")),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/x", Target("http", "127.0.0.1", 8000, "/x")),
        ("[::1]:8000", "http://[0:0::1]:8000/", Target("http", "::1", 8000, "/")),
        ("169.254.169.254:80", "http://169.254.169.254/", Target("http", "169.254.169.254", 80, "/")),
        ("localhost:8000", "http://localhost:8000/", Target("http", "localhost", 8000, "/")),
        ("_x.example.org", "http://_x.example.org/", Target("http", "_x.example.org", 80, "/")),
        ("*", "http://anything.example/", Target("http", "anything.example", 80, "/")),
        ("*:8080", "http://anything.example:8080/", Target("http", "anything.example", 8080, "/")),
    ],
)
def test_what_an_entry_allows(allow, url, target):
    assert NetworkPolicy(allow=(allow,)).check(url) == target


@pytest.mark.parametrize(
    ("allow", "url", "rule"),
    [
        ((), "http://example.org/", "allow"),
        (("example.org",), "http://www.example.org/", "allow"),
        (("example.org",), "http://example.org.evil.test/", "allow"),
        (("example.org",), "http://notexample.org/", "allow"),
        (("*.example.org",), "http://example.org/", "allow"),
        (("*.example.org",), "http://evilexample.org/", "allow"),
        (("example.org",), "http://example.org:81/", "port"),
        (("example.org:8443",), "https://example.org/", "port"),
        (("127.0.0.1:8000",), "http://127.0.0.1:8001/", "address"),
        (("127.0.0.1:8000",), "http://127.0.0.2:8000/", "address"),
        (("127.0.0.1:8000",), "http://2130706433:8000/", "spelling"),
        (("127.0.0.1:8000",), "http://[::ffff:127.0.0.1]:8000/", "address"),
        (("*",), "http://localhost/", "local"),
        (("*",), "http://printer/", "local"),
        (("*.internal",), "http://metadata.google.internal/", "local"),
        (("*",), "ftp://example.org/", "scheme"),
        (("*",), "ws://example.org/", "scheme"),
        (("*",), "http://user@example.org/", "userinfo"),
        (("*",), "http://exa%6dple.org/", "percent"),
        (("*",), "http://example.org\\x/", "characters"),
        (("*",), "http://exa mple.org/", "characters"),
        (("*",), "http://example..org/", "form"),
        (("*",), "http://example.org:65536/", "form"),
        (("*",), "http://example.org:0/", "form"),
        (("*",), "http://example.org:/", "form"),
        (("*",), "http:///", "form"),
        (("*",), f"http://{'a' * 64}.org/", "form"),
        (("*",), f"http://{'a.' * 127}org/", "form"),
        (("*",), "http://example.org/" + "a" * 9000, "form"),
        (("*",), "http://\u2603.org/", "idna"),
    ],
)
def test_what_is_denied_and_by_which_rule(allow, url, rule):
    with pytest.raises(NetworkDenied, match=rf"\(rule: {rule}\)$"):
        NetworkPolicy(allow=allow).check(url)


@pytest.mark.parametrize(
    "entry",
    ["", "a b", "http://example.org", "*.*.org", "*.127.0.0.1:80", "127.0.0.1", "::1", "10.0.0.1", "0x7f.1:80", "a/b", "u@h", "h:99999"],
)
def test_entries_that_mean_nothing_are_refused(entry):
    with pytest.raises(ValidationError):
        NetworkPolicy(allow=(entry,))


def test_a_policy_is_a_value():
    policy = NetworkPolicy(allow=("example.org",))
    policy.check("http://example.org/")
    assert NetworkPolicy.model_validate_json(policy.model_dump_json()) == policy == NetworkPolicy(allow=("example.org",))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (["93.184.216.34", "10.0.0.1"], "private"),
        (["93.184.216.34", "2606:4700::1", "fe80::1%eth0"], "link-local"),
        (["::ffff:93.184.216.34"], "IPv4-mapped"),
        (["169.254.169.254"], "metadata"),
        (["100.64.0.1"], "CGNAT"),
        (["0.0.0.0"], "this host"),
    ],
)
def test_one_address_that_is_not_public_denies_the_name(found, why):
    with pytest.raises(NetworkDenied, match=rf"{why}.*\(rule: resolved\)"):
        NetworkPolicy(allow=("*",)).resolve("example.org", 80, lambda host, port: found)


def test_a_name_may_lead_to_an_address_that_is_allowed_itself():
    policy = NetworkPolicy(allow=("site.test:8000", "site.test:8001", "127.0.0.1:8000"))
    assert policy.resolve("site.test", 8000, near) == ("127.0.0.1",)
    with pytest.raises(NetworkDenied, match="loopback"):
        policy.resolve("site.test", 8001, near)


def test_a_name_is_only_looked_up_when_it_is_allowed():
    asked = []
    with pytest.raises(NetworkDenied):
        NetworkPolicy(allow=("example.org",)).resolve("evil.test", 80, lambda host, port: asked.append(host) or [])
    assert asked == []
    with pytest.raises(OSError, match="no address"):
        NetworkPolicy(allow=("example.org",)).resolve("example.org", 80, lambda host, port: [])


def test_the_system_is_asked_for_names(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **_: [(0, 0, 0, "", (host.decode().replace("dns", "8.8.8.8"), port))])
    assert NetworkPolicy(allow=("dns",)).resolve("dns", 80) == ("8.8.8.8",)


NEAR = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
near_v4 = st.sampled_from(NEAR).flatmap(
    lambda text: st.integers(0, ipaddress.ip_network(text).num_addresses - 1).map(lambda n: ipaddress.ip_network(text)[n])
)
near_v6 = st.sampled_from(["fc00::/7", "fe80::/10", "ff00::/8", "::/128", "::1/128", "100::/64", "2001:db8::/32"]).flatmap(
    lambda text: st.integers(0, ipaddress.ip_network(text).num_addresses - 1).map(lambda n: ipaddress.ip_network(text)[n])
)


@st.composite
def spelled_v4(draw, address):
    """A way to write an IPv4 address that `inet_aton` reads: one to four numbers, each decimal, octal or hexadecimal."""
    number, count = int(address), draw(st.integers(1, 4))
    parts = [(number >> shift) & 255 for shift in (24, 16, 8, 0)[: count - 1]] + [number & (2 ** (8 * (5 - count)) - 1)]
    forms = [draw(st.sampled_from(["{}", "0{:o}", "0x{:x}", "0X{:X}", "000{:o}", "0x00{:x}"])) for _ in parts]
    return ".".join(form.format(part) for form, part in zip(forms, parts, strict=True))


@settings(max_examples=400, deadline=None)
@given(data=st.data(), address=near_v4)
def test_no_spelling_of_a_near_ipv4_address_passes(data, address):
    assert not address.is_global or address.is_multicast
    text = data.draw(spelled_v4(address))
    assert ipaddress.IPv4Address(socket.inet_aton(text)) == address
    # A resolver that reads them as inet_aton does.
    with pytest.raises(NetworkDenied):
        reached(WIDE, f"http://{text}/", lambda host, port: [socket.inet_ntoa(socket.inet_aton(host))])


@settings(max_examples=300, deadline=None)
@given(data=st.data(), address=near_v4)
def test_no_foreign_digits_make_a_near_address_pass(data, address):
    digits = data.draw(st.sampled_from(["０１２３４５６７８９", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗", "⓪①②③④⑤⑥⑦⑧⑨", "₀₁₂₃₄₅₆₇₈₉", "⁰¹²³⁴⁵⁶⁷⁸⁹", "٠١٢٣٤٥٦٧٨٩"]))
    text = str(address).translate(str.maketrans("0123456789", digits)).replace(".", data.draw(st.sampled_from(".。．｡")))
    with pytest.raises(NetworkDenied):
        WIDE.check(f"http://{text}/")


def carriers(v4):
    """IPv6 addresses that lead to an IPv4 address, on machines set up for it."""
    number = int(v4)
    return st.sampled_from(
        [
            number,
            0xFFFF << 32 | number,
            0xFFFF << 48 | number,
            0x0064_FF9B << 96 | number,
            0x2002 << 112 | number << 80 | 1,
            0x2001_0000 << 96 | number << 64,
            0x2001_0000 << 96 | 0x0808_0808 << 64 | (number ^ 0xFFFFFFFF),
            0x2606_4700 << 96 | 0x5EFE << 32 | number,
        ]
    ).map(ipaddress.IPv6Address)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), address=near_v6 | near_v4.flatmap(carriers))
@example(data=None, address=ipaddress.ip_address("::ffff:127.0.0.1"))
def test_no_spelling_of_a_near_ipv6_address_passes(data, address):
    forms = [address.compressed, address.exploded, address.compressed.upper()]
    head, _, last = address.exploded.rpartition(":")
    head, _, first = head.rpartition(":")
    forms.append(f"{head}:{ipaddress.IPv4Address(int(first + last, 16))}")
    for form in forms if data is None else [data.draw(st.sampled_from(forms))]:
        assert ipaddress.IPv6Address(socket.inet_pton(socket.AF_INET6, form)) == address
        with pytest.raises(NetworkDenied, match="address"):
            WIDE.check(f"http://[{form}]/")


@settings(max_examples=400, deadline=None)
@given(number=st.integers(0, 2**32 - 1))
def test_public_ipv4_addresses_and_only_those_pass(number):
    address = ipaddress.IPv4Address(number)
    relay, azure = ipaddress.ip_network("192.88.99.0/24"), ipaddress.ip_address("168.63.129.16")
    protocols = ipaddress.ip_network("192.0.0.0/24")  # which of them are global differs between versions of Python
    if address in protocols:
        return
    if address.is_global and not address.is_multicast and address not in relay and address != azure:
        assert WIDE.check(f"http://{address}/").host == str(address)
    else:
        with pytest.raises(NetworkDenied, match=r"\(rule: address\)"):
            WIDE.check(f"http://{address}/")


@settings(max_examples=400, deadline=None)
@given(number=st.integers(0, 2**128 - 1) | st.integers(0x2000 << 112, (0x4000 << 112) - 1))
def test_no_ipv6_address_passes_that_python_does_not_call_global(number):
    address = ipaddress.IPv6Address(number)
    if not address.is_global or address.is_multicast:
        with pytest.raises(NetworkDenied, match=r"\(rule: address\)"):
            WIDE.check(f"http://[{address}]/")
    elif address in ipaddress.ip_network("2400::/8"):
        assert WIDE.check(f"http://[{address}]/").host == str(address)


@settings(max_examples=500, deadline=None)
@given(text=st.text(max_size=60) | st.text(alphabet="htps:/@[]%.\\0x127#?a ｡１", max_size=40).map(lambda text: f"http://{text}"))
def test_any_text_is_denied_or_leads_to_an_allowed_host(text):
    policy = NetworkPolicy(allow=("example.org", "*.example.net"))
    try:
        target = policy.check(text)
    except NetworkDenied:
        return
    assert target.host == "example.org" or target.host.endswith(".example.net")


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("a.b.slow.co.uk", "slow.co.uk"),
        ("own.slow.co.uk", "own.slow.co.uk"),
        ("deep.own.slow.co.uk", "slow.co.uk"),
        ("x.in.slow.co.uk", "in.slow.co.uk"),
        ("www.shop.example.org", "example.org"),
        ("8.8.8.8", "8.8.8.8"),
    ],
)
def test_hosts_are_grouped_by_who_serves_their_names(host, group):
    assert NetworkPolicy(allow=("*", "*.slow.co.uk", "own.slow.co.uk", "*.in.slow.co.uk")).group(host) == group
