"""`streamer up`: the embedded stack as child processes of one small parent.

Valkey starts first and stops last. A child that dies is started again, after a pause that doubles while it keeps dying.
The listening socket belongs to the parent, so clients wait while the web process is restarted. SIGTERM or SIGINT ends
all of it in order, the same one again at once (a Ctrl-C that a parent follows up with SIGTERM is one wish). If the parent itself is killed the kernel ends the children. A lock on the
data folder, which the kernel drops with the process, keeps a second `up` out.

One thread does everything, because the children live as long as the thread that started them (see `streamer.child`).
"""

import fcntl
import http.client
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import structlog

from streamer import db, keyring, listener, migrations, valkey
from streamer.child import Child
from streamer.config import ENV_PREFIX, LISTEN_FD, Config, ConfigError
from streamer.log import is_console
from streamer.services import make_data_folder

_START_S = 30
_VALKEY_STOP_S = 10
_TICK_S = 0.25

log = structlog.get_logger(__name__)


def run(config: Config) -> int:
    """Run the stack until SIGTERM or SIGINT; the exit code."""
    make_data_folder(config)
    with _only_one(config.data.dir), _listening(config) as sock:
        keyring.load(config)
        supervisor = Supervisor(config, sock)
        with supervisor.signals():
            try:
                supervisor.start()
                supervisor.watch()
            finally:
                supervisor.stop()
    return 0


class Supervisor:
    """The children and the loop that looks after them."""

    def __init__(self, config: Config, sock: socket.socket) -> None:
        self.config = config
        self.sock = sock
        self.valkey = None if config.redis.url else Child("valkey", valkey.command(config))
        self.others = _processes(config, sock)
        self.asked: Counter[int] = Counter()
        self._selector = selectors.DefaultSelector()

    @property
    def stop_asked(self) -> int:
        """How often, counting the most insistent signal."""
        return max(self.asked.values(), default=0)

    @property
    def children(self) -> list[Child]:
        return [*([self.valkey] if self.valkey else []), *self.others]

    def start(self) -> None:
        """Redis, then the schema, then everything that needs them."""
        if self.valkey:
            self._launch(self.valkey)
            self._await(lambda: valkey.answers(self.config), f"Valkey did not start within {_START_S} s")
        if not self.stop_asked:
            _migrate(self.config)
        for child in self.others:
            if not self.stop_asked:
                self._launch(child)

    def watch(self) -> None:
        """Restart what dies and pass on what is written, until we are asked to stop."""
        announced = False
        while not self.stop_asked:
            self._tick()
            for child in self.children:
                if child.process is None and time.monotonic() >= child.restart_at:
                    self._launch(child)
            if not announced and (announced := _is_ready(self.sock)):
                print(f"Streamer is ready at {_url(self.sock)}", flush=True)

    def stop(self) -> None:
        """Ask everything to end, kill what does not in time; Valkey last, because the others still write to it."""
        self._end(self.others, self.config.server.shutdown_s)
        if self.valkey:
            self._end([self.valkey], _VALKEY_STOP_S)
        self._selector.close()
        log.info("stopped")

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT ask to stop; they and SIGCHLD end a wait at once."""
        ours, wake = socket.socketpair()
        for end in (ours, wake):
            end.setblocking(False)
        self._selector.register(ours, selectors.EVENT_READ, None)

        def ask(signum: int, frame: FrameType | None) -> None:
            self.asked[signum] += 1

        handlers = {signal.SIGTERM: ask, signal.SIGINT: ask, signal.SIGCHLD: lambda signum, frame: None}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        previous = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            ours.close()
            wake.close()

    def _launch(self, child: Child) -> None:
        child.start()
        self._selector.register(child.output, selectors.EVENT_READ, child)
        log.info("started", child=child.name, pid=child.process and child.process.pid)

    def _tick(self) -> None:
        """Wait a moment for lines, signals and deaths, and deal with them."""
        for key, _ in self._selector.select(_TICK_S):
            if isinstance(key.data, Child):
                self._pass_on(key.data)
            elif isinstance(key.fileobj, socket.socket):
                key.fileobj.recv(4096)
        for child in self.children:
            if child.process is not None and not child.running:
                self._bury(child)

    def _bury(self, child: Child) -> None:
        self._pass_on(child)
        if rest := child.last_words():
            self._write(child, rest)
        self._selector.unregister(child.output)
        how = child.buried()
        (log.info if self.stop_asked else log.error)("ended", child=child.name, how=how)

    def _pass_on(self, child: Child) -> None:
        for line in child.lines():
            self._write(child, line)

    def _write(self, child: Child, line: str) -> None:
        """One line of a child: with its name for people; for programs as it is, or wrapped where it is not JSON."""
        if is_console(self.config.log):
            line = f"{child.name:>9} | {line}"
        elif not line.startswith("{"):
            now = datetime.now(UTC).isoformat()
            line = json.dumps({"process": child.name, "level": "info", "timestamp": now, "event": line})
        print(line, file=sys.stderr, flush=True)

    def _await(self, ready: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _START_S
        while not self.stop_asked and not ready():
            self._tick()
            if time.monotonic() > deadline or any(child.restart_at for child in self.children):
                raise ConfigError(f"{otherwise}; its own words are above")

    def _end(self, children: list[Child], patience_s: float) -> None:
        asked, deadline = self.stop_asked, time.monotonic() + patience_s
        for child in children:
            child.send(signal.SIGTERM)
        while any(child.process for child in children):
            if time.monotonic() > deadline or self.stop_asked > max(asked, 1):
                for child in children:
                    child.send(signal.SIGKILL)
            self._tick()


def _processes(config: Config, sock: socket.socket) -> list[Child]:
    """Everything but Valkey."""
    log_format = {f"{ENV_PREFIX}LOG__FORMAT": "console" if is_console(config.log) else "json"}
    listening = {**log_format, LISTEN_FD: str(sock.fileno())}
    return [
        *(Child("web", _command("web"), listening, [sock.fileno()]) for _ in range(config.server.processes)),
        *(Child("worker", _command("worker"), log_format) for _ in range(config.jobs.workers)),
        Child("scheduler", _command("scheduler"), log_format),
    ]


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "streamer", name]


def _migrate(config: Config) -> None:
    engine = db.create(config.database, config.database_url)
    migrations.upgrade(engine)
    engine.dispose()


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    path = data / "run" / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(f"`streamer up` already runs on {data} (process {file.read().strip() or '?'})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _listening(config: Config) -> Iterator[socket.socket]:
    host, port = config.server.host, config.server.port
    try:
        sock = listener.listen(host, port)
    except OSError as error:
        raise ConfigError(f"can't listen on {host}:{port}: {error.strerror}; choose another with --port") from error
    with sock:
        yield sock


def _is_ready(sock: socket.socket) -> bool:
    connection = http.client.HTTPConnection(*_reachable(sock), timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reachable(sock: socket.socket) -> tuple[str, int]:
    host, port = sock.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port


def _url(sock: socket.socket) -> str:
    host, port = _reachable(sock)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
