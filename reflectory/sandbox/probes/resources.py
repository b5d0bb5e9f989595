"""Attacks on the limits of processes, memory, output and time. Each stops by itself, and `{"held": n}` says how much it got at once."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import threading
import time
from typing import Any

from reflectory.sandbox.probes.inside import Told, detach
from reflectory.sandbox.probes.probe import Probe, add, attack

for _name, _tries, _limit, _argv in (
    ("sleep_by_program", "A program sleeps for ever", "time", ("sleep", "1000")),
    ("output_by_program", "A program writes without end", "output", ("yes",)),
    ("daemon_by_program", "A program leaves a daemon", "daemons", ("sh", "-c", "setsid nohup sleep 1000 & exit 0")),
):
    add(Probe(_name, "resources", _tries, argv=_argv, limit=_limit))
for _name, _tries, _limit, _command in (
    ("sleep_by_shell", "The shell sleeps for ever", "time", "sleep 1000"),
    ("loop_by_shell", "The shell loops for ever", "time", "while :; do :; done"),
    ("deaf_shell", "The shell ignores signals and loops", "time", "trap '' INT TERM HUP; while :; do :; done"),
    ("output_by_shell", "The shell writes without end to both streams", "output", "yes & yes >&2"),
    ("daemon_by_shell", "The shell leaves a daemon", "daemons", "setsid nohup sleep 1000 >/dev/null 2>&1 &"),
    (
        "fork_bomb_by_shell",
        "A shell fork bomb, for two seconds",
        "processes",
        "b() { [ $SECONDS -lt 2 ] && { b | b & }; }; SECONDS=0; b; sleep 2",
    ),
):
    add(Probe(_name, "resources", _tries, command=_command, limit=_limit))


@attack(limit="processes", mild=True)
def few_processes_too_many(told: Told) -> dict[str, Any]:
    """Starts three times as many sleeping processes as it may."""
    started = 0
    for _ in range(3 * told["limits"]["processes"]):
        if not os.fork():
            time.sleep(10)
            os._exit(0)
        started += 1
    time.sleep(1)
    return {"held": started}


@attack(limit="processes", mild=True)
def few_threads_too_many(told: Told) -> dict[str, Any]:
    """Starts three times as many sleeping threads as it may, faster than anybody can look."""
    threading.stack_size(2**16)  # so that it is not memory that runs out
    started = 0
    for _ in range(3 * told["limits"]["processes"]):
        try:
            threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
        except RuntimeError:
            raise BlockingIOError("the kernel refuses a thread") from None
        started += 1
    time.sleep(1)
    return {"held": started}


@attack(limit="memory", mild=True)
def little_memory_too_much(told: Told) -> dict[str, Any]:
    """Fills an eighth more memory than it may."""
    wanted = told["limits"]["memory_mb"] * 9 // 8 + 16
    block = bytearray(os.urandom(4096)) * (wanted * 256)
    time.sleep(1)
    return {"held": len(block) >> 20}


@attack(limit="processes")
def fork_bomb(told: Told) -> dict[str, Any]:
    """Every process forks again and again, for two seconds."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)
    return {"contained": "the bomb burnt out"}


@attack(limit="processes")
def zombies(told: Told) -> dict[str, Any]:
    """Leaves four times as many dead children as it may have processes, none of them reaped."""
    for _ in range(4 * told["limits"]["processes"]):
        if not os.fork():
            os._exit(0)
    time.sleep(1)
    return {"held": 4 * told["limits"]["processes"]}


