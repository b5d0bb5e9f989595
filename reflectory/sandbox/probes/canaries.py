"""What is attacked: files with random secrets, a process, listeners and a terminal outside the box. Whatever changes on them got out."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import pty
import resource
import secrets
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import tty
from pathlib import Path
from typing import Any

from reflectory.errors import SandboxError

#: Other folders that anybody may write to.
ELSEWHERE = ("/var/tmp", "/dev/shm")
_VICTIM = Path(__file__).with_name("victim.py")


class Canaries:
    """A fresh set; a context manager that leaves nothing behind.

    Args:
        user: Numeric user they belong to, so that nothing but the sandbox keeps that user's programs from them; None for the own one.

    Attributes:
        told: What attacks are told: paths, ports, process ids. Never a secret.
        secrets: Secret → what it is. Where one of them turns up, something got out.
    """

    def __init__(self, user: int | None = None) -> None:
        self._user = user
        self._stack = contextlib.ExitStack()
        self.told: dict[str, Any] = {}
        self.secrets: dict[str, str] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._hits: dict[str, int] = {}

    def __enter__(self) -> Canaries:
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self._make_files()
            self._make_process()
            self._listen()
            self._open_terminal()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.told, self.secrets, self._sockets, self._hits = {}, {}, {}, {}

    def state(self) -> dict[str, Any]:
        """Everything about them that an attack could change."""
        return {**self._files(), **self._process_state(), **self._arrived()}

    def _secret(self, what: str) -> str:
        made = secrets.token_hex(16)
        self.secrets[made] = what
        return made

    def _own(self, path: Path, mode: int) -> Path:
        if not path.is_symlink():
            path.chmod(mode)
        if self._user is not None:
            os.chown(path, self._user, self._user, follow_symlinks=False)
        return path

    def _make_files(self) -> None:
        temporary = Path(tempfile.gettempdir())
        self._folder = folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=temporary))
        inner = folder / "canaries"
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self._own(folder, 0o777)
        self._stack.callback(os.rmdir, tempfile.mkdtemp(suffix=self._secret("the name of a folder"), prefix=_prefix(), dir=temporary))
        inner.mkdir()
        (inner / "empty").mkdir()
        (inner / "secret").write_text(self._secret("the content of a file"))
        (inner / "victim").write_text("untouched")
        (inner / self._secret("the name of a file")).write_text("")
        (inner / "link").symlink_to("/" + self._secret("the target of a link"))
        (inner / "program").write_text(f"#!/bin/sh\necho {self._secret('what a program says')}\n")
        for path in (inner, *inner.iterdir()):
            self._own(path, 0o777 if path.is_dir() or path.name == "program" else 0o666)
        self._elsewhere = [self._make_elsewhere(Path(other)) for other in ELSEWHERE if os.access(other, os.W_OK)]
        names = {name: str(inner / name) for name in ("secret", "victim", "link", "program")}
        self.told |= {**names, "folder": str(inner), "temporary": str(temporary), "elsewhere": [str(path) for path in self._elsewhere]}
        self.told["home"] = str(Path.home())
        self.told["handle"] = _handle(inner / "secret")
        left_open = os.open(inner / "secret", os.O_RDONLY)
        os.set_inheritable(left_open, True)
        self._stack.callback(os.close, left_open)

    def _make_elsewhere(self, folder: Path) -> Path:
        fd, name = tempfile.mkstemp(prefix=_prefix(), dir=folder)
        self._stack.callback(Path(name).unlink, missing_ok=True)
        os.write(fd, self._secret(f"the content of a file in {folder}").encode())
        os.close(fd)
        return self._own(Path(name), 0o666)

    def _make_process(self) -> None:
        environment = {"REFLECTORY_PROBE": self._secret("the environment of a process"), "PATH": os.environ.get("PATH", "")}
        marker = self._secret("the arguments of a process")
        self._victim = victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _VICTIM.read_text(encoding="utf-8"), marker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._stack.callback(_end, victim)
        told = {"user": self._user, "folder": self.told["folder"]}
        told |= {"memory": self._secret("the memory of a process"), "shared": self._secret("a shared memory segment")}
        place = self._victim_says(json.dumps(told))
        if place is None:
            msg = "the process to be attacked did not start, so a sandbox cannot be probed here"
            raise SandboxError(msg)
        self.told |= place

    def _victim_says(self, line: str) -> dict[str, Any] | None:
        """One line to the process and its answer; None where it is gone or stopped."""
        out, back = self._victim.stdin, self._victim.stdout
        assert out is not None
        assert back is not None
        with contextlib.suppress(OSError):
            out.write(line.encode() + b"\n")
            out.flush()
            if select.select([back], [], [], 5.0)[0]:
                answer = back.readline()
                return json.loads(answer) if answer else None
        return None

    def _listen(self) -> None:
        folder, tcp, udp, unix = Path(self.told["folder"]), socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_UNIX
        names = {name: secrets.token_hex(8) for name in ("abstract", "abstract_datagram")}
        wanted: dict[str, tuple[int, int, Any]] = {
            "tcp": (socket.AF_INET, tcp, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, udp, ("127.0.0.1", 0)),
            "tcp6": (socket.AF_INET6, tcp, ("::1", 0)),
            "unix": (unix, tcp, str(folder / "stream")),
            "unix_datagram": (unix, udp, str(folder / "datagram")),
            "abstract": (unix, tcp, "\0" + names["abstract"]),
            "abstract_datagram": (unix, udp, "\0" + names["abstract_datagram"]),
        }
        for name, (family, kind, address) in wanted.items():
            self.told[name] = names.get(name, address)
            with contextlib.suppress(OSError):  # a machine without IPv6
                made = self._stack.enter_context(socket.socket(family, kind))
                made.bind(address)
                made.setblocking(False)
                if kind == tcp:
                    made.listen(16)
                self._sockets[name] = made
            if family != unix:
                self.told[name] = made.getsockname()[1] or 1
            elif name not in names:
                self._own(Path(address), 0o666)

    def _open_terminal(self) -> None:
        self._terminal = pty.openpty()
        for fd in self._terminal:
            self._stack.callback(os.close, fd)
            os.set_blocking(fd, False)
        tty.setraw(self._terminal[1], termios.TCSANOW)
        self.told["terminal"] = os.ttyname(self._terminal[1])
        self._own(Path(self.told["terminal"]), 0o666)

    def _files(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in (self._folder, *sorted(self._folder.rglob("*")), *self._elsewhere):
            facts = path.lstat() if os.path.lexists(path) else None
            if facts is None:
                found[f"the file {path.name}"] = "gone"
                continue
            size = (facts.st_size, facts.st_mtime_ns, facts.st_nlink) if path != self._folder else ()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            attributes = [] if path.is_symlink() else os.listxattr(path)
            found[f"the file {path.name}"] = (facts.st_mode, facts.st_uid, facts.st_gid, *size, content, tuple(attributes))
        return found

    def _process_state(self) -> dict[str, Any]:
        pid = self._victim.pid
        try:
            kept: dict[str, Any] = {
                "the priority of a process": os.getpriority(os.PRIO_PROCESS, pid),
                "the processors of a process": tuple(sorted(os.sched_getaffinity(pid))),
                "the limits of a process": tuple(resource.prlimit(pid, kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)),
                "the memory score of a process": Path(f"/proc/{pid}/oom_score_adj").read_text(),
            }
        except OSError as error:
            kept = {"a process": str(error)}
        said = self._victim_says("state") or {"signals": "it does not answer"}
        return {**kept, **{f"the {key} of a process": value for key, value in said.items()}}

    def _arrived(self) -> dict[str, int]:
        """What came to the listeners and to the terminal, counted from the beginning."""
        for name, made in self._sockets.items():
            key = f"what arrived at the listener {name}"
            self._hits.setdefault(key, 0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    if made.type == socket.SOCK_STREAM:
                        made.accept()[0].close()
                    else:
                        made.recv(4096)
                    self._hits[key] += 1
        for name, fd in zip(("written to", "typed into"), self._terminal, strict=True):
            with contextlib.suppress(BlockingIOError):
                key = f"what was {name} a terminal"
                self._hits[key] = self._hits.get(key, 0) + len(os.read(fd, 4096))
        return {**dict.fromkeys(("what was written to a terminal", "what was typed into a terminal"), 0), **self._hits}


def _prefix() -> str:
    return f"reflectory-probe-{os.getpid()}-"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _handle(path: Path) -> tuple[int, str]:
    """The kernel's file handle of a file, as one would guess it: (kind, hex)."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 8 + 128)
    mount = ctypes.c_int()
    if libc.name_to_handle_at(-100, os.fsencode(path), handle, ctypes.byref(mount), 0):
        return 0, ""
    size, kind = struct.unpack_from("Ii", handle)
    return kind, handle.raw[8 : 8 + size].hex()
