"""The process that is attacked: counts its signals, holds secrets in memory, environment, arguments and open files. Run as text, by -c."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys


def count(seen: dict[int, int]) -> None:
    """Count every signal that may be caught."""

    def caught(number: int, frame: object) -> None:
        seen[number] = seen.get(number, 0) + 1

    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33, signal.SIGSEGV, signal.SIGBUS):
            signal.signal(number, caught)


def main() -> None:
    """Become the user, tell the host where everything is, and answer one line for every line."""
    told = json.loads(sys.stdin.readline())
    libc = ctypes.CDLL(None, use_errno=True)
    if told["user"] is not None:
        os.setgroups([])
        os.setgid(told["user"])
        os.setuid(told["user"])
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: others of this user may look
    libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: and attach, where Yama rules
    os.chdir(told["folder"])
    secret, victim = os.open("secret", os.O_RDONLY), os.open("victim", os.O_RDWR)
    memory = ctypes.create_string_buffer(told["memory"].encode())
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(0, 4096, 0o1666)
    shared = libc.shmat(segment, None, 0)
    libc.shmctl(segment, 0, None)  # IPC_RMID: gone with its last user
    ctypes.memmove(shared, told["shared"].encode(), len(told["shared"]))
    seen: dict[int, int] = {}
    count(seen)
    place = {"pid": os.getpid(), "secret_fd": secret, "victim_fd": victim, "segment": segment}
    print(json.dumps({**place, "memory": ctypes.addressof(memory), "memory_size": len(memory)}), flush=True)
    for _ in sys.stdin:
        signals = {signal.Signals(number).name if number < 32 else str(number): times for number, times in seen.items()}
        print(json.dumps({"signals": signals, "memory": repr(memory.raw), "shared": repr(ctypes.string_at(shared, 256))}), flush=True)


if __name__ == "__main__":
    main()
