"""Uploads that grow in an object store, so that any web host can go on with any of them.

An object can't be appended to. So bytes become parts of a multipart upload as soon as there are 8 MiB of them, and what is left at the end
of a request becomes an object of its own under `incoming/<upload>/`, which is durable before the offset is told and part of the next part
later. Completing the multipart makes the object where it belongs: no byte is copied, whatever its size.

Who may write, and which parts and objects count, says a ledger (`ledger`). Part numbers and names of objects are never used twice, so what
a writer stores that was thought dead never replaces what counts, and completing names each part with its ETag.

A client may also send the parts itself, to signed URLs: then nothing counts before `accept`, and as they are parts of
`incoming/<upload>/whole`, no byte of them is where anybody looks for a film before `finish`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from storage.base import (
    KeyRefused,
    ObjectMissing,
    ObjectStore,
    OffsetMismatch,
    Part,
    PartStore,
    StorageError,
    check_key,
)
from storage.joined import Joined
from storage.ledger import Piece, Turn, UploadLedger, Wish

INCOMING = "incoming"
PART_SIZE = 8 << 20
SMALLEST_PART = 5 << 20
_GROW_EVERY = 1000  # parts; S3 takes 10,000, which come to 440 GB
_MOST_OBJECTS = 16
_COPIED_AT_ONCE = 1 << 30
_TYPE = "application/octet-stream"


class StoredUploads:
    """An UploadStore in an object store that takes parts."""

    def __init__(
        self, objects: ObjectStore, parts: PartStore, ledger: UploadLedger, *, part_size: int = PART_SIZE
    ) -> None:
        self._objects, self._parts, self._ledger, self._part_size = objects, parts, ledger, part_size
        self._held: dict[str, Turn] = {}

    def create(self, id: str, key: str | None = None) -> None:
        self._ledger.open(_checked(id), key or f"{INCOMING}/{id}/whole")

    def append(self, id: str, offset: int, chunks: Iterable[bytes], *, whole: bool = False) -> int:
        with self._turn(id, Wish.APPEND) as turn:
            pieces = self._ledger.pieces(id)
            if offset != (size := _end(pieces)):
                raise OffsetMismatch(f"{id} ends at byte {size}, not {offset}", size)
            writer = _Writer(self._objects, self._parts, self._ledger, turn, pieces, self._part_size, whole)
            try:
                for chunk in chunks:
                    writer.add(chunk)
            except StorageError:
                raise
            except BaseException:
                if not whole:
                    writer.end()
                raise
            return writer.end()

    @contextmanager
    def hold(self, id: str) -> Iterator[int]:
        with self._turn(id, Wish.HOLD) as turn:
            self._held[id] = turn
            try:
                yield _end(self._ledger.pieces(id))
            finally:
                self._held.pop(id, None)

    def size(self, id: str) -> int:
        with self.hold(id) as size:
            return size

    def asked(self, id: str, *, silent: bool) -> bool:
        return self._ledger.asked(id, silent=silent)

    def ids(self) -> Iterator[str]:
        return self._ledger.ids()

    def finish(self, ids: Sequence[str], key: str) -> str | None:
        made = [self._make(self._held[id]) for id in ids]
        if made != [key]:
            self._join(made, key)
        return None

    def abort(self, id: str) -> None:
        """The ledger first: from then on nobody adds to it, and if we die, `ids` still names it."""
        if (ended := self._ledger.end(_checked(id))) is None:
            return
        if ended.handle is not None:
            self._parts.abandon(ended.key, ended.handle)
        for info in self._objects.list(f"{INCOMING}/{id}/"):
            self._objects.delete(info.key)
        self._ledger.forget(id)

    def open_to_parts(self, id: str) -> None:
        """Let parts of a new upload be sent to signed URLs."""
        with self._turn(id, Wish.HOLD) as turn:
            _begun(self._parts, self._ledger, turn)

    def sign(self, id: str, number: int, size: int, *, ttl_s: int) -> str:
        """A URL that takes `size` bytes as part `number`, once or again, until `accept`."""
        key, handle = self._in_parts(id)
        return self._parts.presign_part(key, handle, number, size, ttl_s=ttl_s)

    def sent(self, id: str) -> list[Part]:
        """What came to signed URLs, by number; ObjectMissing when it is whole or there is no such upload."""
        return self._parts.parts(*self._in_parts(id))

    def accept(self, id: str, parts: Sequence[Part]) -> int:
        """Count these parts as the upload's bytes, in this order; how many there are. What was accepted before stays."""
        with self._turn(id, Wish.HOLD) as turn:
            if not (pieces := self._ledger.pieces(id)):
                for part in parts:
                    pieces.append(Piece(_end(pieces), part.size, part.number, part.etag))
                self._ledger.record(turn, new=pieces)
            return _end(pieces)

    @contextmanager
    def _turn(self, id: str, wish: Wish) -> Iterator[Turn]:
        turn = self._ledger.take(_checked(id), wish)
        try:
            yield turn
        finally:
            self._ledger.give_back(turn)

    def _in_parts(self, id: str) -> tuple[str, str]:
        found = self._ledger.look(_checked(id))
        if found.handle is None:
            raise ObjectMissing(id)
        return found.key, found.handle

    def _make(self, turn: Turn) -> str:
        """The upload's object, made of what counts; its key."""
        pieces = self._ledger.pieces(turn.id)
        rest = [piece for piece in pieces if not piece.number]
        if len(rest) == len(pieces):
            self._objects.put(turn.key, _read(self._objects, rest), type=_TYPE)
            return turn.key
        assert turn.handle is not None  # there are parts
        if rest:
            last = _as_part(self._parts, self._ledger, turn, rest[0].start, _read(self._objects, rest))
            self._ledger.record(turn, gone=rest, new=[last])
            pieces = [*(piece for piece in pieces if piece.number), last]
        try:
            self._parts.complete(turn.key, turn.handle, [Part(p.number, p.size, p.etag) for p in pieces])
        except ObjectMissing:
            if self._objects.head(turn.key).size != _end(pieces):  # else it was made before, and nobody was told
                raise
        return turn.key

    def _join(self, made: Sequence[str], key: str) -> None:
        sizes = [self._objects.head(one).size for one in made]
        if len(made) == 1:
            self._objects.copy(made[0], key)
        elif min(sizes[:-1]) < SMALLEST_PART:  # S3 joins nothing smaller, so these bytes go through here
            pieces = (piece for one in made for piece in self._objects.chunks(one))
            self._objects.put(key, Joined(pieces).file(), type=_TYPE)
        else:
            self._copy_parts(list(zip(made, sizes, strict=True)), key)

    def _copy_parts(self, made: Sequence[tuple[str, int]], key: str) -> None:
        handle = self._parts.begin(key)
        try:
            ranges = [(one, *span) for one, size in made for span in _spans(size)]
            parts = [
                self._parts.copy_part(key, handle, number, *one_range) for number, one_range in enumerate(ranges, 1)
            ]
            self._parts.complete(key, handle, parts)
        except BaseException:
            with suppress(StorageError):
                self._parts.abandon(key, handle)
            raise


