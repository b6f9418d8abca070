"""The ledger of uploads that grow in object storage, in SQL: who writes to one, and what of it counts. See `storage.ledger`.

A turn is a lease of five seconds. One thread per process renews all turns that are held here once a second, and learns several times a second
who asks for them, so a writer hands over well within one. Who comes to hold an upload would have been handed it at once, so from a writer that
has not renewed its turn for two seconds it takes it, and after a kill -9 that is before it would be told to come again. Nothing rests on the lease but
politeness: whatever a turn changes, it changes in a transaction that first looks at the fence.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy import BigInteger, Engine, Text, delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column

from storage import ObjectExists, ObjectMissing, UploadBusy
from storage.ledger import PATIENCE_S, Piece, Turn, Wish, over
from streamer import db, ids
from streamer.db import Base, Code, Id, UtcDateTime, database_now, exact

LEASE_S, SILENT_S = 5.0, 2.0
_RENEW_S, _LOOK_S, _WAIT_S, _IDLE_S = 1.0, 0.15, 0.05, 5.0

log = structlog.get_logger(__name__)


class StoredUpload(Base):
    """An upload in the store. `claimed` is the last part number that was given out, `handle` the store's name of its object in parts."""

    __tablename__ = "stored_uploads"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(exact(255, ascii_only=True))
    handle: Mapped[str | None] = mapped_column(Text)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    claimed: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(Id)
    until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    wish: Mapped[str | None] = mapped_column(Code)
    ended: Mapped[bool] = mapped_column(default=False)


