"""The command as an operator types it, each time a process of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from streamer import db
from streamer.accounts import apikeys, passwords
from streamer.accounts.tables import User
from streamer.command import either
from streamer.config import Config
from streamer.jobs.tables import Job
from streamer.services import Services, close_services, open_services

ROOT = Path(__file__).resolve().parents[2]
ADA = ("user", "create", "--email", "ada@example.org", "--role", "admin")


def streamer(*words: str, data: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "streamer", *words, "--data", str(data)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return open_services(Config.load(data_dir=tmp_path))


def test_an_account_can_be_made_before_the_server_ever_ran(tmp_path: Path, services: Services) -> None:
    done = streamer(*ADA, "--name", "Ada", "--password", "correct horse", data=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"usr_[0-9a-z]{20}  ada@example\.org  admin\n", done.stdout)
    with db.reading(services) as s:
        user = s.scalars(select(User)).one()
    assert user.name == "Ada"
    assert passwords.verify(services.config.accounts, user.password_hash, "correct horse")
    close_services(services)


def test_a_password_is_made_and_told_when_none_is_given(tmp_path: Path, services: Services) -> None:
    done = streamer(*ADA, data=tmp_path)
    password = done.stdout.splitlines()[1].removeprefix("password: ")
    with db.reading(services) as s:
        user = s.scalars(select(User)).one()
    assert len(password) >= 16
    assert passwords.verify(services.config.accounts, user.password_hash, password)
    close_services(services)


def test_roles_passwords_second_factors_and_invitations_of_people(tmp_path: Path, services: Services) -> None:
    streamer(*ADA, data=tmp_path)
    streamer("user", "create", "eve@example.org", "--role", "editor", data=tmp_path)
    told = streamer("user", "role", "eve@example.org", "moderator", data=tmp_path).stdout
    told += streamer("user", "password", "eve@example.org", data=tmp_path).stdout
    forgotten = streamer("user", "forget-second-factor", "eve@example.org", data=tmp_path)
    closed = streamer("user", "invite", "--email", "new@example.org", "--role", "member", data=tmp_path)
    wanted = {"STREAMER_ACCOUNTS__SIGN_UP": "invitation"}
    invited = streamer("user", "invite", "new@example.org", "--role", "member", data=tmp_path, **wanted)
    checked = streamer("audit", "verify", data=tmp_path).stdout
    lines = streamer("audit", "export", data=tmp_path).stdout.splitlines()
    with db.reading(services) as s:
        eve = s.scalars(select(User).where(User.email == "eve@example.org")).one()
        letters = s.scalars(select(Job.payload).where(Job.subject_id == eve.id)).all()
    assert [letter["letter"] for letter in letters] == ["password_changed"], "which she is told by"
    assert eve.role == "moderator" and told.startswith("eve@example.org is moderator now.")
    assert passwords.verify(services.config.accounts, eve.password_hash, told.split("password: ")[1].strip())
    assert forgotten.returncode == 0 and "new@example.org  member  until" in invited.stdout
    last = json.loads(lines[-1])
    assert (last["action"], last["way"], last["user_id"]) == ("invitation.create", "command_line", None)
    assert checked.startswith(f"{len(lines)} entries, nothing altered.") and last["hash"] in checked
    assert closed.returncode == 1 and closed.stderr.startswith("streamer: Nobody is invited here")
    close_services(services)


def test_a_person_is_exported_and_erased(tmp_path: Path, services: Services) -> None:
    streamer(*ADA, data=tmp_path)
    streamer("user", "create", "--email", "eve@example.org", "--role", "editor", data=tmp_path)
    held = json.loads(streamer("user", "export", "eve@example.org", data=tmp_path).stdout)
    assert held["account"][0]["email"] == "eve@example.org"
    done = streamer("user", "erase", "eve@example.org", "--films-to", "ada@example.org", "--yes", data=tmp_path)
    assert (done.returncode, done.stdout) == (0, "eve@example.org is erased.\n"), done.stderr
    with db.reading(services) as s:
        assert [user.email for user in s.scalars(select(User).where(User.erased_at.is_(None)))] == ["ada@example.org"]
    close_services(services)


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(tmp_path: Path, services: Services) -> None:
    streamer(*ADA, "--name", "Ada", data=tmp_path)
    for who in ("ada@example.org", "Ada"):
        done = streamer("apikey", "create", "--user", who, data=tmp_path)
        assert re.fullmatch(r"sk_[A-Za-z0-9_-]{43}\n", done.stdout), done.stderr
        with db.reading(services) as s:
            found = apikeys.find(s, done.stdout.strip())
        assert found is not None and found[1].email == "ada@example.org"
    close_services(services)


def test_a_key_can_be_narrowed(tmp_path: Path, services: Services) -> None:
    streamer(*ADA, data=tmp_path)
    done = streamer("apikey", "create", "ada@example.org", "--scope", "uploads:create", data=tmp_path)
    with db.reading(services) as s:
        found = apikeys.find(s, done.stdout.strip())
    assert found is not None and found[0].scopes == ["own:uploads:create"]
    close_services(services)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("user", "create", "--email", "nobody", "--role", "admin"), "The email is not an e-mail address."),
        (("user", "create", "--email", "a@b", "--role", "king"), "The role must be one of admin, editor, moderator, "),
        (("user", "create", "--email", "a@b", "--role", "admin", "--password", "x"), "A password has at least 8"),
        (("apikey", "create", "--user", "nobody"), "There is no user nobody."),
        (("migrate", "--config", "none.toml"), "there is no configuration file"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    done = streamer(*words, data=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"streamer: {sentence}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("given", [(None, None), ("admin", "editor")])
def test_what_can_be_given_in_two_ways_is_given_in_one(given: tuple[str | None, str | None]) -> None:
    assert either("admin", None, "the role", "") == either(None, "admin", "the role", "") == "admin"
    with pytest.raises(ValueError, match="Give the role once: ROLE or --role ROLE."):
        either(*given, "the role", "ROLE or --role ROLE")


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    url = "mysql+pymysql://root@127.0.0.1:1/x"
    done = streamer("migrate", data=tmp_path, STREAMER_DATABASE__URL=url)
    assert done.returncode == 1
    assert done.stderr.startswith("streamer: The database does not answer:") and done.stderr.count("\n") == 1


def test_migrating_twice_is_fine(tmp_path: Path) -> None:
    for _ in range(2):
        done = streamer("migrate", data=tmp_path)
        assert (done.returncode, done.stdout) == (0, "The database is up to date.\n")


def test_help_names_the_commands() -> None:
    done = subprocess.run([sys.executable, "-m", "streamer", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert all(
        name in done.stdout
        for name in ("up", "web", "worker", "scheduler", "migrate", "import", "watch", "user", "apikey")
    )