class _Writer:
    """One append: gathers bytes into parts, and at the end into an object. With `whole` nothing counts before the end."""

    def __init__(
        self,
        objects: ObjectStore,
        parts: PartStore,
        ledger: UploadLedger,
        turn: Turn,
        pieces: Sequence[Piece],
        part_size: int,
        whole: bool,
    ) -> None:
        self._objects, self._parts, self._ledger, self._turn = objects, parts, ledger, turn
        self._rest = [piece for piece in pieces if not piece.number]
        self._count = len(pieces) - len(self._rest)
        self._first_size, self._whole = part_size, whole
        self._stored, self._buffer = _end(pieces), bytearray()
        self._gone: list[Piece] = []
        self._new: list[Piece] = []

    def add(self, chunk: bytes) -> None:
        self._buffer += chunk
        while (short := self._part_size - sum(piece.size for piece in self._rest)) <= len(self._buffer):
            self._send_part(short)

    def end(self) -> int:
        """The new size, when all of it is durable and counts."""
        if self._buffer:
            self._store_rest()
        self._record()
        return self._stored

    @property
    def _part_size(self) -> int:
        return self._first_size * (1 + self._count // _GROW_EVERY)

    def _send_part(self, fresh: int) -> None:
        self._turn = _begun(self._parts, self._ledger, self._turn)
        with memoryview(self._buffer) as buffer:
            body = b"".join((_read(self._objects, self._rest), buffer[:fresh]))
        start = self._stored - (len(body) - fresh)
        self._new.append(_as_part(self._parts, self._ledger, self._turn, start, body))
        self._gone += self._rest
        del self._buffer[:fresh]
        self._rest, self._count, self._stored = [], self._count + 1, self._stored + fresh
        if not self._whole:
            self._record()

    def _store_rest(self) -> None:
        """Beside the objects that are there, or in place of them before they are too many to read."""
        joined = self._rest if len(self._rest) >= _MOST_OBJECTS else []
        body = b"".join((_read(self._objects, joined), self._buffer))
        start = self._stored + len(self._buffer) - len(body)
        key = f"{INCOMING}/{self._turn.id}/{start}-{self._turn.fence}-{len(body)}"
        self._objects.put(key, body, type=_TYPE)
        self._gone += joined
        self._new.append(Piece(start, len(body), key=key))
        self._stored += len(self._buffer)
        self._buffer.clear()

    def _record(self) -> None:
        if self._gone or self._new:
            self._ledger.record(self._turn, gone=self._gone, new=self._new)
        gone, self._gone, self._new = self._gone, [], []
        with suppress(StorageError):  # what stays goes with the upload
            for piece in gone:
                self._objects.delete(piece.key)


def _begun(parts: PartStore, ledger: UploadLedger, turn: Turn) -> Turn:
    """The turn with its object in parts, begun when there was none."""
    if turn.handle is not None:
        return turn
    handle = parts.begin(turn.key)
    try:
        return ledger.begun(turn, handle)
    except BaseException:
        with suppress(StorageError):
            parts.abandon(turn.key, handle)
        raise


def _as_part(parts: PartStore, ledger: UploadLedger, turn: Turn, start: int, body: bytes) -> Piece:
    assert turn.handle is not None
    part = parts.put_part(turn.key, turn.handle, ledger.claim(turn), body)
    return Piece(start, part.size, part.number, part.etag)


def _read(objects: ObjectStore, pieces: Sequence[Piece]) -> bytes:
    return b"".join(objects.read(piece.key) for piece in pieces)


def _end(pieces: Sequence[Piece]) -> int:
    return pieces[-1].start + pieces[-1].size if pieces else 0


def _spans(size: int) -> Iterator[tuple[int, int]]:
    """Start and length of about equal ranges, none too large for one copy, none too small for a part."""
    count = -(-size // _COPIED_AT_ONCE)
    length = -(-size // max(count, 1))
    yield from ((start, min(length, size - start)) for start in range(0, size, length or 1))


def _checked(id: str) -> str:
    if "/" in check_key(id):
        raise KeyRefused(f"not an upload id: {id[:80]!r}")
    return id
