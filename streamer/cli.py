"""The `streamer` command. Rooms with commands of their own have a `cli.py`; what all share is in `streamer.command`.

Everything that fails in a way we know ends in one sentence on stderr and exit code 1. Imports are inside the commands:
`streamer user create` must not wait for the web stack, and only a worker may load PyAV.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import OperationalError

from storage import StorageError
from streamer import log
from streamer.accounts.audit import Actor, acting
from streamer.accounts.cli import apikey, audit, user
from streamer.command import ConfigFile, DataDir, opened, settings_of
from streamer.config import API_KEY, ConfigError
from streamer.errors import Problem
from streamer.membership import cli as membership

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
workers = typer.Typer(no_args_is_help=True, help="Workers of all hosts: see, pause, resume.")
for command in (membership.invite, membership.export, membership.erase):
    user.command()(command)
app.add_typer(user, name="user")
app.add_typer(workers, name="workers")
app.add_typer(apikey, name="apikey")
app.add_typer(audit, name="audit")

_PARTS = ("up", "web", "worker", "scheduler")
"""Commands that are the server itself; what the others change, the audit log puts down to the command line."""

Host = Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")]
User = Annotated[
    str | None, typer.Option(help="Whose films they are: e-mail address, name or id.  [default: the only account]")
]
Policy = Annotated[str, typer.Option(help="Who may watch: private or public.")]
Port = Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.  [default: 8000]")]


@app.callback()
def begin(context: typer.Context) -> None:
    """Upload a film, get adaptive HLS, play it by a signed URL."""
    if context.invoked_subcommand not in _PARTS:
        acting(Actor("command_line"))


@app.command()
def up(config: ConfigFile = None, data: DataDir = None, host: Host = None, port: Port = None) -> None:
    """Start the whole server on this machine: database, Valkey, web, workers and scheduler."""
    from streamer import supervisor

    settings = settings_of(config, data, host, port)
    log.setup(settings.log, "up")
    raise typer.Exit(supervisor.run(settings))


@app.command()
def web(config: ConfigFile = None, data: DataDir = None, host: Host = None, port: Port = None) -> None:
    """Run one web process."""
    from streamer import web as process

    settings = settings_of(config, data, host, port)
    log.setup(settings.log, "web")
    process.serve(settings)


@app.command()
def worker(config: ConfigFile = None, data: DataDir = None) -> None:
    """Run one worker, which encodes films."""
    from streamer.jobs import worker as process

    settings = settings_of(config, data)
    log.setup(settings.log, "worker")
    process.run(settings)


@app.command()
def scheduler(config: ConfigFile = None, data: DataDir = None) -> None:
    """Run the scheduler, which finds lost jobs and does periodic work; any number may run."""
    from streamer.jobs import scheduler as process

    settings = settings_of(config, data)
    log.setup(settings.log, "scheduler")
    process.run(settings)


@app.command()
def migrate(config: ConfigFile = None, data: DataDir = None) -> None:
    """Bring the database to this version of the program (`streamer up` does it by itself)."""
    with opened(config, data):
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

    with opened(config, data) as services:
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

    with opened(config, data) as services:
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
        backup_report.show(source, settings_of(config, data))
    else:
        backup_report.restore(settings_of(config, data), source, at, objects=objects)


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
    with opened(config, data) as services:
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

    with opened(config, data) as services:
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

    with opened(config, data) as services:
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

    with opened(config, data) as services:
        workers_report.pause(services, name, wait=wait)


@workers.command("resume")
def workers_resume(
    name: Annotated[str, typer.Argument(help="The name that was paused.")],
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """End a pause."""
    from streamer.jobs import workers_report

    with opened(config, data) as services:
        workers_report.resume(services, name)


def main() -> None:
    """Run what the command line says; a failure is one sentence on stderr."""
    try:
        app()
    except (Problem, ConfigError, StorageError, ValueError) as error:
        _fail(str(error))
    except OperationalError as error:
        _fail(f"The database does not answer: {error.orig}")


def _fail(sentence: str) -> None:
    typer.echo(f"streamer: {sentence}", err=True)
    sys.exit(1)
