"""The guest's side of a box: starts programs, an interpreter and a shell, keeps their limits, answers the host one request at a time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from typing import Any

from . import confine, files, interpreter, shell
from .call import Call, HostGone
from .frames import BrokenFrame, receive, send
from .processes import end_below, reap

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
#: What an interrupted interpreter or shell gets to come back, in seconds.
GRACE = 0.5
Answer = tuple[dict[str, Any], bytes]
_libc = ctypes.CDLL(None, use_errno=True)


class Lasting:
    """A process that serves call after call: interpreter or shell.

    Attributes:
        pid: Its process.
        ask: Where requests go.
        reply: Where answers come from.
        streams: Its stdout and stderr.
    """

    def __init__(self, pid: int, ask: int, reply: int, streams: tuple[int, int]) -> None:
        self.pid, self.ask, self.reply, self.streams = pid, ask, reply, streams

    def close(self) -> None:
        """Let go of its descriptors."""
        for fd in {self.ask, self.reply, *self.streams}:
            os.close(fd)


class Agent:
    """Serves one box.

    Args:
        spec: What the host wants: `work`, `environment`, `limits`, `paths`, `watch_files`, `confine` and what `confine.confine` reads.
        seccomp: The filter program; empty for none.
        control: Descriptors from and to the host.
    """

    def __init__(self, spec: dict[str, Any], seccomp: bytes, control: tuple[int, int]) -> None:
        self._spec, self._seccomp, self._control = spec, seccomp, control
        self._lasting: dict[str, Lasting] = {}
        self._pids: set[int] = set()

    def serve(self) -> None:
        """Answer requests until the host is gone, then end everything."""
        do = {"run": self._run, "python": self._python, "shell": self._shell, "put": self._put, "get": self._get}
        try:
            while True:
                request, payload = receive(self._control[0])
                try:
                    answer = do[request["op"]](request, payload)
                except (OSError, ValueError, KeyError) as error:
                    answer = {"failed": f"{type(error).__name__}: {error}"}, b""
                send(self._control[1], *answer)
                reap(self._pids)
        except (BrokenFrame, HostGone, BrokenPipeError):
            pass
        finally:
            end_below(os.getpid(), seconds=2.0)

    def _put(self, request: dict[str, Any], payload: bytes) -> Answer:
        files.put(self._spec["work"], [(str(path), int(size)) for path, size in request["files"]], payload)
        return {}, b""

    def _get(self, request: dict[str, Any], payload: bytes) -> Answer:
        limits = self._spec["limits"]
        return files.get(self._spec["work"], request["patterns"], most_bytes=limits["disk_mb"] * 2**20, most_files=limits["files"])

    def _run(self, request: dict[str, Any], payload: bytes) -> Answer:
        """One program; everything it started ends with it."""
        out, err = _pipe(), _pipe()
        stdin = os.memfd_create("stdin")
        os.write(stdin, payload)
        os.lseek(stdin, 0, os.SEEK_SET)

        def become() -> None:
            os.dup2(stdin, 0)
            argv = [os.fsencode(part) for part in request["argv"]]
            try:
                os.execvpe(argv[0], argv, self._spec["environment"])
            except OSError as error:
                os.write(2, f"{request['argv'][0]}: {error.strerror}\n".encode("utf-8", "replace"))
                os._exit(127 if isinstance(error, FileNotFoundError) else 126)

        pid = self._start(become, (out[1], err[1]))
        for fd in (out[1], err[1], stdin):
            os.close(fd)
        call = Call(self._spec, (out[0], err[0]), request["seconds"], self._control[0])
        ended = os.pidfd_open(pid)
        killed = call.wait(ended)
        status = None
        if not killed:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        end_below(os.getpid(), without=self._pids)
        call.drain()
        for fd in (out[0], err[0], ended):
            os.close(fd)
        exit_code = None if status is None else status if status >= 0 else 128 - status
        return call.answer({"exit_code": exit_code, "killed": killed or _from_signal(status)})

    def _python(self, request: dict[str, Any], payload: bytes) -> Answer:
        """One cell of the interpreter, which is started when it is not there."""
        lasting = self._lasting.get("python") or self._start_python()
        call = Call(self._spec, lasting.streams, request["seconds"], self._control[0])
        answer: dict[str, Any] = {}
        killed = ""
        try:
            send(lasting.ask, {"code": request["code"]})
            killed = call.wait(lasting.reply)
            if killed:
                os.kill(lasting.pid, signal.SIGINT)
                end_below(lasting.pid, seconds=GRACE / 2)
                self._end_orphans()
                call.extend(GRACE)
                if call.wait(lasting.reply, lambda: ()):
                    raise BrokenFrame
            answer, _ = receive(lasting.reply, most=2**20)
            call.drain()
        except (BrokenFrame, BrokenPipeError, ConnectionError):
            call.drain()
            status = self._lose("python")
            exit_code = status if status is None or status >= 0 else 128 - status
            return call.answer({"exit_code": exit_code, "killed": killed or _from_signal(status), "lost": True})
        exit_code = answer.get("exit_code")
        facts = {"value": str(answer.get("value", "")), "error": str(answer.get("error", "")), "killed": killed}
        return call.answer({**facts, "exit_code": exit_code if isinstance(exit_code, int) and not killed else None})

    def _shell(self, request: dict[str, Any], payload: bytes) -> Answer:
        """One command of the shell, which is started when it is not there."""
        lasting = self._lasting.get("shell") or self._start_shell()
        call = Call(self._spec, lasting.streams, request["seconds"], self._control[0])
        killed = ""
        status = ""
        try:
            _write_all(lasting.ask, os.fsencode(request["command"].replace("\0", "")) + b"\0")
            killed = call.wait(lasting.reply)
            if killed:
                end_below(lasting.pid, seconds=GRACE / 2)
                self._end_orphans()
                call.extend(GRACE)
                if call.wait(lasting.reply, lambda: ()):
                    raise BrokenFrame
            status = _status(lasting.reply)
            call.drain()
        except (BrokenFrame, BrokenPipeError):
            call.drain()
            ended = self._lose("shell")
            exit_code = ended if ended is None or ended >= 0 else 128 - ended
            return call.answer({"exit_code": exit_code, "killed": killed or _from_signal(ended), "lost": True})
        return call.answer({"exit_code": int(status) if status.isdecimal() and not killed else None, "killed": killed})

    def _start_python(self) -> Lasting:
        ours, theirs = socket.socketpair()
        out, err = _pipe(), _pipe()

        def become() -> None:
            _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            os.dup2(theirs.fileno(), 3)
            os.closerange(4, 1024)
            os.environ.clear()
            os.environ.update(self._spec["environment"])
            interpreter.serve(3, self._spec["paths"])

        pid = self._start(become, (out[1], err[1]))
        for fd in (out[1], err[1], theirs.detach()):
            os.close(fd)
        fd = ours.detach()
        self._lasting["python"] = Lasting(pid, fd, fd, (out[0], err[0]))
        self._pids.add(pid)
        return self._lasting["python"]

    def _start_shell(self) -> Lasting:
        if shell.find_shell() is None:
            msg = "there is no bash in this sandbox"
            raise FileNotFoundError(msg)
        ask, reply, out, err = os.pipe2(os.O_CLOEXEC), _pipe(), _pipe(), _pipe()
        pid = self._start(lambda: shell.become(ask[0], reply[1], self._spec["environment"]), (out[1], err[1]))
        for fd in (ask[0], reply[1], out[1], err[1]):
            os.close(fd)
        self._lasting["shell"] = Lasting(pid, ask[1], reply[0], (out[0], err[0]))
        self._pids.add(pid)
        return self._lasting["shell"]

    def _start(self, become: Any, streams: tuple[int, int]) -> int:
        """Fork a confined child in a session of its own that runs `become`, which must not return."""
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(streams[0], 1)
            os.dup2(streams[1], 2)
            os.chdir(self._spec["work"])
            if self._spec["confine"] == "children":
                confine.confine(self._spec, self._seccomp)
            become()
        except BaseException as error:
            os.write(2, f"the sandbox could not start this: {type(error).__name__}: {error}\n".encode("utf-8", "replace"))
        finally:
            os._exit(126)

    def _lose(self, name: str) -> int | None:
        """End a lasting process that does not answer; its exit status, or None when it had to be killed."""
        lasting = self._lasting.pop(name)
        status = None
        with contextlib.suppress(ChildProcessError):
            pid, raw = os.waitpid(lasting.pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(raw) if pid else None
        self._pids.discard(lasting.pid)
        end_below(os.getpid(), without=self._pids)
        lasting.close()
        return status

    def _end_orphans(self) -> None:
        end_below(os.getpid(), without=self._pids, seconds=GRACE / 2)


def _pipe() -> tuple[int, int]:
    """A pipe whose reading end does not block."""
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read, False)
    return read, write


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _status(fd: int) -> str:
    """The exit status the shell wrote; its folder, which follows, is read and dropped."""
    data = b""
    while data.count(b"\0") < 2 and len(data) < 2**16:
        try:
            part = os.read(fd, 4096)
        except BlockingIOError:
            continue
        if not part:
            raise BrokenFrame
        data += part
    return data.split(b"\0")[0].decode("ascii", "replace")


def _from_signal(status: int | None) -> str:
    """The limit whose signal ended a process."""
    return "disk" if status == -signal.SIGXFSZ else ""


def main() -> None:
    """Take over descriptors 0 and 1 from the host, confine, and serve."""
    control = os.dup(0), os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        spec, seccomp = receive(control[0])
        confine.prepare(spec)
        if spec["confine"] == "self":
            confine.confine(spec, seccomp)
        os.chdir(spec["work"])
        facts = confine.facts()
    except BaseException as error:
        send(control[1], {"failed": f"{type(error).__name__}: {error}"})
        return
    send(control[1], {"ready": True, **facts})
    Agent(spec, seccomp, control).serve()
