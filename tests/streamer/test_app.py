"""The composed server over a socket: what every response carries, what no request gets past, how errors look."""

import asyncio
import io
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
import structlog
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from storage import StorageFull
from streamer import db, log, migrations
from streamer.app import Application, create_app
from streamer.config import Config, Data, Database, Log, Redis, Server
from tests.streamer.running import running
from tests.web import NO_TLS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path: Path, redis_url: str) -> Config:
    return Config(data=Data(dir=tmp_path), redis=Redis(url=redis_url))


@contextmanager
def serving(config: Config, *routes: Route, proxies: tuple[str, ...] = ()) -> Iterator[httpx2.Client]:
    app = create_app(config)
    migrations.upgrade(app.state.services.engine)
    app.router.routes[:0] = routes
    with running(app, trusted_proxies=proxies) as url, httpx2.Client(base_url=url, timeout=20, verify=NO_TLS) as client:
        yield client


@pytest.fixture
def client(config: Config) -> Iterator[httpx2.Client]:
    with serving(config) as client:
        yield client


def test_the_web_process_never_loads_pyav() -> None:
    program = "import sys, streamer.app, streamer.web; sys.exit('av' in sys.modules or 'boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("path", ["/", "/admin/sign-in", "/api/v1/me", "/nothing", "/healthz"])
def test_every_response_has_the_security_headers(client: httpx2.Client, path: str) -> None:
    headers = client.get(path, headers={"Accept": "text/html"}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "unsafe" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert len(headers["x-request-id"]) == 16
    assert "server" not in headers


def test_pages_may_load_their_own_scripts_and_nothing_else_may(client: httpx2.Client) -> None:
    page = client.get("/admin/sign-in").headers["content-security-policy"]
    data = client.get("/healthz").headers["content-security-policy"]
    assert "script-src 'self';" in page and "script-src" not in data


def test_pages_may_fetch_media_from_the_configured_cdn(config: Config) -> None:
    delivery = config.delivery.model_copy(update={"public_base_url": "https://cdn.example.org/films"})
    with serving(config.model_copy(update={"delivery": delivery})) as client:
        policy = client.get("/admin/sign-in").headers["content-security-policy"]
    assert "connect-src 'self' https://cdn.example.org;" in policy


def test_strict_transport_security_is_promised_over_https_only(config: Config, client: httpx2.Client) -> None:
    assert "strict-transport-security" not in client.get("/healthz").headers
    https = config.model_copy(update={"server": Server(public_url="https://films.example.org")})
    with serving(https) as secured:
        assert "max-age" in secured.get("/healthz").headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 401),
        ("LOCALHOST:8000", 401),
        ("films.localhost", 401),
        ("127.0.0.1:8000", 401),
        ("[::1]:8000", 401),
        ("[::1]", 401),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("127.0.0.1@evil.example", 400),
        ("", 400),
    ],
)
def test_without_configured_names_only_local_ones_and_addresses_are_answered(
    client: httpx2.Client, host: str, status: int
) -> None:
    answer = client.get("/api/v1/me", headers={"Host": host})
    assert answer.status_code == status
    assert status == 401 or answer.json()["code"] == "unknown_host"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("films.example.org", 401),
        ("films.example.org:443", 401),
        ("a.cdn.example.org", 401),
        ("cdn.example.org", 400),
        ("evilcdn.example.org", 400),
        ("localhost", 400),
        ("127.0.0.1", 400),
    ],
)
def test_with_configured_names_only_they_are_answered(config: Config, host: str, status: int) -> None:
    server = Server(allowed_hosts=("films.example.org", "*.cdn.example.org"))
    with serving(config.model_copy(update={"server": server})) as client:
        assert client.get("/api/v1/me", headers={"Host": host}).status_code == status
        assert client.get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200


