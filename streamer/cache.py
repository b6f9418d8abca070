"""Answers kept in Redis for as long as the rows they came from stay as they are.

    text = services.cache.text("films", key, rows("films", asset_id), make)     # make() -> (text, may it be kept)

An answer carries the stamps that its tags had before its rows were read; it counts only while every tag still has that stamp, which is looked up with it in one
round trip. Tables say in `info={"cache": Group(...)}` which tags a change of theirs concerns, and transactions of `streamer.db` do the rest: just
before the commit each tag is held, so that nobody keeps or believes an answer, and after it has a new stamp. Whoever was told that a change is made
never sees what was there before. If a process dies between the two, the hold ends by itself and the tag has no stamp, which fits no answer either.

Without Redis everything is read from the database. One case is left to time: a writer that cannot reach a Redis which others do reach; an answer is
never older than `cache.max_age_s`.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import redis
import structlog
from sqlalchemy import Table, event
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction

from streamer.sections import Cache as Settings

_HOLD, _HOLD_S, _STAMP_S, _PAUSE_S = "hold:", 30, 86_400, 1.0
_LARGEST = 1 << 19  # characters of an answer worth keeping
_COUNTS = "cache-counts"
_TOLD_EVERY = 100
# A hold of another writer stays: that one gives the new stamp.
_RELEASE = """
for number, key in ipairs(KEYS) do
  local now = redis.call('GET', key)
  if not now or string.sub(now, 1, 5) ~= 'hold:' or now == ARGV[1] then redis.call('SET', key, ARGV[2], 'EX', ARGV[3]) end
end
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Group:
    """What a table's rows are part of: `name`, and the column with the id of the one that a row belongs to (None: any may be concerned)."""

    name: str
    column: str | None = None


def of(group: str, column: str | None = None) -> dict[str, Any]:
    """For the `__table_args__` of a table."""
    return {"info": {"cache": Group(group, column)}}


def listed(group: str) -> list[str]:
    """The tags of an answer made from any of the group's rows."""
    return [group]


def rows(group: str, row_id: str) -> list[str]:
    """The tags of an answer made from the rows that belong to this one alone."""
    return [f"{group}:{row_id}", f"{group}:*"]


def _concerned(group: str, row_id: str | None) -> list[str]:
    return [group, f"{group}:{row_id or '*'}"]


@dataclass(frozen=True, slots=True)
class Count:
    """How often an answer was there, and how often it had to be made."""

    hits: int
    misses: int

    @property
    def ratio(self) -> float:
        """Hits of all, 0 to 1."""
        return self.hits / max(1, self.hits + self.misses)


