"""Playback sessions over the API, and the addresses they give, on SQLite and MariaDB."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine

from streamer import db
from streamer.catalog import versions, viewers
from streamer.catalog.tables import Asset, PlaybackId, Publication, Stage, Version
from streamer.catalog.versions import Facts, Growth
from streamer.delivery import kills, policies
from streamer.delivery.presence import keys
from streamer.delivery.tables import PlaybackSession
from streamer.jobs import jobs, progress
from streamer.jobs.progress import Progress
from tests.streamer.delivery.conftest import DURATION_S, Cinema
from tests.streamer.delivery.serving import MASTER, VERSION, fill
from tests.streamer.stack import wait_for

SESSIONS = "/api/v1/playback-sessions"


def seconds_left(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() - time.time()


def test_a_press_of_play_gives_an_address_that_plays_and_a_poster(cinema: Cinema) -> None:
    opened = cinema.open(cinema.public)
    assert opened["manifest_url"].startswith(f"{cinema.url}/p/")
    viewer = cinema.client()
    assert viewer.get(opened["manifest_url"]).text == MASTER
    assert viewer.get(opened["poster_url"]).content == b"\xff\xd8poster"
    assert seconds_left(opened["expires_at"]) == pytest.approx(DURATION_S + 7200, abs=5)
    assert opened["heartbeat_interval_s"] == 15
    assert 0 < opened["token_renew_after_s"] < DURATION_S + 7200


def test_the_address_names_the_session_and_redis_knows_it(cinema: Cinema) -> None:
    opened = cinema.open(cinema.public)
    assert f"~{opened['id']}~" in opened["manifest_url"]
    facts = cinema.services.kv_sync.hgetall(keys(opened["id"])[0])
    assert facts["playback_id"] == cinema.public and facts["cap"] == "9999"


def test_a_private_film_asks_nobody_in_and_lets_those_in_who_may(cinema: Cinema) -> None:
    refused = cinema.client().post(SESSIONS, json={"playback_id": cinema.private})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    for who in ("admin", "editor", "viewer"):
        assert cinema.open(cinema.private, who)["manifest_url"]


def test_a_poster_token_does_not_open_the_film(cinema: Cinema) -> None:
    poster = cinema.open(cinema.public)["poster_url"]
    answer = cinema.client().get(poster.replace("poster.jpg", "master.m3u8"))
    assert (answer.status_code, answer.json()["code"]) == (403, "rendition_refused")


@pytest.mark.parametrize("playback_id", ["plb_00000000000000000000", "x", "é", "", "'; --", "plb_" + "0" * 28])
def test_a_playback_id_that_is_not_there_is_404(cinema: Cinema, playback_id: str) -> None:
    assert cinema.client().post(SESSIONS, json={"playback_id": playback_id}).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"playback_id": 1}', b'{"playback_id": "x", "cap": 9999}'])
def test_a_body_that_does_not_fit_is_400(cinema: Cinema, body: bytes) -> None:
    assert cinema.client().post(SESSIONS, content=body).status_code == 400


def test_a_draft_a_revoked_id_and_a_deleted_film_are_404(cinema: Cinema) -> None:
    cinema.change(Asset, publication=Publication.DRAFT)
    assert cinema.client("viewer").post(SESSIONS, json={"playback_id": cinema.public}).status_code == 404
    assert cinema.open(cinema.public, "editor")
    cinema.change(PlaybackId, revoked_at=db.now())
    assert cinema.client("editor").post(SESSIONS, json={"playback_id": cinema.public}).status_code == 404


def test_a_film_that_is_being_made_says_how_far_it_is(cinema: Cinema) -> None:
    services = cinema.services
    answer = cinema.client().post(SESSIONS, json={"playback_id": cinema.unmade})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_playable")
    assert "queued" in answer.json()["detail"]
    with db.session(services) as s:
        asset = s.get_one(PlaybackId, cinema.unmade).asset_id
        version = s.query(Version).filter_by(asset_id=asset).one()
        job = jobs.enqueue(s, "transcode", version.id, max_attempts=1)
    progress.write(services.kv_sync, job.id, Progress("encoding", 42.4))
    assert "encoding, 42 %" in cinema.client().post(SESSIONS, json={"playback_id": cinema.unmade}).json()["detail"]


def grow(cinema: Cinema, stage: Stage, seconds: float, *, height: int = 360) -> str:
    """Let the unmade film be watched so far; its folder."""
    with db.session(cinema.services) as s:
        asset = s.get_one(PlaybackId, cinema.unmade).asset_id
        version = s.query(Version).filter_by(asset_id=asset).one()
        growth = Growth(stage, f"{asset}/{VERSION}", seconds, 60.0, height * 16 // 9, height, poster=False)
        versions.grow(s, version.id, growth)
    return f"{asset}/{VERSION}"


def test_a_film_in_the_making_is_played_from_its_best_stage(cinema: Cinema) -> None:
    grow(cinema, Stage.START, 6.0)
    opened = cinema.open(cinema.unmade)
    assert urlsplit(opened["manifest_url"]).path.endswith("/start.m3u8")
    assert (opened["stage"], opened["available_s"], opened["duration_s"]) == ("start", 6.0, 60.0)
    assert opened["heartbeat_interval_s"] == 3
    assert seconds_left(opened["expires_at"]) == pytest.approx(60 + 7200, abs=5)
    grow(cinema, Stage.GROW, 12.0)
    assert urlsplit(cinema.open(cinema.unmade)["manifest_url"]).path.endswith("/grow.m3u8")
    whole = cinema.open(cinema.public)
    assert (whole["stage"], whole["available_s"]) == ("final", DURATION_S)


def test_the_encoder_is_told_while_somebody_watches_a_film_in_the_making(cinema: Cinema) -> None:
    asset = grow(cinema, Stage.START, 6.0).split("/")[0]
    kv = cinema.services.kv_sync
    assert not viewers.any_of(kv, asset)
    opened = cinema.open(cinema.unmade)
    assert viewers.any_of(kv, asset)
    kv.flushall()
    cinema.client().post(f"{SESSIONS}/{opened['id']}/heartbeat", json={"stage": "start"})
    assert viewers.any_of(kv, asset)
    kv.flushall()
    finished = urlsplit(cinema.open(cinema.public)["manifest_url"]).path.split("/")[3]
    assert not viewers.any_of(kv, finished)


def test_a_heartbeat_tells_of_growth_and_of_the_better_stage_under_the_same_token(cinema: Cinema) -> None:
    grow(cinema, Stage.START, 6.0)
    opened = cinema.open(cinema.unmade)
    url, viewer = f"{SESSIONS}/{opened['id']}/heartbeat", cinema.client()
    grow(cinema, Stage.START, 36.0)
    beat = viewer.post(url, json={"stage": "start"}).json()
    assert (beat["stage"], beat["available_s"], beat["manifest_url"]) == ("start", 36.0, None)
    grow(cinema, Stage.GROW, 12.0)
    beat = viewer.post(url, json={"stage": "start"}).json()
    assert (beat["stage"], beat["available_s"], beat["heartbeat_interval_s"]) == ("grow", 12.0, 3)
    assert beat["manifest_url"] == opened["manifest_url"].replace("start.m3u8", "grow.m3u8")
    assert viewer.post(url, json={"stage": "grow"}).json()["manifest_url"] is None
    publish(cinema)
    beat = viewer.post(url, json={"stage": "grow"}).json()
    assert (beat["stage"], beat["heartbeat_interval_s"]) == ("final", 15)
    assert beat["manifest_url"] == opened["manifest_url"].replace("start.m3u8", "master.m3u8")


def publish(cinema: Cinema) -> None:
    with db.session(cinema.services) as s:
        asset = s.get_one(PlaybackId, cinema.unmade).asset_id
        version = s.query(Version).filter_by(asset_id=asset).one()
        facts = Facts(f"{asset}/{VERSION}", 60.0, 1920, 1080, poster=True, renditions=(), report={})
        versions.publish(s, version.id, facts)


def test_a_player_that_says_nothing_of_stages_asks_redis_alone(cinema: Cinema, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(cinema, Stage.START, 6.0)
    sid = cinema.open(cinema.unmade)["id"]
    monkeypatch.setattr(Engine, "connect", no_sql)
    beat = cinema.client().post(f"{SESSIONS}/{sid}/heartbeat", json={"position_s": 1.0}).json()
    assert (beat["alive"], beat["stage"], beat["manifest_url"]) == (True, "final", None)


def test_when_a_film_ends_unmade_viewers_keep_what_there_is_and_nobody_new_starts(cinema: Cinema) -> None:
    path = grow(cinema, Stage.START, 6.0)
    fill(cinema.services.store, path)
    opened, viewer = cinema.open(cinema.unmade), cinema.client()
    with db.session(cinema.services) as s:
        version = s.query(Version).filter_by(path=path).one()
        job = jobs.enqueue(s, "transcode", version.id, max_attempts=1)
        jobs.cancel(s, job.id)
    assert viewer.post(SESSIONS, json={"playback_id": cinema.unmade}).status_code == 409
    beat = viewer.post(f"{SESSIONS}/{opened['id']}/heartbeat", json={"stage": "start"}).json()
    assert (beat["alive"], beat["stage"], beat["manifest_url"]) == (True, None, None)
    assert viewer.get(opened["manifest_url"].replace("start.m3u8", "v540-2000k/vod.m3u8")).status_code == 200
    make_old(cinema, opened["id"])
    beat = viewer.post(f"{SESSIONS}/{opened['id']}/heartbeat", json={"stage": "start"}).json()
    assert urlsplit(beat["manifest_url"]).path.endswith("/start.m3u8"), "a new token for what is being watched"


def test_a_first_stage_above_the_cap_is_waited_out(cinema: Cinema, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = policies.decide
    monkeypatch.setattr(policies, "decide", lambda *who, cap: replace(decide(*who, cap=cap), cap=720))
    grow(cinema, Stage.START, 6.0, height=1080)
    refused = cinema.client().post(SESSIONS, json={"playback_id": cinema.unmade})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_playable")
    grow(cinema, Stage.GROW, 6.0, height=1080)
    assert cinema.open(cinema.unmade)["stage"] == "grow"


def test_a_heartbeat_keeps_a_session_alive_and_tells_redis_where_the_viewer_is(cinema: Cinema) -> None:
    sid = cinema.open(cinema.public)["id"]
    live = keys(sid)[0]
    cinema.services.kv_sync.expire(live, 5)
    answer = cinema.client().post(f"{SESSIONS}/{sid}/heartbeat", json={"position_s": 12.5, "state": "paused"})
    assert answer.status_code == 200
    assert answer.json()["alive"] is True and answer.json()["manifest_url"] is None
    assert cinema.services.kv_sync.hget(live, "position_s") == "12.5"
    assert cinema.services.kv_sync.ttl(live) > 100


def test_heartbeats_do_not_touch_sql(cinema: Cinema, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = cinema.open(cinema.public)["id"]
    monkeypatch.setattr(Engine, "connect", no_sql)
    assert cinema.client().post(f"{SESSIONS}/{sid}/heartbeat", json={}).json()["alive"] is True


def no_sql(engine: Engine) -> None:
    raise AssertionError("SQL was asked")


def test_a_session_that_redis_lost_is_made_again_by_its_heartbeat(cinema: Cinema) -> None:
    sid = cinema.open(cinema.public)["id"]
    cinema.services.kv_sync.flushall()
    assert cinema.client().post(f"{SESSIONS}/{sid}/heartbeat", json={}).json()["alive"] is True
    assert cinema.services.kv_sync.hget(keys(sid)[0], "playback_id") == cinema.public


def test_the_heartbeat_of_no_session_is_404(cinema: Cinema) -> None:
    for sid in ("pbs_00000000000000000000", "x", "%C3%A9"):
        assert cinema.client().post(f"{SESSIONS}/{sid}/heartbeat", json={}).status_code == 404


def make_old(cinema: Cinema, sid: str) -> None:
    """As if the session's token ended in a minute."""
    end = int(time.time()) + 60
    cinema.services.kv_sync.hset(keys(sid)[0], "exp", end)


