"""`streamer user invite`."""

from typing import Annotated

import typer

from streamer.command import ConfigFile, DataDir, opened


def invite(
    email: Annotated[str, typer.Argument(help="Where the letter goes.")],
    role: Annotated[str, typer.Option(help="What they may do: built in, or made here.")],
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Invite somebody by a letter, which a worker sends."""
    from streamer.membership import invitations

    with opened(config, data) as services:
        made = invitations.invite(services, email, role, by=None, held=None)
    typer.echo(f"{made.id}  {made.email}  {made.role}  until {made.expires_at:%Y-%m-%d %H:%M} UTC")
