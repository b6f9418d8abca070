"""Endpoints: making, changing and finding them, their secrets, and who may send to one now. All inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, CursorResult, or_, select, update
from sqlalchemy.orm import Session

from streamer import ids, outbound, sealing
from streamer.accounts import audit
from streamer.config import Outbound
from streamer.db import database_now, now
from streamer.errors import Conflict, Invalid, NotFound
from streamer.events import outbox
from streamer.events.tables import Event
from streamer.events.types import EventType
from streamer.keyring import Secrets
from streamer.webhooks import signatures
from streamer.webhooks.tables import Endpoint

ALL = "*"
"""The filter that lets every type pass."""
MOST = 100
OVERLAP_S, OVERLAP_MAX_S = 24 * 3600, 30 * 24 * 3600
"""Seconds that a replaced secret still signs beside the new one."""

GONE, FAILING, BY_HAND = "gone", "failing", "by_hand"
"""Why an endpoint is disabled: it answered 410, it failed for days, or somebody switched it off."""

_PURPOSE = "webhooks"


def create(
    s: Session, secrets: Secrets, rules: Outbound, *, url: str, types: Iterable[str], description: str
) -> tuple[Endpoint, str]:
    """A new endpoint and its secret. Invalid for an address or a type that can't be."""
    if len(s.scalars(select(Endpoint.id)).all()) >= MOST:
        raise Conflict(f"There can be {MOST} endpoints; delete one first.", code="too_many_endpoints")
    endpoint = Endpoint(
        id=ids.new("whe"), url=_url(url, rules), types=_types(types), description=description.strip()[:200], created_at=now()
    )  # fmt: skip
    secret = _renew(endpoint, secrets)
    s.add(endpoint)
    s.flush()
    audit.record(s, "webhook.create", endpoint.id, after=_told(endpoint))
    return endpoint, secret


def get(s: Session, endpoint_id: str) -> Endpoint:
    """The row, or NotFound."""
    endpoint = s.get(Endpoint, endpoint_id) if ids.is_id(endpoint_id) else None
    if endpoint is None:
        raise NotFound("There is no webhook endpoint with this id.")
    return endpoint


