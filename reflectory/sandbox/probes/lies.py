"""Attacks on the host by what it is told and handed: forged frames, odd names, files that change while they are read."""

# Attacks name the system calls they make.
from __future__ import annotations

import json
import os
import signal
import socket
import stat
import struct
import sys
import time
from typing import Any

from reflectory.sandbox.probes.inside import Told, say_on_channels
from reflectory.sandbox.probes.probe import attack


@attack(then="get")
def forge_answer(told: Told) -> dict[str, Any]:
    """Writes a forged answer with impossible counts on every channel it finds."""
    stream = {"head": -5, "tail": 2**40, "bytes": 10**30, "sha256": "../../x"}
    text = json.dumps({"exit_code": "zero", "stdout": stream, "stderr": [], "seconds": 1e400, "killed": {}}).encode()
    return say_on_channels(struct.pack(">II", len(text), 3) + text + b"abc")


@attack(then="get")
def forge_files(told: Told) -> dict[str, Any]:
    """Writes a forged list of files whose names lead outside on every channel it finds."""
    names = ["../planted", "/tmp/planted", "a/../../planted", "nul\0byte", "", ".", "..", "x" * 5000, "~/planted"]
    text = json.dumps({"files": [[name, 1] for name in names]}).encode()
    return say_on_channels(struct.pack(">II", len(text), len(names)) + text + b"x" * len(names))


@attack(then="get")
def forge_length(told: Told) -> dict[str, Any]:
    """Promises four gigabytes on every channel it finds."""
    return say_on_channels(struct.pack(">II", 2**32 - 1, 2**32 - 1))


@attack(then="get")
def forge_half(told: Told) -> None:
    """Begins a frame on every channel it finds, and goes silent."""
    say_on_channels(struct.pack(">II", 1000, 1000) + b"{")
    time.sleep(1000)


@attack(then="get")
def forge_nesting(told: Told) -> dict[str, Any]:
    """Sends a header of a hundred thousand brackets on every channel it finds."""
    return say_on_channels(struct.pack(">II", 100_000, 0) + b"[" * 100_000)


@attack(then="get")
def lying_interpreter(told: Told) -> None:
    """Answers in the interpreter's place with the wrong types everywhere."""
    answer = json.dumps({"value": {"a": [1]}, "error": ["\ud800"] * 1000, "exit_code": "none", "stdout": 7}).encode()
    os.write(3, struct.pack(">II", len(answer), 0) + answer)
    os._exit(0)


@attack(then="get")
def unwritable_value(told: Told) -> dict[str, Any]:
    """Has a value whose text is no Unicode (a lone surrogate), which JSON cannot hold."""

    class Odd:
        def __repr__(self) -> str:
            return "\ud800"

    return {"value": Odd()}


@attack(then="get")
def unwritable_error(told: Told) -> None:
    """Raises an error whose name and message are no Unicode."""
    raise type("Odd\ud800", (BaseException,), {})("\udfff")


@attack(then="get")
def replaced_interpreter(told: Told) -> None:
    """Replaces the interpreter by another program that keeps its channel and says nothing."""
    for fd in range(3, 64):
        try:
            os.set_inheritable(fd, True)
        except OSError:
            continue
    os.execv("/bin/sleep", ["sleep", "1000"])


@attack(then="get")
def closed_channels(told: Told) -> None:
    """Closes every descriptor it has and goes on."""
    os.closerange(0, 1024)
    time.sleep(1000)


@attack(then="get")
def odd_names(told: Told) -> None:
    """Makes files whose names are commands, options, devices of other systems, or no text at all."""
    names = [b"a\nb", b"\xff\xfe\x80", b"x" * 255, b" ", b"-rf", b"~", b"$(touch planted)", b"%2e%2e%2fx", b"...", b"..\\planted", b"C:x"]
    names += [b"CON", b"nul.txt", b"aux", b"COM1", b"\xe2\x80\xae.exe", b"\x1b]0;x\x07", b"\xc0\xae\xc0\xae", b"'; drop", b"*", b"\r"]
    for name in names:
        with open(name, "wb") as file:
            file.write(b"x")


