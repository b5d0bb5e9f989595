"""Chores on folders: names, permissions, archives."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

from reflectory.envs.code.terminal import Archives, Files, Wanted, chore

_NAMES = ("river", "stone", "cloud", "leaf", "moss", "reed", "dune", "cave")


def _photos(rng: random.Random) -> Files:
    names = rng.sample(_NAMES, 5)
    files = {f"photos/{name.upper() if rng.random() < 0.4 else name}.JPEG": f"image of {name} {rng.random()}\n" for name in names}
    return {**files, "photos/list.txt": "\n".join(names) + "\n", "photos/sub/deep.JPEG": "not this one\n"}


@chore(
    tree=_photos,
    solution="""
    cd photos
    for f in *.JPEG; do mv "$f" "$(echo "${f%.JPEG}" | tr 'A-Z' 'a-z').jpg"; done
    """,
)
def rename_photos(files: Files) -> Wanted:
    """In the folder `photos`, but not in folders below it, rename every file NAME.JPEG to NAME.jpg with NAME in lower case."""
    wanted: Wanted = {}
    for path, text in files.items():
        if path.endswith(".JPEG") and path.count("/") == 1:
            wanted |= {path: None, path[: -len(".JPEG")].lower() + ".jpg": text}
    return wanted


def _downloads(rng: random.Random) -> Files:
    endings = ("pdf", "txt", "png", "csv")
    names = [f"{name}.{rng.choice(endings)}" for name in _NAMES] + ["noending"]
    return {f"inbox/{name}": f"{name} {rng.random()}\n" for name in names}


@chore(
    tree=_downloads,
    solution="""
    cd inbox
    for f in *.*; do e="${f##*.}"; mkdir -p "../sorted/$e"; mv "$f" "../sorted/$e/"; done
    """,
)
def sort_downloads(files: Files) -> Wanted:
    """Move every file of `inbox` to `sorted/ENDING/`, where ENDING is what stands after the last dot of its name.

    Files without a dot in their names stay in `inbox`.
    """
    wanted: Wanted = {}
    for path, text in files.items():
        name = path.removeprefix("inbox/")
        if "." in name:
            wanted |= {path: None, f"sorted/{name.rpartition('.')[2]}/{name}": text}
    return wanted


def _copies(rng: random.Random) -> Files:
    texts = [f"text {number} {rng.random()}\n" for number in range(4)]
    names = [f"{folder}/{name}.txt" for folder in ("a", "b", "c") for name in rng.sample(_NAMES, 4)]
    return {name: texts[index % 4] for index, name in enumerate(sorted(names))}


@chore(
    tree=_copies,
    solution="""
    find a b c -type f | sort | xargs sha256sum | awk 'seen[$1]++ {print $2}' | xargs rm --
    """,
)
def remove_copies(files: Files) -> Wanted:
    """Delete files that are there twice.

    Several files of the folders `a`, `b` and `c` have the same content. Keep of each content only the file whose path comes first
    (sorted by bytes), and delete the others.
    """
    kept: set[str] = set()
    wanted: Wanted = {}
    for path in sorted(files):
        if files[path] in kept:
            wanted[path] = None
        kept.add(files[path])
    return wanted


def _build(rng: random.Random) -> Files:
    files: Files = {}
    for folder in rng.sample(_NAMES, 3):
        files |= {f"src/{folder}/main.c": "int main;\n", f"src/{folder}/main.o": "object\n", f"src/{folder}/tmp/x.o": "object\n"}
    return {**files, "src/keep.obj": "keep\n", "lib/a.o": "library\n", "src/o": "no ending\n"}


@chore(tree=_build, solution="find src -type f -name '*.o' -delete")
def clean_build(files: Files) -> Wanted:
    """Delete all files below `src`, however deep, whose names end in `.o`. Nothing else goes, and nothing outside `src`."""
    return {path: None for path in files if path.startswith("src/") and path.endswith(".o")}


def _scripts(rng: random.Random) -> Files:
    files = {f"bin/{name}.sh": f"#!/bin/sh\necho {name}\n" for name in rng.sample(_NAMES, 3)}
    files |= {f"bin/{name}.txt": f"about {name}\n" for name in rng.sample(_NAMES, 2)}
    return {**files, "secret/key.pem": f"key {rng.random()}\n", "secret/id.txt": "1\n"}


def _script_modes(files: Files) -> Mapping[str, str]:
    modes = {path: "755" if path.endswith(".sh") else "600" if path.startswith("secret/") else "644" for path in files}
    return {**modes, "secret": "700"}


@chore(
    tree=_scripts,
    modes=_script_modes,
    setup="chmod 644 bin/* secret/*; chmod 755 bin secret",
    solution="chmod 755 bin/*.sh; chmod 600 secret/*; chmod 700 secret",
)
def set_permissions(files: Files) -> Wanted:
    """Set permissions: the scripts `bin/*.sh` to 755, the files in `secret` to 600, and the folder `secret` itself to 700.

    The other files of `bin` keep theirs (644), and no content changes.
    """
    return {}


def _shared(rng: random.Random) -> Files:
    return {f"share/{folder}/{name}.txt": f"{name}\n" for folder in ("x", "y") for name in rng.sample(_NAMES, 3)}


def _shared_modes(files: Files) -> Mapping[str, str]:
    return {**dict.fromkeys(files, "640"), **dict.fromkeys(("share", "share/x", "share/y"), "750")}


@chore(tree=_shared, modes=_shared_modes, setup="chmod -R a+rwX share", solution="chmod 750 share share/*; chmod 640 share/*/*")
def close_share(files: Files) -> Wanted:
    """Set permissions below `share`: every folder, `share` itself included, to 750, and every file to 640. No content changes."""
    return {}


def _project(rng: random.Random) -> Files:
    files = {f"project/{name}.py": f"x = {rng.randint(0, 99)}\n" for name in rng.sample(_NAMES, 3)}
    return {**files, "project/data/big.csv": "1,2\n" * 5, "project/.git/HEAD": "ref\n", "other.txt": "other\n"}


def _packed(files: Files) -> Archives:
    return {"project.tar.gz": {path: text for path, text in files.items() if path.startswith("project/") and "/.git/" not in path}}


@chore(tree=_project, archives=_packed, solution="tar --exclude=project/.git -czf project.tar.gz project")
def pack_project(files: Files) -> Wanted:
    """Pack the folder `project` into `project.tar.gz` (a tar archive compressed with gzip), without its folder `.git`.

    Paths in the archive begin with `project/`.
    """
    return {}


def _to_unpack(rng: random.Random) -> Files:
    files = {f"parts/{name}.txt": f"{name} {rng.random()}\n" for name in rng.sample(_NAMES, 4)}
    return {**files, "order.txt": "\n".join(sorted(files, key=lambda path: rng.random())) + "\n"}


@chore(
    tree=_to_unpack,
    setup="tar -cf bundle.tar parts && rm -r parts",
    solution="tar -xf bundle.tar; xargs cat < order.txt > whole.txt; rm -r parts",
)
def join_parts(files: Files) -> Wanted:
    """`bundle.tar` has some files, and `order.txt` lists their paths, one a line.

    Write their contents into `whole.txt`, one after the other in the order of the list, with nothing between them. The files themselves
    are not to lie in the current folder or below it in the end.
    """
    return {
        **dict.fromkeys((path for path in files if path.startswith("parts/")), None),
        "whole.txt": "".join(files[path] for path in files["order.txt"].split()),
    }


def _squeezed(files: Files) -> Archives:
    return {f"{path}.gz": {"": text} for path, text in files.items() if _old(path)}


def _old(path: str) -> bool:
    return path.startswith("logs/") and path.endswith(".log") and path < "logs/2024-03"


def _dated(rng: random.Random) -> Files:
    days = [f"2024-{month:02}-{rng.randint(1, 28):02}" for month in range(1, 7)]
    return {**{f"logs/{day}.log": f"log of {day}\n" * rng.randint(1, 9) for day in days}, "logs/readme.txt": "logs\n"}


@chore(tree=_dated, archives=_squeezed, solution="gzip logs/2024-01-*.log logs/2024-02-*.log")
def squeeze_old_logs(files: Files) -> Wanted:
    """Compress the old files of `logs` with gzip.

    They are named by date, as 2024-05-01.log. Each from before March 2024 becomes DATE.log.gz, and the uncompressed file is gone. The
    others stay.
    """
    return {path: None for path in files if _old(path)}


@chore(tree=_copies, solution="find a b c -type f | sort | xargs sha256sum > SHA256SUMS")
def write_checksums(files: Files) -> Wanted:
    """Write `SHA256SUMS` in the form of `sha256sum`.

    It has one line for each file below `a`, `b` and `c`: the SHA-256 in hexadecimal, two blanks, and the path relative to the current
    folder (without `./`). Lines are ordered by path, by bytes.
    """
    rows = [f"{hashlib.sha256(text.encode()).hexdigest()}  {path}" for path, text in sorted(files.items())]
    return {"SHA256SUMS": "\n".join(rows)}


def _damaged(rng: random.Random) -> Files:
    files = {f"data/{name}.txt": f"{name} {rng.random()}\n" for name in _NAMES}
    sums = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {path}\n" for path, text in files.items())
    for path in rng.sample(sorted(files), 3):
        files[path] += "damaged\n"
    return {**files, "SUMS": sums}


@chore(tree=_damaged, solution="sha256sum -c SUMS 2>/dev/null | grep -v ': OK$' | sed 's/: FAILED.*//' | sort > damaged.txt")
def find_damaged(files: Files) -> Wanted:
    """`SUMS` has the SHA-256 of the files in `data`, in the form of `sha256sum`. Some files have changed since.

    Write their paths, as they stand in `SUMS`, into `damaged.txt`, one a line, sorted by bytes.
    """
    rows = [line.split("  ") for line in files["SUMS"].splitlines()]
    return {"damaged.txt": "\n".join(sorted(path for digest, path in rows if hashlib.sha256(files[path].encode()).hexdigest() != digest))}


def _sizes(rng: random.Random) -> Files:
    return {
        f"{rng.choice(('x', 'x/y', 'z'))}/{name}.bin": "b" * size for name, size in zip(_NAMES, rng.sample(range(10, 900), 8), strict=True)
    }


@chore(tree=_sizes, solution="found=$(find . -type f -printf '%s %P\\n' | sort -k1,1nr | head -n 3); echo \"$found\" > largest.txt")
def largest_files(files: Files) -> Wanted:
    """Write `largest.txt` with the three largest files of the current folder and all below it.

    There is one line SIZE PATH for each, the largest first: the size in bytes, and the path relative to the current folder (without
    `./`).
    """
    ranked = sorted(files.items(), key=lambda item: -len(item[1]))[:3]
    return {"largest.txt": "\n".join(f"{len(text)} {path}" for path, text in ranked)}
