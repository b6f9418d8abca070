"""The web process: uvicorn over `streamer.app`, on its own socket or on one that `streamer up` holds open.

A socket that is held survives the process: while the web process is restarted, clients wait instead of being refused.
"""

import os
import resource
import socket

import uvicorn

from streamer.app import create_app
from streamer.config import LISTEN_FD, Config
from streamer.listener import listen
from streamer.wire import Guarded


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; open requests get `server.shutdown_s` seconds to finish."""
    allow_files()
    inherited = os.environ.get(LISTEN_FD)
    sock = socket.socket(fileno=int(inherited)) if inherited else listen(config.server.host, config.server.port)
    uvicorn.Server(_uvicorn(config)).run(sockets=[sock])


def allow_files() -> None:
    """As many open files as the system lets us: sockets and media take a descriptor each, and the usual 1024 are soon gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _uvicorn(config: Config) -> uvicorn.Config:
    proxies = list(config.server.trusted_proxies)
    return uvicorn.Config(
        create_app(config),
        http=Guarded,
        access_log=False,  # ours has the request id and no tokens
        log_config=None,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        limit_concurrency=config.server.connections or None,
        timeout_keep_alive=config.server.keep_alive_s,
        timeout_graceful_shutdown=config.server.shutdown_s,
        lifespan="on",
    )