class StoredPiece(Base):
    """Bytes of an upload that count; see `storage.ledger.Piece`."""

    __tablename__ = "stored_pieces"

    upload_id: Mapped[str] = mapped_column(Id, primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[int] = mapped_column()
    etag: Mapped[str] = mapped_column(exact(255, ascii_only=True))
    key: Mapped[str] = mapped_column(exact(255, ascii_only=True))


class SqlLedger:
    """An UploadLedger for all processes that share a database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._keeper = _Keeper(engine, owner=ids.new("own"))

    def open(self, id: str, key: str) -> None:
        def insert(s: Session) -> None:
            if s.get(StoredUpload, id) is not None:
                raise ObjectExists(id)
            s.add(StoredUpload(id=id, key=key))

        db.retrying(self, insert)

    def take(self, id: str, wish: Wish) -> Turn:
        until = time.monotonic() + PATIENCE_S
        while (turn := db.retrying(self, lambda s: self._next(s, id, wish))) is None:
            if time.monotonic() > until:
                raise UploadBusy(f"somebody else is writing to {id}")
            time.sleep(_WAIT_S)
        self._keeper.add(turn)
        return turn

    def give_back(self, turn: Turn) -> None:
        """Without a database the lease runs out by itself."""
        self._keeper.remove(turn)
        mine = update(StoredUpload).where(StoredUpload.id == turn.id, StoredUpload.fence == turn.fence)
        try:
            db.retrying(self, lambda s: s.execute(mine.values(owner=None)))
        except SQLAlchemyError as error:
            log.warning("turn at an upload not given back", upload=turn.id, error=str(error))

    def asked(self, id: str, *, silent: bool) -> bool:
        return self._keeper.asked(id, silent)

    def look(self, id: str) -> Turn:
        with db.reading(self) as s:
            return _turn(_found(s.get(StoredUpload, id), id))

    def pieces(self, id: str) -> list[Piece]:
        with db.reading(self) as s:
            _found(s.get(StoredUpload, id), id)
            rows = s.scalars(select(StoredPiece).where(StoredPiece.upload_id == id).order_by(StoredPiece.start))
            return [Piece(row.start, row.size, row.number, row.etag, row.key) for row in rows]

    def claim(self, turn: Turn) -> int:
        def next_number(s: Session) -> int:
            row = _current(s, turn)
            row.claimed += 1
            return row.claimed

        return db.retrying(self, next_number)

    def begun(self, turn: Turn, handle: str) -> Turn:
        def note(s: Session) -> None:
            _current(s, turn).handle = handle

        db.retrying(self, note)
        return replace(turn, handle=handle)

    def record(self, turn: Turn, *, gone: Sequence[Piece] = (), new: Sequence[Piece] = ()) -> None:
        starts = [piece.start for piece in gone]
        replaced = delete(StoredPiece).where(StoredPiece.upload_id == turn.id, StoredPiece.start.in_(starts))

        def change(s: Session) -> None:
            _current(s, turn)
            s.execute(replaced.execution_options(synchronize_session=False))
            s.add_all(
                StoredPiece(upload_id=turn.id, start=p.start, size=p.size, number=p.number, etag=p.etag, key=p.key)
                for p in new
            )

        db.retrying(self, change)

    def end(self, id: str) -> Turn | None:
        def close(s: Session) -> Turn | None:
            row = s.get(StoredUpload, id, with_for_update=True)
            if row is None:
                return None
            row.fence, row.ended = row.fence + 1, True
            return _turn(row)

        return db.retrying(self, close)

    def forget(self, id: str) -> None:
        def remove(s: Session) -> None:
            s.execute(delete(StoredPiece).where(StoredPiece.upload_id == id))
            s.execute(delete(StoredUpload).where(StoredUpload.id == id))

        db.retrying(self, remove)

    def ids(self) -> Iterator[str]:
        with db.reading(self) as s:
            yield from s.scalars(select(StoredUpload.id).order_by(StoredUpload.id)).all()

    def close(self) -> None:
        """Leave the turns that are still held to their leases."""
        self._keeper.close()

    def _next(self, s: Session, id: str, wish: Wish) -> Turn | None:
        """The turn, or None and a wish to whoever has it."""
        row = _found(s.get(StoredUpload, id, with_for_update=True), id)
        late = database_now(LEASE_S - SILENT_S if wish is Wish.HOLD else 0)
        if row.owner is not None and s.scalar(select(StoredUpload.until > late).where(StoredUpload.id == id)):
            row.wish = Wish.HOLD if Wish.HOLD in (wish, row.wish) else wish
            return None
        row.owner, row.until, row.wish, row.fence = self._keeper.owner, database_now(LEASE_S), None, row.fence + 1
        s.flush()
        return _turn(row)


class _Keeper:
    """Looks after the turns that this process has."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self.engine, self.owner = engine, owner
        self._turns: dict[str, int] = {}
        self._wishes: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._more = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, turn: Turn) -> None:
        with self._lock:
            self._turns[turn.id] = turn.fence
            self._wishes[turn.id] = None
            self._more.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="turns", daemon=True)
                self._thread.start()

    def remove(self, turn: Turn) -> None:
        with self._lock:
            if self._turns.get(turn.id) == turn.fence:
                del self._turns[turn.id], self._wishes[turn.id]

    def close(self) -> None:
        with self._lock:
            self._turns.clear()
            self._wishes.clear()

    def asked(self, id: str, silent: bool) -> bool:
        wish = self._wishes.get(id)
        return wish == Wish.HOLD or (silent and wish == Wish.APPEND)

    def _run(self) -> None:
        renewed, pause_s = time.monotonic(), _LOOK_S
        while held := self._held():
            time.sleep(pause_s)
            try:
                if time.monotonic() - renewed > _RENEW_S:
                    renewed = time.monotonic()
                    self._renew(list(held))
                self._look(held)
                pause_s = _LOOK_S
            except SQLAlchemyError as error:
                pause_s = _RENEW_S
                log.warning("turns at uploads not looked after", count=len(held), error=str(error))

    def _held(self) -> dict[str, int]:
        """What there is, waited for a while; nothing ends the thread."""
        while True:
            with self._lock:
                if self._turns:
                    return dict(self._turns)
                self._more.clear()
            if not self._more.wait(_IDLE_S):
                with self._lock:
                    if not self._turns:
                        self._thread = None
                        return {}

    def _renew(self, held: Sequence[str]) -> None:
        mine = update(StoredUpload).where(StoredUpload.id.in_(held), StoredUpload.owner == self.owner)
        db.retrying(self, lambda s: s.execute(mine.values(until=database_now(LEASE_S))))

    def _look(self, held: dict[str, int]) -> None:
        """A turn that is over looks as if somebody wanted to hold the upload."""
        asked = select(StoredUpload.id, StoredUpload.fence, StoredUpload.wish).where(StoredUpload.id.in_(held))
        with db.reading(self) as s:
            found = {id: (fence, wish) for id, fence, wish in s.execute(asked)}
        with self._lock:
            for id, fence in held.items():
                if self._turns.get(id) == fence:
                    now, wish = found.get(id, (None, None))
                    self._wishes[id] = wish if now == fence else Wish.HOLD


def _found(row: StoredUpload | None, id: str) -> StoredUpload:
    if row is None or row.ended:
        raise ObjectMissing(id)
    return row


def _current(s: Session, turn: Turn) -> StoredUpload:
    """The row, locked; UploadBusy when another turn followed."""
    row = s.get(StoredUpload, turn.id, with_for_update=True)
    if row is None or row.fence != turn.fence:
        raise over(turn.id)
    return row


def _turn(row: StoredUpload) -> Turn:
    return Turn(row.id, row.fence, row.key, row.handle)