def test_a_token_near_its_end_is_renewed_for_the_same_session(cinema: Cinema) -> None:
    opened = cinema.open(cinema.private, "viewer")
    make_old(cinema, opened["id"])
    beat = cinema.client("viewer").post(f"{SESSIONS}/{opened['id']}/heartbeat", json={}).json()
    assert f"~{opened['id']}~" in beat["manifest_url"]
    assert urlsplit(beat["manifest_url"]).path.endswith("/master.m3u8")
    assert seconds_left(beat["expires_at"]) > 7000
    assert cinema.client().get(beat["manifest_url"]).status_code == 200
    again = cinema.client("viewer").post(f"{SESSIONS}/{opened['id']}/heartbeat", json={}).json()
    assert again["manifest_url"] is None, "the new token is far from its end"


@pytest.mark.parametrize("who", [None, "editor"])
def test_a_leaked_address_does_not_renew_itself(cinema: Cinema, who: str | None) -> None:
    opened = cinema.open(cinema.private, "viewer")
    make_old(cinema, opened["id"])
    beat = cinema.client(who).post(f"{SESSIONS}/{opened['id']}/heartbeat", json={}).json()
    assert beat["alive"] is True and beat["manifest_url"] is None
    assert seconds_left(beat["expires_at"]) < 61