def change(
    s: Session,
    endpoint: Endpoint,
    rules: Outbound,
    *,
    url: str | None = None,
    types: Iterable[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> None:
    """Set what is given. Enabled again, it gets what still waits for it, and starts without a history of failures."""
    before = _told(endpoint)
    if url is not None:
        endpoint.url = _url(url, rules)
    if types is not None:
        endpoint.types = _types(types)
    if description is not None:
        endpoint.description = description.strip()[:200]
    if enabled is True:
        endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = endpoint.quiet_until = None
    elif enabled is False and endpoint.disabled_at is None:
        disable(endpoint, BY_HAND)
    audit.record(s, "webhook.change", endpoint.id, before=before, after=_told(endpoint))


def delete(s: Session, endpoint: Endpoint) -> None:
    """The endpoint and all that waits for it."""
    s.delete(endpoint)
    audit.record(s, "webhook.delete", endpoint.id, before=_told(endpoint))


def disable(endpoint: Endpoint, reason: str) -> None:
    """Send nothing more; what waits goes on waiting."""
    endpoint.disabled_at, endpoint.disabled_reason = now(), reason


def rotate(s: Session, endpoint: Endpoint, secrets: Secrets, overlap_s: int) -> str:
    """A new secret; the one before signs beside it for `overlap_s` seconds."""
    audit.record(s, "webhook.rotate", endpoint.id, after={"overlap_s": overlap_s})
    endpoint.old_secret, endpoint.old_secret_until = endpoint.secret, now() + timedelta(seconds=overlap_s)
    return _renew(endpoint, secrets)


def keys(endpoint: Endpoint, secrets: Secrets) -> list[str]:
    """The secrets that sign now, the newest first. sealing.Unreadable when the server's own secret was changed."""
    sealed = [endpoint.secret]
    if endpoint.old_secret and endpoint.old_secret_until and now() < endpoint.old_secret_until:
        sealed.append(endpoint.old_secret)
    return [sealing.unseal(secrets, _PURPOSE, endpoint.id, one) for one in sealed]


def enabled(s: Session) -> Sequence[Endpoint]:
    """Those that events are planned for."""
    return s.scalars(select(Endpoint).where(Endpoint.disabled_at.is_(None))).all()


def enabled_one(s: Session, endpoint_id: str) -> Endpoint:
    """The row; Conflict while nothing is sent to it."""
    endpoint = get(s, endpoint_id)
    if endpoint.disabled_at is not None:
        raise Conflict("The endpoint is disabled; enable it first.", code="endpoint_disabled")
    return endpoint


def wants(endpoint: Endpoint, event: Event) -> bool:
    """Whether its filter lets this event pass. A test event is for one endpoint alone."""
    if event.type == EventType.WEBHOOK_PING:
        return event.subject_id == endpoint.id
    return ALL in endpoint.types or event.type in endpoint.types


def wanted(endpoint: Endpoint) -> Sequence[str]:
    """The types its filter lets pass, test events aside; never empty."""
    every = [kind for kind in EventType if kind != EventType.WEBHOOK_PING]
    return every if ALL in endpoint.types else endpoint.types


def ping(s: Session, endpoint_id: str) -> Event:
    """A test event for this endpoint, whatever its filter says. Conflict while it is disabled."""
    endpoint = enabled_one(s, endpoint_id)
    audit.record(s, "webhook.ping", endpoint.id)
    return outbox.record(s, EventType.WEBHOOK_PING, endpoint.id, {"id": endpoint.id, "url": endpoint.url})


def awake() -> tuple[ColumnElement[bool], ...]:
    """Those that something may be sent to now: neither disabled nor asking for a pause."""
    return Endpoint.disabled_at.is_(None), or_(Endpoint.quiet_until.is_(None), Endpoint.quiet_until < database_now())


def hold(s: Session, endpoint_id: str, courier: str, lease_s: float) -> Endpoint | None:
    """Be the only one who sends to it for `lease_s` seconds; None while another does, or when it is disabled, wants a pause or is gone."""
    free = or_(Endpoint.courier == courier, Endpoint.courier_until.is_(None), Endpoint.courier_until < database_now())
    taken = update(Endpoint).where(Endpoint.id == endpoint_id, *awake(), free)
    result = s.execute(
        taken.values(courier=courier, courier_until=database_now(lease_s)).execution_options(synchronize_session=False)
    )
    assert isinstance(result, CursorResult)
    return s.get_one(Endpoint, endpoint_id, populate_existing=True) if result.rowcount == 1 else None


def release(s: Session, endpoint_id: str, courier: str) -> None:
    """Let another courier have it at once."""
    held = update(Endpoint).where(Endpoint.id == endpoint_id, Endpoint.courier == courier)
    s.execute(held.values(courier=None, courier_until=None).execution_options(synchronize_session=False))


def _renew(endpoint: Endpoint, secrets: Secrets) -> str:
    secret = signatures.new_secret()
    endpoint.secret = sealing.seal(secrets, _PURPOSE, endpoint.id, secret)
    return secret


def _told(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as the audit log shows it. Of its address the host alone: what follows may be a secret of the receiver's."""
    return {
        "host": urlsplit(endpoint.url).netloc,
        "types": endpoint.types,
        "description": endpoint.description,
        "enabled": endpoint.disabled_at is None,
    }


def _url(url: str, rules: Outbound) -> str:
    try:
        outbound.check(url, rules)
    except outbound.Refused as refused:
        raise Invalid(
            f"The url can't be used: {refused}.", errors=[{"pointer": "/url", "detail": str(refused)}]
        ) from None
    return url


def _types(types: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(types))
    if unknown := set(wanted) - {ALL, *EventType}:
        detail = f"there is no event type {', '.join(sorted(unknown))[:100]}"
        raise Invalid(f"The list of types can't be used: {detail}.", errors=[{"pointer": "/types", "detail": detail}])
    if not wanted:
        raise Invalid("The list of types is empty.", errors=[{"pointer": "/types", "detail": "name at least one"}])
    return wanted
