"""Every setting, typed and frozen, with its unit and its default. `config.toml` in the repository shows the same defaults.

    config = Config.load(path, data_dir)

Order, strongest first: `STREAMER_<SECTION>__<NAME>` in the environment, the TOML file, the defaults. Unknown names are
errors in both. An empty URL means the embedded stack: SQLite, Valkey and files under `data.dir`; the properties
`database_url`, `redis_url` and `storage_url` give what is really used.
"""

import hashlib
import os
import tempfile
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from streamer.sections import Accounts as Accounts
from streamer.sections import Cache as Cache
from streamer.sections import Fetch as Fetch
from streamer.sections import Ingest as Ingest
from streamer.sections import Limits as Limits
from streamer.sections import Mail as Mail
from streamer.sections import Retention as Retention
from streamer.sections import Section as Section

ENV_PREFIX = "STREAMER_"
CONFIG_FILE = f"{ENV_PREFIX}CONFIG"
"""Environment: the configuration file's path."""
LISTEN_FD = f"{ENV_PREFIX}LISTEN_FD"
"""Environment: the number of an inherited listening socket."""
API_KEY = f"{ENV_PREFIX}API_KEY"
"""Environment: the key that `streamer import --url` shows the server elsewhere."""
_NOT_SETTINGS = (CONFIG_FILE, LISTEN_FD, API_KEY)
_SOCKET_PATH_MAX = 100  # bytes; the kernel's limit for a unix socket path is 108


class ConfigError(Exception):
    """The configuration cannot be used; the text says which setting and why."""


class Server(Section):
    host: str = "127.0.0.1"
    """Address the web process listens on; 0.0.0.0 for all."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port."""
    processes: int = Field(default=1, ge=1)
    """Web processes that `streamer up` starts; they share one socket."""
    threads: int = Field(default=32, ge=1)
    """Threads per web process for requests that use SQL."""
    public_url: str = ""
    """Where browsers reach this server, such as https://films.example.org; empty: as the request says."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names answered beside public_url's (`*.example.org` for all below it); empty: localhost and plain IP addresses."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request body in bytes, except where a route says otherwise (uploads)."""
    body_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds a small request body may take to arrive."""
    connections: int = Field(default=0, ge=0)
    """Connections and requests a web process has open before it answers 503; 0: as many as the system allows."""
    keep_alive_s: int = Field(default=30, ge=1)
    """Seconds an idle connection stays open."""
    shutdown_s: int = Field(default=20, ge=1)
    """Seconds that open requests get to finish when the server stops."""

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ip_network(proxy)
        return proxies


class Data(Section):
    dir: Path = Path("var")
    """Folder for everything the embedded stack keeps, and for scratch files."""


class Database(Section):
    url: str = ""
    """mysql+pymysql://user:password@host/name or sqlite:///file; empty: SQLite in data.dir."""
    pool_size: int = Field(default=8, ge=1)
    """Connections a process keeps open."""
    pool_overflow: int = Field(default=24, ge=0)
    """Connections it may open beyond that for a moment."""
    pool_timeout_s: int = Field(default=10, ge=1)
    """Seconds to wait for a free connection."""
    connect_timeout_s: int = Field(default=5, ge=1)
    """Seconds to wait for the server to answer."""
    lock_timeout_s: int = Field(default=10, ge=1)
    """Seconds to wait for another transaction's lock."""


class Redis(Section):
    url: str = ""
    """redis://host:6379/0, rediss://… or unix:///path; empty: our own Valkey in data.dir."""
    connect_timeout_s: float = Field(default=2.0, gt=0)
    """Seconds to wait for a connection."""
    timeout_s: float = Field(default=2.0, gt=0)
    """Seconds to wait for an answer."""
    max_connections: int = Field(default=128, ge=1)
    """Connections per process."""


class Storage(Section):
    url: str = ""
    """file:///folder or s3://bucket/prefix?endpoint=…&region=…; empty: files in data.dir."""
    access_key: str = ""
    """S3 access key; empty: from the usual AWS environment."""
    secret_key: str = Field(default="", repr=False)
    """S3 secret key."""


