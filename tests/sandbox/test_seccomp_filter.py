"""The filters, run by an interpreter of classic BPF that knows nothing of how they are made; arm64 can be judged in no other way here."""

from __future__ import annotations

import errno
import platform
import re
import struct
from itertools import pairwise
from pathlib import Path

import pytest

from reflectory.errors import SandboxError
from reflectory.sandbox.seccomp import Filter, program
from reflectory.sandbox.syscalls import ARM64, X86_64

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
TABLES = {"x86_64": X86_64, "aarch64": ARM64}
BOTH = pytest.mark.parametrize("arch", list(ARCH))
ALLOW, KILL = "allow", "kill"
PLAIN, HARD = Filter(), Filter("pairs", shared=True, unmapped=True, metadata=True, signals=False)


def words(text: str) -> set[str]:
    return set(text.split())


#: Written from the manual pages, by hand: what a program in a box has no business with.
NEVER = words(
    """
    mount umount2 pivot_root chroot unshare setns ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd keyctl
    add_key request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register kexec_load kexec_file_load
    init_module finit_module delete_module swapon swapoff reboot sethostname setdomainname settimeofday clock_settime adjtimex
    clock_adjtime syslog acct quotactl quotactl_fd name_to_handle_at open_by_handle_at fanotify_init lookup_dcookie nfsservctl iopl
    ioperm modify_ldt vhangup move_pages migrate_pages mbind set_mempolicy memfd_secret open_tree move_mount fsopen fsconfig fsmount
    fspick mount_setattr
    """
)
#: What nearly every program needs.
ALWAYS = words(
    """
    read write close openat fstat mmap munmap mprotect brk execve exit exit_group wait4 kill tgkill dup3 pipe2 getpid futex nanosleep
    clock_gettime getrandom rt_sigaction rt_sigprocmask fcntl getdents64 unlinkat mkdirat renameat2 lseek ppoll epoll_ctl sched_yield
    prctl uname seccomp landlock_restrict_self ftruncate fchmod setpgid setsid getuid statx readlinkat sendmsg recvmsg connect bind
    pidfd_open waitid
    """
)


def judge(code: bytes, arch: int, number: int, *arguments: int) -> str | int:
    """What a filter says of a call: "allow", "kill" or an error number. Source: McCanne and Jacobson 1993; linux/seccomp.h."""
    data = struct.pack("=iIQ6Q", number if number < 2**31 else number - 2**32, arch, 0x7F00DEAD, *(*arguments, *[0] * (6 - len(arguments))))
    steps = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    at = value = 0
    while True:
        operation, if_true, if_false, k = steps[at]
        at += 1
        match operation:
            case 0x20:  # ld [k]
                assert k % 4 == 0
                (value,) = struct.unpack_from("=I", data, k)
            case 0x54:  # and #k
                value &= k
            case 0x15:  # jeq
                at += if_true if value == k else if_false
            case 0x25:  # jgt
                at += if_true if value > k else if_false
            case 0x45:  # jset
                at += if_true if value & k else if_false
            case 0x06:  # ret
                kinds = {0x7FFF0000: ALLOW, 0x80000000: KILL}
                return kinds[k] if k in kinds else {0x00050000: k & 0xFFFF}[k & 0xFFFF0000]
            case _:
                raise AssertionError(hex(operation))


def of(arch: str, wanted: Filter, name: str, *arguments: int) -> str | int:
    return judge(program(wanted, architecture=arch), ARCH[arch], TABLES[arch][name], *arguments)


@BOTH
def test_every_call_of_the_table_gets_a_verdict_and_only_the_named_ones_are_refused(arch: str) -> None:
    code = program(PLAIN, architecture=arch)
    refused = {name for name, number in TABLES[arch].items() if judge(code, ARCH[arch], number) != ALLOW}
    assert NEVER & set(TABLES[arch]) <= refused
    assert not ALWAYS & refused
    assert len(refused) < 100  # most of more than three hundred calls stay


@BOTH
def test_the_hard_filter_refuses_more_and_never_less(arch: str) -> None:
    plain, hard = program(PLAIN, architecture=arch), program(HARD, architecture=arch)
    table = TABLES[arch]
    more = {name for name, number in table.items() if judge(plain, ARCH[arch], number) == ALLOW != judge(hard, ARCH[arch], number)}
    less = {name for name, number in table.items() if judge(hard, ARCH[arch], number) == ALLOW != judge(plain, ARCH[arch], number)}
    assert less == set()
    expected = words(
        "fchmodat fchmodat2 fchownat setxattr lsetxattr removexattr lremovexattr truncate setxattrat removexattrat file_setattr "
        "shmget shmat shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink inotify_add_watch memfd_create "
        "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal"
    )
    old = words("chmod chown lchown utime utimes futimesat")  # x86-64 alone has these
    assert more == expected | (old if arch == "x86_64" else set())
    assert of(arch, HARD, "utimensat", 3, 0) == ALLOW
    assert {of(arch, HARD, "utimensat", 3, path) for path in (1, 1 << 32, 0x7F00_0000_1000)} == {errno.EPERM}
    # By descriptor nothing is lost: it had to be opened first.
    assert all(of(arch, HARD, name) == ALLOW for name in ("fchmod", "ftruncate", "fsetxattr"))


@BOTH
def test_another_architecture_is_killed_and_unknown_numbers_do_not_exist(arch: str) -> None:
    code = program(HARD, architecture=arch)
    for other in (0x40000003, 0xC000003E, 0xC00000B7, 0x40000028, 0):
        if other != ARCH[arch]:
            assert {judge(code, other, number) for number in range(480)} == {KILL}
    x32 = [0x40000000 + number for number in range(600)]
    assert {judge(code, ARCH[arch], number) for number in (*x32, 470, 1000, 2**31 - 1, 2**31, 2**32 - 1)} == {errno.ENOSYS}


