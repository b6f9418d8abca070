"""Tables of the configuration that tell how films and people come in and how often, and what a table is. See `streamer.config` for the rest."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """A table of the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Ingest(Section):
    uploads: Literal["local", "storage"] = "local"
    """Where uploads grow: local, on the disk of the machine that takes them, or storage, in S3, where any web machine goes on with them."""
    part_url_s: int = Field(default=3600, ge=60)
    """Seconds that a signed URL for a part of an upload can be used, with uploads = "storage"."""
    max_upload_bytes: int = Field(default=64 << 30, ge=1)
    """Largest file that is taken, in bytes."""
    min_free_bytes: int = Field(default=1 << 30, ge=0)
    """Free disk space in bytes below which uploads are refused."""
    idle_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds an upload may send nothing."""
    expire_s: int = Field(default=24 * 3600, ge=60)
    """Seconds without a byte after which an unfinished upload is removed."""
    max_unfinished: int = Field(default=64, ge=1)
    """Resumable uploads a user may have unfinished at a time."""
    max_unfinished_bytes: int = Field(default=256 << 30, ge=1)
    """Bytes that a user's unfinished uploads may come to, as declared when they began."""
    hold_s: int = Field(default=7 * 86400, ge=60)
    """Seconds a possible duplicate waits for a decision; then it goes, or becomes a film if what it equals is gone or failed."""
    keep_versions: int = Field(default=0, ge=0)
    """Newest ready versions that a film keeps, and what plays beside them; older ones are deleted when another is ready. 0 keeps all."""
    glance: bool = True
    """Whether the first bytes of an upload are looked at while the rest arrives, to warn early of what will not work."""


class Fetch(Section):
    connect_s: float = Field(default=10.0, gt=0)
    """Seconds another server has for connecting and the head of its answer, at each redirect anew."""
    silence_s: float = Field(default=30.0, gt=0)
    """Seconds it may send nothing."""
    slowest_bytes_s: int = Field(default=4096, ge=1)
    """Bytes a second, over a minute, below which an import is broken off: it holds a worker."""


