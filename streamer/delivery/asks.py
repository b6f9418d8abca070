"""What a request asks for, and the memory of what was found good before.

A signature stays right for ever, so it is computed once per token; a playlist's path, which players of unfinished films fetch again every
few seconds, is remembered whole. Time and kills are looked at on every request. Both memories are bounded, oldest out first, and are keyed
by what came over the wire.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from starlette.types import Scope

from streamer.delivery import tokens
from streamer.delivery.manifests import is_entry
from streamer.delivery.tokens import Grant, Keys, Limits, Reason, TokenRefused

TEXTS = (".m3u8", ".vtt")
_REMEMBERED = 16_384

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Ask:
    """`rest` is the object's name under its version, `key` the whole name in storage; an entry depends on the grant's `cap`."""

    grant: Grant
    rest: str
    key: str
    is_text: bool
    is_entry: bool
    cap: int


class Asks:
    """For one event loop. `read` is the only way in for a path."""

    def __init__(self, keys: Keys, limits: Limits) -> None:
        self._keys = keys
        self._limits = limits
        self._grants: OrderedDict[str, Grant] = OrderedDict()
        self._texts: OrderedDict[bytes, Ask] = OrderedDict()

    def read(self, scope: Scope, now: float) -> Ask:
        """What the path opens at `now`, Unix seconds. Raises TokenRefused."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        ask = self._texts.get(raw)
        if ask is None:
            ask = self._parse(raw, scope["path"])
            if ask.is_text:
                _remember(self._texts, raw, ask)
        tokens.check_time(ask.grant, now, self._limits)
        return ask

    def _parse(self, raw: bytes, path: str) -> Ask:
        """An escape is refused whatever it stands for: a cache in front would file the object under another name."""
        if b"%" in raw:
            raise TokenRefused(Reason.MALFORMED)
        ticket, rest = tokens.split(path)
        grant = self._grants.get(ticket)
        if grant is None:
            grant = tokens.admit(self._keys, ticket)
            _remember(self._grants, ticket, grant)
        tokens.check_rung(grant, rest)
        entry = is_entry(rest)
        cap = grant.cap if entry else tokens.LARGEST_CAP
        return Ask(grant, rest, grant.prefix + rest, rest.endswith(TEXTS), entry, cap)


def _remember(memory: OrderedDict[K, V], name: K, value: V) -> None:
    memory[name] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
