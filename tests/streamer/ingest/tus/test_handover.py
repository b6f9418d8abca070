"""Who writes when two requests are for one upload: clients that vanished and came back, on this web process or another, and races."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from streamer import listener
from streamer.config import LISTEN_FD
from streamer.services import Services
from tests.line import DeadLine
from tests.servers import ROOT, die_with_parent
from tests.streamer.ingest.tus.client import Tus
from tests.streamer.jobs.processes import environment
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for
from tests.web import NO_TLS

PAIRS = int(os.environ.get("RACING_PAIRS", "200"))
FILM = os.urandom(3_000_000)
SHA256 = hashlib.sha256(FILM).hexdigest()
SENT = 1_700_000
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def elsewhere(site: Site, tus: Tus) -> Iterator[Tus]:
    """The same client at a second web process of the same server."""
    sock = listener.listen("127.0.0.1", 0)
    started = subprocess.Popen(
        [sys.executable, "-m", "streamer", "web"],
        cwd=ROOT,
        env=environment(site.services.config) | {LISTEN_FD: str(sock.fileno())},
        pass_fds=[sock.fileno()],
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        wait_for(lambda: httpx2.get(f"{base}/livez", verify=NO_TLS).status_code == 200)
        with httpx2.Client(base_url=f"{base}/api/v1", headers=tus.client.headers, timeout=30, verify=NO_TLS) as client:
            yield Tus(client)
    finally:
        started.kill()
        started.wait()
        sock.close()


class TestAClientThatVanished:
    """Its connection stays open: no FIN and no RST ever reach the server, as when a cable is pulled."""

    def test_comes_back_within_a_second_and_every_byte_is_kept(self, site: Site, tus: Tus) -> None:
        path = tus.new(len(FILM))
        with tus.half_sent(path, 0, FILM[:SENT], promised=len(FILM)) as vanished:
            _goes_on(site.services, tus, path, SENT)
            assert b" 423 " in vanished.recv(1000)

    def test_comes_back_to_another_process_or_past_a_proxy_that_keeps_the_dead_connection(
        self, site: Site, tus: Tus, elsewhere: Tus
    ) -> None:
        for holder, newcomer in ((tus, elsewhere), (elsewhere, tus)):
            path = tus.new(len(FILM))
            with holder.half_sent(path, 0, FILM[:SENT], promised=len(FILM)):
                _goes_on(site.services, newcomer, path, SENT)
            path = tus.new(len(FILM))
            head = len(holder.head_of_patch(path, 0, len(FILM)))
            with (
                DeadLine(holder.client.base_url.port or 0, swallow_after=head + SENT) as line,
                holder.half_sent(path, 0, FILM[: SENT + 200_000], promised=len(FILM), port=line.port),
            ):
                _goes_on(site.services, newcomer, path, SENT)

    def test_need_not_ask_when_it_knows_the_offset(self, site: Site, tus: Tus) -> None:
        path = tus.new(len(FILM))
        with tus.half_sent(path, 0, b"", promised=len(FILM)):
            wait_for(lambda: _locked(site.services, path))
            since = time.monotonic()
            assert tus.patch(path, 0, FILM).status_code == 204
            assert time.monotonic() - since < 1
        assert tus.upload(path)["sha256"] == SHA256

    def test_gets_nothing_kept_of_a_checked_piece(self, site: Site, tus: Tus) -> None:
        path = tus.new(len(FILM))
        tus.patch(path, 0, FILM[:1000])
        checksum = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="
        with tus.half_sent(path, 1000, FILM[1000:SENT], promised=len(FILM) - 1000, Upload_Checksum=checksum):
            _goes_on(site.services, tus, path, 1000)

    def test_has_its_dead_connection_ended_by_a_delete(self, site: Site, tus: Tus) -> None:
        path = tus.new(len(FILM))
        with tus.half_sent(path, 0, FILM[:SENT], promised=len(FILM)) as vanished:
            wait_for(lambda: _on_disk(site.services, path))
            assert tus.ask("DELETE", path).status_code == 204
            assert b" 410 " in vanished.recv(1000)


def test_what_came_before_the_connection_broke_is_kept(site: Site, tus: Tus) -> None:
    path = tus.new(len(FILM))
    with tus.half_sent(path, 0, FILM[:2_000_000], promised=len(FILM)):
        wait_for(lambda: _on_disk(site.services, path) >= 1 << 20)
    wait_for(lambda: tus.upload(path)["received"] >= 1 << 20)  # the row follows without being asked
    since = time.monotonic()
    offset = tus.offset(path)
    assert time.monotonic() - since < 1, "the lock was let go too late"
    assert 1 << 20 <= offset <= 2_000_000
    assert tus.patch(path, offset, FILM[offset:]).status_code == 204
    assert tus.upload(path)["sha256"] == SHA256


def test_nobody_else_makes_a_writer_let_go(site: Site, tus: Tus) -> None:
    path, stranger = tus.new(len(FILM)), Tus(site.as_("admin"))
    with tus.half_sent(path, 0, FILM[:SENT], promised=len(FILM)) as sender:
        wait_for(lambda: _on_disk(site.services, path))
        answers = [stranger.head(path), stranger.patch(path, SENT, FILM[SENT:]), stranger.ask("DELETE", path)]
        assert [answer.status_code for answer in answers] == [404] * 3
        time.sleep(0.5)
        sender.sendall(FILM[SENT:])
        assert b" 204 " in sender.recv(1000)
    assert tus.upload(path)["sha256"] == SHA256


def test_of_two_that_both_send_the_first_goes_on(site: Site, tus: Tus) -> None:
    path = tus.new(len(FILM))
    with tus.half_sent(path, 0, FILM[:SENT], promised=len(FILM)) as first:
        wait_for(lambda: _on_disk(site.services, path))
        sending = _trickle(first, FILM[SENT:], pieces=30)
        second = tus.patch(path, 0, b"y" * len(FILM))
        assert (second.status_code, second.json()["code"]) == (423, "locked")
        sending.join()
        assert b" 204 " in first.recv(1000)
    assert tus.upload(path)["sha256"] == SHA256


def test_of_two_that_race_exactly_one_wins(tus: Tus, elsewhere: Tus) -> None:
    """RACING_PAIRS=10000 for the long run."""
    size = 2000
    path, expected = tus.new(PAIRS * size), hashlib.sha256()
    statuses: dict[bytes, int] = {}
    start = threading.Barrier(2)

    def race(racer: Tus, offset: int, data: bytes) -> None:
        start.wait()
        statuses[data] = racer.patch(path, offset, data).status_code

    for n in range(PAIRS):
        statuses.clear()
        rivals = [(racer, n * size, os.urandom(size)) for racer in (tus, elsewhere if n % 2 else Tus(tus.client))]
        threads = [threading.Thread(target=race, args=rival) for rival in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses.values()) in ([204, 409], [204, 423]), n
        expected.update(next(data for data, status in statuses.items() if status == 204))
    assert tus.upload(path)["sha256"] == expected.hexdigest()


def _goes_on(services: Services, newcomer: Tus, path: str, kept: int) -> None:
    """HEAD and PATCH of one who comes back, each within a second."""
    wait_for(lambda: _on_disk(services, path) >= min(kept, 1 << 20) and _locked(services, path))
    time.sleep(0.1)  # for what the kernel still has of it
    since = time.monotonic()
    offset = newcomer.offset(path)
    assert (offset, time.monotonic() - since < 1) == (kept, True)
    assert newcomer.patch(path, offset, FILM[offset:]).status_code == 204
    assert newcomer.upload(path)["sha256"] == SHA256


def _locked(services: Services, path: str) -> bool:
    """From the kernel's list, without asking anybody to let go."""
    inode = (services.config.uploads_dir / path.rpartition("/")[2]).stat().st_ino
    with open("/proc/locks") as locks:
        return any(f":{inode} " in line for line in locks)


def _on_disk(services: Services, path: str) -> int:
    return (services.config.uploads_dir / path.rpartition("/")[2]).stat().st_size


def _trickle(connection: socket.socket, data: bytes, *, pieces: int) -> threading.Thread:
    """Sends for as many tenths of a second as there are pieces."""

    def send() -> None:
        for n in range(pieces):
            time.sleep(0.1)
            connection.sendall(data[len(data) * n // pieces : len(data) * (n + 1) // pieces])

    thread = threading.Thread(target=send)
    thread.start()
    return thread
