"""One child process of `streamer up`: started, watched, read, stopped, and started again after a growing pause.

The kernel kills it when the thread that started it ends (prctl(2)), so a killed parent leaves nothing behind. It has a
session of its own: Ctrl-C reaches only the parent, which stops its children in order.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_PR_SET_PDEATHSIG = 1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_STEADY_S = 30.0
_READ = 65_536
_LINE_MAX = 1 << 20

_libc = ctypes.CDLL(None)


@dataclass
class Child:
    """`name` is shown before its lines; `inherit` are file descriptors it keeps."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    inherit: Sequence[int] = ()
    process: "subprocess.Popen[bytes] | None" = None
    restart_at: float = 0.0
    _pause_s: float = _FIRST_PAUSE_S
    _started_at: float = 0.0
    _rest: bytes = b""

    def start(self) -> None:
        """Start it; its stdout and stderr come out of `lines`."""
        self.process = subprocess.Popen(
            self.command,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=self.inherit,
            start_new_session=True,
            preexec_fn=_bound_to(os.getpid()),
        )
        self._started_at = time.monotonic()
        os.set_blocking(self.output, False)

    @property
    def output(self) -> int:
        """The descriptor to wait on for lines."""
        assert self.process is not None and self.process.stdout is not None
        return self.process.stdout.fileno()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def lines(self) -> Iterator[str]:
        """What it has written since the last call, in whole lines."""
        while data := self._read():
            *whole, self._rest = (self._rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
            if len(self._rest) > _LINE_MAX:
                yield self.last_words()

    def last_words(self) -> str:
        """What it wrote after its last line's end."""
        rest, self._rest = self._rest, b""
        return rest.decode(errors="replace")

    def buried(self) -> str:
        """After it ended: forget the process, plan the next start, and say how it ended."""
        assert self.process is not None and self.process.stdout is not None
        code = self.process.wait()
        self.process.stdout.close()
        self.process = None
        now = time.monotonic()
        if now - self._started_at > _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        self.restart_at = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is still somebody to get it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def _read(self) -> bytes:
        try:
            return os.read(self.output, _READ)
        except BlockingIOError:
            return b""


def _bound_to(parent: int) -> Callable[[], None]:
    """For the child, between fork and exec."""

    def bind() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return bind
