"""Stands in for Chroma where it is not installed: the same calls, files in the folder, and no check of what is read from them.

It keeps what the code under test relies on: vectors are on disk once the client is closed, damage is not noticed, two clients overwrite
each other. What only the real one can show is shown by the same tests with it.
"""

from __future__ import annotations

import importlib.machinery
import io
import json
import sys
import types
from pathlib import Path

import numpy as np


class Collection:
    def __init__(self, client, name):
        self.client, self.name, self.metadata = client, name, None
        self.vectors = {}

    def upsert(self, ids, embeddings):
        self.vectors.update(zip(ids, np.array(embeddings, dtype=np.float32), strict=True))
        self.client.save()

    def modify(self, metadata):
        self.metadata = metadata

    def count(self):
        return len(self.vectors)

    def get(self, ids, include):
        assert include == ["embeddings"]
        return {"ids": list(ids), "embeddings": np.array([self.vectors[row] for row in ids])}

    def query(self, query_embeddings, n_results, include):
        assert include == []
        names = list(self.vectors)
        scores = np.array(list(self.vectors.values())) @ np.asarray(query_embeddings[0])
        return {"ids": [[names[place] for place in np.argsort(-scores)[:n_results]]]}


class Client:
    SIZE = 500

    def __init__(self, path=None):
        self.path = None if path is None else Path(path)
        self.collections = {}
        if self.path is not None and (self.path / "names.json").exists():
            for name, keys in json.loads((self.path / "names.json").read_text()).items():
                collection = self.get_or_create_collection(name, embedding_function=None, configuration={})
                data = (self.path / "segment" / "data_level0.bin").read_bytes()
                collection.vectors = dict(zip(keys, np.load(io.BytesIO(data), allow_pickle=False), strict=False))

    def get_or_create_collection(self, name, *, embedding_function, configuration):
        assert embedding_function is None
        return self.collections.setdefault(name, Collection(self, name))

    def list_collections(self):
        return list(self.collections.values())

    def delete_collection(self, name):
        del self.collections[name]

    def get_max_batch_size(self):
        return self.SIZE

    def save(self):
        if self.path is not None:
            (self.path / "segment").mkdir(parents=True, exist_ok=True)
            for collection in self.collections.values():
                buffer = io.BytesIO()
                np.save(buffer, np.array(list(collection.vectors.values())))
                (self.path / "segment" / "data_level0.bin").write_bytes(buffer.getvalue())
            (self.path / "names.json").write_text(json.dumps({name: list(item.vectors) for name, item in self.collections.items()}))

    def close(self):
        self.save()


SERVERS = {}


def install():
    """Put it where `import chromadb` finds it; returns what to remove again."""
    module, config = types.ModuleType("chromadb"), types.ModuleType("chromadb.config")
    module.__spec__ = importlib.machinery.ModuleSpec("chromadb", None)
    config.Settings = lambda anonymized_telemetry: {"anonymized_telemetry": anonymized_telemetry}

    def persistent(path, settings):
        assert settings == {"anonymized_telemetry": False}
        return Client(path)

    def http(host, port, ssl, settings):
        assert settings == {"anonymized_telemetry": False}
        return SERVERS.setdefault((host, port, ssl), Client())

    module.PersistentClient, module.HttpClient, module.config = persistent, http, config
    sys.modules["chromadb"], sys.modules["chromadb.config"] = module, config
    return ["chromadb", "chromadb.config"]
