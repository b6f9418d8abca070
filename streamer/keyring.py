"""The server's own secrets: playback signing keys and the login secret.

They come from the configuration, or are made at the first start and kept in `<data>/secrets.json` (mode 0600). Two
processes that start together agree on one file: it is linked into place only where none is yet.
"""

import base64
import binascii
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamer.config import Config, ConfigError

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Secrets:
    """`playback` maps key ids to 32-byte keys; `playback_kid` signs new tokens, the others still verify."""

    playback: Mapping[str, bytes] = field(repr=False)
    playback_kid: str
    session: bytes = field(repr=False)


def load(config: Config) -> Secrets:
    """The secrets in use; made and stored when neither the configuration nor the data folder has them."""
    kept: dict[str, Any] = {}
    if not (config.delivery.signing_keys and config.accounts.session_secret):
        kept = _kept(config.secrets_file)
    keys = config.delivery.signing_keys or kept["playback"]
    kid = config.delivery.signing_kid or list(keys)[-1]
    if kid not in keys:
        raise ConfigError(f"delivery.signing_kid {kid!r} is not among delivery.signing_keys")
    return Secrets(
        playback={name: _key(name, text) for name, text in keys.items()},
        playback_kid=kid,
        session=_key("accounts.session_secret", config.accounts.session_secret or kept["session"]),
    )


def _kept(path: Path) -> dict[str, Any]:
    if not path.exists():
        _make(path)
    stored: dict[str, Any] = json.loads(path.read_text())
    return stored


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump({"playback": {"k1": _random()}, "session": _random()}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process was first; its secrets are the ones
    finally:
        temporary.unlink()


def _random() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _key(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ConfigError(f"{name} is not base64") from error
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{name} must be {KEY_BYTES} bytes, not {len(key)}")
    return key
