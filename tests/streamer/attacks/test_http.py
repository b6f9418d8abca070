"""What HTTP lets strangers say: names that are not ours, paths with tricks, too much of everything, methods nobody offered. Straight and through nginx."""

import time
from contextlib import ExitStack
from urllib.parse import quote

import pytest

from streamer import ui
from tests.streamer.attacks.door import HOST, Door, heard, statuses

PATHS = """/%2e%2e/admin //admin /\\admin /admin%00 /admin;x=1 /admin/..;/livez /./admin /admin/../admin/people
/static/../../config.toml /static/%2e%2e/%2e%2e/config.toml /static/..%2f..%2fconfig.toml /static//etc/passwd /static/..%5c..%5cconfig.toml
/static/%00 /static/manifest.json%00.css /api/v1/../../admin/people /api/v1/%2e%2e/%2e%2e/admin/people /api//v1/users /API/V1/users /api/v1/users;a
/api/v1/users%00 /api/v1/users%2f /api/v1/users/. /api/v1/assets/%00 /api/v1/assets/..%2f..%2fusers /api/v1/assets/%c0%ae%c0%ae%c0%af /watch/%00
/watch/..%5c..%5cadmin /watch/%0d%0aX-Injected:%201 /admin/people/%0d%0aSet-Cookie:%20session=1 /p/x/../../admin /p/%2e%2e/admin /p//admin
/%61dmin/people /admin/%70eople""".split()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_with_tricks_leads_nowhere_else(door: Door, path: str) -> None:
    """To a refusal or the sign-in page, as the plain path does; never to a fault, a file, or a header of its own."""
    said = door.say(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode(), quiet_s=5)
    head, _, body = said.partition(b"\r\n\r\n")
    (status,) = statuses(said)
    assert status in (303, 307, 308, 400, 401, 403, 404, 405), said
    fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n"))}
    assert not fields.keys() & {b"x-injected", b"set-cookie"} and b"root:" not in body
    places = [value for name, value in fields.items() if name == b"location"]
    assert all(place.startswith((b"/admin", f"http://{HOST}/".encode())) for place in places)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (f"GET /api/v1/me HTTP/1.1\r\nHost: {HOST}\r\nHost: evil.example", {400}),
        (f"GET /api/v1/me HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: {HOST}", {0, 400}),
        ("GET /api/v1/me HTTP/1.1\r\nHost: evil.example", {0, 400}),
        (f"GET /api/v1/me HTTP/1.1\r\nHost: {HOST}.evil.example", {0, 400}),
        (f"GET /api/v1/me HTTP/1.1\r\nHost: {HOST}@evil.example", {0, 400}),
        (f"GET /api/v1/me HTTP/1.1\r\nHost: {HOST} evil.example", {0, 400}),
        (f"GET /api/v1/me HTTP/1.1\r\nHost: {HOST}\0.evil.example", {0, 400}),
        ("GET /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1", {0, 400}),
        ("GET /api/v1/me HTTP/1.1\r\nHost:", {0, 400}),
        ("GET /api/v1/me HTTP/1.1", {400}),
        # Without `Host` to say otherwise, the target's name is only a part of the request line.
        (f"GET http://evil.example/api/v1/me HTTP/1.1\r\nHost: {HOST}", {0, 401}),
        (f"GET http://{HOST}/api/v1/me HTTP/1.1\r\nHost: evil.example", {400, 401}),
        ("CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80", {400, 405}),
    ],
)
def test_only_our_own_name_is_answered(door: Door, lines: str, expected: set[int]) -> None:
    assert door.status(lines) in expected


def test_no_link_is_built_from_a_name_that_a_client_claims(door: Door) -> None:
    claims = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "X-Original-URL": "/evil.example"}
    client = door.browser(**claims)
    for path in ("/admin", "/admin/sign-in", "/", "/api/v1/openapi.json", "/watch/plb_x", "/api/v1/assets"):
        answer = client.get(path, headers={"Accept": "text/html"})
        assert "evil.example" not in answer.text and "evil.example" not in str(answer.headers)


NEXT = (
    """//evil.example ///evil.example /\\evil.example \\\\evil.example https://evil.example https:evil.example javascript:alert(1)
data:text/html,x /%09/evil.example%0a evil.example ?//evil.example""".split()
    + ["/\t/evil.example", "\n//evil.example", "/\x00", ""]
)


def test_signing_in_leads_to_our_own_pages_only(door: Door) -> None:
    form = {"email": "ada@example.org", "password": "correct horse"}
    for following in NEXT:
        browser = door.browser()
        answer = browser.post("/admin/sign-in", data={**form, "next": following})
        assert answer.status_code == 303, answer.text
        straight_on = browser.get(f"/admin/sign-in?next={quote(following)}")
        for place in (answer.headers["location"], straight_on.headers["location"]):
            assert place.startswith("/") and not place.startswith(("//", "/\\")) and "\t" not in place, following
            assert place == "/admin" or following.startswith("/%09"), (following, place)