class Cache:
    """One for each process; threads share it."""

    def __init__(self, settings: Settings, kv: redis.Redis) -> None:
        self._settings, self._kv = settings, kv
        self._release = kv.register_script(_RELEASE)
        self._asleep_until = 0.0
        self._counts: dict[str, int] = {}
        self._lock = Lock()

    def text(self, name: str, key: str, tags: Sequence[str], make: Callable[[], tuple[str, bool]]) -> tuple[str, bool]:
        """The answer `key` of the kind `name`, and whether it was there. `make` opens a transaction of its own and must not ask the cache again."""
        entry = f"cache:{name}:{key}"
        stamps, found = self._look(entry, tags)
        if found is not None:
            self._count(f"{name}:hits")
            return found, True
        made, keep = make()
        self._count(f"{name}:misses")
        if keep and stamps is not None and len(made) <= _LARGEST:
            self._quietly(lambda: self._kv.set(entry, f"{stamps}\n{made}", ex=self._settings.max_age_s))
        return made, False

    def forget(self, name: str, key: str) -> None:
        """Make this answer anew."""
        self._quietly(lambda: self._kv.delete(f"cache:{name}:{key}"))

    def distrust(self) -> None:
        """Believe nothing that is there: Redis may have been away, or back from a copy of itself, while rows changed."""

        def forget() -> None:
            for key in self._kv.scan_iter("cachetag:*", count=1000):
                self._kv.delete(key)

        self._quietly(forget)

    def hold(self, tags: Iterable[str]) -> str:
        """Nobody believes or keeps what has one of these tags until `release`, or for half a minute."""
        held = _HOLD + secrets.token_hex(8)
        self._quietly(lambda: self._set_all(tags, held, _HOLD_S), even_asleep=True)
        return held

    def release(self, tags: Iterable[str], held: str) -> None:
        """What is made from now on counts again, and nothing that was made before."""
        keys = [f"cachetag:{tag}" for tag in tags]
        self._quietly(lambda: self._release(keys, [held, secrets.token_hex(8), _STAMP_S]), even_asleep=True)

    def counts(self) -> dict[str, Count]:
        """Since Redis was empty, over all processes, give or take what they have not told yet."""
        known = {str(name): int(number) for name, number in self._kv.hgetall(_COUNTS).items()}
        kinds = sorted({name.partition(":")[0] for name in known})
        return {kind: Count(known.get(f"{kind}:hits", 0), known.get(f"{kind}:misses", 0)) for kind in kinds}

    def _look(self, entry: str, tags: Sequence[str]) -> tuple[str | None, str | None]:
        """The stamps to keep an answer under, None if it may not be kept, and the answer if there is one."""
        if not self._settings.enabled or time.monotonic() < self._asleep_until:
            return None, None
        keys = [f"cachetag:{tag}" for tag in tags]
        found = self._quietly(lambda: self._kv.mget(entry, *keys))
        if found is None:
            return None, None
        stamps = found[1:] if all(found[1:]) else self._stamped(keys)
        if stamps is None or not all(stamps) or any(stamp.startswith(_HOLD) for stamp in stamps):
            return None, None
        joined = ",".join(stamps)
        known, _, text = (found[0] or "").partition("\n")
        return joined, text if known == joined else None

    def _stamped(self, keys: Sequence[str]) -> list[str] | None:
        """The stamps, those that were missing new."""

        def stamp() -> list[str]:
            with self._kv.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.set(key, secrets.token_hex(8), nx=True, ex=_STAMP_S)
                pipe.mget(keys)
                answers: list[list[str]] = pipe.execute()
            return answers[-1]

        stamps: list[str] | None = self._quietly(stamp)
        return stamps

    def _set_all(self, tags: Iterable[str], value: str, seconds: int) -> None:
        with self._kv.pipeline(transaction=False) as pipe:
            for tag in tags:
                pipe.set(f"cachetag:{tag}", value, ex=seconds)
            pipe.execute()

    def _count(self, what: str) -> None:
        """Told to Redis now and then."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + 1
            if sum(self._counts.values()) < _TOLD_EVERY:
                return
            told, self._counts = self._counts, {}

        def tell() -> None:
            with self._kv.pipeline(transaction=False) as pipe:
                for name, number in told.items():
                    pipe.hincrby(_COUNTS, name, number)
                pipe.execute()

        self._quietly(tell)

    def _quietly(self, ask: Callable[[], Any], *, even_asleep: bool = False) -> Any:
        """What Redis says, or None; after an error it is left alone for a moment, so that not every request waits for it."""
        if not self._settings.enabled or (not even_asleep and time.monotonic() < self._asleep_until):
            return None
        try:
            return ask()
        except redis.RedisError as error:
            self._asleep_until = time.monotonic() + _PAUSE_S
            log.debug("cache not reached", error=str(error))
            return None


def unseen() -> dict[str, Any]:
    """Execution options of a statement that changes nothing which an answer shows."""
    return {"cache_unseen": True}


@event.listens_for(Session, "after_flush")
def _note_rows(s: Session, context: UOWTransaction) -> None:
    for row in s.new:
        _note(s, row.__table__, row)
    for row in s.dirty:
        if s.is_modified(row):
            _note(s, row.__table__, row)
    for row in s.deleted:
        _note(s, row.__table__, row)


@event.listens_for(Session, "do_orm_execute")
def _note_statement(state: ORMExecuteState) -> None:
    if state.is_select or state.execution_options.get("cache_unseen"):
        return
    table = getattr(state.statement, "table", None)
    if isinstance(table, Table):
        _note(state.session, table, None)


@event.listens_for(Session, "before_commit")
def _hold(s: Session) -> None:
    if "cache" not in s.info or s.in_nested_transaction():
        return
    s.flush()
    if tags := s.info.get("touched"):
        s.info["held"] = s.info["cache"].hold(tags)


@event.listens_for(Session, "after_commit")
@event.listens_for(Session, "after_rollback")
def _let_go(s: Session) -> None:
    if s.in_nested_transaction():
        return
    tags, held = s.info.pop("touched", None), s.info.pop("held", None)
    if held is not None:
        s.info["cache"].release(tags, held)


def _note(s: Session, table: Table, row: Any) -> None:
    group: Group | None = table.info.get("cache")
    if group is None or "cache" not in s.info:
        return
    row_id = getattr(row, group.column) if row is not None and group.column else None
    s.info.setdefault("touched", set()).update(_concerned(group.name, row_id))
