"""Endpoints, deliveries and the replay of events, over HTTP."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import delete

from streamer import db
from streamer.config import Config
from streamer.events import relay
from streamer.events.tables import Event
from streamer.services import Services
from streamer.webhooks.courier import Courier
from tests.servers import ROOT, die_with_parent
from tests.streamer.events.following import record
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for
from tests.streamer.webhooks.receiver import Receiver, verified

ROUTES = [
    ("GET", "/events"), ("GET", "/webhook-endpoints"), ("POST", "/webhook-endpoints"), ("GET", "/webhook-endpoints/whe_1"),
    ("PATCH", "/webhook-endpoints/whe_1"), ("DELETE", "/webhook-endpoints/whe_1"), ("POST", "/webhook-endpoints/whe_1/rotate-secret"),
    ("GET", "/webhook-endpoints/whe_1/deliveries"), ("POST", "/webhook-endpoints/whe_1/deliveries/whd_1/resend"),
    ("GET", "/webhook-endpoints/whe_1/deliveries/whd_1/attempts"), ("POST", "/webhook-endpoints/whe_1/ping"),
    ("POST", "/webhook-endpoints/whe_1/replay"),
]  # fmt: skip


def test_an_endpoint_is_made_changed_rotated_and_deleted(site: Site, receiver: Receiver) -> None:
    admin = site.as_("admin")
    answer = admin.post("/webhook-endpoints", json={"url": receiver.url, "types": ["asset.ready"], "description": "x"})
    made = answer.json()
    secret = made.pop("secret")
    assert (answer.status_code, made["enabled"], made["types"], made["url"]) == (
        201,
        True,
        ["asset.ready"],
        receiver.url,
    )
    at = f"/webhook-endpoints/{made['id']}"
    assert admin.get(at).json() == made and admin.get("/webhook-endpoints").json()["data"] == [made]
    assert admin.patch(at, json={"types": ["*"]}).json() == {**made, "types": ["*"]}
    off = admin.patch(at, json={"enabled": False}).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "by_hand")
    assert admin.patch(at, json={"enabled": True}).json()["disabled_reason"] is None
    rotated = admin.post(f"{at}/rotate-secret", json={"overlap_s": 60}).json()
    assert rotated["secret"] != secret and rotated["old_secret_until"] is not None
    assert admin.delete(at).status_code == 204
    assert admin.get(at).status_code == admin.delete(at).status_code == 404


def test_what_makes_no_sense_is_refused(site: Site) -> None:
    admin, url = site.as_("admin"), "https://hooks.example/"
    for body in (
        {},
        {"url": "ftp://x"},
        {"url": url, "types": ["asset.sneezed"]},
        {"url": url, "types": []},
        {"url": 5},
    ):
        assert admin.post("/webhook-endpoints", json=body).status_code == 400
    for query in ("after=x", "after=-1", "limit=0", "type=asset.sneezed", "after=٣"):
        assert admin.get(f"/events?{query}").status_code == 400
    made = admin.post("/webhook-endpoints", json={"url": url}).json()["id"]
    assert admin.get(f"/webhook-endpoints/{made}/deliveries?state=lost").status_code == 400
    assert admin.post(f"/webhook-endpoints/{made}/rotate-secret", json={"overlap_s": 10**9}).status_code == 400
    assert admin.post(f"/webhook-endpoints/{made}/deliveries/whd_1/resend").status_code == 404


def test_only_those_who_may_hear_everything_come_near(site: Site) -> None:
    for method, path in ROUTES:
        for client in (site.as_("editor"), site.as_("admin", scopes=("assets:read",))):
            assert client.request(method, path).status_code == 403, (method, path)
        anonymous = site.as_("viewer").request(method, path, headers={"authorization": ""})
        assert anonymous.status_code == 401, (method, path)
    assert site.as_("admin", scopes=("events:read",)).get("/events").status_code == 200


def test_events_are_read_again_from_any_number(site: Site) -> None:
    admin = site.as_("admin")
    assert admin.get("/events").json() == {"data": [], "next_after": 0, "more": False}
    record(site.services, "a", "b", "c")
    relay.number_waiting(site.services)
    first = admin.get("/events?limit=2").json()
    assert ([one["sequence"] for one in first["data"]], first["next_after"], first["more"]) == ([1, 2], 2, True)
    rest = admin.get(f"/events?after={first['next_after']}&type=asset.updated").json()
    assert ([one["subject_id"] for one in rest["data"]], rest["next_after"], rest["more"]) == (["c"], 3, False)
    assert admin.get("/events?type=asset.ready").json() == {"data": [], "next_after": 3, "more": False}
    with db.session(site.services) as s:
        s.execute(delete(Event).where(Event.sequence < 3))
    late = admin.get("/events?after=1")
    assert (late.status_code, late.json()["code"], "after=2" in late.json()["detail"]) == (410, "events_purged", True)
    assert [len(admin.get(f"/events?after={after}").json()["data"]) for after in (0, 2, 3, 99)] == [1, 1, 0, 0]


def test_a_delivery_is_seen_and_sent_again(site: Site, receiver: Receiver) -> None:
    admin = site.as_("admin")
    at = f"/webhook-endpoints/{admin.post('/webhook-endpoints', json={'url': receiver.url}).json()['id']}"
    site.film(site.user("editor"))
    relay.number_waiting(site.services)
    receiver.answers = [410]
    Courier(site.services).serve(at.split("/")[2])
    (dead,) = admin.get(f"{at}/deliveries?state=dead").json()["data"]
    assert (dead["status"], dead["attempts"], dead["next_attempt_at"]) == (410, 1, None)
    again = f"{at}/deliveries/{dead['id']}/resend"
    assert admin.post(again).json()["code"] == "endpoint_disabled"
    admin.patch(at, json={"enabled": True})
    assert admin.post(again).json()["state"] == "pending"
    Courier(site.services).serve(at.split("/")[2])
    listed = admin.get(f"{at}/deliveries").json()["data"]
    assert {one["state"] for one in listed} == {"delivered"}
    assert {one["event_type"] for one in listed} == {"asset.created", "playback_id.created"}
    tried = admin.get(f"{at}/deliveries/{dead['id']}/attempts").json()["data"]
    assert [one["status"] for one in tried] == [410, 204] and all(one["took_ms"] >= 0 for one in tried)
    assert [one.document["type"] for one in receiver.received] == [
        "asset.created",
        "asset.created",
        "playback_id.created",
    ]


def test_a_test_event_is_sent_and_the_past_is_replayed_since_a_number_or_a_time(site: Site, receiver: Receiver) -> None:
    admin = site.as_("admin")
    record(site.services, "a", "b")
    relay.number_waiting(site.services)
    at = f"/webhook-endpoints/{admin.post('/webhook-endpoints', json={'url': receiver.url}).json()['id']}"
    assert admin.post(f"{at}/ping").json()["event_id"].startswith("evt_")
    relay.number_waiting(site.services)
    answer = admin.post(f"{at}/replay", json={"after": 1})
    assert (answer.status_code, answer.json()) == (202, {"planned": 1, "next_after": None, "more": False})
    assert admin.post(f"{at}/replay", json={"since": "2020-01-01T00:00:00Z"}).json()["planned"] == 2
    assert admin.post(f"{at}/replay", json={"since": "2120-01-01T00:00:00Z"}).json()["planned"] == 0
    for body in ({}, {"after": 1, "since": "2020-01-01T00:00:00Z"}, {"since": "2020-01-01"}, {"after": -1}):
        assert admin.post(f"{at}/replay", json=body).status_code == 400, body
    Courier(site.services).serve(at.split("/")[2])
    assert sorted(one.document["type"] for one in receiver.received) == ["asset.updated"] * 2 + ["webhook.ping"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_scheduler_sends_within_a_moment_and_stops_when_told(
    services: Services, config: Config, receiver: Receiver, tmp_path: Path
) -> None:
    from tests.streamer.webhooks.test_courier import subscribe

    _, secret = subscribe(services, receiver.url)
    settings = {
        "STREAMER_DATA__DIR": str(tmp_path), "STREAMER_REDIS__URL": config.redis_url,
        "STREAMER_OUTBOUND__ALLOW_HTTP": "1", "STREAMER_OUTBOUND__ALLOW_PRIVATE": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "streamer", "scheduler"]
    scheduler = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, preexec_fn=die_with_parent)
    try:
        record(services, "before")
        wait_for(lambda: receiver.received, 60)
        began = time.monotonic()
        record(services, "after")
        wait_for(lambda: len(receiver.received) == 2, 60)
        assert time.monotonic() - began < 5, "two looks of half a second, and room for a busy machine"
        assert all(verified(one, secret) for one in receiver.received) and services.kv_sync.xlen("events") == 2
        scheduler.send_signal(signal.SIGTERM)
        assert scheduler.wait(30) == 0
    finally:
        scheduler.kill()
        scheduler.wait()