@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/users", "/api/v1/session", "/admin/people", "/livez"])
def test_a_method_is_what_it_is(door: Door, path: str) -> None:
    """Only tus, whose protocol says so, takes another one from a header."""
    browser = door.signed_in()
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        plain = browser.get(path)
        assert browser.get(path, headers={name: "DELETE"}).status_code == plain.status_code
        posted = browser.post(path, headers={name: "GET"}, json={})
        assert posted.status_code in (400, 403, 405), posted.text
    assert browser.post(f"{path}?_method=DELETE", data={"_method": "DELETE"}).status_code in (400, 403, 405)
    assert browser.get("/api/v1/me").status_code == 200, "nobody was signed out"


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "PROPFIND", "DEBUG", "PATCH", "DELETE"])
def test_methods_that_nobody_offered_are_refused(door: Door, method: str) -> None:
    for path in ("/", "/livez", "/api/v1/me", "/admin/sign-in"):
        said = door.say(
            f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nX-Canary: bird\r\nConnection: close\r\n\r\n".encode(),
            quiet_s=5,
        )
        assert statuses(said)[0] in (400, 401, 403, 405, 501) and b"bird" not in said


@pytest.mark.parametrize("path", ["/", "/livez", "/api/v1/me", "/admin/sign-in", "/nothing", "/api/v1/nothing"])
def test_head_is_get_without_a_body(door: Door, path: str) -> None:
    client = door.browser()
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code and head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]


ASKED = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT", "Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize("path", ["/", "/api/v1/me", "/api/v1/session", "/api/v1/tus", "/admin/sign-in", "/livez"])
def test_pages_of_others_read_nothing_but_media(door: Door, path: str) -> None:
    browser = door.signed_in()
    for answer in (browser.options(path, headers=ASKED), browser.get(path, headers=ASKED)):
        assert [name for name in answer.headers if name.startswith("access-control")] == []
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_media_is_readable_by_all_pages_but_never_with_cookies(door: Door) -> None:
    answer = door.signed_in().get("/p/x/y/z/master.m3u8", headers={"Origin": "https://evil.example"})
    assert answer.status_code in (403, 404) and answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers and "set-cookie" not in answer.headers


def test_a_head_is_read_up_to_a_size(door: Door) -> None:
    start = f"GET /livez HTTP/1.1\r\nHost: {HOST}\r\n".encode()
    heads = (
        b"X: " + b"a" * 2_000_000,
        b"X: y\r\n" * 100_000,
        b"Cookie: " + b"a=b; " * 100_000,
        b"x" * 1_000_000 + b": y",
    )
    for head in heads:
        with door.line() as line:
            try:
                line.sendall(start + head)
            except ConnectionError:
                pass  # refused before it was all sent
            assert statuses(heard(line, 5)) in ([], [400], [431])
    assert door.status(f"GET /{'a' * 200_000} HTTP/1.1\r\nHost: {HOST}") in (0, 400, 414, 431)
    assert [path for _, path in door.seen if path == "/livez"] == []


def test_a_million_fields_of_a_form_cost_nobody_anything(door: Door) -> None:
    started = time.monotonic()
    for body in (b"a=b&" * 1_000_000, b"a&" * 500_000, b"&" * 1_000_000):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = door.browser().post("/admin/sign-in", content=body, headers=form)
        assert answer.status_code in (400, 401, 413, 422), answer.status_code
    assert time.monotonic() - started < 10


def test_ten_thousand_ranges_are_answered_once(door: Door) -> None:
    path, client = ui.asset("player.js"), door.browser()
    whole = len(client.get(path, headers={"Accept-Encoding": "identity"}).content)
    for ranges in (",".join(["0-"] * 10_000), ",".join(f"{n}-{n}" for n in range(0, 8_000, 2)), "0-0" + ",0-" * 3_000):
        headers = {"Range": f"bytes={ranges}"[:15_000], "Accept-Encoding": "identity"}
        started = time.monotonic()
        answer = client.get(path, headers=headers)
        assert answer.status_code in (200, 206, 400, 416, 431) and len(answer.content) <= 4 * whole
        assert time.monotonic() - started < 2


def test_slow_clients_hold_nobody_up_and_are_sent_away(door: Door) -> None:
    """Heads and bodies that trickle in, as many as there are threads and more."""
    with ExitStack() as slow:
        heads = [slow.enter_context(door.line()) for _ in range(50)]
        bodies = [slow.enter_context(door.line()) for _ in range(50)]
        for line in heads:
            line.sendall(f"GET /livez HTTP/1.1\r\nHost: {HOST}\r\nX: ".encode())
        for line in bodies:
            line.sendall(f"POST /api/v1/session HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 99\r\n\r\n{{".encode())
        started = time.monotonic()
        assert door.signed_in().get("/api/v1/me").status_code == 200
        assert time.monotonic() - started < 3
        assert {tuple(statuses(heard(line, 5))) for line in (*heads, *bodies)} <= {(408,), ()}
        assert time.monotonic() - started < 5, "each was told and its line closed"
