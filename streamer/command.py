"""What all commands share: their options, and the services they open.

Options are put into the environment, so that child processes read the same configuration.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from streamer import log
from streamer.config import CONFIG_FILE, ENV_PREFIX, Config
from streamer.services import Services, close_services, open_services

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; see config.toml for all settings.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Folder of the embedded stack.  [default: var]")]


def either(argument: str | None, option: str | None, what: str, how: str) -> str:
    """What may be given as an argument or by an option, once: people shouldn't have to remember which command wants it how."""
    given = [one for one in (argument, option) if one is not None]
    if len(given) != 1:
        raise ValueError(f"Give {what} once: {how}.")
    return given[0]


def settings_of(config: Path | None, data: Path | None, host: str | None = None, port: int | None = None) -> Config:
    """The configuration with the options in it, for this process and, by the environment, for its children."""
    options = {
        CONFIG_FILE: config and config.absolute(),
        f"{ENV_PREFIX}DATA__DIR": data and data.absolute(),
        f"{ENV_PREFIX}SERVER__HOST": host,
        f"{ENV_PREFIX}SERVER__PORT": port,
    }
    os.environ.update({name: str(value) for name, value in options.items() if value is not None})
    gc.freeze()  # a command has loaded all it needs by now: that stays, and what follows is looked through
    gc.enable()
    return Config.load(os.environ.get(CONFIG_FILE) or None)


@contextmanager
def opened(config: Path | None, data: Path | None) -> Iterator[Services]:
    """The services of a command, with a migrated database, closed at its end."""
    settings = settings_of(config, data)
    log.setup(settings.log.model_copy(update={"level": "warning"}), "command")  # stdout is for the answer alone
    services = _ready(settings)
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
