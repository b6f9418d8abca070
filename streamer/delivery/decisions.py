"""The decision of `policies` with what it needs to know from SQL: what collections grant, and only when nothing else lets somebody in."""

from sqlalchemy.orm import Session

from streamer.accounts.logins import Principal
from streamer.catalog import grants
from streamer.catalog.tables import Asset, PlaybackId
from streamer.config import Delivery
from streamer.delivery import policies
from streamer.delivery.policies import Decision, Verdict


def decide(s: Session, settings: Delivery, playback: PlaybackId, asset: Asset, principal: Principal | None) -> Decision:
    """Whether `principal` (None: nobody known) may open a session now."""
    cap = settings.max_short_side
    decision = policies.decide(playback, asset, principal, cap=cap)
    if principal is None or decision.verdict is Verdict.PLAY:
        return decision
    granted = grants.of_film(s, asset.id, principal.user_id, principal.role)
    return policies.decide(playback, asset, principal, cap=cap, granted=granted) if granted else decision
