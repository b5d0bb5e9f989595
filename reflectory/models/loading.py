"""Loading checkpoints into engines, each once per process."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from reflectory.errors import ModelUnavailable
from reflectory.models.card import read_card
from reflectory.models.engine import Engine

_ENGINES: weakref.WeakValueDictionary[tuple[str, str, str], Engine] = weakref.WeakValueDictionary()
_LOCK = threading.Lock()
#: Files up to this size (bytes) enter the version whole, larger ones with their first and last part.
_WHOLE = 64 * 2**20


def load_engine(checkpoint: str | Path, *, dtype: str | None = None, device: str | None = None, label: str | None = None) -> Engine:
    """Load a checkpoint, or return the engine that already holds it.

    Only safetensors are read and no code of the checkpoint is run. `HF_HUB_OFFLINE=1` keeps the hub out.

    Args:
        checkpoint: A folder, or the id of a model on the Hugging Face hub.
        dtype: A torch dtype by name; by default float32 on the CPU and the checkpoint's own elsewhere.
        device: A torch device by name; by default cuda where there is one, else cpu.
        label: How the model is called in names; by default `hf:CHECKPOINT`.

    Returns:
        The engine for (checkpoint, dtype, device); it lives as long as someone holds it.

    Raises:
        ModelUnavailable: The checkpoint cannot be loaded; the message says what to do.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("float32" if device == "cpu" else "auto")
    folder = Path(checkpoint)
    source = str(folder.resolve()) if folder.is_dir() else str(checkpoint)
    with _LOCK:
        engine = _ENGINES.get((source, dtype, device))
        if engine is None:
            model, tokenizer = _load(source, dtype, device)
            name = f"{label or f'hf:{checkpoint}'}@{_version(model, Path(source))}"
            engine = Engine(model, tokenizer, name, card=read_card(Path(source)))
            _ENGINES[source, dtype, device] = engine
        return engine


def _load(source: str, dtype: str, device: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(source)
            model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True)
        return model.to(device), tokenizer
    except Exception as error:  # the hub, the parsers and the architectures all raise their own kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        msg = (
            f"cannot load {source!r} ({dtype} on {device}): {reason}. Give a folder with config.json, tokenizer.json and "
            f"model.safetensors, or the id of a "
            "hub model; with HF_HUB_OFFLINE=1 it must be in the local hub cache (`hf download ID` while online)."
        )
        raise ModelUnavailable(msg) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing configurations and progress bars while it loads."""
    from transformers.utils import logging as library

    logging: Any = library  # its functions carry no types

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _version(model: Any, folder: Path) -> str:
    """Twelve hex digits that change with the checkpoint: the hub's commit, or a digest of what the folder holds."""
    commit = getattr(model.config, "_commit_hash", None)
    if commit:
        return str(commit)[:12]
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*.safetensors"), *folder.glob("*.json"))):
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(f"{path.name} {size}".encode())
            digest.update(file.read(_WHOLE))
            if size > _WHOLE:
                file.seek(-(2**20), 2)
                digest.update(file.read())
    return digest.hexdigest()[:12]