class Jobs(Section):
    workers: int = Field(default=1, ge=0)
    """Worker processes that `streamer up` starts; each encodes one film at a time."""
    queue: str = "streamer"
    """Name of the RQ queue."""
    lease_s: float = Field(default=20.0, gt=0)
    """Seconds without a heartbeat after which a job is taken from its worker."""
    heartbeat_s: float = Field(default=5.0, gt=0)
    """Seconds between two heartbeats."""
    sweep_s: float = Field(default=5.0, gt=0)
    """Seconds between two looks for lost jobs."""
    max_attempts: int = Field(default=5, ge=1)
    """Times a job is tried before it is given up."""
    backoff_s: float = Field(default=5.0, ge=0)
    """Seconds before the second attempt; doubled each time after."""
    backoff_max_s: float = Field(default=600.0, gt=0)
    """Longest pause between two attempts, in seconds."""
    patience_s: float = Field(default=3600.0, gt=0)
    """Seconds that a job waits behind those of better plans and shorter films before it goes first."""


class Packager(Section):
    max_short_side: int = Field(default=1080, ge=144, le=2160)
    """Largest rendition by its short side in pixels; films are never upscaled."""
    segments_per_chunk: int = Field(default=5, ge=1)
    """Segments of 6 s in a chunk, the piece of work that is never done twice."""
    loudness_lufs: float = Field(default=-18.0, ge=-40, le=0)
    """Loudness in LUFS that one gain for the whole of a sound track brings it near; 0 leaves sound as it is."""
    memory_bytes: int = Field(default=12 << 30, ge=256 << 20)
    """Address space in bytes of the process that decodes uploads, which reserves far more than it uses."""
    stall_s: float = Field(default=120.0, gt=0)
    """Seconds without progress after which an encode is stopped."""


class Delivery(Section):
    public_base_url: str = ""
    """Where players fetch media, such as a CDN: https://cdn.example.org; empty: this server."""
    signing_keys: dict[str, str] = Field(default_factory=dict, repr=False)
    """Playback keys: key id to 32 bytes in base64; empty: made once and kept in data.dir."""
    signing_kid: str = ""
    """Id of the key that signs new tokens; empty: the last one."""
    token_extra_s: int = Field(default=2 * 3600, ge=60)
    """Seconds a token lives beyond the film's duration."""
    token_max_s: int = Field(default=24 * 3600, ge=60)
    """Longest life of a token in seconds."""
    token_skew_s: int = Field(default=60, ge=0)
    """Seconds by which clocks may differ."""
    heartbeat_s: int = Field(default=15, ge=1)
    """Seconds between a player's heartbeats."""
    growing_heartbeat_s: int = Field(default=3, ge=1)
    """Seconds between them while the film is still being made: each asks whether there is more of it."""
    session_idle_s: int = Field(default=120, ge=5)
    """Seconds without a heartbeat or a playlist after which a playback session no longer counts as watched; it can go on."""
    max_short_side: int = Field(default=9999, ge=1, le=9999)
    """Largest rendition, by its short side in pixels, that a session may play."""
    playlist_cache_bytes: int = Field(default=64 << 20, ge=0)
    """Memory per web process for playlists."""
    segment_cache_bytes: int = Field(default=256 << 20, ge=0)
    """Memory per web process for media that is asked for again and again; 0 holds none."""
    cors_origins: tuple[str, ...] = ("*",)
    """Origins whose pages may read media."""


class Events(Section):
    keep_s: int = Field(default=30 * 86400, ge=3600)
    """Seconds that events, and what was sent of them, are kept."""


class Webhooks(Section):
    timeout_s: float = Field(default=15.0, gt=0)
    """Seconds an endpoint has for connecting and its whole answer."""
    retry_s: tuple[float, ...] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    """Pauses in seconds after each failed attempt, each up to a tenth longer; after the last one an attempt remains."""
    disable_after_s: int = Field(default=3 * 86400, ge=1)
    """Seconds without one success after which an endpoint that fails is disabled."""


