"""Collections: films in an order, and grants that widen what people may do with them, on both databases."""

from typing import Any

import httpx2
from sqlalchemy import select

from streamer import db
from streamer.accounts import rolebook
from streamer.accounts.tables import AuditEntry
from streamer.catalog import assets, playback_ids
from streamer.catalog.tables import Asset, Policy, Publication
from tests.streamer.site_under_test import Site

Client = httpx2.Client
ANEW: dict[str, str] | None = {}


def client(site: Site, name: str, role: str = "member", scopes: tuple[str, ...] = ("*",)) -> Client:
    return site.as_(role, name=name, scopes=scopes)


def user_id(site: Site, name: str, role: str = "member") -> str:
    return site.user(role, name=name).id


def film(site: Site, owner: str, publication: Publication = Publication.PUBLISHED) -> tuple[str, str]:
    """Asset id and private playback id of a film that plays."""
    asset, version, job = site.film(site.user("member", name=owner))
    site.publish(version, job)
    with db.session(site.services) as s:
        s.get_one(Asset, asset.id).publication = publication
        return asset.id, playback_ids.create(s, asset.id, Policy.PRIVATE).id


def made(owner: Client, name: str = "Summer", **body: str) -> str:
    answer = owner.post("/collections", json={"name": name, **body})
    assert answer.status_code == 201, answer.text
    collection_id: str = answer.json()["id"]
    return collection_id


def put(who: Client, collection: str, *films: str) -> None:
    for one in films:
        answer = who.post(f"/collections/{collection}/films", json={"asset_id": one})
        assert answer.status_code == 201, answer.text


def grant(who: Client, collection: str, access: str, **grantee: str) -> str:
    answer = who.post(f"/collections/{collection}/grants", json={"access": access, **grantee})
    assert answer.status_code == 201, answer.text
    grant_id: str = answer.json()["id"]
    return grant_id


def behind(page: dict[str, Any]) -> dict[str, str] | None:
    """What asks for the following page; None behind the last one."""
    return {"cursor": page["next_cursor"]} if page["next_cursor"] else None


def order(who: Client, collection: str) -> list[str]:
    return [one["asset"]["id"] for one in who.get(f"/collections/{collection}/films").json()["data"]]


def test_films_stand_in_an_order_that_can_be_changed(site: Site) -> None:
    ann = client(site, "ann")
    a, b, c = (film(site, "ann")[0] for _ in range(3))
    summer, winter = made(ann, description="Days\n by the  sea"), made(ann, "Winter")
    put(ann, summer, a, b, c)
    put(ann, winter, b)
    assert ann.get(f"/collections/{summer}").json()["description"] == "Days\nby the sea"
    assert order(ann, summer) == [a, b, c] and order(ann, winter) == [b]
    for moved, place, expected in ((c, 1, [c, a, b]), (c, 99, [a, b, c]), (a, 2, [b, a, c]), (a, 2, [b, a, c])):
        answer = ann.patch(f"/collections/{summer}/films/{moved}", json={"place": place})
        assert answer.status_code == 200 and order(ann, summer) == expected
    assert ann.post(f"/collections/{summer}/films", json={"asset_id": a}).status_code == 201, "it is there once"
    assert ann.delete(f"/collections/{summer}/films/{a}").status_code == 204
    with db.session(site.services) as s:
        assets.delete(s, assets.by_ids(s, [b])[0])
    assert order(ann, summer) == [c] and order(ann, winter) == []
    assert [one["place"] for one in ann.get(f"/collections/{summer}/films").json()["data"]] == [1]


def test_the_films_of_a_collection_come_in_pages(site: Site) -> None:
    ann = client(site, "ann")
    films = [film(site, "ann")[0] for _ in range(5)]
    collection = made(ann)
    put(ann, collection, *reversed(films))
    found, cursor = [], ANEW
    while cursor is not None:
        page = ann.get(f"/collections/{collection}/films", params={"limit": "2", **cursor}).json()
        found += [one["asset"]["id"] for one in page["data"]]
        cursor = behind(page)
    assert found == films[::-1]


