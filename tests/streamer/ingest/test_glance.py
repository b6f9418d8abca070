"""Warnings while an upload arrives, through both doors; the verdicts themselves are tested with the packager."""

import os
from typing import Any

import pytest

from streamer.ingest import glance
from tests.streamer.ingest.tus.client import Tus, metadata
from tests.streamer.site_under_test import Site
from tests.streamer.stack import wait_for

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PDF = b"%PDF-1.7\n" + os.urandom(3_000_000)


@SQLITE
def test_what_is_no_film_is_told_while_the_rest_still_arrives(site: Site) -> None:
    tus = Tus(site.as_("editor"))
    path = tus.new(2 * len(PDF), upload_metadata=metadata(filename="film.mp4"))
    assert tus.patch(path, 0, PDF).status_code == 204
    warned: Any = wait_for(lambda: tus.upload(path)["warning"])
    assert (warned["code"], warned["title"]) == ("not_a_film", "This is not a film")
    assert "a PDF document" in warned["detail"]
    assert tus.upload(path)["state"] == "receiving", "it is a warning and stops nothing"


@SQLITE
def test_a_plain_upload_is_looked_at_too(site: Site) -> None:
    seen: list[Any] = []

    def body() -> Any:
        yield PDF
        upload = site.as_("editor", name="watcher").get("/uploads").json()["data"]
        assert upload == [], "others see nothing of it"
        seen.append(wait_for(lambda: _warning(site)))
        yield b"the end"

    answer = site.as_("editor").post("/uploads", params={"filename": "film.mp4"}, content=body())
    assert answer.status_code == 201 and seen[0]["code"] == "not_a_film"


@SQLITE
def test_what_could_be_a_film_gets_no_warning_and_parts_are_not_looked_at(site: Site) -> None:
    tus = Tus(site.as_("editor"))
    strange = tus.new(6_000_000, upload_metadata=metadata(filename="film.mp4"))
    part = tus.new(2 * len(PDF), upload_concat="partial")
    tus.patch(strange, 0, os.urandom(3_000_000))
    tus.patch(part, 0, PDF)
    assert glance.verdict(site.services.uploads.path(strange.rpartition("/")[2]), 6_000_000) is None
    assert (tus.upload(strange)["warning"], tus.upload(part)["warning"]) == (None, None)


def _warning(site: Site) -> Any:
    """Of the editor's only upload, once it is there and was looked at."""
    found = site.as_("editor").get("/uploads").json()["data"]
    return found and found[0]["warning"]
