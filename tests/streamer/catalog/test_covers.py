"""How many films of a collection somebody sees, and with which poster it is shown, on both databases."""

from dataclasses import replace

from sqlalchemy import update

from streamer import db
from streamer.accounts import users
from streamer.accounts.principals import Principal
from streamer.accounts.roles import PERMISSIONS, Role
from streamer.catalog import assets, collection_films, collections, covers, grants, versions
from streamer.catalog.collection_tables import Access
from streamer.catalog.covers import Cover
from streamer.catalog.tables import Publication, Version
from streamer.services import Services


def test_a_cover_counts_what_somebody_sees_and_has_the_first_poster_they_see(services: Services) -> None:
    services = replace(services, poster_url=lambda path: f"/{path}.jpg")
    with db.session(services) as s:
        ann, bob = (member(services, s, name) for name in ("ann", "bob"))
        full, empty = (collections.create(s, ann, name) for name in ("Full", "Empty"))
        for title, publication in (("plain", Publication.PUBLISHED), ("draft", Publication.DRAFT), ("out", Publication.PUBLISHED)):  # fmt: skip
            asset = assets.create(s, ann.user_id, title)
            version = versions.create(s, asset.id, versions.Source(f"sources/{title}", "f.mp4", 1, "ab" * 32))
            asset.publication, asset.live_version_id = publication, version.id
            s.flush()
            facts = {"poster": title != "plain", "path": title, "playable": True}
            s.execute(update(Version).where(Version.id == version.id).values(**facts))
            collection_films.add(s, full, asset, ann)
        for row in (full, empty):
            grants.give(s, row, Access.VIEW, user_id=bob.user_id)
    with db.reading(services) as s:
        assert covers.of(services, s, [full, empty], ann) == {full.id: Cover(3, "/draft.jpg"), empty.id: Cover()}
        assert covers.of(services, s, [full, empty], bob) == {full.id: Cover(2, "/out.jpg"), empty.id: Cover()}
        assert covers.of(services, s, [], bob) == {}


def member(services: Services, s: db.Session, name: str) -> Principal:
    facts = {"email": f"{name}@example.org", "name": name, "role": Role.MEMBER, "password": "a good one"}
    user = users.create(s, services.config.accounts, **facts)
    return Principal(user.id, user.email, name, Role.MEMBER, PERMISSIONS[Role.MEMBER])
