"""What `streamer workers` prints."""

import time

import typer

from streamer import db, kv
from streamer.jobs import workers
from streamer.jobs.workers import Seen
from streamer.services import Services

LOOK_S = 1.0


def show(services: Services) -> None:
    """A line for each worker, then what is paused."""
    found = _seen(services)
    for each in found:
        typer.echo(f"{each.name}  {_doing(each)}")
    if not found:
        typer.echo("No worker is running. `streamer worker` starts one.")
    with db.reading(services) as s:
        for name in sorted(workers.names(s)):
            typer.echo(f"paused: {name}")


def pause(services: Services, name: str, *, wait: bool) -> None:
    """Pause; with `wait` until nothing is in hand, with a line for each change."""
    db.retrying(services, lambda s: workers.pause(s, name))
    typer.echo(f"{name} is paused.")
    told = None
    while wait and (busy := [each for each in _seen(services) if each.job_id and name in (each.name, each.host)]):
        if told != (told := [each.job_id for each in busy]):
            typer.echo(f"Waiting for {', '.join(each.name for each in busy)}.")
        time.sleep(LOOK_S)
    if wait:
        typer.echo("Nothing is in hand.")


def resume(services: Services, name: str) -> None:
    """End the pause of that name."""
    db.retrying(services, lambda s: workers.resume(s, name))
    typer.echo(f"{name} goes on.")


def _doing(worker: Seen) -> str:
    doing = f"does {worker.job_id}" if worker.job_id else "idle"
    return f"{doing}, paused" if worker.paused else doing


def _seen(services: Services) -> list[Seen]:
    connection = kv.open_bytes(services.config.redis, services.config.redis_url)
    with db.reading(services) as s, connection:
        return workers.listed(s, connection)
