"""An index on a real `chroma run` server: shared, restarted, emptied, stopped."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from chroma_memories import DIM, INSTALLED, answers, exact, fill, opened, small

from reflectory.errors import ConfigError, MemoryFault
from reflectory.memory import open_memory
from reflectory.retrieval import chroma_client, chroma_server
from reflectory.retrieval.chroma_server import ChromaServer

COMMAND = Path(sys.executable).with_name("chroma")
needs_chroma = pytest.mark.skipif(not INSTALLED, reason="chromadb is not installed")


class Server:
    def __init__(self, folder):
        self.folder, self.process = folder, None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [str(COMMAND), "run", "--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        listening = threading.Event()
        threading.Thread(target=self._read, args=(self.process.stdout, listening), daemon=True).start()
        assert listening.wait(60), "the server did not start"
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:  # it says so a moment before it does
            client.get(f"{self.url}/api/v2/heartbeat")

    @staticmethod
    def _read(output, listening):
        """Read all it says: it would stand still with a full pipe."""
        for line in output:
            if "listening on address" in line:
                listening.set()
        output.close()

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path, monkeypatch):
    small(monkeypatch)
    running = Server(tmp_path / "server")
    running.start()
    yield running
    running.stop()


def applied(store):
    return store.memory._replica.nearest.applied


def collections(server):
    import chromadb

    client = chromadb.HttpClient("127.0.0.1", server.port, settings=chroma_client.settings())
    try:
        return {item.name for item in client.list_collections()}
    finally:
        chroma_client.close_client(client)


@needs_chroma
@pytest.mark.slow
@pytest.mark.enable_socket
class TestServer:
    def test_shared_and_rebuilt_beside(self, server, tmp_path):
        path = tmp_path / "m.sqlite"
        with opened(path, server.url) as store:
            fill(store, range(150))
            wanted = answers(store)
            assert wanted == exact(path)
            with opened(path, server.url) as other:
                assert answers(other) == wanted
                fill(other, range(150, 260))
                both = answers(other)
                assert applied(other).rows == 260
            assert answers(store) == both == exact(path)
            before = collections(server)
            store.memory.rebuild()
            assert len(collections(server)) == len(before)
            assert collections(server) != before
            assert answers(store) == both
        with opened(path, server.url) as store:
            assert applied(store).rows == 260
            assert answers(store) == both

    def test_a_restarted_server_has_what_it_had(self, server, tmp_path):
        path = tmp_path / "m.sqlite"
        with opened(path, server.url) as store:
            fill(store, range(150))
            wanted = answers(store)
            before = collections(server)
            server.stop()
            server.start()
            assert answers(store) == wanted
            assert applied(store).rows == 150
        with opened(path, server.url) as store:
            assert answers(store) == wanted
            assert applied(store).rows == 150
        assert collections(server) == before

    def test_a_server_that_lost_its_data_is_filled_again(self, server, tmp_path):
        path = tmp_path / "m.sqlite"
        with opened(path, server.url) as store:
            fill(store, range(150))
            wanted = answers(store)
            server.stop()
            shutil.rmtree(server.folder)
            server.start()
            assert answers(store) == wanted  # by the exact scan, from now on
            assert applied(store) is None
        with opened(path, server.url) as store:
            assert applied(store).rows == 150
            assert answers(store) == wanted

    def test_a_server_that_lost_vectors_is_filled_again(self, server, tmp_path):
        path = tmp_path / "m.sqlite"
        with opened(path, server.url) as store:
            fill(store, range(150))
            wanted = answers(store)
            store.memory._replica.nearest._index._collection.delete(ids=[str(row) for row in range(0, 150, 3)])
        with opened(path, server.url) as store:
            assert answers(store) == wanted
            assert applied(store).rows == 150

    def test_down_when_opened_is_an_error_and_down_later_is_the_scan(self, server, tmp_path):
        path = tmp_path / "m.sqlite"
        with opened(path, server.url) as store:
            fill(store, range(150))
            wanted = answers(store)
            server.stop()
            assert answers(store) == wanted
            assert applied(store) is None
            fill(store, range(150, 160))
        with pytest.raises(MemoryFault, match=r"Start it with `chroma run`"):
            opened(path, server.url)
        with opened(path, "exact") as store:
            assert store.memory.seq == 160

    def test_half_a_build_is_passed_over_and_cleared_away_later(self, server, tmp_path, monkeypatch):
        path = tmp_path / "m.sqlite"
        with opened(path, "exact") as store:
            fill(store, range(150))
            wanted = answers(store)

        def fail(*arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(chroma_server, "insert_rows", fail)
            with pytest.raises(KeyboardInterrupt):
                opened(path, server.url)
        (half,) = collections(server)
        with opened(path, server.url) as store:
            assert answers(store) == wanted
            assert half in collections(server)  # somebody may be filling it at this moment
            monkeypatch.setattr(chroma_server, "GIVEN_UP", -1)
            store.memory.rebuild()
            assert len(collections(server)) == 1
            assert half not in collections(server)


@needs_chroma
@pytest.mark.enable_socket
def test_a_server_that_accepts_and_says_nothing_is_an_error(monkeypatch):
    monkeypatch.setattr(chroma_server, "TIMEOUT", 0.05)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(MemoryFault, match="timed out"):
            ChromaServer(f"http://127.0.0.1:{mute.getsockname()[1]}", "m", "numbers", DIM)


@needs_chroma
def test_addresses_of_another_kind_are_refused(tmp_path):
    for wrong in ("ftp://x", "http://"):
        with pytest.raises(ConfigError, match="http://localhost:8000"):
            open_memory(tmp_path / "m.sqlite", index=wrong)
