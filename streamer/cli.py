"""The `streamer` command. Options are put into the environment, so that child processes read the same configuration.

Everything that fails in a way we know ends in one sentence on stderr and exit code 1. Imports are inside the commands:
`streamer user create` must not wait for the web stack, and only a worker may load PyAV.
"""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import OperationalError

from storage import StorageError
from streamer import log
from streamer.config import API_KEY, CONFIG_FILE, ENV_PREFIX, Config, ConfigError
from streamer.errors import Problem
from streamer.services import Services, close_services, open_services

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Upload a film, get adaptive HLS, play it by a signed URL.",
)
user = typer.Typer(no_args_is_help=True, help="Accounts.")
apikey = typer.Typer(no_args_is_help=True, help="API keys.")
workers = typer.Typer(no_args_is_help=True, help="Workers of all hosts: see, pause, resume.")
app.add_typer(user, name="user")
app.add_typer(workers, name="workers")
app.add_typer(apikey, name="apikey")

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; see config.toml for all settings.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Folder of the embedded stack.  [default: var]")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")]
User = Annotated[
    str | None, typer.Option(help="Whose films they are: e-mail address, name or id.  [default: the only account]")
]
Policy = Annotated[str, typer.Option(help="Who may watch: private or public.")]
Port = Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.  [default: 8000]")]


@app.command()
def up(config: ConfigFile = None, data: DataDir = None, host: Host = None, port: Port = None) -> None:
    """Start the whole server on this machine: database, Valkey, web, workers and scheduler."""
    from streamer import supervisor

    settings = _settings(config, data, host, port)
    log.setup(settings.log, "up")
    raise typer.Exit(supervisor.run(settings))


@app.command()
def web(config: ConfigFile = None, data: DataDir = None, host: Host = None, port: Port = None) -> None:
    """Run one web process."""
    from streamer import web as process

    settings = _settings(config, data, host, port)
    log.setup(settings.log, "web")
    process.serve(settings)


@app.command()
def worker(config: ConfigFile = None, data: DataDir = None) -> None:
    """Run one worker, which encodes films."""
    from streamer.jobs import worker as process

    settings = _settings(config, data)
    log.setup(settings.log, "worker")
    process.run(settings)


@app.command()
def scheduler(config: ConfigFile = None, data: DataDir = None) -> None:
    """Run the scheduler, which finds lost jobs and does periodic work; any number may run."""
    from streamer.jobs import scheduler as process

    settings = _settings(config, data)
    log.setup(settings.log, "scheduler")
    process.run(settings)


@app.command()
def migrate(config: ConfigFile = None, data: DataDir = None) -> None:
    """Bring the database to this version of the program (`streamer up` does it by itself)."""
    services = _ready(_settings(config, data))
    close_services(services)
    typer.echo("The database is up to date.")


