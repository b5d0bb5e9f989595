"""Attacks that change what lies outside; what counts is whether anything did change there."""

# Attacks name the system calls they make.
from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from reflectory.sandbox.probes.inside import Told, libc, system
from reflectory.sandbox.probes.probe import Probe, add, attack

add(Probe("write_by_program", "writes", "A program makes a file outside", argv=("touch", "{folder}/touched"), control="user"))
add(Probe("write_by_shell", "writes", "The shell writes into a file outside", command='echo gone >"{victim}"', control="user"))


@attack(control="user")
def write_file(told: Told) -> None:
    """Writes into a file outside."""
    Path(told["victim"]).write_text("overwritten")


@attack(control="user")
def append_file(told: Told) -> None:
    """Appends to a file outside."""
    os.write(os.open(told["victim"], os.O_WRONLY | os.O_APPEND), b"more")


@attack(control="user")
def truncate_file(told: Told) -> None:
    """Empties a file outside by its path."""
    os.truncate(told["victim"], 0)


@attack(control="user")
def delete_file(told: Told) -> None:
    """Deletes a file outside."""
    os.unlink(told["victim"])


@attack(control="user")
def rename_file(told: Told) -> None:
    """Renames a file outside."""
    os.rename(told["victim"], told["victim"] + ".moved")


@attack(control="user")
def take_file(told: Told) -> None:
    """Moves a file from outside into the working folder."""
    os.rename(told["victim"], "taken")


@attack(control="user")
def replace_file(told: Told) -> None:
    """Moves an own file over one outside."""
    Path("own").write_text("mine")
    os.replace("own", told["victim"])


@attack(control="user", leak=("metadata",))
def chmod_file(told: Told) -> None:
    """Changes the permissions of a file outside."""
    os.chmod(told["victim"], 0o4755)


@attack(control="root", leak=("metadata",))
def chown_file(told: Told) -> None:
    """Changes the owner of a file outside."""
    os.chown(told["victim"], 12345, 12345)


@attack(control="user", leak=("metadata",))
def utime_file(told: Told) -> None:
    """Changes the times of a file outside."""
    os.utime(told["victim"], (1, 1))


@attack(control="user", leak=("metadata",))
def touch_file(told: Told) -> None:
    """Sets the times of a file outside to now, for which its owner need not be asked."""
    os.utime(told["victim"])


@attack(control="user", leak=("metadata",))
def attribute_file(told: Told) -> None:
    """Sets an extended attribute of a file outside."""
    os.setxattr(told["victim"], "user.reflectory", b"planted")


@attack(control="user")
def link_outside(told: Told) -> None:
    """Makes a hard link outside."""
    os.link(told["victim"], told["folder"] + "/hard")


@attack(control="user")
def make_file(told: Told) -> None:
    """Makes a file outside."""
    Path(told["folder"], "planted").write_text("planted")


@attack(control="user")
def make_nameless_file(told: Told) -> None:
    """Makes a file without a name outside and gives it one afterwards."""
    fd = os.open(told["folder"], os.O_TMPFILE | os.O_RDWR)
    libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, told["folder"].encode() + b"/planted", 0x400)  # AT_SYMLINK_FOLLOW


@attack(control="user")
def make_folder(told: Told) -> None:
    """Makes a folder outside."""
    os.mkdir(told["folder"] + "/planted")


@attack(control="user")
def make_symlink(told: Told) -> None:
    """Makes a symbolic link outside."""
    os.symlink("/etc/passwd", told["folder"] + "/planted")


@attack(control="user")
def make_pipe(told: Told) -> None:
    """Makes a named pipe outside."""
    os.mkfifo(told["folder"] + "/planted")


@attack(control="user")
def make_socket(told: Told) -> None:
    """Binds a Unix socket outside."""
    socket.socket(socket.AF_UNIX).bind(told["folder"] + "/planted")


@attack(control="root")
def make_device(told: Told) -> None:
    """Makes a device file outside."""
    os.mknod(told["folder"] + "/planted", stat.S_IFCHR | 0o666, os.makedev(1, 3))


@attack(control="user")
def remove_folder(told: Told) -> None:
    """Removes an empty folder outside."""
    os.rmdir(told["folder"] + "/empty")


@attack(control="user")
def write_by_symlink(told: Told) -> None:
    """Writes into a file outside through a symbolic link in the working folder."""
    os.symlink(told["victim"], "link")
    Path("link").write_text("overwritten")


@attack(control="user")
def write_proc_descriptor(told: Told) -> None:
    """Writes through the open descriptor of another process."""
    os.write(os.open(f"/proc/{told['pid']}/fd/{told['victim_fd']}", os.O_WRONLY), b"overwritten")


@attack(control="user")
def write_proc_cwd(told: Told) -> None:
    """Makes a file through the working folder of another process."""
    Path(f"/proc/{told['pid']}/cwd/planted").write_text("planted")


@attack(control="user")
def write_elsewhere(told: Told) -> None:
    """Makes files in the other folders that anybody may write to."""
    for path in told["elsewhere"]:
        try:
            Path(path).write_text("overwritten")
        except OSError:
            continue


@attack(control="root")
def write_by_mount_clone(told: Told) -> None:
    """Writes in a clone of a mount made with open_tree."""
    fd, error = system("open_tree", -100, told["folder"].encode(), 1 | os.O_CLOEXEC | 0x8000)
    if error:
        raise OSError(error, "open_tree")
    os.close(os.open("planted", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd))


@attack(then="put")
def put_through_links(told: Told) -> None:
    """Leaves links to a folder outside where the host writes next."""
    os.symlink(told["folder"], "folder")
    os.symlink(told["folder"] + "/planted", "file")
