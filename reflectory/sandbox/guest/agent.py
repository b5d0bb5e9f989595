"""The guest's side of a box: starts programs, an interpreter and a shell, keeps their limits, answers the host one request at a time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable

from . import confine, files, kernel
from .call import Call, HostGone
from .capture import Streams
from .frames import BrokenFrame, Payload, begin, receive, send, send_parts
from .lasting import Interpreter, Lasting, Shell, pipe, start
from .processes import children, end_below, paused, reap
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Answer = tuple[dict[str, Any], bytes]

#: What an interrupted interpreter or shell gets to come back, and a dying one to be gone, in seconds.
GRACE, DYING = 0.5, 0.3
#: After these an interpreter or shell may go on; one that passed another limit is ended for good.
INTERRUPTED = ("time", "output")
#: Milliseconds between two looks while nobody asks for anything.
IDLE = 50


class Agent:
    """Serves one box.

    Args:
        spec: What the host wants: `work`, `environment`, `limits`, `paths`, `watch_files`, `confine`, `remove` and what `confine` reads.
        seccomp: The filter program; empty for none.
        control: Descriptors from and to the host.
    """

    def __init__(self, spec: dict[str, Any], seccomp: bytes, control: tuple[int, int]) -> None:
        self._spec, self._seccomp, self._control = spec, seccomp, control
        self._lasting: dict[str, Lasting] = {}
        self._ended: dict[str, str] = {}
        self._watch = Watch(spec)
        #: Children that outlive a call.
        self.keep: set[int] = set()

    def apart(self, pid: int) -> None:
        """A child that belongs to the sandbox itself: it outlives calls and counts for no limit."""
        self.keep.add(pid)
        self._watch.apart.add(pid)

    def serve(self) -> None:
        """Answer requests until the host is gone, then end everything."""
        do = {"run": self._run, "python": self._text, "shell": self._text, "put": self._put}
        try:
            while True:
                self._idle()
                request, payload = begin(self._control[0])
                echo = {"id": request["id"]} if "id" in request else {}
                if request["op"] == "get":
                    self._get(request, echo)
                    continue
                try:
                    answer, written = do[request["op"]](request, payload)
                except (OSError, ValueError, KeyError) as error:
                    answer, written = {"failed": f"{type(error).__name__}: {error}"}, b""
                payload.skip()
                send(self._control[1], {**answer, **echo}, written)
                reap(self.keep)
        except (BrokenFrame, HostGone, BrokenPipeError):
            pass
        finally:
            end_below(os.getpid(), seconds=2.0)
        if "remove" in self._spec:  # the host does so too, unless it was killed
            os.execvp("rm", ["rm", "-rf", "--", self._spec["remove"]])

    def _idle(self) -> None:
        """Wait for a request; what a call left running in the background is held to the limits meanwhile, and what it writes is read."""
        while True:
            poll = select.poll()
            poll.register(self._control[0], select.POLLIN)
            sources = {fd: one.streams for one in self._lasting.values() if not one.streams.over for fd in one.streams.open}
            for fd in sources:
                poll.register(fd, select.POLLIN)
            ready = [fd for fd, _ in poll.poll(IDLE if self._lasting else None)]
            if self._control[0] in ready:
                return
            for fd in ready:
                sources[fd].read(fd)
            if broken := self._watch.look(self.keep):
                for name in list(self._lasting):
                    self._lose(name, DYING / 10)
                    self._ended[name] = broken

    def _put(self, request: dict[str, Any], payload: Payload) -> Answer:
        files.put(self._spec["work"], [(str(path), int(size)) for path, size in request["files"]], payload)
        return {}, b""

    def _get(self, request: dict[str, Any], echo: dict[str, Any]) -> None:
        """Answer with files, none of which is held in memory as a whole; what runs in the background stands still meanwhile."""
        limits, work = self._spec["limits"], self._spec["work"]
        with paused(os.getpid(), without=self._watch.apart):
            found = files.find(work, request["patterns"], most_bytes=limits["disk_mb"] * 2**20, most_files=limits["files"])
            size = sum(size for _, size in found["files"])
            send_parts(self._control[1], {**found, **echo}, size, files.contents(work, found["files"]))

    def _run(self, request: dict[str, Any], payload: Payload) -> Answer:
        """One program; everything it started ends with it."""
        spared = {*self.keep, *children(os.getpid())}  # what the shell and the interpreter left running stays
        out, err, stdin = pipe(), pipe(), os.pipe2(os.O_CLOEXEC)

        def become() -> None:
            os.dup2(stdin[0], 0)
            argv = [os.fsencode(part) for part in request["argv"]]
            try:
                os.execvpe(argv[0], argv, self._spec["environment"])
            except OSError as error:
                os.write(2, f"{request['argv'][0]}: {error.strerror}\n".encode("utf-8", "replace"))
                os._exit(127 if isinstance(error, FileNotFoundError) else 126)

        pid = start(self._start, become, (out, err), theirs=[stdin[0]], ours=[stdin[1]])
        data = payload.whole()  # only now: a child that has just been forked is charged for all that the agent holds
        os.set_blocking(stdin[1], False)
        ended = os.pidfd_open(pid)
        call = self._call(Streams((out[0], err[0]), self._spec["limits"]), request)
        try:
            call.feed(stdin[1], data, close=True)
            killed = call.wait((ended,), {pid, *self.keep})
            status = None if killed else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            end_below(os.getpid(), without=spared)
            return call.answer({"exit_code": _as_shell(status), "killed": killed or _from_signal(status)})
        finally:
            call.end()
            for fd in (out[0], err[0], ended):
                os.close(fd)

    def _text(self, request: dict[str, Any], payload: Payload) -> Answer:
        """A cell for the interpreter or a command for the shell, which is started when it is not there."""
        name = request["op"]
        if name in self._ended:  # it passed a limit between two calls
            call = self._call(Streams((-1, -1), self._spec["limits"]), request)
            call.answer({})
            return call.answer({"exit_code": None, "killed": self._ended.pop(name), "lost": True})
        lost = False
        if name in self._lasting:
            if self._lasting[name].ahead:
                self._lose(name, DYING)
            elif answer := self._ask(name, request):
                return answer
            lost = True
        self._begin(name)
        facts, written = self._ask(name, request, last=True) or ({}, b"")
        return {**facts, "lost": lost or facts.get("lost", False)}, written

    def _ask(self, name: str, request: dict[str, Any], *, last: bool = False) -> Answer | None:
        """Ask an interpreter or shell; None when it ended before it took the request, unless this is the last try."""
        one = self._lasting[name]
        text = one.request(request["text"])
        call = self._call(one.streams, request)
        killed = ""
        try:
            call.feed(one.ask, text)
            if last:  # it is being started, and hides itself until it takes the request: that is no use of memory
                killed = call.wait((one.reply, one.ended), self.keep, watched=False)
            if not killed:
                killed, data = call.collect((one.reply, one.ended), one.complete, self.keep)
            if killed:
                data = self._interrupt(one, call, killed)
            facts = one.facts(data)
            return call.answer({**facts, "exit_code": None if killed else facts["exit_code"], "killed": killed})
        except (BrokenFrame, BrokenPipeError, ConnectionError):
            status = self._end(one, 0.0 if killed else DYING)
            taken = bool(call.answered)
            if not taken and not killed and not last:
                return None
            code = _as_shell(status)
            return call.answer({"exit_code": code if taken else code or None, "killed": killed or _from_signal(status), "lost": True})
        finally:
            call.end()
            if one.pid not in self.keep:
                self._lasting.pop(name).close()

    def _interrupt(self, one: Lasting, call: Call, killed: str) -> bytes:
        """End what a call started, and see whether the interpreter comes back by itself.

        A shell cannot be told to leave the rest of a command: it would go on with what stands after the program that was ended.

        Raises:
            BrokenFrame: It does not.
        """
        if killed not in INTERRUPTED or not isinstance(one, Interpreter):
            raise BrokenFrame
        os.kill(one.pid, signal.SIGINT)
        end_below(one.pid, seconds=GRACE / 2)
        end_below(os.getpid(), without=self.keep, seconds=GRACE / 2)
        call.extend(GRACE)
        broken, data = call.collect((one.reply, one.ended), one.complete, self.keep, watched=False)
        if broken:
            raise BrokenFrame
        return data

    def _begin(self, name: str) -> Lasting:
        begin = {"python": Interpreter.begin, "shell": Shell.begin}[name]
        one = self._lasting[name] = begin(self._spec, self._start)
        self.keep.add(one.pid)
        return one

    def _lose(self, name: str, seconds: float) -> None:
        """End an interpreter or shell with all below it, and let go of it."""
        one = self._lasting.pop(name)
        self._end(one, seconds)
        one.close()

    def _end(self, one: Lasting, seconds: float) -> int | None:
        """End an interpreter or shell with all below it; its exit status, or None when it did not end by itself in this time."""
        status = one.status(seconds)
        self.keep.discard(one.pid)
        end_below(os.getpid(), without=self.keep)
        return status

    def _call(self, streams: Streams, request: dict[str, Any]) -> Call:
        return Call(streams, request["seconds"], self._control[0], self._watch)

    def _start(self, become: Callable[[], object], streams: tuple[int, int]) -> int:
        """Fork a confined child in a session of its own that runs `become`, which must not return."""
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            null = os.open("/dev/null", os.O_RDONLY)
            for target, fd in enumerate((null, *streams)):
                os.dup2(fd, target)
            os.chdir(self._spec["work"])
            if self._spec["confine"] == "children":
                confine.confine(self._spec, self._seccomp)
            become()
        except BaseException as error:
            os.write(2, f"the sandbox could not start this: {type(error).__name__}: {error}\n".encode("utf-8", "replace"))
        finally:
            os._exit(126)


def _as_shell(status: int | None) -> int | None:
    """A status as a shell counts it: 128 + n for signal n."""
    return None if status is None else status if status >= 0 else 128 - status


def _from_signal(status: int | None) -> str:
    """The limit whose signal ended a process."""
    return "disk" if status == -signal.SIGXFSZ else ""


def _reset_signals() -> None:
    """Forget what the host ignores and blocks; programs would inherit it."""
    own = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}  # Python itself ignores the last two, and children reset them
    for number in signal.valid_signals() - own:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main() -> None:
    """Take over descriptors 0 and 1 from the host, confine, and serve."""
    control = os.dup(0), os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    _reset_signals()
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    echo: dict[str, Any] = {}
    try:
        send(control[1], {"up": True})
        spec, seccomp = receive(control[0])
        echo = {"id": spec["id"]} if "id" in spec else {}
        confine.prepare(spec)
        if spec["confine"] == "self":
            confine.confine(spec, seccomp)
        os.chdir(spec["work"])
        agent = Agent(spec, seccomp, control)
        if spec.get("proxy"):
            from . import relay

            running = relay.start(spec["proxy"])
            agent.apart(running.pid)
            spec["environment"] = {**relay.environment(running.port), **spec["environment"]}
        facts = confine.facts()
    except BaseException as error:
        with contextlib.suppress(OSError):
            send(control[1], {"failed": f"{type(error).__name__}: {error}", **echo})
        return
    send(control[1], {"ready": True, **facts, **echo})
    agent.serve()
