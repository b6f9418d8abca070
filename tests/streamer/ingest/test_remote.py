"""One GET on somebody else's server: where it must not lead, what it takes for the rest of a file, and what it says when there is none."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.config import Fetch, Outbound
from streamer.ingest import remote
from streamer.ingest.remote import Broken, Changed, Remote, Seen
from streamer.jobs.errors import TaskFailed
from tests.streamer.ingest.filmserver import FilmServer, forever, says
from tests.streamer.test_outbound import listening, make_certificate

FILM = os.urandom(1_000_000)
OPEN, STRICT = Outbound(allow_http=True, allow_private=True), Outbound(allow_http=True)
NOTHING = Seen()
LIMITS = Fetch(connect_s=1, silence_s=0.5)


@pytest.fixture
def server() -> Iterator[FilmServer]:
    with FilmServer(FILM) as server:
        yield server


def fetched(url: str, seen: Seen = NOTHING, rules: Outbound = OPEN) -> tuple[Remote, bytes]:
    with remote.opened(url, rules, LIMITS, seen) as found:
        return found, b"".join(found.pieces())


def refusal(url: str, rules: Outbound = OPEN) -> TaskFailed:
    with pytest.raises(TaskFailed) as refused:
        fetched(url, rules=rules)
    assert refused.value.detail.endswith((".", ")"))
    return refused.value


def test_a_file_comes_whole_with_what_its_server_says_of_it(server: FilmServer) -> None:
    found, body = fetched(server.url)
    assert body == FILM
    assert (found.offset, found.size, found.validator, found.name) == (0, len(FILM), '"one"', "My film.mp4")
    assert server.asked[0]["accept-encoding"] == "identity" and "range" not in server.asked[0]


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="A film.mov"', "A film.mov"),
        ("attachment; filename*=UTF-8''F%C3%BCchse.mp4; filename=x.mp4", "Füchse.mp4"),
        ('attachment; filename="Füchse.mp4"', "Füchse.mp4"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="a\u202egpj.mp4"', "a gpj.mp4"),
        ("attachment; filename=", "My film.mp4"),
        ("nonsense;;;=", "My film.mp4"),
    ],
)
def test_the_name_is_the_one_the_server_gives_it_and_only_a_name(
    server: FilmServer, disposition: str, name: str
) -> None:
    server.disposition = disposition.encode().decode("latin-1")
    assert fetched(server.url)[0].name == name


@pytest.mark.parametrize("validator", ["etag", "date"])
def test_the_rest_of_a_file_is_asked_for_with_the_proof_that_it_is_the_same(server: FilmServer, validator: str) -> None:
    if validator == "date":
        server.etag, server.modified = None, "Mon, 23 Nov 2026 01:00:00 GMT"
    known = server.etag or server.modified
    found, body = fetched(server.url, Seen(400_000, known))
    assert (found.offset, found.size, body) == (400_000, len(FILM), FILM[400_000:])
    assert (server.asked[0]["range"], server.asked[0]["if-range"]) == ("bytes=400000-", known)


@pytest.mark.parametrize("habit", ["other etag", "no ranges", "nothing to prove it by"])
def test_it_comes_from_the_first_byte_when_the_rest_can_not_be_had(server: FilmServer, habit: str) -> None:
    server.ranges = habit != "no ranges"
    seen = {"other etag": '"two"', "no ranges": '"one"', "nothing to prove it by": None}[habit]
    found, body = fetched(server.url, Seen(400_000, seen))
    assert (found.offset, body) == (0, FILM)


@pytest.mark.parametrize(
    "headers",
    [
        {"content_range": "bytes 0-9/10", "etag": '"one"'},
        {"content_range": "bytes 5-9/10", "etag": '"other"'},
        {"content_range": "bites", "etag": '"one"'},
        {"etag": '"one"'},
    ],
    ids=["another beginning", "another file", "nonsense", "silence"],
)
def test_a_part_that_does_not_fit_is_not_taken(server: FilmServer, headers: dict[str, str]) -> None:
    server.answers = [says(206, b"12345", **headers)]
    with pytest.raises(Changed):
        fetched(server.url, Seen(5, '"one"'))


def test_a_weak_etag_proves_nothing(server: FilmServer) -> None:
    server.etag = 'W/"one"'
    assert fetched(server.url)[0].validator is None


def test_a_body_that_ends_before_its_length_is_broken_and_one_that_goes_on_is_cut_there(server: FilmServer) -> None:
    server.cut_after = [300_000]
    with remote.opened(server.url, OPEN, LIMITS) as found, pytest.raises(Broken, match="byte 300,000 of 1,000,000"):
        list(found.pieces())
    server.answers = [says(200, b"123456789", content_length="5")]
    assert fetched(server.url)[1] == b"12345"


def test_silence_ends_it(server: FilmServer) -> None:
    server.answers = [forever(b"x" * 10, pause_s=5)]
    with remote.opened(server.url, OPEN, LIMITS) as found, pytest.raises(Broken, match="nothing more came"):
        list(found.pieces())


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (401, "remote_forbidden", False), (403, "remote_forbidden", False), (404, "remote_missing", False), (410, "remote_missing", False),
        (418, "remote_refused", False), (204, "remote_refused", False), (429, "remote_busy", True), (503, "remote_busy", True),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_words(server: FilmServer, status: int, code: str, retryable: bool) -> None:
    server.answers = [says(status)]
    told = refusal(server.url)
    assert (told.code, told.retryable) == (code, retryable) and str(status) in told.detail


@pytest.mark.parametrize("page", [b"\xef\xbb\xbf\n <!DOCTYPE html><p>", b"<html>", b"<HEAD>"])
def test_a_page_is_not_taken_for_a_film(server: FilmServer, page: bytes) -> None:
    server.answers = [says(200, page + b" " * 1000, content_type="text/html")]
    assert refusal(server.url).code == "not_a_file"


def test_what_comes_compressed_is_refused(server: FilmServer) -> None:
    server.answers = [says(200, b"123", content_encoding="gzip")]
    assert refusal(server.url).code == "compressed"


class TestTheWayThere:
    """No spelling, no name and no redirect leads into our own network."""

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]", "2130706433", "0x7f.1", "017700000001", "127.1",
         "localhost", "169.254.169.254", "10.0.0.1"],
    )  # fmt: skip
    def test_private_addresses_in_any_spelling(self, server: FilmServer, host: str) -> None:
        assert refusal(f"http://{host}:{server.port}/film.mp4", STRICT).code in ("url_refused", "dns")
        assert server.asked == []

    def test_a_name_that_flips_is_asked_once_per_connection_and_checked_each_time(self, server: FilmServer) -> None:
        asked: list[str] = []

        def flipping(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"] if len(asked) > 1 else ["93.184.216.34", "127.0.0.1"]

        for _ in range(2):
            with (
                pytest.raises(TaskFailed, match="url_refused"),
                remote.opened(f"http://films.example:{server.port}/", STRICT, LIMITS, resolver=flipping),
            ):
                pass
        assert asked == ["films.example", "films.example"] and server.asked == []

    def test_a_redirect_is_a_new_way_with_all_checks(self, server: FilmServer) -> None:
        """The first hop is let through as a development server's would be; what it points to is checked by the same rules."""
        for location in (
            "http://[::ffff:10.0.0.1]/x",
            "file:///etc/passwd",
            "gopher://x/",
            "//169.254.169.254/latest",
            "http://a:b@x/",
        ):
            server.answers = [says(302, location=location)]
            told = refusal(
                server.url, Outbound(allow_http=True, allow_private=location.startswith(("file", "gopher", "http://a")))
            )
            assert told.code == "url_refused"

    def test_a_redirect_to_a_private_address_is_refused_behind_a_public_one(self, server: FilmServer) -> None:
        seen: list[str] = []

        def resolver(host: str, port: int) -> list[str]:
            seen.append(host)
            return ["127.0.0.1"]

        class Rules:
            """Open for the first hop only, as if that were on the open internet."""

            allow_http = True

            @property
            def allow_private(self) -> bool:
                return len(seen) == 1

        server.answers = [says(302, location=f"http://inside.example:{server.port}/secret")]
        with (
            pytest.raises(TaskFailed, match="url_refused"),
            remote.opened(
                f"http://outside.example:{server.port}/",
                Rules(),
                LIMITS,
                resolver=resolver,  # type: ignore[arg-type]
            ),
        ):
            pass
        assert seen == ["outside.example", "inside.example"] and len(server.asked) == 1

    def test_redirects_are_followed_and_not_for_ever(self, server: FilmServer) -> None:
        server.answers = [says(301, location="/other/Film%20B.mkv#x"), says(307, location="./again.mkv")]
        assert fetched(server.url)[0].name == "again.mkv"
        server.answers = [says(302, location="/round")] * 10
        assert refusal(server.url).code == "too_many_redirects"
        assert len(server.asked) == 3 + remote.REDIRECTS + 1

    def test_plain_http_is_refused_unless_allowed(self, server: FilmServer) -> None:
        assert refusal(server.url, Outbound(allow_private=True)).code == "url_refused"

    def test_a_name_without_a_server_and_a_port_without_one(self) -> None:
        assert refusal("http://no-such-name.invalid/").code == "dns"
        assert refusal("http://127.0.0.1:1/").code == "remote_down"

    def test_a_head_that_trickles_is_given_up_in_time(self) -> None:
        with listening([b"HTTP/1.1 200 OK\r\n", *[b"x-slow: yes\r\n"] * 100], pause_s=0.1) as port:
            assert refusal(f"http://127.0.0.1:{port}/").code == "remote_silent"

    def test_what_does_not_speak_http(self) -> None:
        with listening([b"SSH-2.0-OpenSSH_9.2\r\n"]) as port:
            assert refusal(f"http://127.0.0.1:{port}/").code == "remote_broken"

    def test_tls_has_to_prove_the_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        certificate = make_certificate(tmp_path, "films.example")
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfilm"
        with listening([answer], certificate) as port:
            assert refusal(f"https://127.0.0.1:{port}/").code == "tls"
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            with remote.opened(
                f"https://films.example:{port}/", OPEN, LIMITS, resolver=lambda host, at: ["127.0.0.1"]
            ) as found:
                assert b"".join(found.pieces()) == b"film"
