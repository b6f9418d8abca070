import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from streamer import listener
from streamer.config import LISTEN_FD
from streamer.errors import Unavailable
from streamer.ingest.stream import AT_ONCE, HandedOver, Receiver, TooSlow
from tests.servers import ROOT, die_with_parent
from tests.streamer.jobs.processes import environment
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for
from tests.web import NO_TLS

MIB = 1 << 20


async def pieces(count: int, size: int = 65_536) -> AsyncIterator[bytes]:
    for n in range(count):
        yield bytes([n % 256]) * size


async def test_what_is_sent_arrives_in_order_in_large_batches() -> None:
    batches: list[bytes] = await Receiver().receive(pieces(44), lambda arriving: list(arriving), 5)
    assert b"".join(batches) == b"".join([piece async for piece in pieces(44)])
    assert [len(batch) for batch in batches] == [MIB, MIB, 44 * 65_536 - 2 * MIB]
    assert len(await Receiver().receive(pieces(8, MIB // 4), list, 5)) == 8, "large pieces are not copied together"


async def test_an_error_of_the_writer_reaches_the_sender_at_once() -> None:
    def full(arriving: Iterator[bytes]) -> None:
        next(arriving)
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"):
        await Receiver().receive(pieces(100_000), full, 5)


async def test_an_error_of_the_sender_reaches_the_writer() -> None:
    seen: list[str] = []

    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * MIB
        raise ConnectionResetError("gone")

    def write(arriving: Iterator[bytes]) -> None:
        try:
            for batch in arriving:
                seen.append(f"{len(batch)} bytes")
        except ConnectionAbortedError:
            seen.append("broken off")
            raise

    with pytest.raises(ConnectionResetError):
        await Receiver().receive(breaks(), write, 5)
    assert seen == [f"{MIB} bytes", "broken off"]


async def test_a_cancelled_upload_ends_its_thread() -> None:
    ended: list[bool] = []

    async def silent() -> AsyncIterator[bytes]:
        yield b"x" * MIB
        await asyncio.sleep(60)
        yield b""

    def write(arriving: Iterator[bytes]) -> None:
        try:
            list(arriving)
        finally:
            ended.append(True)

    task = asyncio.create_task(Receiver().receive(silent(), write, 60))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_silence_ends_an_upload() -> None:
    async def silent() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    with pytest.raises(TooSlow):
        await Receiver().receive(silent(), list, 0.05)


async def test_an_upload_is_handed_over_when_somebody_asks_and_all_that_came_is_written() -> None:
    written: list[bytes] = []
    heard: list[bool] = []

    async def vanishes() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await asyncio.sleep(60)
        yield b""

    def asked(silent: bool) -> bool:
        heard.append(silent)
        return silent

    with pytest.raises(HandedOver):
        async with asyncio.timeout(1):
            await Receiver().receive(vanishes(), written.extend, 60, asked)
    assert (written, heard[0], heard[-1]) == ([b"x" * 1000], False, True)


async def test_more_uploads_than_threads_are_told_to_come_back() -> None:
    receiver, go = Receiver(), asyncio.Event()

    async def waits() -> AsyncIterator[bytes]:
        await go.wait()
        yield b"x"

    running = [asyncio.create_task(receiver.receive(waits(), list, 60)) for _ in range(AT_ONCE)]
    await asyncio.sleep(0.05)
    with pytest.raises(Unavailable) as refusal:
        await receiver.receive(waits(), list, 60)
    assert refusal.value.headers["Retry-After"] == "30"
    go.set()
    assert await asyncio.gather(*running) == [[b"x"]] * AT_ONCE
    assert await receiver.receive(waits(), list, 60) == [b"x"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_memory_stays_flat_while_a_large_file_arrives(site: Site) -> None:
    """In a web process of its own, measured by its peak."""
    sock = listener.listen("127.0.0.1", 0)
    env = environment(site.services.config) | {LISTEN_FD: str(sock.fileno())}
    command = [sys.executable, "-m", "streamer", "web"]
    started = subprocess.Popen(
        command, cwd=ROOT, env=env, pass_fds=[sock.fileno()], stderr=subprocess.DEVNULL, preexec_fn=die_with_parent
    )
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    headers = site.as_("editor").headers

    def send(mebibytes: int) -> int:
        block = os.urandom(MIB)
        body = (block for _ in range(mebibytes))
        answer = httpx2.post(
            f"{base}/api/v1/uploads?filename=f.mp4", headers=headers, content=body, timeout=60, verify=NO_TLS
        )
        assert answer.status_code == 201
        return _peak_kib(started.pid)

    def resume(mebibytes: int) -> int:
        """The same through the door for resumable uploads."""
        said = {**headers, "Tus-Resumable": "1.0.0", "Upload-Length": str(mebibytes * MIB)}
        made = httpx2.post(f"{base}/api/v1/tus", headers=said, verify=NO_TLS).headers["location"]
        said |= {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        block = os.urandom(MIB)
        answer = httpx2.patch(
            base + made, headers=said, content=(block for _ in range(mebibytes)), timeout=60, verify=NO_TLS
        )
        assert answer.status_code == 204
        return _peak_kib(started.pid)

    try:
        wait_for(lambda: httpx2.get(f"{base}/livez", verify=NO_TLS).status_code == 200)
        before = send(8)
        assert send(256) - before < 20 * 1024
        assert resume(256) - before < 24 * 1024
    finally:
        started.kill()
        started.wait()
        sock.close()


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
