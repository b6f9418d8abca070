"""The lists that pages poll must not grow slower with the catalog: each reads an index in order, and a fixed number of queries."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Select, event, select, text

from streamer import db
from streamer.accounts.logins import Principal
from streamer.accounts.roles import PERMISSIONS, Role
from streamer.catalog import assets, documents
from streamer.catalog.tables import Asset
from streamer.jobs.tables import Job
from streamer.services import Services
from tests.streamer.site_under_test import Site

ADMIN = Principal("usr_00000000000000000001", "a@example.org", "A", Role.ADMIN, PERMISSIONS[Role.ADMIN])
VIEWER = replace(ADMIN, role=Role.VIEWER, permissions=PERMISSIONS[Role.VIEWER])
SECOND_PAGE = Asset.id < "ast_zzzzzzzzzzzzzzzzzzzz"


@pytest.mark.parametrize(
    "query",
    [
        assets.listed(ADMIN)[0].order_by(Asset.id.desc()).limit(51),
        assets.listed(ADMIN)[0].where(SECOND_PAGE).order_by(Asset.id.desc()).limit(51),
        assets.listed(VIEWER)[0].where(SECOND_PAGE).order_by(Asset.id.desc()).limit(51),
        select(Job).where(Job.owner_id == ADMIN.user_id, Job.parent_id.is_(None)).order_by(Job.id.desc()).limit(51),
    ],
    ids=["all films", "all films, deep", "own films, deep", "own jobs"],
)
def test_pages_are_read_from_an_index_without_sorting(services: Services, query: Select[Asset]) -> None:
    plan = explain(services, query)
    assert "TEMP B-TREE" not in plan and "filesort" not in plan, plan
    assert "USING INDEX" in plan or "ix_" in plan or "PRIMARY" in plan, plan


def test_a_page_of_many_films_costs_as_many_queries_as_one_of_a_few(site: Site) -> None:
    owner = site.user("editor")
    for _ in range(3):
        _, version, job = site.film(owner)
        site.publish(version, job)
    few = page_queries(site.services)
    for _ in range(12):
        _, version, job = site.film(owner)
        site.publish(version, job)
    assert page_queries(site.services) == few <= 5


def explain(services: Services, query: Select[Asset]) -> str:
    sql = str(query.compile(services.engine, compile_kwargs={"literal_binds": True})).replace("%%", "%")
    prefix = "EXPLAIN QUERY PLAN" if services.engine.dialect.name == "sqlite" else "EXPLAIN"
    with services.engine.connect() as connection:
        return "\n".join(str(row) for row in connection.execute(text(f"{prefix} {sql}")))


def page_queries(services: Services) -> int:
    with counting(services) as statements, db.reading(services) as s:
        rows = s.scalars(assets.listed(ADMIN)[0]).all()
        assert len(documents.assets(services, s, rows)) == len(rows)
    return len(statements)


@contextmanager
def counting(services: Services) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    event.listen(services.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(services.engine, "before_cursor_execute", note)
