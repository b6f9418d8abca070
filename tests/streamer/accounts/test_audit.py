"""The audit log: every change of people, roles, keys and invitations with who made it, in a chain that shows each alteration."""

import hashlib
import json

import pytest
from sqlalchemy import delete, select, update

from streamer import db
from streamer.accounts import audit, audit_chain, users
from streamer.accounts.tables import AuditEntry, AuditHead
from tests.streamer.accounts.conftest import PASSWORD, Site

NEW = {"email": "new@example.org", "name": "New", "role": "viewer", "password": PASSWORD}


def entries(site: Site) -> list[AuditEntry]:
    return list(audit_chain.walk(site.services))


def test_a_change_is_written_with_who_made_it_from_where_and_what_was_before(site: Site) -> None:
    ada = site.signed_in()
    made = ada.post("/api/v1/users", json=NEW).json()
    changed = ada.patch(f"/api/v1/users/{made['id']}", json={"role": "editor"})
    (entry,) = ada.get("/api/v1/audit", params={"action": "user.role"}).json()["data"]
    assert entry["user_id"] == ada.get("/api/v1/me").json()["id"] and entry["way"] == "session"
    assert (entry["before"], entry["after"]) == ({"role": "viewer"}, {"role": "editor"})
    assert (entry["subject_id"], entry["address"]) == (made["id"], "127.0.0.1")
    assert entry["request_id"] == changed.headers["x-request-id"]


def test_keys_and_the_command_line_are_told_apart(site: Site) -> None:
    ada = site.signed_in()
    key = ada.post("/api/v1/api-keys", json={"name": "k"}).json()
    site.bearer(key["secret"]).post("/api/v1/users", json=NEW)
    first, made, last = entries(site)[0], *entries(site)[-2:]
    assert (first.action, first.way, first.address) == ("user.create", "server", None)
    assert (made.action, made.way, made.subject_id) == ("api_key.create", "session", key["id"])
    assert (last.action, last.way, last.key_id) == ("user.create", "key", key["id"])


def test_what_was_refused_or_rolled_back_leaves_no_entry(site: Site) -> None:
    ada, before = site.signed_in(), len(entries(site))
    ada.post("/api/v1/users", json={**NEW, "email": "eve@example.org"})
    with pytest.raises(RuntimeError), db.session(site.services) as s:
        users.set_role(s, users.find(s, "vic@example.org").id, "editor")
        raise RuntimeError
    assert len(entries(site)) == before


def test_passwords_and_secrets_are_never_in_it(site: Site) -> None:
    ada = site.signed_in()
    ada.post("/api/v1/users", json=NEW)
    secret = ada.post("/api/v1/api-keys", json={"name": "k"}).json()["secret"]
    with db.session(site.services) as s:
        audit.record(s, "test", "x", after={"password": PASSWORD, "recovery_code": "c", "name": "n"})
        hashes = [user.password_hash for user in s.scalars(select(users.User))]
    text = site.signed_in().get("/api/v1/audit/export").text
    assert all(word not in text for word in (PASSWORD, secret, *hashes))
    (clean,) = (entry.after for entry in entries(site) if entry.action == "test")
    assert clean == {"password": "[removed]", "recovery_code": "[removed]", "name": "n"}


