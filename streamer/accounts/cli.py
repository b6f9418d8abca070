"""`streamer user …`, `streamer apikey …` and `streamer audit …`."""

import secrets
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from streamer.accounts.tables import User
from streamer.command import ConfigFile, DataDir, either, opened

user = typer.Typer(no_args_is_help=True, help="Accounts.")
apikey = typer.Typer(no_args_is_help=True, help="API keys.")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")


@user.command("create")
def create(
    role: Annotated[str, typer.Option(help="Such as admin, editor, member or viewer, or one made here.")],
    email: Annotated[str | None, typer.Argument(help="Used to sign in.", metavar="EMAIL")] = None,
    email_option: Annotated[str | None, typer.Option("--email", help="The same as EMAIL.")] = None,
    name: Annotated[str | None, typer.Option(help="Shown to others.  [default: the e-mail address]")] = None,
    password: Annotated[str | None, typer.Option(help="Made and printed when not given.")] = None,
    password_hash: Annotated[
        str | None,
        typer.Option(help="Instead of a password: its hash by another system (bcrypt, sha1$salt$hex, md5$salt$hex)."),
    ] = None,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Make an account."""
    from streamer import db
    from streamer.accounts import legacy_hashes, users

    if password_hash is not None and not legacy_hashes.is_one(password_hash):
        raise ValueError("--password-hash is none that can be read: see docs/people.md for which.")
    address = either(email, email_option, "the e-mail address", "EMAIL or --email EMAIL")
    given = password or secrets.token_urlsafe(12)
    with opened(config, data) as services:
        rules = services.config.accounts

        def make(s: Session) -> User:
            made = users.create(s, rules, email=address, name=name or address, role=role, password=given)
            return users.set_password(s, made, password_hash) if password_hash else made

        made = db.retrying(services, make)
    typer.echo(f"{made.id}  {made.email}  {made.role}")
    if password is None and password_hash is None:
        typer.echo(f"password: {given}")


@user.command("role")
def set_role(
    who: Annotated[str, typer.Argument(help="E-mail address, name or id.", metavar="USER")],
    role: Annotated[str | None, typer.Argument(help="Built in, or made here.", metavar="ROLE")] = None,
    role_option: Annotated[str | None, typer.Option("--role", help="The same as ROLE.")] = None,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Give an account another role."""
    from streamer import db
    from streamer.accounts import users

    wanted = either(role, role_option, "the role", "ROLE or --role ROLE")
    with opened(config, data) as services:
        changed = db.retrying(services, lambda s: users.set_role(s, users.find(s, who).id, wanted))
    typer.echo(f"{changed.email} is {changed.role} now.")


@user.command("password")
def set_password(
    who: Annotated[str, typer.Argument(help="E-mail address, name or id.", metavar="USER")],
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Make a new password and print it; all sessions of the account end, and its owner is told. For whoever gets no letter with a link."""
    from streamer import db
    from streamer.accounts import login_sessions, notices, passwords, users

    made = secrets.token_urlsafe(12)
    with opened(config, data) as services:
        hashed = passwords.hash_password(services.config.accounts, made)

        def write(s: Session) -> User:
            found = users.set_password(s, users.find(s, who), hashed)
            notices.tell(s, found.id, notices.Notice.PASSWORD)
            return found

        changed = db.retrying(services, write)
        login_sessions.end_all(services, changed.id)
    typer.echo(f"{changed.email}  password: {made}")


@user.command("forget-second-factor")
def forget_second_factor(
    who: Annotated[str, typer.Argument(help="E-mail address, name or id.", metavar="USER")],
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Let somebody who lost the app and the recovery codes sign in with the password alone."""
    from streamer import db
    from streamer.accounts import second_factor, users

    with opened(config, data) as services:
        db.retrying(services, lambda s: second_factor.take_away(s, users.find(s, who).id))
    typer.echo(f"{who} signs in with the password alone now.")


@apikey.command("create")
def create_key(
    who: Annotated[str | None, typer.Argument(help="The owner: e-mail address, name or id.", metavar="USER")] = None,
    user: Annotated[str | None, typer.Option(help="The same as USER.")] = None,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "command line",
    scope: Annotated[
        list[str] | None, typer.Option(help="A permission, repeatable.  [default: all of the owner's]")
    ] = None,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Make an API key and print it; it can't be shown again."""
    from streamer import db
    from streamer.accounts import apikeys, users

    owner, scopes = either(who, user, "the owner", "USER or --user USER"), scope or [apikeys.EVERYTHING]
    with opened(config, data) as services:
        _, secret = db.retrying(services, lambda s: apikeys.issue(s, users.find(s, owner), name=name, scopes=scopes))
    typer.echo(secret)


@audit.command("verify")
def verify(config: ConfigFile = None, data: DataDir = None) -> None:
    """Check that no entry was altered, taken out or put in. Prints the last hash: keep it elsewhere, it stays in the chain. Exit code 1 when it is broken."""
    from streamer.accounts import audit_chain

    with opened(config, data) as services:
        try:
            count, last = audit_chain.verify(services)
        except audit_chain.Broken as broken:
            typer.echo(f"The audit log is broken. {broken}", err=True)
            raise typer.Exit(1) from broken
    typer.echo(f"{count} entries, nothing altered. The last hash: {last}")


@audit.command("export")
def export(config: ConfigFile = None, data: DataDir = None) -> None:
    """Print all entries as JSON Lines, oldest first."""
    import json

    from streamer.accounts import audit, audit_chain

    with opened(config, data) as services:
        for entry in audit_chain.walk(services):
            typer.echo(json.dumps(audit.document(entry), ensure_ascii=False))
