"""Who may send over tus, and whose uploads they see."""

import pytest

from tests.streamer.ingest.tus.client import NOBODY, Tus, files
from tests.streamer.site_under_test import Site

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class TestWhoMay:
    def test_nothing_is_written_for_who_may_not_upload(self, site: Site, tus: Tus) -> None:
        path = tus.new(100)
        for client, status in ((site.as_("viewer"), 403), (site.as_("editor"), 401)):
            authorization = client.headers["authorization"] if status == 403 else "Bearer wrong"
            other = Tus(client)
            other.headers |= {"Authorization": authorization}
            answers = [other.create(5, b"bytes"), other.patch(path, 0, b"bytes"), other.ask("DELETE", path)]
            assert [answer.status_code for answer in answers] == [status] * 3
        assert (tus.offset(path), len(files(site))) == (0, 1)

    def test_the_upload_of_another_user_or_of_the_raw_door_is_not_there(self, site: Site, tus: Tus) -> None:
        path, part = tus.new(100), tus.new(1, Upload_Concat="partial")
        other = Tus(site.as_("admin"))
        answers = [other.head(path), other.patch(path, 0, b"x"), other.ask("DELETE", path)]
        answers.append(other.create(None, Upload_Concat=f"final;/api/v1{part}"))
        assert [answer.status_code for answer in answers] == [404] * 4
        assert tus.offset(path) == 0
        raw = site.as_("editor").post("/uploads?filename=a.mp4", content=b"bytes").json()["upload"]["id"]
        assert tus.head(f"/tus/{raw}").status_code == 404

    def test_a_page_of_another_site_cannot_send_for_a_signed_in_user(self, site: Site, tus: Tus) -> None:
        account = {"email": site.user("editor").email, "password": "a good one"}
        signed_in = tus.client.post("/session", json=account, headers={"Authorization": ""})
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        page = {"Authorization": "", "Cookie": cookie, "Upload-Length": "5", "Origin": site.base}
        token = {"X-CSRF-Token": signed_in.json()["csrf_token"]}
        assert tus.ask("POST", "/tus", **page).json()["code"] == "csrf"
        assert tus.ask("POST", "/tus", **{**page, **token, "Origin": "https://evil.example"}).status_code == 403
        assert tus.ask("POST", "/tus", **page, **token).status_code == 201
        overridden = {**page, "X-HTTP-Method-Override": "HEAD"}
        assert tus.ask("POST", f"/tus/{NOBODY}", **overridden).json()["code"] == "csrf"
