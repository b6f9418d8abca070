"""What the ids of the audit log stand for, where it still exists and whoever reads may see it: its name, and its page."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from streamer import ids
from streamer.accounts import audit, rolebook, users
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.accounts.tables import ApiKey, AuditEntry
from streamer.billing.tables import Plan
from streamer.catalog.collection_tables import Collection
from streamer.catalog.tables import Asset, PlaybackId, Version
from streamer.webhooks.tables import Endpoint


@dataclass(frozen=True, slots=True)
class Subject:
    """A name, and the address of a page if there is one."""

    name: str
    href: str = ""


Found = Iterator[tuple[str, Subject]]
Reader = Callable[[Session, set[str]], Found]


def found(s: Session, who: Principal, entries: Iterable[AuditEntry]) -> dict[str, Subject]:
    """The subjects of these entries, and whatever else has an id in them, by id; roles by name. A query for each kind."""
    wanted: dict[str, set[str]] = {}
    for entry in entries:
        for one in _ids(entry):
            wanted.setdefault(one.partition("_")[0], set()).add(one)
    named: dict[str, Subject] = {}
    for kind, (permission, read) in _READERS.items():
        if kind in wanted and (permission is None or who.can(permission)):
            named |= read(s, wanted[kind])
    if not who.can(Permission.USERS_READ):
        named |= {one: Subject(subject.name) for one, subject in named.items() if one.startswith("usr_")}
    return named | (_roles(s) if who.can(Permission.ROLES_READ) else {})


def told(entry: AuditEntry, facts: Mapping[str, Any]) -> Subject:
    """Of what is gone: what the entry itself calls it, else its id."""
    if entry.subject_id == audit.UNKNOWN:
        return Subject("An account that there is not")
    names = (facts.get(name) for name in ("name", "title", "email", "description", "host", "filename"))
    return Subject(next((name for name in names if isinstance(name, str) and name), entry.subject_id))


def _ids(entry: AuditEntry) -> Iterator[str]:
    yield from (one for one in (entry.user_id, entry.subject_id) if one and ids.is_id(one))
    for facts in (entry.before, entry.after):
        yield from (one for one in (facts or {}).values() if isinstance(one, str) and ids.is_id(one))


def _people(s: Session, wanted: set[str]) -> Found:
    yield from ((one, Subject(name, f"/admin/people/{one}")) for one, name in users.names(s, wanted).items())


def _films(s: Session, wanted: set[str]) -> Found:
    rows = s.scalars(select(Asset).where(Asset.id.in_(wanted), Asset.deleted_at.is_(None)))
    yield from ((row.id, Subject(row.title, f"/admin/assets/{row.id}")) for row in rows)


def _versions(s: Session, wanted: set[str]) -> Found:
    query = select(Version.id, Asset).join(Asset, Asset.id == Version.asset_id)
    for version_id, row in s.execute(query.where(Version.id.in_(wanted), Asset.deleted_at.is_(None))):
        yield version_id, Subject(f"a version of {row.title}", f"/admin/assets/{row.id}")


def _links(s: Session, wanted: set[str]) -> Found:
    query = select(PlaybackId.id, Asset).join(Asset, Asset.id == PlaybackId.asset_id)
    for playback_id, row in s.execute(query.where(PlaybackId.id.in_(wanted), Asset.deleted_at.is_(None))):
        yield playback_id, Subject(f"a link to {row.title}", f"/admin/assets/{row.id}")


def _collections(s: Session, wanted: set[str]) -> Found:
    rows = s.scalars(select(Collection).where(Collection.id.in_(wanted)))
    yield from ((row.id, Subject(row.name, f"/admin/collections/{row.id}")) for row in rows)


def _plans(s: Session, wanted: set[str]) -> Found:
    rows = s.scalars(select(Plan).where(Plan.id.in_(wanted)))
    yield from ((row.id, Subject(row.name, f"/admin/plans/{row.id}")) for row in rows)


def _webhooks(s: Session, wanted: set[str]) -> Found:
    rows = s.scalars(select(Endpoint).where(Endpoint.id.in_(wanted)))
    yield from (
        (row.id, Subject(row.description or urlsplit(row.url).netloc, f"/admin/webhooks/{row.id}")) for row in rows
    )


def _keys(s: Session, wanted: set[str]) -> Found:
    rows = s.scalars(select(ApiKey).where(ApiKey.id.in_(wanted)))
    yield from ((row.id, Subject(row.name)) for row in rows)


def _roles(s: Session) -> dict[str, Subject]:
    return {role.name: Subject(role.name, f"/admin/roles/{role.name}") for role in rolebook.entries(s)}


_READERS: dict[str, tuple[Permission | None, Reader]] = {
    "usr": (None, _people),
    "ast": (Permission.ASSETS_LIST, _films),
    "ver": (Permission.ASSETS_LIST, _versions),
    "plb": (Permission.ASSETS_LIST, _links),
    "col": (Permission.ASSETS_LIST, _collections),
    "pln": (Permission.PLANS_READ, _plans),
    "whe": (Permission.WEBHOOKS_READ, _webhooks),
    "key": (Permission.USERS_READ, _keys),
}
"""Names by kind of id, and what somebody needs to read them; people's names are the log's own."""
