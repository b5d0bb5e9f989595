"""The relay: from a network namespace with nothing but loopback, through the proxy, to what the policy allows and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from network_sites import Canary, Site

import reflectory.sandbox
from reflectory.sandbox.egress import EgressProxy
from reflectory.sandbox.guest import relay
from reflectory.sandbox.network import NetworkPolicy

PYTHON = os.path.realpath(sys.executable)
GUEST = str(Path(reflectory.sandbox.__file__).parent)
WAYS = {
    "bubblewrap": (
        "bwrap",
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--unshare-net",
        "--unshare-pid",
        "--die-with-parent",
    ),
    "unshare": ("unshare", "--user", "--map-root-user", "--net", "--kill-child", "--fork"),
}
#: As the agent does it: a relay, its environment, then a program that is not trusted. Loopback is down in a namespace of `unshare`.
BOX = """
import fcntl, json, os, socket, struct, sys
sys.path.insert(0, sys.argv[1])
from guest import relay
control = socket.socket()
flags = struct.unpack("16sh", fcntl.ioctl(control, 0x8913, struct.pack("16sh", b"lo", 0)))[1]
if not flags & 1:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", flags | 1))
running = relay.start(sys.argv[2])
os.environ.update(relay.environment(running.port))
os.execvp(sys.argv[3], sys.argv[3:])
"""


@functools.cache
def missing(way: str) -> str:
    """Why a kind of namespace cannot be made here; "" where it can."""
    if shutil.which(WAYS[way][0]) is None:
        return f"{WAYS[way][0]} is not installed"
    done = subprocess.run([*WAYS[way], "true"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


@pytest.fixture(params=list(WAYS))
def way(request):
    if missing(request.param):
        pytest.skip(missing(request.param))
    return WAYS[request.param]


@pytest.fixture
def site():
    here = Site()
    yield here
    here.close()


@pytest.fixture
def canary():
    here = Canary()
    yield here
    here.close()


async def inside(way, proxy, *argv: str) -> tuple[int, str]:
    """Run a program in a namespace without network, with a relay."""
    command = [*way, PYTHON, "-I", "-S", "-c", BOX, GUEST, str(proxy.path), *argv]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode()


#: urllib through the proxy of the environment, a tunnel by hand, and ways past the proxy.
PROGRAM = """
import json, os, socket, sys, urllib.error, urllib.request
site, canary = map(int, sys.argv[1:3])
def fetch(url, **kind):
    try:
        return urllib.request.build_opener(*kind.get("with_", ())).open(url, timeout=5).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
    except OSError as error:
        return type(error).__name__
def straight(family, address):
    try:
        socket.socket(family).connect(address)
        return "connected"
    except OSError as error:
        return "refused"