def test_pages_and_filters_cover_the_log_without_gaps(site: Site) -> None:
    ada = site.signed_in()
    for number in range(5):
        ada.post("/api/v1/users", json={**NEW, "email": f"n{number}@example.org"})
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ada.get("/api/v1/audit", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [entry["sequence"] for entry in page["data"]]
        cursor = page["next_cursor"]
    assert seen == list(range(len(entries(site)), 0, -1))
    eve = users_id(site, "eve@example.org")
    assert {row["subject_id"] for row in ada.get("/api/v1/audit", params={"subject_id": eve}).json()["data"]} == {eve}
    later = ada.get("/api/v1/audit", params={"since": "2999-01-01T00:00:00Z"}).json()["data"]
    assert later == [] and ada.get("/api/v1/audit?since=yesterday").status_code == 400
    assert ada.get("/api/v1/audit?cursor=x").status_code == 400


def test_only_who_may_reads_it(site: Site) -> None:
    for path in ("audit", "audit/export"):
        assert site.signed_in("eve@example.org").get(f"/api/v1/{path}").status_code == 403


def test_the_export_is_the_whole_chain_and_can_be_checked_by_anybody(site: Site) -> None:
    site.signed_in().post("/api/v1/users", json={**NEW, "name": "Zoë ß"})
    lines = site.signed_in().get("/api/v1/audit/export").text.splitlines()
    chained = audit_chain.START
    for line in lines:
        entry = json.loads(line)
        claimed, salts = entry.pop("hash"), entry.pop("personal")
        for place, salt in salts.items():
            side, _, name = place.rpartition(".")
            facts = entry[side] if side else entry
            facts[name] = hashlib.sha256(f"{salt}\n{facts[name]}".encode()).hexdigest()
        entry["personal"] = sorted(salts)
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        chained = hashlib.sha256(f"{chained}\n{canonical}".encode()).hexdigest()
        assert chained == claimed
    assert audit_chain.verify(site.services) == (len(lines), chained)


@pytest.mark.parametrize("tampering", ["alter", "remove", "remove_last", "replace_last"])
def test_every_alteration_shows(site: Site, tampering: str) -> None:
    assert audit_chain.verify(site.services)[0] == 3
    with db.session(site.services) as s:
        if tampering == "alter":
            s.execute(update(AuditEntry).where(AuditEntry.sequence == 2).values(after={"role": "admin"}))
        elif tampering == "remove":
            s.execute(delete(AuditEntry).where(AuditEntry.sequence == 2))
        elif tampering == "remove_last":
            s.execute(delete(AuditEntry).where(AuditEntry.sequence == 3))
        else:
            s.execute(update(AuditHead).values(hash="f" * 64))
    with pytest.raises(audit_chain.Broken, match="2" if tampering in ("alter", "remove") else "3"):
        audit_chain.verify(site.services)


def users_id(site: Site, email: str) -> str:
    with db.reading(site.services) as s:
        return users.find(s, email).id


def test_what_is_erased_leaves_the_chain_whole_and_nothing_behind(site: Site) -> None:
    """Of whoever acted the address, of whoever it is about the rest; others keep theirs."""
    ada = site.signed_in()
    vic = users_id(site, "vic@example.org")
    ada.patch(f"/api/v1/users/{vic}", json={"role": "editor"})
    site.signed_in("vic@example.org")
    with db.session(site.services) as s:
        audit.erase(s, vic, [], {})
    audit_chain.verify(site.services)
    told = [audit.document(entry) for entry in entries(site)]
    made = next(entry for entry in told if entry["subject_id"] == vic and entry["action"] == "user.create")
    assert made["personal"] == {"after.email": None, "after.name": None} and len(made["after"]["email"]) == 64
    assert [entry["personal"] for entry in told if entry["user_id"] == vic] == [{"address": None}]
    assert [entry["address"] for entry in told if entry["action"] == "user.role"] == ["127.0.0.1"]
    assert "vic@example.org" not in json.dumps(told) and "ada@example.org" in json.dumps(told)


@pytest.mark.parametrize("tampering", ["swap", "erase"])
def test_personal_values_can_neither_be_swapped_nor_erased_without_a_word(site: Site, tampering: str) -> None:
    with db.session(site.services) as s:
        entry = s.get_one(AuditEntry, 2)
        kept = dict(entry.personal or {})
        kept["after.email"] = ["0" * 32, "mal@example.org"] if tampering == "swap" else None
        entry.personal = kept
    with pytest.raises(audit_chain.Broken, match="Entry 2"):
        audit_chain.verify(site.services)
