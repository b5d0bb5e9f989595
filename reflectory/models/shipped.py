"""The checkpoints that come with the package, in `reflectory/models/embedded/`."""

from __future__ import annotations

import threading
from importlib.resources import files
from pathlib import Path

from reflectory.errors import ModelUnavailable, UnknownName, did_you_mean
from reflectory.models.engine import Engine
from reflectory.models.loading import load_engine
from reflectory.models.local import LocalChatModel

#: Names of the shipped checkpoints, the default first.
NAMES = ("strong", "novice", "trusting", "raw")
#: Shipped checkpoints are small: once loaded they stay for the life of the process.
_LOADED: dict[str, Engine] = {}
_LOCK = threading.Lock()


def embedded(name: str = "") -> LocalChatModel:
    """A shipped checkpoint; works offline.

    Args:
        name: strong, novice, trusting or raw (for `--prompt raw`); "" is strong.

    Returns:
        The model. It raises UnsupportedTask for prompts its card excludes.

    Raises:
        UnknownName: There is no shipped checkpoint of that name.
        ModelUnavailable: Its weights are not in this installation, or cannot be read.
    """
    name = name or NAMES[0]
    if name not in NAMES:
        msg = f"there is no embedded model named {name!r}. {did_you_mean(name, NAMES)}"
        raise UnknownName(msg)
    folder = Path(str(files("reflectory.models"))) / "embedded" / name
    if not (folder / "config.json").is_file():
        here = [other for other in NAMES if (folder.parent / other / "config.json").is_file()]
        msg = (
            f"the weights of embedded:{name} are not in this installation ({folder}). {did_you_mean(name, here)} Or install the package "
            f"again."
        )
        raise ModelUnavailable(msg)
    with _LOCK:
        if name not in _LOADED:
            _LOADED[name] = load_engine(folder, label=f"embedded:{name}", device="cpu")
    return LocalChatModel(engine=_LOADED[name])
