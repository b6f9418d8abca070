"""Where players fetch from: signed addresses on the CDN if there is one, else on this server.

An address is good for its whole prefix; every further URI is relative to it.
"""

from __future__ import annotations

import time

from streamer.catalog.tables import Stage
from streamer.config import Config
from streamer.delivery import tokens
from streamer.keyring import Secrets

ENTRIES = {Stage.START: "start.m3u8", Stage.GROW: "grow.m3u8", Stage.FINAL: "master.m3u8"}
POSTER = "poster.jpg"
_STILLS_SID = "stills"
_STILLS_STEP_S = 6 * 3600


def manifest_url(
    config: Config,
    secrets: Secrets,
    path: str,
    *,
    sid: str,
    exp: int,
    cap: int,
    stage: Stage = Stage.FINAL,
    here: str = "",
) -> str:
    """The entry playlist of the version at `path` (`<asset>/<version>`). `here` is this server's address as the client knows it.

    The stages of a version differ in the last name only: one token opens them all.
    """
    return _base(config, here) + _signed(secrets, path, ENTRIES[stage], sid=sid, exp=exp, cap=cap)


def poster_url(config: Config, secrets: Secrets, path: str, *, here: str = "") -> str:
    """The poster, under a token that opens stills alone. It changes every six hours only, so that browsers can keep the picture."""
    now = int(time.time())
    exp = min(now - now % _STILLS_STEP_S + 2 * _STILLS_STEP_S, now + config.delivery.token_max_s)
    return _base(config, here) + _signed(secrets, path, POSTER, sid=_STILLS_SID, exp=exp, cap=tokens.STILLS_ONLY)


def _signed(secrets: Secrets, path: str, name: str, *, sid: str, exp: int, cap: int) -> str:
    token = tokens.sign(secrets.playback, f"/{path}/", kid=secrets.playback_kid, exp=exp, cap=cap, sid=sid)
    return f"/p/{token}/{path}/{name}"


def _base(config: Config, here: str) -> str:
    return (config.delivery.public_base_url or here).rstrip("/")