class Provider(Section):
    """An OpenID Connect provider by which people sign in; a table `[[accounts.providers]]`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    """Stands in its address here: /admin/sign-in/<name>/callback is what the provider has to know."""
    title: str = ""
    """What its button says; empty: the name."""
    issuer: str
    """Its address, exactly as it writes it itself; /.well-known/openid-configuration is below it."""
    client_id: str
    """What it calls us."""
    client_secret: str = Field(default="", repr=False)
    """What we prove it with; empty for a public client."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    """What it is asked for."""
    link: bool = False
    """Whether somebody whose address the provider has verified gets into the account that has it here."""
    sign_up: bool = False
    """Whether somebody with a verified address and no account gets one."""
    role: str = "viewer"
    """The role of such an account, unless a claim says otherwise."""
    role_claim: str = ""
    """The claim that names roles, such as groups; empty: none does."""
    roles: dict[str, str] = {}
    """Which value of it gives which role here, the first that fits, at each sign-in."""
    second_factor: tuple[str, ...] = ()
    """Values of its amr or acr that count as a second factor, such as mfa; empty: ours is asked for."""
    private: bool = False
    """Whether it may be on a private network, and speak http."""

    @property
    def shown(self) -> str:
        """What people call it."""
        return self.title or self.name

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        scheme = urlsplit(self.issuer).scheme
        if scheme != "https" and not (self.private and scheme == "http"):
            raise ValueError("issuer must be https://…, or http://… with private = true")
        if "openid" not in self.scopes:
            raise ValueError("scopes must have openid")
        return self


class Accounts(Section):
    session_secret: str = Field(default="", repr=False)
    """32 bytes in base64 that CSRF tokens are made with; empty: made once and kept in data.dir."""
    session_idle_s: int = Field(default=14 * 86400, ge=60)
    """Seconds without a request after which a login ends."""
    session_max_s: int = Field(default=30 * 86400, ge=60)
    """Seconds after which a login ends in any case."""
    login_tries: int = Field(default=10, ge=1)
    """Wrong passwords per account and address, or known browser, before that has to wait."""
    login_tries_address: int = Field(default=100, ge=1)
    """Wrong passwords per address, over all accounts."""
    login_window_s: int = Field(default=21_600, ge=1)
    """Seconds in which all wrong passwords of a count, or codes, are forgiven, evenly."""
    login_lockout_s: int = Field(default=15, ge=1)
    """Seconds of the first wait; each wrong password after it doubles that."""
    login_lockout_max_s: int = Field(default=3600, ge=1)
    """Seconds of the longest wait."""
    code_tries: int = Field(default=5, ge=1)
    """Wrong codes of a second factor per account, or known browser, before that has to wait, as with passwords."""
    second_factor_roles: tuple[str, ...] = ()
    """Roles whose people have to set up a second factor before they can do anything."""
    providers: tuple[Provider, ...] = ()
    """OpenID Connect providers by which people sign in, each a table [[accounts.providers]]: see docs/people.md."""
    password_min_chars: int = Field(default=8, ge=1)
    """Shortest password in characters."""
    argon2_time: int = Field(default=3, ge=1)
    """Argon2id passes."""
    argon2_memory_kib: int = Field(default=64 * 1024, ge=8)
    """Argon2id memory in KiB."""
    argon2_lanes: int = Field(default=2, ge=1)
    """Argon2id parallelism."""
    sign_up: Literal["closed", "invitation", "open"] = "closed"
    """Who gets an account besides those that administrators add: nobody (closed), whoever is invited (invitation), or anybody with an e-mail address (open)."""
    sign_up_role: Literal["viewer", "member"] = "viewer"
    """Role of whoever signs up without an invitation."""
    invitation_s: int = Field(default=7 * 86400, ge=60)
    """Seconds in which an invitation can be accepted."""
    confirm_s: int = Field(default=86400, ge=60)
    """Seconds in which a link that confirms an e-mail address can be used."""
    reset_s: int = Field(default=3600, ge=60)
    """Seconds in which a link that sets a new password can be used."""
    letters: int = Field(default=5, ge=1)
    """Letters to one e-mail address that one network address may cause."""
    letters_address: int = Field(default=50, ge=1)
    """Letters that one network address may cause, over all e-mail addresses."""
    letters_window_s: int = Field(default=3600, ge=1)
    """Seconds over which letters are counted."""

    @field_validator("providers")
    @classmethod
    def _have_names_of_their_own(cls, providers: tuple[Provider, ...]) -> tuple[Provider, ...]:
        if len({one.name for one in providers}) < len(providers):
            raise ValueError("two providers have the same name")
        return providers


class Limits(Section):
    window_s: int = Field(default=60, ge=1)
    """Seconds in which a budget of requests fills up again, evenly."""
    sign_in: int = Field(default=300, ge=0)
    """Sign-ins, right or wrong, by address, or by account in a browser that opened it before; 0 here and below: no limit."""
    letters: int = Field(default=120, ge=0)
    """Requests that have a letter sent, or open the link of one, by account or address."""
    reading: int = Field(default=6000, ge=0)
    """Requests to the API that change nothing, by account or address."""
    changing: int = Field(default=3000, ge=0)
    """Requests and forms that change something, by account or address."""
    uploads: int = Field(default=6000, ge=0)
    """Uploads and parts of them, by account or address."""
    playback: int = Field(default=1200, ge=0)
    """Playback sessions opened, by account or address."""
    heartbeats: int = Field(default=60_000, ge=0)
    """Heartbeats and ends of playback sessions, by account or address: many viewers may share one."""
    pages: int = Field(default=6000, ge=0)
    """Pages, and what they ask for to stay fresh, by account or address."""


class Retention(Section):
    sessions_days: int = Field(default=90, ge=1)
    """Days that a login session is kept after its end, with the address and the browser it was from."""
    invitations_days: int = Field(default=90, ge=1)
    """Days that an invitation nobody accepted is kept after its end; then its e-mail address goes from the audit log, too."""
    jobs_days: int = Field(default=90, ge=1)
    """Days that a job is kept when it is over; encodes that failed stay as long as their film, so that they can be retried."""
    uploads_days: int = Field(default=90, ge=1)
    """Days that is kept what is known of an upload which never became a film."""
    playback_days: int = Field(default=365, ge=2)
    """Days that is kept who played what."""
    audit_address_days: int = Field(default=365, ge=0)
    """Days that the audit log keeps the network addresses of its entries; 0 keeps them."""


class Mail(Section):
    url: str = Field(default="", repr=False)
    """smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465; empty: letters are files in mail/ of data.dir."""
    sender: str = "Streamer <streamer@localhost>"
    """Who letters come from."""
    timeout_s: float = Field(default=20.0, gt=0)
    """Seconds the mail server has for each answer."""

    @field_validator("url")
    @classmethod
    def _is_a_mail_server(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("smtp", "smtps") or not parts.hostname):
            raise ValueError("must be smtp://… or smtps://… with a host")
        return url


class Cache(Section):
    enabled: bool = True
    """Whether answers are kept in Redis until a row they came from changes."""
    max_age_s: int = Field(default=60, ge=1)
    """Seconds after which an answer is made anew in any case."""
