"""Takes powers away from the current process: no network, no new programs or processes, no files written, bounded memory and CPU.

Linux only, and needs no privileges: rlimits plus a seccomp filter (seccomp(2), bpf(4)) that answers EPERM to the calls below. Elsewhere
the rlimits alone hold. Files can still be read: Python loads modules as it goes. What is read can only leave through the parent's pipe.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from collections.abc import Callable, Mapping

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
STDERR_BYTES = 1 << 20  # stderr is a temporary file of the parent's; nothing else can be opened for writing
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# name: (number on x86_64, on aarch64); None where the machine has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # network
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "socketpair": (53, 199),
    # other programs and processes
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "ptrace": (101, 117), "tkill": (200, 130),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    # files: what `open` for reading doesn't cover
    "creat": (85, None), "truncate": (76, 45), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "unlink": (87, None),
    "unlinkat": (263, 35), "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36), "mkdir": (83, None),
    "mkdirat": (258, 34), "rmdir": (84, None), "mknod": (133, None), "mknodat": (259, 33), "chmod": (90, None), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "utimensat": (280, 88),
    # ways around a filter, and kernel machinery that no decoder needs
    "io_uring_setup": (425, 425), "mount": (165, 40), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "keyctl": (250, 219),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282),
}  # fmt: skip
# glibc has an older call to fall back on, whose arguments a filter can read.
UNKNOWN = {"openat2": (437, 437), "clone3": (435, 435)}
OPENS: dict[str, tuple[int | None, int | None]] = {"open": (2, None), "openat": (257, 56)}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CLONE, CLONE_THREAD = (56, 220), 0x10000
# ioctl(2) requests that put bytes into a terminal as if somebody had typed them there.
IOCTL, TIOCSTI, TIOCLINUX = (16, 29), 0x5412, 0x541C
# These may only name the process itself: abort() signals its own thread, Python asks for its own limits.
SELF_ONLY = {"kill": (62, 129), "tgkill": (234, 131)}
SELF_OR_ZERO = {"prlimit64": (302, 261)}  # 0 is the caller here; for kill it would be the whole group
X32_BIT = 0x40000000
LOAD, JUMP_EQ, JUMP_GE, JUMP_SET, ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, REFUSE, NO_SUCH_CALL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
Line = tuple[int, int, int, int]


def die_with_parent(parent: int) -> None:
    """Ask the kernel to SIGKILL this process when its parent is gone, also if the parent is killed with -9 (prctl(2)).

    The parent says who it is: asked from here, one that died during our start would already have been replaced by init.
    """
    if platform.system() == "Linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent died before the call: nobody would ever kill us
        os._exit(1)


def enter(*, memory_bytes: int, cpu_s: int) -> None:
    """Drop everything decoding doesn't need; irreversible. Call before any other thread exists: a filter binds the calling thread's heirs."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, STDERR_BYTES),  # pipes are not files: messages still flow
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(limit, value)
    if platform.system() == "Linux" and platform.machine() in AUDIT_ARCH:
        _filter(program(platform.machine(), os.getpid()))


def _lower(limit: int, value: int) -> None:
    """Nobody may raise a hard limit, so one that is tighter already stays."""
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def _filter(code: bytes) -> None:
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0):
        raise OSError(ctypes.get_errno(), "the seccomp filter was refused, and hostile bytes are not opened without it")


def program(machine: str, pid: int) -> bytes:
    """Classic BPF over struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]}. Any other architecture is refused whole."""
    column = list(AUDIT_ARCH).index(machine)
    lines: list[Line] = [(LOAD, 0, 0, 4), (JUMP_EQ, 1, 0, AUDIT_ARCH[machine]), _answer(REFUSE)]
    lines += [(LOAD, 0, 0, 0), (JUMP_GE, 0, 1, X32_BIT), _answer(REFUSE)]
    lines += _each(DENIED, column, lambda call: _always(call, REFUSE))
    lines += _each(UNKNOWN, column, lambda call: _always(call, NO_SUCH_CALL))
    lines += _each(SELF_ONLY, column, lambda call: _only_about(call, pid))
    lines += _each(SELF_OR_ZERO, column, lambda call: _only_about(call, pid, 0))
    lines += _no_typing(IOCTL[column])
    # open(path, flags) and openat(folder, path, flags)
    lines += _each({"open": OPENS["open"]}, column, lambda call: _without_flags(call, 1, WRITING))
    lines += _each({"openat": OPENS["openat"]}, column, lambda call: _without_flags(call, 2, WRITING))
    lines += _threads_only(CLONE[column])
    return b"".join(struct.pack("HBBI", *line) for line in [*lines, _answer(ALLOW)])


def _each(
    calls: Mapping[str, tuple[int | None, int | None]], column: int, rule: Callable[[int], list[Line]]
) -> list[Line]:
    return [line for numbers in calls.values() if (call := numbers[column]) is not None for line in rule(call)]


def _answer(what: int) -> Line:
    return ANSWER, 0, 0, what


def _argument(index: int) -> Line:
    """Load the low half of an argument (both machines are little-endian)."""
    return LOAD, 0, 0, 16 + 8 * index


def _always(call: int, answer: int) -> list[Line]:
    return [(JUMP_EQ, 0, 1, call), _answer(answer)]


def _only_about(call: int, *pids: int) -> list[Line]:
    """The first argument is one of these."""
    left = len(pids)
    checks = [(JUMP_EQ, left - n, 0, pid) for n, pid in enumerate(pids)]
    return [(JUMP_EQ, 0, left + 3, call), _argument(0), *checks, _answer(REFUSE), _answer(ALLOW)]


def _no_typing(call: int) -> list[Line]:
    return [
        (JUMP_EQ, 0, 5, call), _argument(1), (JUMP_EQ, 1, 0, TIOCSTI), (JUMP_EQ, 0, 1, TIOCLINUX), _answer(REFUSE), _answer(ALLOW),
    ]  # fmt: skip


def _without_flags(call: int, argument: int, flags: int) -> list[Line]:
    return [(JUMP_EQ, 0, 4, call), _argument(argument), (JUMP_SET, 0, 1, flags), _answer(REFUSE), _answer(ALLOW)]


def _threads_only(call: int) -> list[Line]:
    """clone(2) makes threads, which the codecs need, but no processes."""
    return [(JUMP_EQ, 0, 4, call), _argument(0), (JUMP_SET, 1, 0, CLONE_THREAD), _answer(REFUSE), _answer(ALLOW)]
