"""`streamer import`: many files one after another, with a line for each and a summary."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from storage import StorageError
from streamer.accounts import rolebook, users
from streamer.accounts.roles import Permission
from streamer.accounts.tables import User
from streamer.catalog.tables import Policy
from streamer.errors import Forbidden, Invalid, Problem
from streamer.ingest import files, folders
from streamer.ingest.files import Brought, Look
from streamer.services import Services

_MARK_S = 10.0

Tell = Callable[[str], None]
Bring = Callable[[Path, Look], Brought]
"""Makes a file a film, wherever that is."""


def owner(s: Session, who: str | None) -> User:
    """The account whose films they will be: the one that is named, or the only one that may upload."""
    if who is not None:
        found = users.find(s, who)
        if Permission.UPLOADS_CREATE not in rolebook.permissions(s, found.role):
            raise Forbidden(f"{found.email} is a {found.role} and can't own films; give the account of an editor.")
        return found
    active = s.scalars(select(User).where(User.disabled_at.is_(None))).all()
    able = [user for user in active if Permission.UPLOADS_CREATE in rolebook.permissions(s, user.role)]
    if len(able) != 1:
        raise Invalid(f"{len(able)} accounts may own films: say whose they are with --user EMAIL.")
    return able[0]


def here(services: Services, user_id: str, policy: Policy, title: str | None = None) -> Bring:
    """Into this server's storage, as films of that user."""
    return lambda path, look: files.bring_in(services, user_id, path, policy, title, look=look)


def spread(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as they are given, folders as the films in them."""
    for path in paths:
        if path.is_dir():
            yield from folders.files(path)
        else:
            yield path


@dataclass
class Batch:
    """Counts what became of each file that `bring` made a film; `tell` prints a line."""

    bring: Bring
    tell: Tell
    counts: Counter[str] = field(default_factory=Counter)

    def run(self, paths: Iterable[Path]) -> bool:
        """All of them, whatever happens to some; whether all went well. Ctrl-C ends it after the summary."""
        try:
            for path in paths:
                self.counts[self._one(path)] += 1
        except KeyboardInterrupt:
            self.tell("Interrupted: start it again and it goes on.")
            self.counts["interrupted"] += 1
        named = ("imported", "skipped", "failed", "interrupted")
        self.tell(
            ", ".join(f"{self.counts[name]} {name}" for name in named if self.counts[name]) or "There was no file."
        )
        return not (self.counts["failed"] or self.counts["interrupted"])

    def _one(self, path: Path) -> str:
        began = time.monotonic()
        try:
            done = self.bring(path, marks(path, self.tell))
        except (Problem, StorageError, SQLAlchemyError, OSError) as error:
            self.tell(f"{path}: failed: {reason(error)}")
            return "failed"
        self.tell(f"{path}: {said(done, path, time.monotonic() - began)}")
        return "imported" if done.is_new else "skipped"


def marks(path: Path, tell: Tell) -> Look:
    """A line now and then for a file that takes long."""
    told = time.monotonic()

    def look(done: int, size: int) -> None:
        nonlocal told
        if time.monotonic() - told > _MARK_S and size:
            told = time.monotonic()
            tell(f"{path}: {100 * done // size} % of {size / 1e9:.1f} GB")

    return look


def said(done: Brought, path: Path, seconds: float) -> str:
    """What became of a file."""
    if done.is_errored:
        return f'skipped, it is the film "{done.title}" already, whose encode failed: retry it there ({done.asset_id})'
    if not done.is_new:
        return f'skipped, it is the film "{done.title}" already ({done.asset_id})'
    return f"imported as {done.asset_id} ({path.stat().st_size / 1e6:.1f} MB in {seconds:.1f} s)"


def reason(error: Exception) -> str:
    """Why a file was not taken, in a sentence."""
    if isinstance(error, Problem):
        return error.detail or error.title
    if isinstance(error, OSError):
        return f"{error.strerror or error}."
    if isinstance(error, SQLAlchemyError):
        return "The database does not answer. Start it again when it does."
    return f"The storage did not take it: {error}."