def test_each_grant_allows_what_it_says_and_all_of_those_before_it(site: Site) -> None:
    ann, bob = client(site, "ann"), client(site, "bob")
    one, _ = film(site, "ann")
    bobs, _ = film(site, "bob")
    here = made(ann)
    put(ann, here, one)
    allowed: dict[str | None, dict[str, int]] = {}
    for access in (None, "view", "contribute", "edit", "manage"):
        if access:
            grant(ann, here, access, user_id=user_id(site, "bob"))
        allowed[access] = {
            "see": bob.get(f"/collections/{here}").status_code,
            "add": bob.post(f"/collections/{here}/films", json={"asset_id": bobs}).status_code,
            "order": bob.patch(f"/collections/{here}/films/{one}", json={"place": 1}).status_code,
            "title": bob.patch(f"/assets/{one}", json={"title": "Bob was here"}).status_code,
            "rename": bob.patch(f"/collections/{here}", json={"name": "Bob's"}).status_code,
            "delete the film": bob.delete(f"/assets/{one}").status_code,
        }
        bob.delete(f"/collections/{here}/films/{bobs}")
    assert {access: list(statuses.values()) for access, statuses in allowed.items()} == {
        None: [404, 404, 404, 403, 404, 403],
        "view": [200, 403, 403, 403, 403, 403],
        "contribute": [200, 201, 403, 403, 403, 403],
        "edit": [200, 201, 200, 200, 403, 403],
        "manage": [200, 201, 200, 200, 200, 403],
    }


def test_a_grant_opens_private_films_that_a_role_does_not(site: Site) -> None:
    """With a role that may read nothing: what is out to view, what is not out only to edit; and it closes with the grant."""
    with db.session(site.services) as s:
        rolebook.create(s, "guest", [], None)
    ann, gus = client(site, "ann"), client(site, "gus", "guest")
    (out, private), (draft, hidden) = film(site, "ann"), film(site, "ann", Publication.DRAFT)
    here = made(ann)
    put(ann, here, out, draft)

    def seen() -> list[int]:
        reading = [gus.get(f"/assets/{one}").status_code for one in (out, draft)]
        return reading + [
            gus.post("/playback-sessions", json={"playback_id": one}).status_code for one in (private, hidden)
        ]

    assert seen() == [404, 404, 403, 404]
    given = grant(ann, here, "view", role="guest")
    assert seen() == [200, 404, 201, 404] and order(gus, here) == [out]
    assert gus.get(f"/assets/{out}/versions").status_code == 403
    assert grant(ann, here, "edit", role="guest") == given, "in place of what there was"
    assert seen() == [200, 200, 201, 201] and order(gus, here) == [out, draft]
    assert gus.get(f"/assets/{draft}/versions").status_code == 200
    assert gus.post(f"/assets/{draft}/playback-ids", json={"policy": "public"}).status_code == 201
    assert ann.delete(f"/collections/{here}/grants/{given}").status_code == 204
    assert seen() == [404, 404, 403, 404]


def test_a_role_of_the_same_name_inherits_nothing(site: Site) -> None:
    ann, here = client(site, "ann"), made(client(site, "ann"))
    with db.session(site.services) as s:
        rolebook.create(s, "crew", [], None)
    grant(ann, here, "manage", role="crew")
    with db.session(site.services) as s:
        rolebook.delete(s, "crew", None)
        rolebook.create(s, "crew", [], None)
    assert client(site, "new", "crew").get(f"/collections/{here}").status_code == 404


def test_nobody_reaches_a_film_by_a_collection_of_their_own(site: Site) -> None:
    ann, eve = client(site, "ann"), client(site, "eve")
    anns, _ = film(site, "ann")
    trap, shared = made(eve), made(ann)
    assert eve.post(f"/collections/{trap}/films", json={"asset_id": anns}).json()["code"] == "not_own_film"
    put(ann, shared, anns)
    grant(ann, shared, "manage", user_id=user_id(site, "eve"))
    assert eve.post(f"/collections/{trap}/films", json={"asset_id": anns}).json()["code"] == "not_own_film"


def test_an_owner_takes_their_film_back_out_of_a_collection_they_no_longer_see(site: Site) -> None:
    ann, bob, cat = client(site, "ann"), client(site, "bob"), client(site, "cat")
    bobs, _ = film(site, "bob")
    here = made(ann)
    given = grant(ann, here, "contribute", user_id=user_id(site, "bob"))
    put(bob, here, bobs)
    assert ann.patch(f"/assets/{bobs}", json={"title": "Ann manages it"}).status_code == 200
    ann.delete(f"/collections/{here}/grants/{given}")
    assert cat.delete(f"/collections/{here}/films/{bobs}").status_code == 404
    assert bob.delete(f"/collections/{here}/films/{bobs}").status_code == 204
    assert ann.patch(f"/assets/{bobs}", json={"title": "Not any more"}).status_code == 403


