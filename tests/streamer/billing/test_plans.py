"""Plans over the API: made, changed, given to people and deleted."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2

from streamer import db
from streamer.billing import holders
from streamer.membership import persons
from tests.streamer.site_under_test import Site


def make_plan(client: httpx2.Client, name: str, **members: Any) -> Any:
    answer = client.post("/plans", json={"name": name, **members})
    assert answer.status_code == 201, answer.text
    return answer.json()


def codes(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_billing_makes_plans_and_those_whose_films_come_first_are_listed_first(site: Site) -> None:
    billing = site.as_("billing")
    plain = make_plan(billing, " Plain  one ")
    assert (plain["name"], plain["encode_priority"], plain["default"]) == ("Plain one", 0, False)
    studio = make_plan(billing, "Studio", encode_priority=3)
    assert [plan["name"] for plan in billing.get("/plans").json()["data"]] == ["Studio", "Plain one"]
    changed = billing.patch(f"/plans/{plain['id']}", json={"name": "Basic", "encode_priority": 1}).json()
    assert (changed["name"], changed["encode_priority"]) == ("Basic", 1)
    assert billing.get(f"/plans/{plain['id']}").json() == changed
    assert billing.patch(f"/plans/{studio['id']}", json={"encode_priority": 4}).status_code == 400
    assert billing.post("/plans", json={"name": "\u200b"}).status_code == 400


def test_one_plan_is_the_default_of_all_who_have_none(site: Site) -> None:
    billing, member = site.as_("billing"), site.user("member")
    place = f"/users/{member.id}/plan"
    assert billing.get(place).json() == {"plan": None, "since": None}
    first, second = make_plan(billing, "First", default=True), make_plan(billing, "Second", encode_priority=2)
    assert billing.get(place).json() == {"plan": first, "since": None}
    second = billing.patch(f"/plans/{second['id']}", json={"default": True}).json()
    assert [plan["default"] for plan in billing.get("/plans").json()["data"]] == [True, False]
    assert billing.get(place).json()["plan"] == second
    for refused in (
        billing.patch(f"/plans/{second['id']}", json={"default": False}),
        billing.delete(f"/plans/{second['id']}"),
    ):
        assert codes(refused) == (409, "plan_is_default")
    with db.reading(site.services) as s:
        assert [holders.encode_priority(s, who) for who in (member.id, None)] == [2, 2]


def test_a_plan_is_given_to_a_person_and_not_deleted_while_they_have_it(site: Site) -> None:
    billing, member = site.as_("billing"), site.user("member")
    studio, other = make_plan(billing, "Studio", encode_priority=3), make_plan(billing, "Other")
    given = billing.put(f"/users/{member.id}/plan", json={"plan_id": studio["id"]}).json()
    assert given["plan"] == studio and given["since"]
    assert site.as_("member").get("/me/plan").json() == given, "who has it sees it"
    assert site.as_("viewer").get("/me/plan").json() == {"plan": None, "since": None}
    assert billing.put(f"/users/{member.id}/plan", json={"plan_id": studio["id"]}).json() == given, "since then"
    assert codes(billing.delete(f"/plans/{studio['id']}")) == (409, "plan_in_use")
    assert billing.put(f"/users/{member.id}/plan", json={"plan_id": other["id"]}).json()["plan"] == other
    assert billing.delete(f"/plans/{studio['id']}").status_code == 204
    assert billing.put(f"/users/{member.id}/plan", json={"plan_id": studio["id"]}).status_code == 404
    assert billing.put(f"/users/{member.id}/plan", json={"plan_id": None}).json() == {"plan": None, "since": None}
    told = site.as_("admin").get("/audit", params={"action": "user.plan"}).json()["data"]
    assert [(one["before"]["plan_id"], one["after"]["plan_id"]) for one in told] == [
        (other["id"], None),
        (studio["id"], other["id"]),
        (studio["id"], studio["id"]),
        (None, studio["id"]),
    ]


def test_two_who_give_somebody_a_first_plan_at_once_both_do(site: Site) -> None:
    member, billing = site.user("member"), site.as_("billing")
    one, two = (make_plan(billing, name)["id"] for name in ("One", "Two"))
    with ThreadPoolExecutor(1) as pool:
        with db.session(site.services) as s:
            holders.assign(s, member.id, one)
            other = pool.submit(billing.put, f"/users/{member.id}/plan", json={"plan_id": two})
            time.sleep(0.3)  # it has come so far that it waits
        assert other.result().json()["plan"]["id"] == two


def test_a_persons_plan_is_exported_and_goes_with_their_account(site: Site) -> None:
    billing, member = site.as_("billing"), site.user("member")
    studio = make_plan(billing, "Studio")
    billing.put(f"/users/{member.id}/plan", json={"plan_id": studio["id"]})
    exported = site.as_("admin").get(f"/users/{member.id}/export").json()
    assert [(plan["id"], plan["name"]) for plan in exported["plans"]] == [(studio["id"], "Studio")]
    persons.erase(site.services, member.id)
    assert billing.get(f"/users/{member.id}/plan").status_code == 404
    assert billing.delete(f"/plans/{studio['id']}").status_code == 204