def test_a_policy_that_changed_is_felt_at_the_renewal(cinema: Cinema) -> None:
    opened = cinema.open(cinema.public)
    cinema.change(Asset, publication=Publication.ARCHIVED)
    make_old(cinema, opened["id"])
    assert cinema.client().post(f"{SESSIONS}/{opened['id']}/heartbeat", json={}).json()["manifest_url"] is None


def test_a_viewer_who_leaves_ends_the_session(cinema: Cinema) -> None:
    sid = cinema.open(cinema.public)["id"]
    viewer = cinema.client()
    assert viewer.delete(f"{SESSIONS}/{sid}").status_code == 204
    assert not cinema.services.kv_sync.exists(keys(sid)[0])
    assert viewer.post(f"{SESSIONS}/{sid}/heartbeat", json={}).json()["alive"] is False
    assert viewer.delete(f"{SESSIONS}/pbs_00000000000000000000").status_code == 404
    assert cinema.client("admin").get(f"{SESSIONS}/{sid}").json()["ended_at"]


def test_a_killed_session_is_refused_at_once_and_stays_dead(cinema: Cinema) -> None:
    opened, other = cinema.open(cinema.public), cinema.open(cinema.public)
    viewer, init = cinema.client(), "v540-2000k/init-0.mp4"
    media = opened["manifest_url"].replace("master.m3u8", init)
    assert viewer.get(media).status_code == 200
    assert cinema.client("admin").post(f"{SESSIONS}/{opened['id']}/kill").status_code == 204
    entry = viewer.get(opened["manifest_url"])
    assert (entry.status_code, entry.json()["code"]) == (403, "session_ended")
    assert viewer.post(f"{SESSIONS}/{opened['id']}/heartbeat", json={}).json()["alive"] is False
    cinema.services.kv_sync.flushall()
    assert viewer.post(f"{SESSIONS}/{opened['id']}/heartbeat", json={}).json()["alive"] is False
    assert viewer.get(other["manifest_url"].replace("master.m3u8", init)).status_code == 200