@attack(limit="memory")
def memory_of_one(told: Told) -> dict[str, Any]:
    """One process fills memory, up to four times what it may."""
    blocks = []
    for _ in range(4 * told["limits"]["memory_mb"] // 8):
        blocks.append(bytearray(os.urandom(4096)) * 2048)
        time.sleep(0.005)
    time.sleep(1)
    return {"held": 8 * len(blocks)}


@attack(limit="memory")
def memory_of_many(told: Told) -> dict[str, Any]:
    """Ten processes fill memory, each a quarter of what all may."""
    wanted, children = told["limits"]["memory_mb"] // 4, []
    for _ in range(10):
        pid = os.fork()
        if not pid:
            block = bytearray(os.urandom(4096)) * (wanted * 256)
            time.sleep(10)
            os._exit(len(block) & 1)
        children.append(pid)
    time.sleep(1.5)
    return {"held": wanted * sum(os.waitpid(pid, os.WNOHANG) == (0, 0) for pid in children)}


@attack(limit="memory")
def memory_in_nameless_files(told: Told) -> dict[str, Any]:
    """Fills files in memory that have no name (memfd), up to twice the memory it may have."""
    kept, written, part = [], 0, min(4, told["limits"]["disk_mb"])
    while written < 2 * told["limits"]["memory_mb"]:
        kept.append(os.memfd_create("x"))
        for _ in range(part):
            written += os.write(kept[-1], os.urandom(4096) * 256) >> 20
    time.sleep(1)
    return {"held": written}


@attack(limit="memory")
def memory_in_shared_memory(told: Told) -> dict[str, Any]:
    """Fills shared anonymous memory that no process keeps mapped, up to twice the memory it may have."""
    import mmap

    kept = []
    for _ in range(2 * told["limits"]["memory_mb"] // 8):
        kept.append(mmap.mmap(-1, 8 * 2**20))
        kept[-1].write(os.urandom(4096) * 2048)
        time.sleep(0.005)
    time.sleep(1)
    return {"held": 8 * len(kept)}


@attack(limit="memory")
def memory_in_sockets(told: Told) -> dict[str, Any]:
    """Fills the buffers of sockets in eight processes, up to four times the memory they may have; no process is seen to own these."""
    report, say = os.pipe()
    for _ in range(8):
        if not os.fork():
            kept: list[tuple[socket.socket, socket.socket]] = []
            filled = 0
            try:
                while filled < told["limits"]["memory_mb"] * 2**19:
                    kept.append(socket.socketpair())
                    for end in kept[-1]:
                        end.setblocking(False)
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
                        try:
                            while True:
                                filled += end.send(bytes(65536))
                        except BlockingIOError:
                            continue
            except OSError:
                pass
            os.write(say, struct.pack("Q", filled))
            time.sleep(10)
            os._exit(0)
    total = sum(int(struct.unpack("Q", os.read(report, 8))[0]) for _ in range(8))
    time.sleep(0.5)
    return {"held": total >> 20}


@attack(limit="descriptors")
def open_files(told: Told) -> dict[str, Any]:
    """Opens files until no more will open."""
    kept = []
    for _ in range(100_000):
        kept.append(os.open("/dev/null", os.O_RDONLY))
    return {"held": len(kept)}


@attack(limit="output")
def output_flood(told: Told) -> None:
    """Writes without end to its output."""
    while True:
        os.write(1, b"x" * 65536)


@attack(limit="output")
def error_output_flood(told: Told) -> None:
    """Writes without end to its error output."""
    while True:
        os.write(2, b"\xff" * 65536)


@attack(limit="output")
def value_flood(told: Told) -> dict[str, Any]:
    """Has a value of 40 million characters."""
    return {"value": "x" * 40_000_000}


@attack(limit="output")
def error_flood(told: Told) -> None:
    """Raises an error with a message of 40 million characters."""
    raise KeyError("x" * 40_000_000)


@attack(limit="output")
def traceback_flood(told: Told) -> None:
    """Raises an error that was caused by another, and so on, five hundred times."""
    error: Exception = KeyError("x" * 10_000)
    for _ in range(500):
        try:
            raise KeyError("x" * 10_000) from error
        except KeyError as caught:
            error = caught
    raise error


@attack(limit="time")
def busy_loop(told: Told) -> None:
    """Loops for ever."""
    while True:
        pass


@attack(limit="time")
def deaf_loop(told: Told) -> None:
    """Loops for ever, blocks every signal and swallows every exception."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    while True:
        try:
            time.sleep(1)
        except BaseException:
            continue


@attack(limit="time")
def busy_children(told: Told) -> None:
    """Four children loop for ever while it sleeps."""
    for _ in range(4):
        if not os.fork():
            while True:
                pass
    time.sleep(1000)


@attack(limit="time")
def stuck_child(told: Told) -> None:
    """Waits for a child that is stopped and deaf."""
    child = subprocess.Popen(["sh", "-c", "trap '' INT TERM HUP; kill -STOP $$; sleep 1000"])
    child.wait()


@attack(limit="daemons")
def daemon(told: Told) -> None:
    """Leaves a daemon: new session, forked twice, deaf to polite signals."""
    detach(lambda: time.sleep(60))


@attack(limit="daemons")
def breeding_daemon(told: Told) -> None:
    """Leaves a daemon that forks and dies all the time, so that its number is never the one to be killed."""

    def work() -> None:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
            os.setsid()

    detach(work)


@attack(limit="daemons")
def daemon_without_agent(told: Told) -> None:
    """Leaves a daemon and kills the agent that ought to end it."""
    detach(lambda: time.sleep(60))
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


@attack(limit="daemons")
def daemon_with_stopped_agent(told: Told) -> None:
    """Leaves a daemon and stops the agent that ought to end it."""
    detach(lambda: time.sleep(60))
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(60)