@app.command()
def fsck(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without a loss.")] = False,
    hashes: Annotated[
        bool, typer.Option(help="Read every published byte; --no-hashes looks at names and sizes.")
    ] = True,
    settled: Annotated[float, typer.Option(help="Seconds an object nobody knows of is left alone for.")] = 3600.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Compare database, jobs, storage, playlists and hashes, beside a running server. Exit code 1 when something differs and stays so."""
    from streamer.ops import fsck_report

    with _opened(config, data) as services:
        left = fsck_report.run(services, repair=repair, hashes=hashes, settled_s=settled, as_json=as_json)
    raise typer.Exit(1 if left else 0)


@app.command()
def backup(
    to: Annotated[str, typer.Argument(help="A folder or s3://bucket/prefix?endpoint=…; each run copies what is new.")],
    objects: Annotated[
        bool, typer.Option(help="Films too; --no-objects where storage is backed up by other means.")
    ] = True,
    keep: Annotated[int, typer.Option(min=0, help="Remove all but so many snapshots; 0 keeps all.")] = 0,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Copy database, keys and films, beside a running server. Keep it as private as the server: it has the keys."""
    from streamer.ops import backup_report

    with _opened(config, data) as services:
        backup_report.backup(services, to, objects=objects, keep=keep)


@app.command()
def restore(
    source: Annotated[str, typer.Argument(help="Where `streamer backup` copied to.", metavar="FROM")],
    at: Annotated[str | None, typer.Option(help="The snapshot.  [default: the newest]")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the snapshots and do nothing.")] = False,
    objects: Annotated[bool, typer.Option(help="Films too; --no-objects where storage is as it was.")] = True,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Bring a backup back into an installation that has nothing yet, on SQLite or MariaDB whatever it came from."""
    from streamer.ops import backup_report

    if listing:
        backup_report.show(source, _settings(config, data))
    else:
        backup_report.restore(_settings(config, data), source, at, objects=objects)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="Films, or folders of films.", metavar="FILES...")],
    user: User = None,
    title: Annotated[str | None, typer.Option(help="For a single file.  [default: from the file's name]")] = None,
    policy: Policy = "private",
    url: Annotated[str | None, typer.Option(help="A server elsewhere, such as https://films.example.org.")] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar=API_KEY, help="Its API key; better in the environment, where no process list shows it."),
    ] = None,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Import films from this machine's disks: straight into its storage, or with --url by tus into that of a server elsewhere.

    Exit code 1 when one failed; start it again and it goes on."""
    from streamer import db
    from streamer.ingest import away, batch, wanted

    if title is not None and (len(paths) > 1 or paths[0].is_dir()):
        raise ValueError("--title is for a single file; give several their titles one by one.")
    if url is not None:
        if not key or user:
            raise ValueError("--url needs --key, and the films are those of the key's owner, not of a --user.")
        there = away.connect(url, key, wanted.policy(policy), title)
        raise typer.Exit(0 if batch.Batch(there.bring_in, typer.echo).run(batch.spread(paths)) else 1)
    with _opened(config, data) as services:
        with db.reading(services) as s:
            owner = batch.owner(s, user)
        bring = batch.here(services, owner.id, wanted.policy(policy), title)
        went_well = batch.Batch(bring, typer.echo).run(batch.spread(paths))
    raise typer.Exit(0 if went_well else 1)


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="Films that appear here are imported.", exists=True, file_okay=False)],
    user: User = None,
    policy: Policy = "private",
    settle: Annotated[float, typer.Option(help="Seconds a file must stand still before it is taken.")] = 10.0,
    every: Annotated[float, typer.Option(help="Seconds between two looks.")] = 2.0,
    leave: Annotated[
        bool, typer.Option("--leave", help="Leave files where they are; else they go to done/ or failed/.")
    ] = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Import what appears in a folder, until SIGTERM. Start it again and it takes nothing twice."""
    import signal

    from streamer import db
    from streamer.ingest import batch, wanted
    from streamer.ingest.watch import Rules, Watch

    with _opened(config, data) as services:
        with db.reading(services) as s:
            owner = batch.owner(s, user)
        rules = Rules(wanted.policy(policy), settle, every, leave)
        watching = Watch(services, owner.id, folder.absolute(), rules, typer.echo)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: watching.stop.set())
        typer.echo(f"Watching {watching.folder} for films of {owner.email}.")
        watching.run()


@workers.command("list")
def workers_list(config: ConfigFile = None, data: DataDir = None) -> None:
    """Show the workers of all hosts and what is paused."""
    from streamer.jobs import workers_report

    with _opened(config, data) as services:
        workers_report.show(services)


@workers.command("pause")
def workers_pause(
    name: Annotated[str, typer.Argument(help="A worker, or a host for all its workers.")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when they have nothing in hand any more.")] = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Take nothing new; what is in hand is finished. With --wait a host can be switched off afterwards and no work is lost."""
    from streamer.jobs import workers_report

    with _opened(config, data) as services:
        workers_report.pause(services, name, wait=wait)


@workers.command("resume")
def workers_resume(
    name: Annotated[str, typer.Argument(help="The name that was paused.")],
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """End a pause."""
    from streamer.jobs import workers_report

    with _opened(config, data) as services:
        workers_report.resume(services, name)


@user.command("create")
def user_create(
    email: Annotated[str, typer.Option(help="Used to sign in.")],
    role: Annotated[str, typer.Option(help="Such as admin, editor, member or viewer, or one made here.")],
    name: Annotated[str | None, typer.Option(help="Shown to others.  [default: the e-mail address]")] = None,
    password: Annotated[str | None, typer.Option(help="Made and printed when not given.")] = None,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Make an account."""
    from streamer import db
    from streamer.accounts import users

    services = _ready(_settings(config, data))
    given = password or secrets.token_urlsafe(12)
    made = db.retrying(
        services,
        lambda s: users.create(s, services.config.accounts, email=email, name=name or email, role=role, password=given),
    )
    close_services(services)
    typer.echo(f"{made.id}  {made.email}  {made.role}")
    if password is None:
        typer.echo(f"password: {given}")


@user.command("role")
def user_role(
    who: Annotated[str, typer.Argument(help="E-mail address, name or id.", metavar="USER")],
    role: Annotated[str, typer.Argument(help="Built in, or made here.")],
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Give an account another role."""
    from streamer import db
    from streamer.accounts import users

    with _opened(config, data) as services:
        changed = db.retrying(services, lambda s: users.set_role(s, users.find(s, who).id, role))
    typer.echo(f"{changed.email} is {changed.role} now.")


@user.command("password")
def user_password(
    who: Annotated[str, typer.Argument(help="E-mail address, name or id.", metavar="USER")],
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Make a new password and print it; all sessions of the account end. For whoever gets no letters."""
    from streamer import db
    from streamer.accounts import login_sessions, passwords, users

    made = secrets.token_urlsafe(12)
    with _opened(config, data) as services:
        hashed = passwords.hash_password(services.config.accounts, made)
        changed = db.retrying(services, lambda s: users.set_password(users.find(s, who), hashed))
        login_sessions.end_all(services, changed.id)
    typer.echo(f"{changed.email}  password: {made}")


@user.command("invite")
def user_invite(
    email: Annotated[str, typer.Argument(help="Where the letter goes.")],
    role: Annotated[str, typer.Option(help="What they may do: built in, or made here.")],
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Invite somebody by a letter, which a worker sends."""
    from streamer.membership import invitations

    with _opened(config, data) as services:
        made = invitations.invite(services, email, role, by=None, held=None)
    typer.echo(f"{made.id}  {made.email}  {made.role}  until {made.expires_at:%Y-%m-%d %H:%M} UTC")


@apikey.command("create")
def apikey_create(
    user: Annotated[str, typer.Option(help="The owner: e-mail address, name or id.")],
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

    services = _ready(_settings(config, data))
    _, secret = db.retrying(
        services,
        lambda s: apikeys.issue(s, users.find(s, user), name=name, scopes=scope or [apikeys.EVERYTHING]),
    )
    close_services(services)
    typer.echo(secret)


def main() -> None:
    """The console script."""
    try:
        app()
    except (Problem, ConfigError, StorageError, ValueError) as error:
        _fail(str(error))
    except OperationalError as error:
        _fail(f"The database does not answer: {error.orig}")


def _settings(config: Path | None, data: Path | None, host: str | None = None, port: int | None = None) -> Config:
    """The configuration with the options in it, for this process and, by the environment, for its children."""
    options = {
        CONFIG_FILE: config and config.absolute(),
        f"{ENV_PREFIX}DATA__DIR": data and data.absolute(),
        f"{ENV_PREFIX}SERVER__HOST": host,
        f"{ENV_PREFIX}SERVER__PORT": port,
    }
    os.environ.update({name: str(value) for name, value in options.items() if value is not None})
    return Config.load(os.environ.get(CONFIG_FILE) or None)


@contextmanager
def _opened(config: Path | None, data: Path | None) -> Iterator[Services]:
    services = _ready(_settings(config, data))
    try:
        yield services
    finally:
        close_services(services)


def _ready(config: Config) -> Services:
    """The services, with a migrated database: commands work before the first `up` as well as beside it."""
    from streamer import migrations

    services = open_services(config)
    migrations.upgrade(services.engine)
    return services


def _fail(sentence: str) -> None:
    typer.echo(f"streamer: {sentence}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
