"""Takes powers away from the current process: no network, no new programs, bounded memory and CPU, no files written.

Linux only, and needs no privileges: rlimits plus a seccomp filter (seccomp(2), bpf(4)) that answers EPERM to the calls below. Elsewhere
the rlimits alone hold.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
# Per machine: AUDIT_ARCH constant and the numbers of socket, connect, ptrace, execve, execveat, io_uring_setup.
DENIED = {
    "x86_64": (0xC000003E, (41, 42, 101, 59, 322, 425)),
    "aarch64": (0xC00000B7, (198, 203, 117, 221, 281, 425)),
}
X32_BIT = 0x40000000


def die_with_parent() -> None:
    """Ask the kernel to SIGKILL this process when its parent is gone, also if the parent is killed with -9 (prctl(2))."""
    parent = os.getppid()
    if platform.system() == "Linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent died before the call: nobody would ever kill us
        os._exit(1)


def enter(*, memory_bytes: int, cpu_s: int) -> None:
    """Drop everything decoding doesn't need; irreversible."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),  # pipes are not files: messages still flow
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    if platform.system() == "Linux" and platform.machine() in DENIED:
        _deny(*DENIED[platform.machine()])


def _deny(arch: int, calls: tuple[int, ...]) -> None:
    program = _program(arch, calls)
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0):
        raise OSError(ctypes.get_errno(), "the seccomp filter was refused, and hostile bytes are not opened without it")


def _program(arch: int, calls: tuple[int, ...]) -> bytes:
    """Classic BPF over struct seccomp_data {int nr; u32 arch; ...}: wrong architecture or a denied number answers EPERM."""
    load, jump_eq, jump_ge, answer = 0x20, 0x15, 0x35, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | 1
    count = len(calls)
    lines = [(load, 0, 0, 4), (jump_eq, 0, count + 3, arch), (load, 0, 0, 0), (jump_ge, count + 1, 0, X32_BIT)]
    lines += [(jump_eq, count - i, 0, call) for i, call in enumerate(calls)]
    lines += [(answer, 0, 0, allow), (answer, 0, 0, refuse)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