@attack(then="get")
def long_path(told: Told) -> None:
    """Makes a file whose path is longer than a path may be."""
    for _ in range(25):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    with open("file", "wb") as file:
        file.write(b"x")


@attack(then="get")
def many_files(told: Told) -> None:
    """Makes as many files as it can, for the host to fetch."""
    for number in range(10_000):
        os.close(os.open(f"file{number}", os.O_CREAT | os.O_WRONLY))


@attack(then="get")
def sparse_file(told: Told) -> None:
    """Makes a file of as many empty bytes as will go."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fd = os.open("sparse", os.O_CREAT | os.O_RDWR)
    for size in (2**44, 2**40, 2**34, 2**30, 2**26):
        try:
            return os.ftruncate(fd, size)
        except OSError:
            continue
    return None


@attack(then="get")
def links_to_secret(told: Told) -> None:
    """Leaves links to a secret for the host to fetch: symbolic, hard, to the file, to the folder, through /proc."""
    targets = {"file": told["secret"], "folder": told["folder"], "root": "/proc/self/root" + told["secret"], "parent": "../../../../../.."}
    for name, target in targets.items():
        os.symlink(target, name)
    try:
        os.link(told["secret"], "hard")
    except OSError:
        return


@attack(then="get")
def swapped_file(told: Told) -> None:
    """Swaps a file and a link to a secret for each other all the time while the host fetches."""
    if os.fork():
        return
    end = time.monotonic() + 4
    while time.monotonic() < end:
        with open("new", "wb") as file:
            file.write(b"x")
        os.replace("new", "swapped")
        os.symlink(told["secret"], "new")
        os.replace("new", "swapped")
    os._exit(0)


@attack(then="get")
def swapped_folder(told: Told) -> None:
    """Swaps a folder and a link to a folder outside for each other all the time while the host fetches."""
    os.mkdir("swapped")
    with open("swapped/secret", "wb") as file:
        file.write(b"x")
    if os.fork():
        return
    end = time.monotonic() + 4
    while time.monotonic() < end:
        os.rename("swapped", "kept")
        os.symlink(told["folder"], "swapped")
        os.unlink("swapped")
        os.rename("kept", "swapped")
    os._exit(0)


@attack(then="get")
def growing_file(told: Told) -> None:
    """Keeps a file growing while the host fetches it."""
    fd = os.open("growing", os.O_CREAT | os.O_WRONLY)
    if os.fork():
        return
    end = time.monotonic() + 4
    while time.monotonic() < end:
        os.pwrite(fd, b"x" * 65536, int((end - time.monotonic()) * 10_000))
    os._exit(0)


@attack(then="get")
def special_files(told: Told) -> None:
    """Leaves pipes and sockets, at which a reader would wait for ever."""
    os.mkfifo("pipe")
    try:
        socket.socket(socket.AF_UNIX).bind("socket")
        os.mknod("endless", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except OSError:
        return


@attack(then="put")
def blocked_names(told: Told) -> None:
    """Leaves folders and pipes where the host writes next."""
    os.mkfifo("file")
    os.mkdir("folder")
    os.mkdir("folder/planted")


@attack(then="get")
def forbidden_files(told: Told) -> None:
    """Leaves files and folders that nobody may read or enter."""
    os.mkdir("closed")
    with open("closed/file", "wb") as file:
        file.write(b"x")
    os.chmod("closed/file", 0)
    os.chmod("closed", 0)


@attack(then="get")
def spoiled_builtins(told: Told) -> None:
    """Spoils what the interpreter needs to answer."""
    for name in ("json", "os", "struct", "traceback", "linecache"):
        sys.modules[name].__dict__.clear()