class Outbound(Section):
    allow_http: bool = False
    """Whether URLs given to us may be http; for development."""
    allow_private: bool = False
    """Whether they may lead to addresses that are not on the open internet; for development."""


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """auto: coloured lines on a terminal, JSON elsewhere."""
    media: bool = False
    """Whether each request for media is logged too (the token is always left out)."""


class Config(BaseSettings):
    """All sections. Built by `Config.load`; `Config()` is the defaults and the environment."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
    )

    server: Server = Server()
    data: Data = Data()
    database: Database = Database()
    redis: Redis = Redis()
    storage: Storage = Storage()
    jobs: Jobs = Jobs()
    ingest: Ingest = Ingest()
    fetch: Fetch = Fetch()
    packager: Packager = Packager()
    delivery: Delivery = Delivery()
    accounts: Accounts = Accounts()
    cache: Cache = Cache()
    limits: Limits = Limits()
    retention: Retention = Retention()
    mail: Mail = Mail()
    events: Events = Events()
    webhooks: Webhooks = Webhooks()
    outbound: Outbound = Outbound()
    log: Log = Log()

    @classmethod
    def load(cls, path: Path | str | None = None, data_dir: Path | str | None = None) -> "Config":
        """Defaults, the TOML file at `path`, the environment, and `data_dir` in place of data.dir; ConfigError if unusable."""
        if path is not None and not Path(path).is_file():
            raise ConfigError(f"there is no configuration file {path}")
        _refuse_unknown_environment(cls)

        class FromFile(cls):  # type: ignore[valid-type,misc]  # the TOML source takes its path from the class
            model_config = SettingsConfigDict(toml_file=path)

        try:
            loaded = cls.model_construct(**dict(FromFile()))
        except ValidationError as error:
            raise ConfigError(_told(error)) from None  # the original text shows the input, which may be a secret
        except ValueError as error:
            raise ConfigError(str(error)) from None
        folder = Path(data_dir) if data_dir is not None else loaded.data.dir
        return loaded.model_copy(update={"data": Data(dir=folder.expanduser().absolute())})

    @model_validator(mode="after")
    def _letters_lead_here(self) -> Self:
        if self.mail.url and not self.server.public_url:
            raise ValueError("mail.url needs server.public_url: the links in letters lead there")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL in use."""
        return self.database.url or f"sqlite:///{self.data.dir.absolute() / 'streamer.db'}"

    @property
    def redis_url(self) -> str:
        """The Redis URL in use."""
        return self.redis.url or f"unix://{self.redis_socket}"

    @property
    def redis_socket(self) -> Path:
        """Our own Valkey's socket: in data.dir, or under the temporary folder when that path is too long for the kernel."""
        path = self.data.dir.absolute() / "run" / "valkey.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
            return path
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"streamer-{os.getuid()}-{name}" / "valkey.sock"

    @property
    def storage_url(self) -> str:
        """The object store's URL in use, for `storage.open_store`."""
        return self.storage.url or (self.data.dir.absolute() / "media").as_uri()

    @property
    def uploads_dir(self) -> Path:
        """Where uploads grow until they are whole."""
        return self.data.dir.absolute() / "uploads"

    @property
    def scratch_dir(self) -> Path:
        """Where a worker keeps the source it is encoding."""
        return self.data.dir.absolute() / "scratch"

    @property
    def mail_dir(self) -> Path:
        """Where letters are put when there is no mail server."""
        return self.data.dir.absolute() / "mail"

    @property
    def secrets_file(self) -> Path:
        """The keys made at the first start, readable by the owner only."""
        return self.data.dir.absolute() / "secrets.json"


def _told(error: ValidationError) -> str:
    """Which setting is wrong and why, without its value."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return "\n".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)


def _refuse_unknown_environment(settings: type[Config]) -> None:
    """A misspelt STREAMER_SERVRE__PORT must not be ignored; pydantic looks only for names it knows."""
    for name in os.environ:
        section = name.removeprefix(ENV_PREFIX).partition("__")[0].lower()
        if name.startswith(ENV_PREFIX) and name not in _NOT_SETTINGS and section not in settings.model_fields:
            raise ConfigError(f"unknown setting in the environment: {name}")
