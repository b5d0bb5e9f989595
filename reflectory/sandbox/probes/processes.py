"""Attacks on a process outside that counts its signals and holds secrets, and on the agent of the box itself."""

# Attacks name the system calls they make.
from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
from typing import Any

from reflectory.sandbox.probes.inside import Told, escaped, libc, read, status, system, vector
from reflectory.sandbox.probes.probe import Probe, add, attack

add(Probe("signal_by_program", "processes", "A program signals a process outside", argv=("sh", "-c", "kill -USR1 {pid}"), control="user"))
add(Probe("signal_by_shell", "processes", "The shell signals a process outside", command="kill -USR1 {pid}", control="user"))


@attack(control="user")
def list_processes(told: Told) -> str:
    """Reads the command line of a process outside; a secret stands in it."""
    return read(f"/proc/{told['pid']}/cmdline")


@attack(control="user")
def read_environment(told: Told) -> str:
    """Reads the environment of a process outside; a secret stands in it."""
    return read(f"/proc/{told['pid']}/environ")


@attack()
def read_own_environment(told: Told) -> list[str]:
    """Looks for a secret of the host's environment in its own and in those of the processes above it."""
    found, pid = [repr(dict(os.environ))], os.getpid()
    while pid:
        try:
            found.append(read(f"/proc/{pid}/environ"))
        except OSError as error:
            found.append(str(error))
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return found


@attack(control="user")
def signal_process(told: Told) -> None:
    """Signals a process outside."""
    os.kill(told["pid"], signal.SIGUSR1)


@attack(control="user")
def signal_group(told: Told) -> None:
    """Signals a process group outside."""
    os.killpg(told["pid"], signal.SIGUSR1)


@attack(control="user")
def signal_by_descriptor(told: Told) -> None:
    """Signals a process outside by a process descriptor."""
    fd = os.pidfd_open(told["pid"])
    system("pidfd_send_signal", fd, int(signal.SIGUSR1), None, 0)


@attack(control="user")
def signal_with_value(told: Told) -> None:
    """Queues a signal with a value to a process outside."""
    facts = ctypes.create_string_buffer(struct.pack("iiiiII", signal.SIGUSR1, 0, -1, 0, os.getpid(), os.getuid()), 128)
    system("rt_sigqueueinfo", told["pid"], int(signal.SIGUSR1), facts)


@attack(control="user")
def signal_by_owner(told: Told) -> None:
    """Makes a process outside the owner of a socket, so that the kernel signals it."""
    ours, theirs = socket.socketpair()
    fcntl.fcntl(ours, fcntl.F_SETOWN, told["pid"])
    fcntl.fcntl(ours, 10, int(signal.SIGUSR1))  # F_SETSIG
    fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    theirs.send(b"x")


@attack(control="user")
def trace_process(told: Told) -> dict[str, Any]:
    """Attaches to a process outside as a debugger."""
    _, error = system("ptrace", 0x4206, told["pid"], 0, 0)  # PTRACE_SEIZE
    if error:
        raise OSError(error, "ptrace")
    system("ptrace", 17, told["pid"], 0, 0)  # PTRACE_DETACH
    return escaped("ptrace attached to a process outside")


@attack(control="user")
def read_process_memory(told: Told) -> str:
    """Reads the memory of a process outside with process_vm_readv."""
    buffer = ctypes.create_string_buffer(told["memory_size"])
    ours, theirs = vector(ctypes.addressof(buffer), len(buffer)), vector(told["memory"], len(buffer))
    system("process_vm_readv", told["pid"], ours, 1, theirs, 1, 0)
    return buffer.raw.decode("utf-8", "replace")


@attack(control="user")
def write_process_memory(told: Told) -> None:
    """Writes into the memory of a process outside with process_vm_writev."""
    buffer = ctypes.create_string_buffer(b"x" * told["memory_size"], told["memory_size"])
    ours, theirs = vector(ctypes.addressof(buffer), len(buffer)), vector(told["memory"], len(buffer))
    system("process_vm_writev", told["pid"], ours, 1, theirs, 1, 0)


