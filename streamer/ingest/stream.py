"""A request's body on its way to a thread that writes it: receiving and writing overlap, and memory stays flat.

The event loop gathers pieces into batches of 1 MiB, joins them only if they are many, and hands them over; eight batches may wait. A slow disk thus slows the sender,
a slow sender costs a sleeping thread, and a sender that is silent for too long is let go. However the stream ends, what came is written.

A sender that vanished without a word looks like a slow one. So the thread asks a few times a second whether it should let go (`asked`),
for instance because the same client is back on another connection.

    size = await receiver().receive(request.stream(), write, idle_s)    # write(batches) runs in the thread
    await linger(request)                                               # before a refusal of a request with a body
"""

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from streamer.errors import Locked, Problem, Unavailable

T = TypeVar("T")

AT_ONCE = 64
"""Uploads a web process takes at a time; each has a thread, so that uploads never take the threads of other requests."""

UNLIMITED = 1 << 62
"""`max_body_size` of routes that take films: their endpoints hold the configured limit, with a sentence that names it."""

_BATCH = 1 << 20
_WAITING, _MOST_PIECES = 8, 8
_LOOK_S, _SILENT_S = 0.1, 0.25
_LINGER_S, _LINGER_BYTES = 2.0, 64 << 20
_ADVICE = "Send the file again, or the rest of it if the upload can be resumed."


class TooSlow(Problem):
    """The client stopped sending."""

    status, default_code, title = 408, "upload_stalled", "The upload stalled"


class HandedOver(Locked):
    """Another request for the same upload goes on with it."""

    default_code, title = "upload_handed_over", "The upload goes on elsewhere"

    def __init__(self) -> None:
        super().__init__("Another request took this upload over. Ask how far it is, and send what comes after that.")


Asked = Callable[[bool], bool]
"""Whether to let go, told whether the sender has been silent for a moment; called in the thread."""


def _nobody_asks(silent: bool) -> bool:
    return False


class Receiver:
    """Counts the uploads in progress; one per process."""

    def __init__(self) -> None:
        self._active = 0

    async def receive(
        self,
        pieces: AsyncIterator[bytes],
        write: Callable[[Iterator[bytes]], T],
        idle_s: float,
        asked: Asked = _nobody_asks,
    ) -> T:
        """`write(pieces)` in a thread, fed with `pieces`. Whatever ends the stream early is raised out of those too."""
        with self._place():
            return await _receive(_Arriving(pieces, idle_s), write, asked)

    async def work(self, work: Callable[[], T]) -> T:
        """Long work for an upload whose bytes are all there, in one of the threads that uploads have."""
        with self._place():
            return await asyncio.get_running_loop().run_in_executor(_writers(), work)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._active >= AT_ONCE:
            raise Unavailable("Too many uploads are running at the moment.", code="too_many_uploads", retry_after_s=30)
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1


@cache
def receiver() -> Receiver:
    """The process's own, since the limit is the process's."""
    return Receiver()


async def linger(request: Request) -> None:
    """Read on a little: a client that is still sending when the connection closes often never sees the answer."""
    left, until = _LINGER_BYTES, time.monotonic() + _LINGER_S
    try:
        async with asyncio.timeout(_LINGER_S):
            async for piece in request.stream():
                left -= len(piece)
                if left < 0 or time.monotonic() > until:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return


async def _receive(arriving: "_Arriving", write: Callable[[Iterator[bytes]], T], asked: Asked) -> T:
    pipe = _Pipe(arriving, asked)
    writer = asyncio.get_running_loop().run_in_executor(_writers(), lambda: write(iter(pipe)))
    writer.add_done_callback(lambda _: pipe.writer_left())
    try:
        async for batch in arriving.batches():
            if not await pipe.push(batch):
                break
        pipe.end(None)
    except BaseException as error:  # also a cancelled task: the thread must end before the file can be removed
        pipe.end(error)
        await asyncio.wait([writer])
        writer.exception()  # the same error, or one that came first; marks it as seen
        raise
    return await writer


@cache
def _writers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upload")


class _Arriving:
    """Pieces gathered into batches, until they end, stop coming or are not wanted any more."""

    def __init__(self, pieces: AsyncIterator[bytes], idle_s: float) -> None:
        self._pieces, self._idle_s = pieces, idle_s
        self._heard = time.monotonic()
        self._waiting: asyncio.Timeout | None = None
        self._handed_over = False

    @property
    def is_silent(self) -> bool:
        return time.monotonic() - self._heard > _SILENT_S

    def hand_over(self) -> None:
        """End the stream now; for the event loop."""
        self._handed_over = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(0)

    async def batches(self) -> AsyncIterator[list[bytes]]:
        gathered: list[bytes] = []
        size = 0
        end: Exception | None = None
        try:
            while (piece := await self._next()) is not None:
                gathered.append(piece)
                size += len(piece)
                if size >= _BATCH:
                    yield _few(gathered)
                    gathered, size = [], 0
        except (Problem, ClientDisconnect) as error:
            end = error
        if gathered:
            yield _few(gathered)
        if end is not None:
            raise end

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(0 if self._handed_over else self._idle_s) as self._waiting:
                piece = await anext(self._pieces, None)
        except TimeoutError:
            raise HandedOver() if self._handed_over else self._too_slow() from None
        finally:
            self._waiting = None
        self._heard = time.monotonic()
        return piece

    def _too_slow(self) -> TooSlow:
        return TooSlow(f"Nothing arrived for {self._idle_s:g} seconds, so the connection was ended. {_ADVICE}")


def _few(pieces: list[bytes]) -> list[bytes]:
    """Over a fast line pieces are large, and joining them costs more than handling each."""
    return pieces if len(pieces) <= _MOST_PIECES else [b"".join(pieces)]


class _Pipe:
    """From the event loop to one thread."""

    def __init__(self, arriving: _Arriving, asked: Asked) -> None:
        self._arriving, self._asked, self._looked = arriving, asked, time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(_WAITING)
        self._queue: queue.SimpleQueue[list[bytes] | BaseException | None] = queue.SimpleQueue()
        self._left = False

    async def push(self, batch: list[bytes]) -> bool:
        """Hand over a batch when there is room; False when nobody reads any more."""
        await self._room.acquire()
        if self._left:
            return False
        self._queue.put(batch)
        return True

    def end(self, error: BaseException | None) -> None:
        self._queue.put(error)

    def writer_left(self) -> None:
        self._left = True
        self._room.release()

    def __iter__(self) -> Iterator[bytes]:
        while (batch := self._next()) is not None:
            if isinstance(batch, BaseException):
                raise ConnectionAbortedError("the upload ended early") from batch
            yield from batch
            self._loop.call_soon_threadsafe(self._room.release)

    def _next(self) -> list[bytes] | BaseException | None:
        while True:
            if time.monotonic() - self._looked >= _LOOK_S:
                self._look()
            with suppress(queue.Empty):
                return self._queue.get(timeout=_LOOK_S)

    def _look(self) -> None:
        self._looked = time.monotonic()
        if self._asked(self._arriving.is_silent):
            self._loop.call_soon_threadsafe(self._arriving.hand_over)
