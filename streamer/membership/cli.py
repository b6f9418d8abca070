"""`streamer user invite`, `streamer user export` and `streamer user erase`."""

from typing import Annotated

import typer

from streamer.command import ConfigFile, DataDir, either, opened

Who = Annotated[str, typer.Argument(help="E-mail address, name or id.", metavar="USER")]


def invite(
    role: Annotated[str, typer.Option(help="What they may do: built in, or made here.")],
    email: Annotated[str | None, typer.Argument(help="Where the letter goes.", metavar="EMAIL")] = None,
    email_option: Annotated[str | None, typer.Option("--email", help="The same as EMAIL.")] = None,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Invite somebody by a letter, which a worker sends."""
    from streamer.membership import invitations

    address = either(email, email_option, "the e-mail address", "EMAIL or --email EMAIL")
    with opened(config, data) as services:
        made = invitations.invite(services, address, role, by=None, held=None)
    typer.echo(f"{made.id}  {made.email}  {made.role}  until {made.expires_at:%Y-%m-%d %H:%M} UTC")


def export(who: Who, config: ConfigFile = None, data: DataDir = None) -> None:
    """Print all that is held of somebody as JSON."""
    from streamer import db
    from streamer.accounts import users
    from streamer.membership import persons

    with opened(config, data) as services:
        with db.reading(services) as s:
            user_id = users.find(s, who).id
        for piece in persons.export(services, user_id):
            typer.echo(piece, nl=False)


def erase(
    who: Who,
    films_to: Annotated[
        str | None, typer.Option(help="Who gets the films: e-mail address, name or id.  [default: they are deleted]")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Erase an account and all that is held of somebody, for good."""
    from streamer import db
    from streamer.accounts import users
    from streamer.membership import persons

    with opened(config, data) as services:
        with db.reading(services) as s:
            user = users.find(s, who)
            heir_id = users.find(s, films_to).id if films_to else None
        if not yes:
            typer.confirm(f"Erase {user.email} for good?", abort=True)
        persons.erase(services, user.id, heir_id=heir_id)
    typer.echo(f"{user.email} is erased.")
