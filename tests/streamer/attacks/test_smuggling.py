"""Requests that two servers might take apart in two ways: never two answers to one of them, never a poisoned next one, straight and through nginx."""

from concurrent.futures import ThreadPoolExecutor

from tests.streamer.attacks.door import HOST, Door, statuses

HIDDEN = f"GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
CHUNK = f"{len(HIDDEN):x}\r\n{HIDDEN}\r\n0\r\n\r\n"


def post(headers: str, body: str) -> bytes:
    return f"POST /api/v1/session HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n\r\n{body}".encode("latin-1")


def length(body: str) -> str:
    return f"Content-Length: {len(body)}"


# Read as its sender hopes that one of two servers reads it, each of these has a second request inside.
ATTACKS = {
    "CL.TE": post(f"{length('0' + chr(13) * 4 + HIDDEN)}\r\nTransfer-Encoding: chunked", f"0\r\n\r\n{HIDDEN}"),
    "CL.TE, the other way around": post("Transfer-Encoding: chunked\r\nContent-Length: 60", f"0\r\n\r\n{HIDDEN}"),
    "TE.CL": post("Content-Length: 4\r\nTransfer-Encoding: chunked", CHUNK),
    "CL.0": post("Content-Length: 0, 58", HIDDEN),
    "two lengths": post(f"Content-Length: 0\r\n{length(HIDDEN)}", HIDDEN),
    "two lengths in one": post(f"Content-Length: {len(HIDDEN)}, 0", HIDDEN),
    "a length with a sign": post(f"Content-Length: +{len(HIDDEN)}", HIDDEN),
    "a negative length": post("Content-Length: -1", HIDDEN),
    "a length in hexadecimal": post(f"Content-Length: 0x{len(HIDDEN):x}", HIDDEN),
    "a length with a space inside": post("Content-Length: 5 8", HIDDEN),
    "a length beyond 64 bits": post("Content-Length: 18446744073709551616", HIDDEN),
    "TE.TE, unknown coding": post("Transfer-Encoding: xchunked", CHUNK),
    "TE.TE, twice": post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", CHUNK),
    "TE.TE, chunked is not last": post("Transfer-Encoding: chunked, identity", CHUNK),
    "TE.TE, a space before the colon": post(f"Transfer-Encoding : chunked\r\n{length(CHUNK)}", CHUNK),
    "TE.TE, a vertical tab": post(f"Transfer-Encoding: \x0bchunked\r\n{length(CHUNK)}", CHUNK),
    "TE.TE, a quoted coding": post(f'Transfer-Encoding: "chunked"\r\n{length(CHUNK)}', CHUNK),
    "TE.TE, a NUL in the name": post(f"Transfer-Encoding\0: chunked\r\n{length(CHUNK)}", CHUNK),
    "TE.TE, a letter that only looks like one": post(f"Tran\u017fer-Encoding: chunked\r\n{length(CHUNK)}".encode().decode("latin-1"), CHUNK),
    "TE in HTTP/1.0": post("Transfer-Encoding: chunked", CHUNK).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "a bare LF before a header": post(f"X: y\nTransfer-Encoding: chunked\r\n{length(CHUNK)}", CHUNK),
    "a bare CR before a header": post(f"X: y\rTransfer-Encoding: chunked\r\n{length(CHUNK)}", CHUNK),
    "bare LFs end the head": post(f"{length(HIDDEN)}", "").replace(b"\r\n", b"\n") + HIDDEN.encode(),
    "a folded coding": post(f"Transfer-Encoding:\r\n chunked\r\n{length(CHUNK)}", CHUNK),
    "a folded header hides one": post(f"X: y\r\n Transfer-Encoding: chunked\r\n{length(CHUNK)}", CHUNK),
    "a chunk that ends with LF": post("Transfer-Encoding: chunked", "1\n{\n0\r\n\r\n"),
    "a chunk size that overflows": post("Transfer-Encoding: chunked", f"10000000000000001\r\n{HIDDEN}"),
    "a chunk size with a sign": post("Transfer-Encoding: chunked", f"-1\r\n{HIDDEN}"),
    "a chunk longer than it says": post("Transfer-Encoding: chunked", f"1\r\n{{}}{HIDDEN}0\r\n\r\n"),
    "a line end in a chunk's extension": post("Transfer-Encoding: chunked", f"1;x=\n{HIDDEN}\r\n{{\r\n0\r\n\r\n"),
    "a request in a GET's body": f"GET /livez HTTP/1.1\r\nHost: {HOST}\r\n{length(HIDDEN)}\r\n\r\n{HIDDEN}".encode(),
    "a request in a HEAD's body": f"HEAD /livez HTTP/1.1\r\nHost: {HOST}\r\n{length(HIDDEN)}\r\n\r\n{HIDDEN}".encode(),
    "an upgrade to h2c": post(
        f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n{length(HIDDEN)}", HIDDEN
    ),
    "a body that is expected and sent unasked": post(f"Expect: 100-continue\r\n{length(HIDDEN)}", HIDDEN),
    "a header without a name": post(f": x\r\n{length(HIDDEN)}", HIDDEN),
    "a line end in the target": f"GET /livez\r\nX: y HTTP/1.1\r\nHost: {HOST}\r\n{length(HIDDEN)}\r\n\r\n{HIDDEN}".encode(),
    "HTTP/0.9": f"GET /smuggled\r\n{HIDDEN}".encode(),
    "a space before the headers": f"GET /livez HTTP/1.1\r\n Host: {HOST}\r\n{length(HIDDEN)}\r\n\r\n{HIDDEN}".encode(),
}  # fmt: skip


def test_no_request_hides_another(door: Door) -> None:
    with ThreadPoolExecutor(len(ATTACKS)) as all_at_once:
        said = dict(zip(ATTACKS, all_at_once.map(door.say, ATTACKS.values()), strict=True))
    assert [request for request in door.seen if "smuggled" in request[1]] == []
    answers = {name: [status for status in statuses(words) if status != 100] for name, words in said.items()}
    # A second answer is the refusal of what came after the first request's end, and then the line is closed.
    wrong = {name: got for name, got in answers.items() if len(got) > 1 and got[1:] != [400] or 500 in got}
    assert wrong == {}, said
    assert len(door.seen) <= len(ATTACKS)


def test_the_next_request_on_the_line_gets_its_own_answer(door: Door) -> None:
    """Also for others: nginx keeps lines to the application open and shares them."""
    innocent = f"GET /livez HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()

    def attack_and_go_on(attack: bytes) -> tuple[bytes, bytes]:
        with door.line() as line:
            try:
                line.sendall(attack)
                line.sendall(innocent)
            except ConnectionError:
                pass  # refused and closed
        return attack, door.say(innocent, quiet_s=5)

    with ThreadPoolExecutor(8) as several:
        for attack, said in several.map(attack_and_go_on, ATTACKS.values()):
            assert statuses(said) == [200] and said.endswith(b'{"status":"live"}'), (attack, said)
    assert {path for _, path in door.seen} <= {"/livez", "/api/v1/session"}


def test_requests_in_a_row_are_answered_in_their_order(door: Door) -> None:
    row = "".join(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" for path in ("/livez", "/nothing", "/livez"))
    last = f"GET /api/v1/me HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    assert statuses(door.say((row + last).encode(), quiet_s=5)) == [200, 404, 200, 401]