async def test_the_mirror_of_kills_is_read_from_sql(cinema: Cinema) -> None:
    killed, other = cinema.open(cinema.public)["id"], cinema.open(cinema.public)["id"]
    cinema.client("admin").post(f"{SESSIONS}/{killed}/kill")
    mirror = kills.Kills(cinema.services, 86400)
    await mirror.refresh()
    assert killed in mirror and other not in mirror


async def test_a_database_that_hangs_does_not_keep_media_waiting(
    cinema: Cinema, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(kills, "_FIRST_S", 0.1)
    monkeypatch.setattr(kills.Kills, "_read", lambda mirror: over.wait(20) and frozenset())
    mirror = kills.Kills(cinema.services, 86400)
    async with mirror.watching():
        assert not over.is_set()
        over.set()


async def test_kills_are_forgotten_when_their_tokens_are_long_dead(cinema: Cinema) -> None:
    sid = cinema.open(cinema.public)["id"]
    cinema.change(PlaybackSession, killed_at=db.now() - timedelta(hours=25))
    mirror = kills.Kills(cinema.services, 86400)
    await mirror.refresh()
    assert sid not in mirror


def test_a_kill_reaches_media_within_the_refresh(cinema: Cinema) -> None:
    opened = cinema.open(cinema.public)
    media = opened["manifest_url"].replace("master.m3u8", "v540-2000k/init-0.mp4")
    viewer = cinema.client()
    assert viewer.get(media).status_code == 200
    cinema.client("admin").post(f"{SESSIONS}/{opened['id']}/kill")
    assert wait_for(lambda: viewer.get(media).status_code == 403)


def test_deleting_a_film_ends_what_plays(cinema: Cinema) -> None:
    opened = cinema.open(cinema.public)
    media = opened["manifest_url"].replace("master.m3u8", "v540-2000k/init-0.mp4")
    viewer = cinema.client()
    assert viewer.get(media).status_code == 200
    assert cinema.client("editor").delete(f"/api/v1/assets/{cinema.asset_id}").status_code == 202
    assert wait_for(lambda: viewer.get(media).status_code == 403)


def test_only_operators_see_and_kill_sessions(cinema: Cinema) -> None:
    sid = cinema.open(cinema.public)["id"]
    for who, status in ((None, 401), ("viewer", 403), ("editor", 403)):
        client = cinema.client(who)
        assert client.get(SESSIONS).status_code == status
        assert client.get(f"{SESSIONS}/{sid}").status_code == status
        assert client.post(f"{SESSIONS}/{sid}/kill").status_code == status
    admin = cinema.client("admin")
    listed = admin.get(SESSIONS, params={"asset_id": cinema.asset_id}).json()["data"]
    assert [row["id"] for row in listed] == [sid]
    assert admin.get(SESSIONS, params={"asset_id": "ast_other"}).json()["data"] == []
    assert admin.get(SESSIONS, params={"asset_id": "José"}).json()["data"] == []


def test_a_signed_in_browser_without_its_proof_is_told_so(cinema: Cinema) -> None:
    browser = cinema.client(None, **{"Sec-Fetch-Site": "same-origin"})
    token = browser.post("/api/v1/session", json={"email": "viewer@example.org", "password": "correct horse"}).json()
    refused = browser.post(SESSIONS, json={"playback_id": cinema.private})
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf")
    assert browser.post(SESSIONS, json={"playback_id": cinema.public}).status_code == 201
    proof = {"X-CSRF-Token": token["csrf_token"]}
    assert browser.post(SESSIONS, json={"playback_id": cinema.private}, headers=proof).status_code == 201


def test_sessions_open_and_live_on_without_redis(cinema: Cinema, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.exceptions import ConnectionError

    def down(*arguments: object, **options: object) -> None:
        raise ConnectionError("injected")

    monkeypatch.setattr(cinema.services.kv_sync, "eval", down)
    monkeypatch.setattr(cinema.services.kv, "eval", down)
    opened = cinema.open(cinema.public)
    viewer = cinema.client()
    assert viewer.get(opened["manifest_url"]).status_code == 200
    assert viewer.post(f"{SESSIONS}/{opened['id']}/heartbeat", json={}).json()["alive"] is True