@BOTH
def test_clone_makes_processes_and_threads_but_no_namespaces(arch: str) -> None:
    thread = 0x003D0F00  # what glibc asks for
    assert of(arch, PLAIN, "clone", thread) == ALLOW
    assert of(arch, PLAIN, "clone", 17) == ALLOW  # SIGCHLD: a fork
    new = [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]
    for flag in new:
        assert of(arch, PLAIN, "clone", flag | 17) == errno.EPERM
        assert of(arch, PLAIN, "clone", flag | thread | 0xDEAD << 32) == errno.EPERM
    assert of(arch, PLAIN, "clone3", 0xFFFF) == errno.ENOSYS  # not EPERM: libc falls back on ENOSYS alone


@BOTH
@pytest.mark.parametrize("high", [0, 1, 0xFFFFFFFF])
def test_terminals_cannot_be_typed_into_whatever_the_upper_half_says(arch: str, high: int) -> None:
    for request in (0x5412, 0x541C):
        assert of(arch, PLAIN, "ioctl", 0, request | high << 32) == errno.EPERM
    for request in (0x5401, 0x5413, 0x5411, 0x541D):  # TCGETS, TIOCGWINSZ, their neighbours
        assert of(arch, PLAIN, "ioctl", 0, request | high << 32) == ALLOW


@BOTH
def test_sockets_by_family(arch: str) -> None:
    families = range(46)
    assert [family for family in families if of(arch, PLAIN, "socket", family) == ALLOW] == [1, 2, 10]
    assert {of(arch, PLAIN, "socket", family) for family in families if family not in (1, 2, 10)} == {errno.EAFNOSUPPORT}
    assert {of(arch, HARD, "socket", family) for family in families} == {errno.EPERM}
    for wanted in (PLAIN, HARD):
        assert [family for family in families if of(arch, wanted, "socketpair", family) == ALLOW] == [1]


@BOTH
def test_devices_personality_and_limits_of_others(arch: str) -> None:
    for kind, verdict in {
        0o020000: errno.EPERM,
        0o060000: errno.EPERM,
        0o010000: ALLOW,
        0o100000: ALLOW,
        0: ALLOW,
        0o140000: ALLOW,
    }.items():
        assert of(arch, PLAIN, "mknodat", 0, 0, kind | 0o644, 0x103) == verdict
    assert [of(arch, PLAIN, "personality", ask) for ask in (0, 0xFFFFFFFF)] == [ALLOW] * 2
    assert {of(arch, PLAIN, "personality", ask) for ask in (8, 0x40000, 0x0400000, 0x100000, 0x440000, 1)} == {errno.EPERM}
    assert [of(arch, PLAIN, "prlimit64", pid) for pid in (0, 1, 4711)] == [ALLOW, errno.EPERM, errno.EPERM]


@BOTH
def test_without_signals_the_kernel_sends_none_for_a_program_either(arch: str) -> None:
    for command in (8, 10, 15):  # F_SETOWN, F_SETSIG, F_SETOWN_EX
        assert of(arch, HARD, "fcntl", 3, command) == errno.EPERM
        assert of(arch, PLAIN, "fcntl", 3, command) == ALLOW
    assert [of(arch, HARD, "fcntl", 3, command) for command in (0, 1, 2, 3, 4, 1030)] == [ALLOW] * 6
    assert [of(arch, HARD, "ioctl", 3, request) for request in (0x8901, 0x8902)] == [errno.EPERM] * 2


def test_programs_are_what_the_kernel_accepts() -> None:
    for arch in ARCH:
        for wanted in (PLAIN, HARD):
            code = program(wanted, architecture=arch)
            steps = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
            assert len(steps) < 4096
            assert steps[-1][0] == 0x06
            for at, (operation, if_true, if_false, _) in enumerate(steps):
                if operation & 7 == 5:
                    assert at + 1 + max(if_true, if_false) < len(steps)


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(SandboxError, match="x86_64 and aarch64"):
        program(architecture="riscv64")


HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}


@BOTH
def test_numbers_are_those_of_the_kernels_headers(arch: str) -> None:
    header = next((Path(path) for path in HEADERS[arch] if Path(path).is_file()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed")
    text = header.read_text(encoding="utf-8")
    defined = {name: int(number) for name, number in re.findall(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)\b", text)}
    renamed = {"newfstatat": "fstatat"}
    if arch == "aarch64":  # calls of 32-bit machines, and marks that are no calls
        defined = {name: n for name, n in defined.items() if not (403 <= n <= 423 or name in {"syscalls", "arch_specific_syscall"})}
    highest = max(defined.values())
    for name, number in TABLES[arch].items():
        if number <= highest and name not in {"uretprobe", "uprobe"}:  # younger than some headers
            assert defined[renamed.get(name, name) if renamed.get(name, name) in defined else name] == number, name
    known = {renamed.get(name, name) for name in TABLES[arch]} | set(TABLES[arch])
    assert {name for name in defined if name not in known} <= {"sync_file_range2"} | {name for name, n in defined.items() if n > 469}


def test_the_common_numbers_follow_each_other() -> None:
    for table in TABLES.values():
        common = sorted(number for number in table.values() if number >= 424)
        assert common == list(range(424, 470))
        assert all(before < after for before, after in pairwise(sorted(table.values())))
    assert platform.machine() not in ARCH or program() == program(architecture=platform.machine())
