"""Guarded HTTP clients against servers on loopback: what is reached, what is not, and how much."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess

import httpx
import pytest
from network_sites import Canary, Site, connects, free_port, hostile_urls, near

from reflectory.errors import NetworkDenied
from reflectory.sandbox.guarded import Guard, guarded_async_client, guarded_client, guarded_transport
from reflectory.sandbox.network import NetworkPolicy


@pytest.fixture
def canary():
    here = Canary()
    yield here
    here.close()


@pytest.fixture
def site():
    here = Site()
    yield here
    here.close()


@pytest.fixture
def policy(site):
    return NetworkPolicy(allow=(f"127.0.0.1:{site.port}",))


def test_hostile_urls_do_not_reach_the_canary_and_an_entry_for_it_does(canary):
    wide = NetworkPolicy(allow=("*", f"*:{canary.port}"), schemes=("http", "https", "ws", "wss"))
    with connects() as made, guarded_client(Guard(wide, near)) as client:
        for url in hostile_urls(canary.port):
            with pytest.raises((NetworkDenied, httpx.UnsupportedProtocol)):
                client.get(url)
    assert (made, canary.hits) == ([], 0)
    with guarded_client(NetworkPolicy(allow=(f"127.0.0.1:{canary.port}",))) as client:
        assert client.get(f"http://127.0.0.1:{canary.port}/").text == "canary"
    assert canary.hits == 1


async def test_hostile_urls_do_not_reach_the_canary_asynchronously(canary):
    wide = NetworkPolicy(allow=("*", f"*:{canary.port}"))
    with connects() as made:
        async with guarded_async_client(Guard(wide, near)) as client:
            for url in hostile_urls(canary.port):
                with pytest.raises((NetworkDenied, httpx.UnsupportedProtocol)):
                    await client.get(url)
    assert (made, canary.hits) == ([], 0)


HOPS = (
    *(
        "http://127.0.0.1:{canary}/",
        "http://2130706433:{canary}/",
        "http://127.1:{canary}/",
        "http://0x7f.1:{canary}/",
        "//127.0.0.1:{canary}/x",
    ),
    *("//[::1]:{canary}/", "http://[::ffff:127.0.0.1]:{canary}/", "https://127.0.0.1:{canary}/", "http://localhost:{canary}/"),
    *(
        "http://a@127.0.0.1:{canary}/",
        "http://127.0.0.1:{site}@127.0.0.1:{canary}/",
        "http:\\\\127.0.0.1:{canary}/",
        "\\\\127.0.0.1:{canary}/",
    ),
    *(
        "file:///etc/passwd",
        "ftp://127.0.0.1:{canary}/",
        "gopher://127.0.0.1:{canary}/",
        "http://169.254.169.254/latest/",
        "data:text/plain,x",
    ),
    *("http://evil.test:{canary}/", "/redirect?to=http%3A%2F%2F127.1%3A{canary}%2F", "/chain/3?to=http://127.0.0.1:{canary}/"),
)


@pytest.mark.parametrize("hop", HOPS)
def test_a_redirect_does_not_lead_to_the_canary(site, canary, hop):
    policy = NetworkPolicy(allow=(f"127.0.0.1:{site.port}", "*", f"*:{canary.port}"))
    to = hop.replace("{canary}", str(canary.port)).replace("{site}", str(site.port))
    with connects() as made, guarded_client(Guard(policy, near)) as client:
        try:
            answer = client.get(site.url("/redirect"), params={"to": to})
        except (NetworkDenied, httpx.HTTPError):
            pass
        else:  # a way that httpx reads as a path of the same site
            assert answer.url.port == site.port
    assert canary.hits == 0
    assert {address[1] for address in made} == {site.port}
    assert len(site.requests) >= 1


def test_redirects_within_the_policy_are_followed_up_to_a_number(site, policy):
    with guarded_client(policy) as client:
        assert client.get(site.url("/chain/5")).json()["request"] == "GET /end HTTP/1.1"
        with pytest.raises(httpx.TooManyRedirects):
            client.get(site.url("/chain/10"))
    assert len(site.requests) == 6 + 6


def test_a_name_is_looked_up_once_and_that_address_is_connected_to(site):
    """A resolver that says something else the second time: on 127.0.0.2 listens who must not be reached."""
    other = Canary(site.port, ("127.0.0.2",))
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "127.0.0.2"], ["93.184.216.34", "127.0.0.2"]]
    policy = NetworkPolicy(allow=(f"rebind.test:{site.port}", f"127.0.0.1:{site.port}"))
    with connects() as made, guarded_client(Guard(policy, lambda host, port: answers.pop(0))) as client:
        assert client.get(f"http://rebind.test:{site.port}/").json()["headers"]["Host"] == f"rebind.test:{site.port}"
        for _ in range(3):
            with pytest.raises(NetworkDenied, match="resolved"):
                client.get(f"http://rebind.test:{site.port}/")
    other.close()
    assert (made, other.hits, answers) == ([("127.0.0.1", site.port)], 0, [])


async def test_the_next_address_is_tried_when_the_first_does_not_answer(site):
    policy = NetworkPolicy(allow=(f"two.test:{site.port}", f"127.0.0.1:{site.port}", f"127.0.0.2:{site.port}"))
    guard = Guard(policy, lambda host, port: ["127.0.0.2", "127.0.0.1"])
    with guarded_client(guard) as client:
        assert client.post(f"http://two.test:{site.port}/", content=b"x").json()["body"] == "x"
    async with guarded_async_client(guard) as client:
        assert (await client.post(f"http://two.test:{site.port}/", content=b"y")).json()["body"] == "y"
    gone = free_port()
    lost = Guard(NetworkPolicy(allow=(f"*:{gone}", f"127.0.0.1:{gone}")), lambda host, port: ["127.0.0.1"])
    with guarded_client(lost) as client, pytest.raises(httpx.ConnectError):
        client.get(f"http://gone.test:{gone}/")


def test_a_name_that_does_not_resolve_is_a_connection_error():
    def nowhere(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    with (
        guarded_client(Guard(NetworkPolicy(allow=("nowhere.test",)), nowhere)) as client,
        pytest.raises(httpx.ConnectError, match=r"nowhere\.test"),
    ):
        client.get("http://nowhere.test/")


def test_the_environment_does_not_redirect_requests(site, policy, canary, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    with guarded_client(policy) as client:
        assert client.get(site.url()).status_code == 200
    assert canary.hits == 0


def test_the_host_header_is_that_of_the_target(site, policy):
    with guarded_client(policy) as client:
        said = client.get(site.url("/a?b"), headers={"Host": "inner.example", "Accept-Encoding": "gzip"}).json()
    assert said["request"] == "GET /a?b HTTP/1.1"
    assert said["headers"]["Host"] == f"127.0.0.1:{site.port}"
    assert said["headers"]["Accept-Encoding"] == "identity"


async def test_a_body_is_bounded(site, policy):
    guard = Guard(policy, most_bytes=2**20)
    with guarded_client(guard) as client:
        assert len(client.get(site.url(f"/big/{2**20}")).content) == 2**20
        with pytest.raises(NetworkDenied, match="longer than 1048576"):
            client.get(site.url(f"/big/{2**20 + 256}"))
        with pytest.raises(NetworkDenied, match="gzip"):
            client.get(site.url("/packed"))
        assert client.head(site.url(f"/big/{2**21}")).headers["content-length"] == str(2**21)
    async with guarded_async_client(guard) as client:
        with pytest.raises(NetworkDenied, match="longer than 1048576"):
            await client.get(site.url(f"/big/{2**21}"))
        with pytest.raises(NetworkDenied, match="gzip"):
            await client.get(site.url("/packed"))
        assert (await client.get(site.url("/chunked"))).text == "piece 00piece 01piece 02"


async def test_a_server_that_hangs_is_left(site, policy):
    with guarded_client(Guard(policy, seconds=0.2)) as client, pytest.raises(httpx.ReadTimeout):
        client.get(site.url("/hang"))
    async with guarded_async_client(Guard(policy, seconds=0.2)) as client:
        with pytest.raises(httpx.ReadTimeout):
            await asyncio.wait_for(client.get(site.url("/hang")), 10)


def test_the_transport_serves_a_client_with_settings_of_its_own(site, policy):
    with httpx.Client(transport=guarded_transport(policy), trust_env=False, headers={"X-Own": "1"}) as client:
        assert client.get(site.url()).json()["headers"]["X-Own"] == "1"
        assert client.get(site.url("/redirect?to=/end")).status_code == 302


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: it makes the certificate of this test")
def test_the_certificate_is_checked_for_the_name_not_the_address(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", "/CN=site.test", "-addext", "subjectAltName=DNS:site.test", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    names = []
    context.sni_callback = lambda sock, name, _: names.append(name)
    site = Site(wrap=lambda sock: context.wrap_socket(sock, server_side=True))
    policy = NetworkPolicy(allow=(f"site.test:{site.port}", f"other.test:{site.port}", f"127.0.0.1:{site.port}"))
    with guarded_client(Guard(policy, near, verify=ssl.create_default_context(cafile=str(certificate)))) as client:
        assert client.get(f"https://site.test:{site.port}/").status_code == 200
        # The same address under another name: neither the connection nor the certificate of the first serves it.
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            client.get(f"https://other.test:{site.port}/")
    with guarded_client(Guard(policy, near)) as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        client.get(f"https://site.test:{site.port}/")
    site.close()
    assert names == ["site.test", "other.test", "site.test"]
