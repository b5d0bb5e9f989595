"""Attacks on the limits of files and bytes. Each stops by itself, and `{"held": n}` says how much it got at once."""

# Attacks name the system calls they make.
from __future__ import annotations

import os
import signal
import time
from typing import Any

from reflectory.sandbox.probes.inside import Told, writable
from reflectory.sandbox.probes.probe import attack


@attack(limit="disk", mild=True)
def little_disk_too_much(told: Told) -> dict[str, Any]:
    """Writes a little more to files than it may."""
    wanted, written = told["limits"]["disk_mb"] * 3 // 2 + 2, 0
    for number in range(wanted):
        with open(f"part{number}", "wb") as file:
            written += file.write(os.urandom(2**20))
    time.sleep(1)
    return {"held": written >> 20}


@attack(limit="files", mild=True)
def few_files_too_many(told: Told) -> dict[str, Any]:
    """Makes some more files than it may."""
    wanted = told["limits"]["files"] * 3 // 2 + 20
    for number in range(wanted):
        os.close(os.open(f"file{number}", os.O_CREAT | os.O_WRONLY))
    time.sleep(1)
    return {"held": wanted}


@attack(limit="disk")
def disk_everywhere(told: Told) -> dict[str, Any]:
    """Fills every folder it may write to with small files, up to four times what it may."""
    written, most = 0, 4 * told["limits"]["disk_mb"]
    for folder in writable():
        try:
            for number in range(most):
                with open(f"{folder}/fill{number}", "wb", buffering=0) as file:
                    written += file.write(os.urandom(2**19))
        except OSError:
            continue
    time.sleep(1)
    return {"held": written >> 20}


@attack(limit="disk")
def one_big_file(told: Told) -> dict[str, Any]:
    """Writes one file of four times what it may."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    written = 0
    with open("big", "wb", buffering=0) as file:
        for _ in range(4 * told["limits"]["disk_mb"]):
            written += file.write(os.urandom(2**20))
    time.sleep(1)
    return {"held": written >> 20}


@attack(limit="disk")
def reserved_file(told: Told) -> dict[str, Any]:
    """Reserves room for a file of four times what it may, without writing it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    wanted = 4 * told["limits"]["disk_mb"]
    os.posix_fallocate(os.open("big", os.O_CREAT | os.O_WRONLY), 0, wanted * 2**20)
    time.sleep(1)
    return {"held": wanted}


@attack(limit="disk", leak=("disk", "deleted"))
def deleted_files(told: Told) -> dict[str, Any]:
    """Fills files that it has deleted and keeps open, where no look at the folder finds them."""
    kept, written = [], 0
    for number in range(4 * told["limits"]["disk_mb"]):
        kept.append(os.open(f"gone{number}", os.O_CREAT | os.O_WRONLY))
        os.unlink(f"gone{number}")
        written += os.write(kept[-1], os.urandom(2**20))
    time.sleep(1)
    return {"held": written >> 20}


@attack(limit="files")
def files_everywhere(told: Told) -> dict[str, Any]:
    """Makes files, folders and links in every folder it may write to, up to four times what it may."""
    made = 0
    for folder in writable():
        try:
            for number in range(4 * told["limits"]["files"] // 3):
                os.close(os.open(f"{folder}/f{number}", os.O_CREAT | os.O_WRONLY))
                os.mkdir(f"{folder}/d{number}")
                os.symlink("x", f"{folder}/l{number}")
                made += 3
        except OSError:
            continue
    time.sleep(1)
    return {"held": made}


@attack(limit="files")
def deep_folders(told: Told) -> dict[str, Any]:
    """Makes folders within folders, deeper than any path can be."""
    depth = 0
    for _ in range(4 * told["limits"]["files"]):
        os.mkdir("deeper")
        os.chdir("deeper")
        depth += 1
    time.sleep(1)
    return {"held": depth}
