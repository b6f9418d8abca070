"""The parent's side of the child: start it, read its messages, kill it when it stalls.

A child that makes no progress for `stall_s`, crashes, or breaks the framing costs one attempt and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from packager.errors import ERRORS, Cancelled, EncodeFailed, PackagerError

POLL_S = 0.25
MAX_HEADER = 128 << 20  # a probe's packet index is some 10 bytes a frame: 50 MB for a day at 60 fps
MAX_PAYLOAD = 256 << 20  # a segment of the largest rung is under 20 MB


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use."""

    memory_bytes: int = 12 << 30  # address space, which threads and frame pools reserve far beyond what they touch
    cpu_s: int = 24 * 3600
    stall_s: float = 60.0


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Message:
    kind: str
    fields: dict[str, Any]
    payload: bytes


def run(
    task: str, request: dict[str, Any], *, limits: Limits = LIMITS, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Message]:
    """Yield the child's messages; raise PackagerError when it reports one, dies or stalls. Closing the iterator kills the child."""
    child = _taken()
    try:
        _ask(child, {**request, "task": task, "memory_bytes": limits.memory_bytes, "cpu_s": limits.cpu_s})
        yield from _messages(child, limits, cancelled)
        _judge(_ended(child, limits.stall_s), child.errors)
    finally:
        child.close()


@contextlib.contextmanager
def spares(count: int) -> Iterator[None]:
    """So many children of this process are started ahead, for whoever needs one while the block lasts: loading FFmpeg takes a third of a second."""
    ahead = [_Child() for _ in range(count)]
    _spares.extend(ahead)
    try:
        yield
    finally:
        for child in ahead:
            with contextlib.suppress(ValueError):  # it was taken
                _spares.remove(child)
                child.close()


def _taken() -> _Child:
    with contextlib.suppress(IndexError):
        return _spares.popleft()
    return _Child()


class _Child:
    """A process that waits for a request."""

    def __init__(self) -> None:
        self.errors = tempfile.TemporaryFile()
        self.process = _start(self.errors)

    def close(self) -> None:
        """Kill it, if it has not ended."""
        _kill(self.process)
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()


_spares: deque[_Child] = deque()


def _start(stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    # An empty environment but for what Python needs: no proxy settings, no credentials, nothing to steal. A session of its own: no terminal
    # to type into, no Ctrl-C that was meant for us, and a group that can be killed whole.
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": _modules(), "LC_ALL": "C.UTF-8"}
    return subprocess.Popen(
        [sys.executable, "-P", "-S", "-m", "packager.child", str(os.getpid())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment, close_fds=True, start_new_session=True,
    )  # fmt: skip


@cache
def _modules() -> str:
    """Where a child finds our modules and PyAV. `site` would look for more than that, for 15 ms in each child."""
    av = importlib.util.find_spec("av")
    assert av and av.origin
    return os.pathsep.join(str(Path(place).parent.parent) for place in (__file__, av.origin))


def _kill(child: subprocess.Popen[bytes]) -> None:
    """It and whatever it may have started; its number is nobody else's until we have waited for it."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
    child.wait()


def _ask(child: _Child, request: dict[str, Any]) -> None:
    assert child.process.stdin
    with (
        contextlib.suppress(BrokenPipeError),
        child.process.stdin as pipe,
    ):  # if it died already, its exit status says why
        pipe.write(json.dumps(request).encode())


def _messages(child: _Child, limits: Limits, cancelled: Callable[[], bool]) -> Iterator[Message]:
    assert child.process.stdout
    reader = _Reader(child.process.stdout.fileno(), limits.stall_s, cancelled)
    while header := reader.line():
        kind, size, fields = _parsed(header)
        payload = reader.exactly(size)
        if payload is None:
            return  # it died in mid-message; its exit status says how
        if kind == "error":
            raise _reported(fields)
        if kind != "alive":
            yield Message(kind, fields, payload)


def _parsed(header: bytes) -> tuple[str, int, dict[str, Any]]:
    """A child that was taken over may send anything: it must not get further than one failed attempt."""
    try:
        fields = json.loads(header)
        kind, size = fields.pop("kind"), fields.pop("size")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise nonsense("a message without a readable header") from error
    if not isinstance(kind, str) or not isinstance(size, int) or not 0 <= size <= MAX_PAYLOAD:
        raise nonsense("a message of impossible size")
    return kind, size, fields


def _reported(fields: dict[str, Any]) -> PackagerError:
    kind = ERRORS.get(str(fields.get("type")), EncodeFailed)
    code, title, detail = (str(fields.get(name, "unknown"))[:1000] for name in ("code", "title", "detail"))
    return kind(code, title, detail)


def nonsense(what: str) -> EncodeFailed:
    """The error for a child that doesn't keep to the protocol."""
    return EncodeFailed("decoder_failed", "The decoder failed", f"It sent {what}.")


class _Reader:
    """Reads frames from a pipe with a deadline that every byte of progress moves."""

    def __init__(self, fd: int, stall_s: float, cancelled: Callable[[], bool]) -> None:
        self._fd, self._stall_s, self._cancelled = fd, stall_s, cancelled
        self._buffer = bytearray()
        self._poll = select.poll()  # unlike select(2) it takes any descriptor number, unlike epoll it needs none
        self._poll.register(fd, select.POLLIN)

    def line(self) -> bytes:
        """The next line without its end, b"" at the end of the stream."""
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            if seen > MAX_HEADER:
                raise nonsense("a header without end")
            if not self._more():
                return b""
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            if not self._more():
                return None
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _more(self) -> bool:
        waited = 0.0
        while not self._poll.poll(POLL_S * 1000):
            waited += POLL_S
            self._check(waited)
        self._check(0)
        data = os.read(self._fd, 1 << 20)
        self._buffer += data
        return bool(data)

    def _check(self, waited: float) -> None:
        if self._cancelled():
            raise Cancelled
        if waited >= self._stall_s:
            raise _stalled(self._stall_s)


def _stalled(seconds: float) -> EncodeFailed:
    detail = f"Nothing happened for {seconds:.0f} seconds, so it was stopped."
    return EncodeFailed("stalled", "The decoder made no progress", detail)


def _ended(child: _Child, patience_s: float) -> int:
    """Its exit status; it has closed its output, so it is about to end or hangs."""
    try:
        return child.process.wait(patience_s)
    except subprocess.TimeoutExpired as error:
        raise _stalled(patience_s) from error


def _judge(status: int, stderr: IO[bytes]) -> None:
    if status == 0:
        return
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 2000))
    last = (stderr.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    if status < 0:
        name = signal.strsignal(-status) or f"signal {-status}"
        raise EncodeFailed("decoder_crashed", "The decoder crashed", f"It was ended by {name} ({last}).")
    raise EncodeFailed("decoder_failed", "The decoder failed", last)
