"""What a locked-down process can't do any more, tried in a real one."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from packager import lockdown
from tests.packager.processes import alive, wait_until

PROBE = """
import ctypes, fcntl, json, os, pty, resource, socket, subprocess, sys, tempfile, termios, threading
from packager import lockdown

folder = sys.argv[1]
victim = os.path.join(folder, "victim")
libc = ctypes.CDLL(None, use_errno=True)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
terminal = pty.openpty()[1]
os.setsid()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def in_a_thread(work):
    seen = []
    def run():
        try:
            work()
        except OSError as error:
            seen.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if seen:
        raise seen[0]

attempts = {
    "a socket": socket.socket,
    "a socket in a thread": lambda: in_a_thread(socket.socket),
    "a connection": lambda: udp.connect(("127.0.0.1", 9)),
    "a pair of sockets": socket.socketpair,
    "a program": lambda: subprocess.run(["true"]),
    "execve": lambda: os.execv("/bin/true", ["true"]),
    "a process": os.fork,
    "a new file": lambda: open(os.path.join(folder, "new"), "w"),
    "writing a file": lambda: open(victim, "r+"),
    "appending to a file": lambda: open(victim, "a"),
    "emptying a file": lambda: os.truncate(victim, 0),
    "removing a file": lambda: os.unlink(victim),
    "renaming a file": lambda: os.rename(victim, victim + "2"),
    "linking a file": lambda: os.link(victim, victim + "3"),
    "a symbolic link": lambda: os.symlink("/etc", victim + "4"),
    "a folder": lambda: os.mkdir(os.path.join(folder, "sub")),
    "a mode": lambda: os.chmod(victim, 0),
    "typing into a terminal": lambda: fcntl.ioctl(terminal, termios.TIOCSTI, b"x"),
    "pasting into a terminal": lambda: call(ioctl, terminal, 0x541C, 0),
    "a signal to its group": lambda: os.kill(0, 0),
    "a signal to the parent": lambda: os.kill(os.getppid(), 0),
    "the parent's limits": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE),
    "ptrace": lambda: call(numbers["ptrace"], 16, os.getppid(), 0, 0),
    "the parent's memory": lambda: call(numbers["process_vm_readv"], os.getppid(), 0, 0, 0, 0, 0),
    "io_uring": lambda: call(numbers["io_uring_setup"], 1, 0),
    "more memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)),
    "reading a file": lambda: open(victim).read(),
    "a thread": lambda: in_a_thread(lambda: None),
    "a signal to itself": lambda: os.kill(os.getpid(), 0),
    "a question to a terminal": lambda: fcntl.ioctl(terminal, termios.FIONREAD, b"1234"),
    "its own limits": lambda: resource.getrlimit(resource.RLIMIT_AS),
}
column = list(lockdown.AUDIT_ARCH).index(os.uname().machine)
numbers = {name: both[column] for name, both in lockdown.DENIED.items()}
ioctl = lockdown.IOCTL[column]
open(victim, "w").write("untouched")
lockdown.enter(memory_bytes=1 << 30, cpu_s=20)
done = []
for name, attempt in attempts.items():
    try:
        attempt()
        done.append(name)
    except (OSError, ValueError):
        pass
try:
    bytearray(2 << 30)
    done.append("two gigabytes")
except MemoryError:
    pass
sys.stdout.write(json.dumps(done))
sys.stdout.flush()
os._exit(0)
"""
ALLOWED = ("reading a file", "a thread", "a signal to itself", "a question to a terminal", "its own limits")

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the attempts that succeeded after lockdown."""
    folder = tmp_path_factory.mktemp("locked")
    ran = subprocess.run([sys.executable, "-c", PROBE, str(folder)], capture_output=True, timeout=60, text=True)
    assert ran.returncode == 0, ran.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["victim"] and (folder / "victim").read_text() == "untouched"
    return set(json.loads(ran.stdout))


def test_nothing_but_computing_and_reading_is_left(done: set[str]) -> None:
    assert done == set(ALLOWED)


def test_a_limit_that_is_tighter_already_is_kept() -> None:
    script = (
        "import resource; from packager import lockdown\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))\n"
        "lockdown.enter(memory_bytes=1 << 30, cpu_s=20)\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, text=True)
    assert ran.stdout.strip() == "(32, 32)", ran.stderr


def test_a_process_dies_with_the_one_that_started_it(tmp_path: Path) -> None:
    """Also when that one is killed with -9: the child writes its number, then waits for what never comes."""
    child = "import os, time; from packager import lockdown; lockdown.die_with_parent(os.getppid()); print(os.getpid(), flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        number = int(process.stdout.readline())
        process.kill()
        process.wait()
        assert process.stdout.read() == "", "the pipe closes only when the child is gone too"
    wait_until(lambda: not alive(number), what="the child to be gone")


def test_a_process_whose_parent_died_before_it_could_ask_ends_at_once() -> None:
    script = "from packager import lockdown; lockdown.die_with_parent(1 << 22); print('still here')"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, text=True)
    assert (ran.returncode, ran.stdout) == (1, "")


@pytest.mark.parametrize("machine", lockdown.AUDIT_ARCH)
def test_the_filter_is_short_enough_for_the_kernel_and_ends_in_an_answer(machine: str) -> None:
    code = lockdown.program(machine, 1234)
    assert len(code) % 8 == 0 and len(code) // 8 < 4096
    assert code[-8:] == (0x06).to_bytes(2, "little") + bytes(2) + lockdown.ALLOW.to_bytes(4, "little")


def test_this_machine_is_one_that_can_be_locked_down() -> None:
    assert platform.system() != "Linux" or platform.machine() in lockdown.AUDIT_ARCH
