"""Lists what archives hold, inside a sandbox. Read as text and given to the box's interpreter; never imported by the host.

Archives come from programs nobody vouches for, and the readers of the library can be made to hang or to eat memory by them. Here the
limits of a box hold for them, and the host reads names and bytes from JSON.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import sys
import tarfile
import zipfile

#: No archive is read beyond so many bytes of content, or so many members.
MOST = 1 << 20
MEMBERS = 200


class Refused(Exception):
    """An archive that has too much in it, or anything but files and folders."""


def tar(content: bytes) -> dict[str, bytes]:
    """Regular files of a tar archive, compressed or not."""
    found: dict[str, bytes] = {}
    left, members = MOST, 0
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            members += 1
            left -= max(member.size, 0)
            if members > MEMBERS or left < 0 or member.size < 0 or not (member.isfile() or member.isdir()):
                raise Refused
            file = archive.extractfile(member)
            if file is not None:
                add(found, member.name, file.read(MOST))
    return found


def zipped(content: bytes) -> dict[str, bytes]:
    """Files of a zip archive."""
    found: dict[str, bytes] = {}
    left = MOST
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if len(archive.infolist()) > MEMBERS:
            raise Refused
        for member in archive.infolist():
            left -= member.file_size
            if left < 0:
                raise Refused
            if not member.is_dir():
                add(found, member.filename, archive.open(member).read(MOST))
    return found


def squeezed(content: bytes) -> dict[str, bytes]:
    """The one file that gzip compressed, under the name ""."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        text = file.read(MOST + 1)
    if len(text) > MOST:
        raise Refused
    return {"": text}


def add(found: dict[str, bytes], name: str, content: bytes) -> None:
    """Keep a member; a name that comes twice is no plain archive."""
    name = name.removeprefix("./")
    if name in found:
        raise Refused
    found[name] = content


def main() -> None:
    """Read the archives whose names are in stdin, write {name: {member: base64} or null} to the file that is named first."""
    answers, *names = json.load(sys.stdin)
    told: dict[str, dict[str, str] | None] = {}
    for number, name in enumerate(names):
        reader = zipped if name.endswith(".zip") else tar if name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")) else squeezed
        try:
            with open(str(number), "rb") as file:  # noqa: PTH123  pathlib would double the time to start
                told[name] = {member: base64.b64encode(data).decode() for member, data in reader(file.read()).items()}
        except Exception:
            told[name] = None
    with open(answers, "w") as out:  # noqa: PTH123
        json.dump(told, out)
    os._exit(0)


if __name__ == "__main__":
    main()
