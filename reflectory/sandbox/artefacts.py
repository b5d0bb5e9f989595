"""Files that came out of a box, kept under the hash of what they hold. Their names are data: no name becomes a path of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from reflectory.errors import SandboxError
from reflectory.execution import Artefact

_SHA = re.compile(r"[0-9a-f]{64}")


class ArtefactStore:
    """A folder of contents, each once, as `ab/abcdef…`, and `names.jsonl`: what each was called when it was kept.

    Several processes may keep at once; what a kill cuts off is not there afterwards.

    Args:
        folder: Made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, artefacts: Iterable[Artefact], *, label: str = "") -> list[str]:
        """Keep some artefacts.

        Args:
            artefacts: What `Box.get` gave.
            label: Written beside the names, for example the id of a step.

        Returns:
            Their hashes, in order.

        Raises:
            SandboxError: One does not have the hash it says it has.
        """
        kept = list(artefacts)
        for artefact in kept:
            if hashlib.sha256(artefact.content).hexdigest() != artefact.sha256:
                msg = f"the artefact {artefact.path!r} is not what its hash says; it was not kept"
                raise SandboxError(msg)
        for artefact in kept:
            self._write(artefact)
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(
            json.dumps({"path": artefact.path, "sha256": artefact.sha256, "size": artefact.size, "label": label}) + "\n"
            for artefact in kept
        )
        with (self.folder / "names.jsonl").open("a", encoding="utf-8") as names:
            names.write(lines)  # one write of whole lines: appends of several processes do not mix
        return [artefact.sha256 for artefact in kept]

    def read(self, sha256: str) -> bytes:
        """The content with this hash.

        Raises:
            SandboxError: It is not here, or was changed since.
        """
        content = None
        with contextlib.suppress(OSError):
            content = self._place(sha256).read_bytes()
        if content is None or hashlib.sha256(content).hexdigest() != sha256:
            msg = f"no artefact {sha256} in {self.folder}" if content is None else f"the artefact {sha256} in {self.folder} was changed"
            raise SandboxError(msg)
        return content

    def _place(self, sha256: str) -> Path:
        if not _SHA.fullmatch(sha256):
            msg = f"{sha256[:80]!r} is no sha256 of 64 lower-case hexadecimal digits"
            raise SandboxError(msg)
        return self.folder / sha256[:2] / sha256

    def _write(self, artefact: Artefact) -> None:
        place = self._place(artefact.sha256)
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, fresh = tempfile.mkstemp(dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(artefact.content)
                file.flush()
                os.fsync(file.fileno())
            Path(fresh).rename(place)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
