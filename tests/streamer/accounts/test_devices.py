"""Where somebody is signed in: seen, recognised and ended, one by one or all others."""

import pytest

from streamer.accounts import devices
from tests.streamer.accounts.conftest import Site

MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0 Mobile/15E148 Safari/604.1"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (MAC, "Safari on Mac"),
        (EDGE, "Edge on Windows"),
        (PHONE, "Chrome on iPhone"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox on Linux"),
        ("curl/8.5.0", "curl"),
        ("", "Unknown device"),
    ],
)
def test_devices_have_names_that_people_know(user_agent: str, name: str) -> None:
    assert devices.name(user_agent) == name


def test_somebody_sees_where_they_are_signed_in_and_ends_what_they_don_t_know(site: Site) -> None:
    here, there, elsewhere = (site.signed_in("eve@example.org") for _ in range(3))
    site.signed_in("vic@example.org")
    listed = here.get("/api/v1/me/sessions").json()["data"]
    assert len(listed) == 3 and [row["current"] for row in listed].count(True) == 1
    assert listed[0]["address"] == "127.0.0.1" and listed[0]["device"] == "python-httpx2"
    current = {row["id"] for row in there.get("/api/v1/me/sessions").json()["data"] if row["current"]}.pop()
    assert here.delete(f"/api/v1/me/sessions/{current}").status_code == 204
    assert there.get("/api/v1/me").status_code == 401 and elsewhere.get("/api/v1/me").status_code == 200
    assert here.delete("/api/v1/me/sessions").status_code == 204
    assert elsewhere.get("/api/v1/me").status_code == 401
    assert len(here.get("/api/v1/me/sessions").json()["data"]) == 1


def test_nobody_ends_the_sessions_of_others(site: Site) -> None:
    eve, vic = site.signed_in("eve@example.org"), site.signed_in("vic@example.org")
    (row,) = eve.get("/api/v1/me/sessions").json()["data"]
    for session_id in (row["id"], "ses_" + "0" * 20, "José"):
        assert vic.delete(f"/api/v1/me/sessions/{session_id}").status_code == 404
    assert eve.get("/api/v1/me").status_code == 200


def test_a_key_neither_sees_nor_ends_sessions(site: Site) -> None:
    eve = site.signed_in("eve@example.org")
    key = site.bearer(eve.post("/api/v1/api-keys", json={"name": "k"}).json()["secret"])
    assert key.get("/api/v1/me/sessions").status_code == key.delete("/api/v1/me/sessions").status_code == 403
    assert eve.get("/api/v1/me").status_code == 200