@attack(control="user")
def read_proc_memory(told: Told) -> str:
    """Reads the memory of a process outside through /proc."""
    return os.pread(os.open(f"/proc/{told['pid']}/mem", os.O_RDONLY), told["memory_size"], told["memory"]).decode("utf-8", "replace")


@attack(control="user")
def write_proc_memory(told: Told) -> None:
    """Writes into the memory of a process outside through /proc."""
    os.pwrite(os.open(f"/proc/{told['pid']}/mem", os.O_WRONLY), b"x" * told["memory_size"], told["memory"])


@attack(control="user")
def steal_descriptor(told: Told) -> str:
    """Copies an open file of a process outside with pidfd_getfd."""
    fd, error = system("pidfd_getfd", os.pidfd_open(told["pid"]), told["secret_fd"], 0)
    if error:
        raise OSError(error, "pidfd_getfd")
    return os.pread(fd, 4096, 0).decode("utf-8", "replace")


@attack(control="user")
def read_shared_memory(told: Told) -> str:
    """Attaches a shared memory segment (System V) of a process outside and reads it."""
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(told["segment"], None, 0o10000)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "shmat")
    return ctypes.string_at(address, 64).decode("utf-8", "replace")


@attack(control="user")
def write_shared_memory(told: Told) -> None:
    """Attaches a shared memory segment (System V) of a process outside and writes into it."""
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(told["segment"], None, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "shmat")
    ctypes.memset(address, 120, 8)


@attack(control="user", leak=("priorit",))
def change_priority(told: Told) -> None:
    """Takes priority from a process outside."""
    os.setpriority(os.PRIO_PROCESS, told["pid"], 19)


@attack(control="user", leak=("priorit",))
def change_processors(told: Told) -> None:
    """Binds a process outside to one processor."""
    os.sched_setaffinity(told["pid"], {min(os.sched_getaffinity(told["pid"]))})


@attack(control="user")
def change_limits(told: Told) -> None:
    """Lowers the resource limits of a process outside."""
    resource.prlimit(told["pid"], resource.RLIMIT_NOFILE, (99, 99))


@attack(control="user")
def change_memory_score(told: Told) -> None:
    """Makes a process outside the first that dies when memory runs out."""
    with open(f"/proc/{told['pid']}/oom_score_adj", "w") as file:
        file.write("1000")


@attack()
def trace_agent(told: Told) -> Any:
    """Attaches to the agent that runs it, if that is less confined than itself."""
    keys = ("Uid", "CapEff", "CapPrm", "Seccomp", "Seccomp_filters", "NoNewPrivs")
    ours, theirs = ({key: status(pid, key) for key in keys} for pid in (os.getpid(), os.getppid()))
    _, error = system("ptrace", 0x4206, os.getppid(), 0, 0)
    if error:
        raise OSError(error, "ptrace")
    system("ptrace", 17, os.getppid(), 0, 0)
    return (
        {"contained": "the agent is as confined as this"} if ours == theirs else escaped(f"ptrace attached to the agent, which is {theirs}")
    )


@attack()
def steal_agent_descriptors(told: Told) -> Any:
    """Copies the agent's open files and reads each; the host left one open on a secret."""
    agent, found = os.pidfd_open(os.getppid()), ["got at the agent"]
    for number in range(64):
        fd, error = system("pidfd_getfd", agent, number, 0)
        if not error:
            try:
                found.append(repr(os.pread(fd, 4096, 0)))
            except OSError:
                continue
    return found


@attack()
def stop_agent(told: Told) -> None:
    """Stops the agent of the box, so that nobody keeps its limits."""
    os.kill(os.getppid(), signal.SIGSTOP)
    signal.pause()


@attack()
def kill_agent(told: Told) -> None:
    """Kills the agent of the box and goes on."""
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
