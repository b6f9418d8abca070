"""Who may play what: one pure decision, with a trace that says how it came about.

A playback id carries the policy: `public` plays for anyone who has it, `private` for the asset's owner, those who may see any asset and those whom a
collection with the film lets in (`granted`). Publication comes first: what is not out yet, or no longer, plays only for its owner, for those who see
assets in every state and for those who may change it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.catalog.collection_tables import Access
from streamer.catalog.tables import OUT, Asset, PlaybackId, Policy, Publication


class Verdict(StrEnum):
    """`missing` also covers what this principal may not know of; `sign_in` could become `play` for somebody known."""

    PLAY = "play"
    MISSING = "missing"
    SIGN_IN = "sign_in"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Decision:
    """`cap` is the largest short side allowed, in pixels. `trace` is for operators, in the order things were looked at."""

    verdict: Verdict
    cap: int
    trace: tuple[str, ...]


def decide(
    playback: PlaybackId, asset: Asset, principal: Principal | None, *, cap: int, granted: Access | None = None
) -> Decision:
    """Whether `principal` (None: nobody known) may open a session now. `cap` is the installation's."""
    trace: list[str] = []
    verdict = (
        _existence(playback, asset, trace)
        or _publication(asset, principal, granted, trace)
        or _policy(playback, asset, principal, granted, trace)
    )
    if verdict is Verdict.PLAY:
        trace.append(f"up to {cap} pixels of short side")
    return Decision(verdict, cap, tuple(trace))


def _existence(playback: PlaybackId, asset: Asset, trace: list[str]) -> Verdict | None:
    if playback.revoked_at is not None:
        trace.append("the playback id was revoked")
        return Verdict.MISSING
    if asset.deleted_at is not None or asset.publication == Publication.REMOVED:
        trace.append("the asset was removed")
        return Verdict.MISSING
    return None


def _publication(asset: Asset, principal: Principal | None, granted: Access | None, trace: list[str]) -> Verdict | None:
    trace.append(f"the asset is {asset.publication}")
    if (
        asset.publication in OUT
        or _owns(asset, principal, trace)
        or _can(principal, Permission.ASSETS_LIST, trace)
        or _is_granted(granted, Access.EDIT, trace)
    ):
        return None
    return Verdict.MISSING


def _policy(
    playback: PlaybackId, asset: Asset, principal: Principal | None, granted: Access | None, trace: list[str]
) -> Verdict:
    trace.append(f"the playback id is {playback.policy}")
    if (
        playback.policy == Policy.PUBLIC
        or _owns(asset, principal, trace)
        or _can(principal, Permission.ASSETS_READ, trace)
        or _is_granted(granted, Access.VIEW, trace)
    ):
        return Verdict.PLAY
    return Verdict.SIGN_IN if principal is None else Verdict.FORBIDDEN


def _owns(asset: Asset, principal: Principal | None, trace: list[str]) -> bool:
    owns = principal is not None and principal.user_id == asset.owner_id
    if owns:
        trace.append("the principal owns it")
    return owns


def _is_granted(granted: Access | None, needed: Access, trace: list[str]) -> bool:
    if granted is None:
        return False
    trace.append(f"a collection lets them {granted.name.lower()}")
    return granted >= needed


def _can(principal: Principal | None, permission: Permission, trace: list[str]) -> bool:
    can = principal is not None and principal.can(permission)
    trace.append(f"the principal {'has' if can else 'lacks'} {permission}" if principal else "nobody is signed in")
    return can