@pytest.mark.parametrize("names", [(), ("other.example.org",)])
def test_the_public_name_is_always_answered(config: Config, names: tuple[str, ...]) -> None:
    server = Server(public_url="https://Films.example.org:8443", allowed_hosts=names)
    with serving(config.model_copy(update={"server": server})) as client:
        assert client.get("/api/v1/me", headers={"Host": "films.example.org:8443"}).status_code == 401
        assert client.get("/api/v1/me", headers={"Host": "evil.example"}).status_code == 400


def test_two_host_headers_are_refused(client: httpx2.Client) -> None:
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert raw.makefile("rb").readline().startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_a_problem(config: Config, declared: bool) -> None:
    small = config.model_copy(update={"server": Server(max_body_bytes=2000)})
    body = b'{"email": "' + b"x" * 5000 + b'"}'
    with serving(small) as client:
        answer = client.post("/api/v1/session", content=body if declared else iter([body[:1000], body[1000:]]))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_slow_bodies_do_not_hold_the_threads_that_others_need(config: Config) -> None:
    few = config.model_copy(update={"server": Server(threads=2)})
    with serving(few) as client, ExitStack() as slow:
        for _ in range(6):
            raw = slow.enter_context(socket.create_connection((client.base_url.host, client.base_url.port or 0)))
            raw.sendall(b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert client.post("/api/v1/session", json={}, timeout=5).status_code == 400


def test_a_body_that_does_not_arrive_is_given_up(config: Config) -> None:
    impatient = config.model_copy(update={"server": Server(body_timeout_s=0.2)})
    with serving(impatient) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as raw:
            raw.sendall(b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            assert raw.makefile("rb").readline().startswith(b"HTTP/1.1 408")


def test_a_form_with_too_many_fields_is_refused(client: httpx2.Client) -> None:
    answer = client.post("/admin/sign-in", data={f"f{n}": "x" for n in range(1000)})
    assert answer.status_code == 400


def test_a_refusal_is_a_problem_for_programs_and_a_page_for_people(client: httpx2.Client) -> None:
    data = client.get("/nothing")
    page = client.get("/nothing", headers={"Accept": "text/html,*/*"})
    assert data.headers["content-type"] == "application/problem+json"
    assert data.json() == {
        "type": "urn:streamer:problem:not_found",
        "title": "There is nothing here",
        "status": 404,
        "code": "not_found",
        "instance": "/nothing",
        "request_id": data.headers["x-request-id"],
    }
    assert page.status_code == 404 and page.headers["content-type"].startswith("text/html")
    assert data.headers["cache-control"] == page.headers["cache-control"] == "no-store"


def test_the_api_answers_problems_whatever_is_accepted(client: httpx2.Client) -> None:
    answer = client.get("/api/v1/nothing", headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_wrong_method_says_which_are_right(client: httpx2.Client) -> None:
    answer = client.delete("/api/v1/openapi.json")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def breaks(request: Request) -> Response:
    raise RuntimeError("the secret is 1234")


def full(request: Request) -> Response:
    raise StorageFull("no room")


@pytest.mark.filterwarnings("ignore")
def test_what_nobody_expected_is_a_problem_without_its_insides(config: Config) -> None:
    with serving(config, Route("/breaks", breaks)) as client:
        answer = client.get("/breaks")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "1234" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_a_full_disk_is_said_so(config: Config) -> None:
    with serving(config, Route("/full", full)) as client:
        assert client.get("/full").status_code == 507


def test_a_database_that_is_away_is_503_and_not_500(config: Config) -> None:
    away = config.model_copy(update={"database": Database(url="mysql+pymysql://root@127.0.0.1:1/x")})
    with running(create_app(away)) as url, httpx2.Client(base_url=url, verify=NO_TLS) as client:
        answer = client.get("/api/v1/me", headers={"Authorization": "Bearer sk_x"})
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["retry-after"]


def whoami(request: Request) -> Response:
    client = request.client.host if request.client else None
    return JSONResponse({"client": client, "scheme": request.url.scheme})


FORWARDED = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Forwarded-Proto": "https"}


def test_forwarded_headers_are_believed_from_configured_proxies_only(config: Config) -> None:
    route = Route("/whoami", whoami)
    with serving(config, route) as client:
        assert client.get("/whoami", headers=FORWARDED).json() == {"client": "127.0.0.1", "scheme": "http"}
    with serving(config, route, proxies=("10.0.0.0/8",)) as client:
        assert client.get("/whoami", headers=FORWARDED).json() == {"client": "127.0.0.1", "scheme": "http"}
    with serving(config, route, proxies=("127.0.0.1",)) as client:
        # The last address that is no proxy of ours: what stands before it is the client's own claim.
        assert client.get("/whoami", headers=FORWARDED).json() == {"client": "198.51.100.7", "scheme": "https"}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the process logs, as `streamer web` sets it up, with the tests' own logging put back afterwards."""
    root, out = logging.getLogger(), io.StringIO()
    before, level, lines = root.handlers[:], root.level, structlog.get_config()
    log.setup(Log(format="json"), "web")
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(out)
    yield out
    root.handlers, root.level = before, level
    logging.captureWarnings(False)
    structlog.configure(**lines)


TOKEN = "k1~1900000000~9999~pbs_0~" + "A" * 43


def test_a_request_is_one_json_line_without_its_query(config: Config, written: io.StringIO) -> None:
    with serving(config) as client:
        answer = client.get("/api/v1/me?secret=1234")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    line = next(line for line in lines if line.get("path") == "/api/v1/me")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["status"], line["client"], line["process"]) == ("GET", 401, "127.0.0.1", "web")
    ours = [line for line in lines if line["logger"] != "httpx2"]  # the client is in this process too
    assert "1234" not in json.dumps(ours)


def test_a_playback_token_is_in_no_log(config: Config, written: io.StringIO) -> None:
    loud = config.model_copy(update={"log": Log(media=True)})
    with serving(loud, Route("/echo/{rest:path}", breaks)) as client:
        client.get(f"/p/{TOKEN}/ast_1/v1/master.m3u8")
        client.get(f"/echo/p/{TOKEN}/ast_1/v1/master.m3u8")
        logging.getLogger("somebody").warning("fetched %s", f"https://cdn/p/{TOKEN}/x")
    assert '"/p/[token]/ast_1/v1/master.m3u8"' in written.getvalue()
    assert "A" * 43 not in written.getvalue()


def test_each_request_has_an_id_of_its_own(client: httpx2.Client) -> None:
    ids = {client.get("/livez", headers={"X-Request-ID": "mine"}).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5 and "mine" not in ids


def test_media_does_not_pass_through_the_middleware(config: Config) -> None:
    """The origin answers for itself; see its own tests. Here: nothing of ours is added on the way."""
    with serving(config) as client:
        answer = client.get(f"/p/{TOKEN}/ast_1/v1/master.m3u8", headers={"Host": "edge.example"})
    assert answer.status_code == 403 and "x-request-id" not in answer.headers


def test_sql_endpoints_share_a_bounded_number_of_threads(config: Config) -> None:
    server = Server(threads=3)
    app = create_app(config.model_copy(update={"server": server}))

    async def limit(app: Application) -> float:
        import anyio.to_thread

        async with app.router.lifespan_context(app):
            return anyio.to_thread.current_default_thread_limiter().total_tokens

    migrations.upgrade(app.state.services.engine)
    assert asyncio.run(limit(app)) == 3


def test_a_half_sent_answer_is_cut_and_never_looks_whole(config: Config) -> None:
    async def half(request: Request) -> Response:
        class Half(PlainTextResponse):
            async def __call__(self, scope, receive, send):  # type: ignore[no-untyped-def]
                headers = [(b"content-length", b"100")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                raise RuntimeError("the store went away")

        return Half()

    with serving(config, Route("/half", half)) as client, pytest.raises(httpx2.RemoteProtocolError):
        client.get("/half")


def test_sqlite_stays_usable_for_a_second_process(config: Config, client: httpx2.Client) -> None:
    engine = db.create(config.database, config.database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM users")) == 0
    engine.dispose()
    assert client.get("/healthz").status_code == 200