def tunnel(port):
    proxy = socket.create_connection(("127.0.0.1", int(os.environ["http_proxy"].rpartition(":")[2])))
    proxy.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.0\\r\\n\\r\\n".encode())
    proxy.sendall(b"GET /tunnel HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    return proxy.makefile("rb").read().decode()
print(json.dumps({
    "site": fetch(f"http://127.0.0.1:{site}/in?side"),
    "big": len(urllib.request.urlopen(f"http://127.0.0.1:{site}/big/4194304").read()),
    "tunnel": tunnel(site),
    "canary": fetch(f"http://127.0.0.1:{canary}/"),
    "canary tunnel": tunnel(canary),
    "spelled": fetch(f"http://2130706433:{canary}/"),
    "metadata": fetch("http://169.254.169.254/latest/"),
    "past": fetch(f"http://127.0.0.1:{site}/", with_=(urllib.request.ProxyHandler({}),)),
    "straight": [straight(socket.AF_INET, to) for to in (("127.0.0.1", canary), ("8.8.8.8", 53))],
    "straight6": straight(socket.AF_INET6, ("::1", canary)),
    "proxies": {name: os.environ[name] for name in os.environ if name.lower().endswith("_proxy")},
}))
"""


async def test_a_box_without_network_reaches_what_is_allowed_and_nothing_else(way, site, canary):
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{site.port}",))) as proxy:
        code, out = await inside(way, proxy, PYTHON, "-c", PROGRAM, str(site.port), str(canary.port))
        assert code == 0, out
        said = json.loads(out.splitlines()[-1])
        decisions = [(entry.method, entry.port, entry.allowed) for entry in proxy.decisions]
    assert json.loads(said["site"])["request"] == "GET /in?side HTTP/1.1"
    assert said["big"] == 4194304
    assert '"request": "GET /tunnel HTTP/1.1"' in said["tunnel"]
    assert said["canary"].startswith("403 ")
    assert said["canary tunnel"].startswith("HTTP/1.1 403 ")
    assert "rule: spelling" in said["spelled"]
    assert "metadata" in said["metadata"]
    assert said["past"] in {"URLError", "ConnectionRefusedError"}
    assert [*said["straight"], said["straight6"]] == ["refused"] * 3
    assert set(said["proxies"]) == {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}
    assert decisions[:3] == [("GET", site.port, True), ("GET", site.port, True), ("CONNECT", site.port, True)]
    assert not any(allowed for _, _, allowed in decisions[3:])
    assert canary.hits == 0
    assert len(site.requests) == 3


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_finds_the_relay(way, site, canary):
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{site.port}",))) as proxy:
        assert json.loads((await inside(way, proxy, "curl", "-sS", "-m", "9", site.url("/curl")))[1])["request"] == "GET /curl HTTP/1.1"
        assert (
            json.loads((await inside(way, proxy, "curl", "-sS", "-m", "9", "-p", site.url("/curl")))[1])["request"] == "GET /curl HTTP/1.1"
        )
        _, out = await inside(way, proxy, "curl", "-sS", "-m", "9", f"http://127.0.0.1:{canary.port}/")
        assert "rule: port" in out or "rule: address" in out
        assert (await inside(way, proxy, "curl", "-sS", "-m", "9", "--noproxy", "*", site.url()))[0] == 7
    assert canary.hits == 0


#: What a program in the box gets when it turns to the relay, its sibling: memory, descriptors, ptrace.
PRY = """
import ctypes, json, os
[pid] = open(f"/proc/self/task/{os.getpid()}/children").read().split()
tries = {
    "memory": lambda: open(f"/proc/{pid}/mem", "rb").read(1),
    "descriptors": lambda: os.readlink(f"/proc/{pid}/fd/3"),
    "environment": lambda: open(f"/proc/{pid}/environ", "rb").read(),
}
got = {}
for name, attempt in tries.items():
    try:
        attempt()
        got[name] = "open"
    except OSError as error:
        got[name] = type(error).__name__
got["ptrace"] = ctypes.CDLL(None).ptrace(16, int(pid), 0, 0)  # PTRACE_ATTACH
print(json.dumps(got))
"""


@pytest.mark.skipif(bool(missing("bubblewrap")), reason=missing("bubblewrap") or "")
async def test_programs_in_the_box_cannot_look_into_the_relay():
    way = (*WAYS["bubblewrap"], "--cap-drop", "ALL")
    async with EgressProxy(NetworkPolicy()) as proxy:
        _, out = await inside(way, proxy, PYTHON, "-c", PRY)
    assert json.loads(out.splitlines()[-1]) == {**dict.fromkeys(("memory", "descriptors", "environment"), "PermissionError"), "ptrace": -1}


@pytest.fixture
async def relayed(site):
    """A relay of this process, on the machine's own loopback."""
    async with EgressProxy(NetworkPolicy(allow=(f"127.0.0.1:{site.port}",))) as proxy:
        running = relay.start(str(proxy.path))
        yield proxy, running
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
        os.waitpid(running.pid, 0)


async def exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


def request(site: Site, path: str) -> bytes:
    return f"GET {site.url(path)} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode()


def held(pid: int) -> list[str]:
    """What a process has open."""
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return sorted("socket" if link.startswith("socket:") else link for link in links)


#: It hides from its own user, so that no program in the box can look into it.
sees = os.geteuid() == 0


@pytest.mark.skipif(not sees, reason="only root sees what it holds")
async def test_the_relay_holds_nothing_but_its_listener(relayed):
    _, running = relayed
    own = ["/dev/null"] * 3 + ["anon_inode:[eventpoll]", "socket"]
    async with asyncio.timeout(5):  # it lets go of what it inherited a moment after the fork
        while held(running.pid) != own:
            await asyncio.sleep(0.01)
    assert os.getsid(running.pid) == running.pid
    assert "NoNewPrivs:\t1" in Path(f"/proc/{running.pid}/status").read_text()


async def test_more_connections_than_it_serves_at_once_are_served_in_turn(relayed, site):
    proxy, running = relayed
    answers = await asyncio.gather(*(exchange(running.port, request(site, f"/big/{2**16}")) for _ in range(150)))
    assert {len(answer.partition(b"\r\n\r\n")[2]) for answer in answers} == {2**16}
    assert len(site.requests) == 150
    async with asyncio.timeout(10):
        while proxy.connections or (sees and len(held(running.pid)) > 5):
            await asyncio.sleep(0.01)


async def test_silent_and_vanishing_clients_do_not_stop_it(relayed, site):
    proxy, running = relayed
    silent = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(relay.CONNECTIONS)]
    async with asyncio.timeout(10):
        while proxy.connections < relay.CONNECTIONS:
            await asyncio.sleep(0.01)
    waiting = asyncio.create_task(exchange(running.port, request(site, "/late")))
    for _, writer in silent:
        writer.transport.abort()
    assert b"GET /late" in await waiting
    assert not sees or len(held(running.pid)) <= 7


async def test_when_the_proxy_is_gone_connections_end(site):
    async with EgressProxy(NetworkPolicy()) as proxy:
        running = relay.start(str(proxy.path))
    try:
        with contextlib.suppress(ConnectionError):
            assert await exchange(running.port, request(site, "/")) == b""
    finally:
        os.kill(running.pid, signal.SIGKILL)
        os.waitpid(running.pid, 0)
    assert site.requests == []


def test_a_path_that_is_no_socket_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="no socket"):
        relay.start(str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        relay.start(str(tmp_path / "gone"))


def test_it_ends_with_the_process_that_started_it(tmp_path):
    path = tmp_path / "socket"
    start = f"print(relay.start({str(path)!r}).pid, flush=True)"
    code = f"import sys, time; sys.path.insert(0, {GUEST!r}); from guest import relay; {start}; time.sleep(60)"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with subprocess.Popen([PYTHON, "-I", "-S", "-c", code], stdout=subprocess.PIPE, text=True) as agent:
            assert agent.stdout is not None
            ended = os.pidfd_open(int(agent.stdout.readline()))
            agent.kill()
    assert select.select([ended], [], [], 10)[0] == [ended]
    os.close(ended)
