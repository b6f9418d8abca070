"""Films that collections let somebody see, in one list, on both databases."""

import pytest

from streamer import db
from streamer.accounts import rolebook
from streamer.catalog import shared
from streamer.catalog.tables import Publication
from tests.streamer.catalog.test_collections import ANEW, Client, behind, client, film, grant, made, put, user_id
from tests.streamer.site_under_test import Site


def test_films_that_a_person_or_their_role_was_granted_are_listed_once_newest_first(site: Site) -> None:
    with db.session(site.services) as s:
        rolebook.create(s, "guest", [], None)
    ann, gus = client(site, "ann"), client(site, "gus", "guest")
    films = [film(site, "ann")[0] for _ in range(5)]
    draft, _ = film(site, "ann", Publication.DRAFT)
    foreign, _ = film(site, "bob")
    ours, all_of_it = made(ann), made(ann)
    put(ann, ours, films[3], films[0], draft)
    put(ann, all_of_it, *films, draft)
    put(client(site, "bob"), made(client(site, "bob")), foreign)
    assert seen(gus) == [] and gus.get("/assets").json()["data"] == []
    grant(ann, ours, "view", user_id=user_id(site, "gus", "guest"))
    assert seen(gus) == [films[3], films[0]], "what is not out is for who may edit it"
    given = grant(ann, all_of_it, "edit", role="guest")
    assert seen(gus) == [draft, *films[::-1]]
    assert all(gus.get(f"/assets/{one}").status_code == 200 for one in seen(gus))
    ann.delete(f"/assets/{films[3]}")
    assert seen(gus) == [draft, films[4], *films[2::-1]]
    ann.delete(f"/collections/{all_of_it}/grants/{given}")
    assert seen(gus) == [films[0]]
    assert seen(ann) == [draft, films[4], *films[2::-1]], "one's own collections are among them"


def test_the_newest_collections_are_looked_into(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "COLLECTIONS", 1)
    ann = client(site, "ann")
    old, new = film(site, "ann")[0], film(site, "ann")[0]
    for one in (old, new):
        put(ann, made(ann), one)
    assert seen(ann) == [new]


def test_what_can_not_be_meant_is_said(site: Site) -> None:
    ann = client(site, "ann")
    for query, expected in (
        ("shared=yes", "must be true or false, not 'yes'"),
        ("shared=true&q=x", "must be without q"),
    ):
        answer = ann.get(f"/assets?{query}")
        assert answer.status_code == 400 and answer.json()["errors"][0]["detail"].startswith(expected)
    assert ann.get("/assets?shared=false").status_code == 200


def seen(who: Client) -> list[str]:
    """All of them, by pages of two."""
    found, cursor = [], ANEW
    while cursor is not None:
        page = who.get("/assets", params={"shared": "true", "limit": "2", **cursor}).json()
        found += [one["id"] for one in page["data"]]
        cursor = behind(page)
    return found