def test_a_narrowed_key_only_looks(site: Site) -> None:
    ann = client(site, "ann")
    one, _ = film(site, "ann")
    here = made(ann)
    put(ann, here, one)
    key = client(site, "ann", scopes=("any:assets:read",))
    assert key.get(f"/collections/{here}").json()["access"] == "view" and order(key, here) == [one]
    for answer in (
        key.patch(f"/collections/{here}", json={"name": "x"}),
        key.delete(f"/collections/{here}/films/{one}"),
        key.post(f"/collections/{here}/grants", json={"access": "manage", "role": "viewer"}),
        key.delete(f"/collections/{here}"),
    ):
        assert answer.status_code == 403, answer.text


def test_everybody_lists_the_collections_they_see_in_pages(site: Site) -> None:
    ann, bob, editor, analyst = (
        client(site, "ann"), client(site, "bob"), client(site, "eddy", "editor"), client(site, "lyn", "analyst"),
    )  # fmt: skip
    mine = [made(ann, f"Collection {number}") for number in range(4)]
    bobs = made(bob, "Bob's own")
    grant(ann, mine[0], "view", user_id=user_id(site, "bob"))
    grant(ann, mine[0], "contribute", role="member")
    grant(ann, mine[2], "view", role="member")

    def listed(who: Client) -> list[tuple[str, str]]:
        found: list[Any] = []
        cursor: dict[str, str] | None = ANEW
        while cursor is not None:
            page = who.get("/collections", params={"limit": "2", **cursor}).json()
            found, cursor = found + page["data"], behind(page)
        return [(one["id"], one["access"]) for one in found]

    assert listed(bob) == [(bobs, "manage"), (mine[2], "view"), (mine[0], "contribute")]
    assert listed(ann) == [(one, "manage") for one in reversed(mine)]
    assert listed(editor) == [(one, "manage") for one in (bobs, *reversed(mine))]
    assert listed(analyst) == [(one, "view") for one in (bobs, *reversed(mine))]


NOBODY: list[tuple[dict[str, str], int]] = [
    ({"access": "view"}, 400),
    ({"access": "view", "user_id": "usr_00000000000000000000", "role": "viewer"}, 400),
    ({"access": "view", "user_id": "usr_00000000000000000000"}, 404),
    ({"access": "view", "user_id": "José"}, 404),
    ({"access": "view", "role": "José"}, 404),
    ({"access": "view", "role": "nobody"}, 404),
    ({"access": "own", "role": "viewer"}, 400),
]


def test_the_owner_stays_and_what_is_wrong_is_pointed_at(site: Site) -> None:
    ann = client(site, "ann")
    here = made(ann)
    owner = {"access": "view", "user_id": user_id(site, "ann")}
    assert ann.post(f"/collections/{here}/grants", json=owner).json()["code"] == "owner_grant"
    for body, status in NOBODY:
        assert ann.post(f"/collections/{here}/grants", json=body).status_code == status, body
    assert ann.get(f"/collections/{here}/grants").json() == {"data": []}
    for body, pointer in (
        ({"name": " "}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"description": "x" * 2001}, "/description"),
    ):
        answer = ann.patch(f"/collections/{here}", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    for path in ("José", "col_00000000000000000000", "x' OR 1=1"):
        assert ann.get(f"/collections/{path}").status_code == 404
        assert ann.delete(f"/collections/{here}/films/{path}").status_code == 404
        assert ann.delete(f"/collections/{here}/grants/{path}").status_code == 404
    assert client(site, "vic", "viewer").post("/collections", json={"name": "x"}).status_code == 403


def test_what_happens_to_a_collection_is_in_the_audit_log_and_its_end_leaves_the_films(site: Site) -> None:
    ann = client(site, "ann")
    one, _ = film(site, "ann")
    here = made(ann)
    put(ann, here, one)
    given = grant(ann, here, "view", role="viewer")
    grant(ann, here, "edit", role="viewer")
    ann.delete(f"/collections/{here}/grants/{given}")
    ann.patch(f"/collections/{here}", json={"name": "Autumn"})
    ann.patch(f"/collections/{here}/films/{one}", json={"place": 2})
    ann.delete(f"/collections/{here}/films/{one}")
    assert ann.delete(f"/collections/{here}").status_code == 204
    assert ann.get(f"/collections/{here}").status_code == 404 and ann.get(f"/assets/{one}").status_code == 200
    with db.reading(site.services) as s:
        lines = s.scalars(select(AuditEntry).where(AuditEntry.subject_id == here).order_by(AuditEntry.sequence)).all()
    assert [line.action.removeprefix("collection.") for line in lines] == [
        "create", "film.add", "grant", "grant", "revoke", "change", "film.move", "film.remove", "delete",
    ]  # fmt: skip
    assert lines[3].before == {"grantee": "role:viewer", "access": "view"}
    assert {line.user_id for line in lines} == {user_id(site, "ann")}
