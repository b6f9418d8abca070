"""A request under an Idempotency-Key is done once, whatever becomes of its answer, on both databases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update

from streamer import db
from streamer.accounts import idempotency
from streamer.accounts.idempotency import Claim, InFlight
from streamer.accounts.tables import ApiKey, IdempotencyKey
from tests.streamer.site_under_test import Site, site
from tests.streamer.stack import config, database_url, migrated_mariadb, migrated_sqlite, services

__all__ = ["config", "database_url", "migrated_mariadb", "migrated_sqlite", "services", "site"]

NAME = {"name": "deploy"}


@pytest.fixture
def admin(site: Site) -> Iterator[httpx2.Client]:
    yield site.as_("admin")


def under(client: httpx2.Client, key: str, body: dict[str, Any] = NAME, path: str = "/api-keys") -> httpx2.Response:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


def keys_named(site: Site, name: str = "deploy") -> int:
    with db.reading(site.services) as s:
        return s.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.name == name)) or 0


def alter(site: Site, **values: object) -> None:
    with db.session(site.services) as s:
        s.execute(update(IdempotencyKey).values(**values))


def test_the_same_request_again_gets_the_first_answer_and_its_secret_lies_nowhere(
    site: Site, admin: httpx2.Client
) -> None:
    first, again = under(admin, "k1"), under(admin, "k1")
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    assert "idempotency-replayed" not in first.headers and again.headers["idempotency-replayed"] == "true"
    assert under(admin, "k2").json()["id"] != first.json()["id"] and keys_named(site) == 2
    with db.reading(site.services) as s:
        rows = s.scalars(select(IdempotencyKey)).all()
    assert len(rows) == 2 and not [row for row in rows if first.json()["secret"] in str(vars(row))]


def test_a_key_is_for_one_request_of_one_account(site: Site, admin: httpx2.Client) -> None:
    under(admin, "k1")
    other = under(admin, "k1", {"name": "other"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert under(admin, "k1", {"name": "r", "permissions": []}, "/roles").status_code == 422
    assert under(site.as_("editor"), "k1").headers.get("idempotency-replayed") is None
    assert under(admin, "two words").json()["code"] == "idempotency_key"
    assert under(admin, "x" * 256).status_code == 400


def test_a_refusal_is_not_kept(admin: httpx2.Client) -> None:
    assert under(admin, "k1", {"name": "Not a role", "permissions": []}, "/roles").status_code == 400
    assert under(admin, "k1", {"name": "a-role", "permissions": []}, "/roles").status_code == 201


def test_of_equal_requests_at_once_one_is_done(site: Site, admin: httpx2.Client) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: under(admin, "k1"), range(6)))
    assert {answer.status_code for answer in answers} <= {201, 409} and keys_named(site) == 1
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"idempotency_in_flight"}


def test_after_a_crash_it_is_done_again_only_if_it_was_not_done(site: Site, admin: httpx2.Client) -> None:
    under(admin, "k1")
    alter(site, status=None, answer=None)  # as if its process were still at it
    assert under(admin, "k1").json()["code"] == "idempotency_in_flight"
    alter(site, held_until=db.now() - timedelta(seconds=1))
    assert under(admin, "k1").json()["code"] == "idempotency_answer_lost" and keys_named(site) == 1
    alter(site, acted_at=None)  # as if it had died before
    assert under(admin, "k1").status_code == 201 and keys_named(site) == 2
    with pytest.raises(InFlight), idempotency._marking(Claim("idm_" + "0" * 20, "hld_" + "0" * 20)):
        with db.session(site.services) as s:
            s.execute(update(ApiKey).values(name="by the dead"))
    assert keys_named(site, "by the dead") == 0


def test_a_day_later_the_key_is_free_and_the_row_is_removed(site: Site, admin: httpx2.Client) -> None:
    first = under(admin, "k1")
    alter(site, expires_at=db.now() - timedelta(seconds=1))
    assert under(admin, "k1").json()["id"] != first.json()["id"]
    assert idempotency.purge(site.services) == 0
    alter(site, expires_at=db.now() - timedelta(seconds=1))
    assert idempotency.purge(site.services) == 1
