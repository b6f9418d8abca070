"""Webhook endpoints for operators: made, with the secret shown once, changed, tried out, and what was sent to each."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import see, text
from admin.views.rendering import render
from streamer import db, http
from streamer.accounts import logins
from streamer.accounts.logins import Principal
from streamer.accounts.roles import Permission
from streamer.errors import Conflict, Invalid, Problem
from streamer.events import outbox
from streamer.events.types import EventType
from streamer.services import Services
from streamer.webhooks import deliveries, endpoints
from streamer.webhooks.tables import Delivery, DeliveryState, Endpoint

HERE = "/admin/webhooks"
TYPES = tuple(kind for kind in EventType if kind != EventType.WEBHOOK_PING)
STATES = (
    (None, "All"),
    (DeliveryState.PENDING, "Waiting"),
    (DeliveryState.DELIVERED, "Delivered"),
    (DeliveryState.DEAD, "Given up"),
)
OVERLAPS = (("86400", "for a day"), ("3600", "for an hour"), ("0", "not at all"))
REASONS = {
    endpoints.GONE: "it answered 410 Gone",
    endpoints.FAILING: "it failed for days without one success",
    endpoints.BY_HAND: "somebody switched it off",
}
DONE = {
    "changed": "Saved.",
    "enabled": "The endpoint is enabled. What waited for it is sent now; what happened meanwhile can be replayed.",
    "disabled": "The endpoint is disabled. Nothing is sent to it.",
    "arrived": "The test event arrived.",
    "missed": "The test event did not arrive: the first delivery below says why.",
    "waiting": "The test event is on its way. Look again in a moment.",
    "resent": "It is sent again now.",
    "replayed": "What was replayed is on its way, oldest first.",
}
_REPLAYS = 20  # of a thousand events each
_PATIENCE_S, _LOOK_S = 4.0, 0.1


def show(request: Request, who: Principal) -> Response:
    """All endpoints, and the form for another one."""
    logins.require(request, Permission.WEBHOOKS_READ)
    return _list(request, who)


def make(request: Request, who: Principal, form: FormData) -> Response:
    """A new endpoint. The answer is its page itself, not a redirect: the secret exists only in it."""
    services = _allowed(request)
    given = _given(form)
    try:
        made, secret = db.retrying(
            services, lambda s: endpoints.create(s, services.secrets, services.config.outbound, **_values(given))
        )
    except (Invalid, Conflict) as refusal:
        return _list(request, who, refusal=refusal, given=given)
    return _page(request, who, made.id, secret=secret)


def one(request: Request, who: Principal) -> Response:
    """An endpoint and what was sent to it."""
    logins.require(request, Permission.WEBHOOKS_READ)
    return _page(request, who, request.path_params["id"], done=request.query_params.get("done", ""))


def change(request: Request, who: Principal, form: FormData) -> Response:
    """Another address, description or choice of events; the form again, filled in, when something is wrong with it."""
    services, given = _allowed(request), _given(form)
    rules = services.config.outbound
    try:
        _change(request, lambda s, row: endpoints.change(s, row, rules, **_values(given)))
    except Invalid as refusal:
        return _page(request, who, request.path_params["id"], refusal=refusal, given=given)
    return _back(request, "changed")


def set_enabled(request: Request, who: Principal, form: FormData) -> Response:
    """Off and on."""
    services, wanted = _allowed(request), text(form, "enabled") == "yes"
    _change(request, lambda s, row: endpoints.change(s, row, services.config.outbound, enabled=wanted))
    return _back(request, "enabled" if wanted else "disabled")


def rotate(request: Request, who: Principal, form: FormData) -> Response:
    """A new secret, shown in the answer and never again."""
    services, chosen = _allowed(request), text(form, "overlap")
    overlap_s = int(chosen) if chosen in dict(OVERLAPS) else endpoints.OVERLAP_S
    secret = _change(request, lambda s, row: endpoints.rotate(s, row, services.secrets, overlap_s))
    return _page(request, who, request.path_params["id"], secret=secret)


def ping(request: Request, who: Principal, form: FormData) -> Response:
    """A test event. Waits a moment for what comes of it, so that the page it leads to shows it."""
    services, endpoint_id = _allowed(request), request.path_params["id"]
    try:
        event = db.retrying(services, lambda s: endpoints.ping(s, endpoint_id))
    except Conflict as refusal:
        return _page(request, who, endpoint_id, refusal=refusal)
    deadline = time.monotonic() + _PATIENCE_S
    while (came := _what_came_of(services, event.id)) == "waiting" and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return _back(request, came)


def resend(request: Request, who: Principal, form: FormData) -> Response:
    """One delivery again."""
    services, endpoint_id = _allowed(request), request.path_params["id"]
    try:
        db.retrying(services, lambda s: deliveries.resend(s, endpoint_id, request.path_params["delivery_id"]))
    except Conflict as refusal:
        return _page(request, who, endpoint_id, refusal=refusal)
    return _back(request, "resent")


def replay(request: Request, who: Principal, form: FormData) -> Response:
    """Everything since a time in UTC, the first twenty thousand events of it."""
    services, endpoint_id = _allowed(request), request.path_params["id"]
    try:
        since = _since(text(form, "since"))
        with db.reading(services) as s:
            after: int | None = outbox.number_before(s, since)
        for _ in range(_REPLAYS):
            _, after = db.retrying(services, lambda s, a=after: deliveries.replay(s, endpoint_id, a or 0))  # type: ignore[misc]
            if after is None:
                return _back(request, "replayed")
        raise Conflict(
            f"There are more events than {_REPLAYS * deliveries.REPLAYED:,}. The oldest are sent; replay the rest later."
        )
    except (Invalid, Conflict) as refusal:
        return _page(request, who, endpoint_id, refusal=refusal)


def delete(request: Request, who: Principal, form: FormData) -> Response:
    """The endpoint and all that waits for it."""
    _allowed(request)
    _change(request, endpoints.delete)
    return see(HERE)


def _allowed(request: Request) -> Services:
    logins.require(request, Permission.WEBHOOKS_WRITE)
    services: Services = request.app.state.services
    return services


def _change(request: Request, work: Callable[[Session, Endpoint], Any]) -> Any:
    return db.retrying(request.app.state.services, lambda s: work(s, endpoints.get(s, request.path_params["id"])))


def _back(request: Request, done: str) -> Response:
    return see(f"{HERE}/{request.path_params['id']}?done={done}")


def _given(form: FormData) -> dict[str, Any]:
    """The form as it was filled in, to be shown again."""
    chosen = [kind for kind in form.getlist("types") if isinstance(kind, str)]
    everything = text(form, "which") != "chosen"
    return {"url": text(form, "url"), "description": text(form, "description"), "all": everything, "types": chosen}


def _values(given: dict[str, Any]) -> dict[str, Any]:
    types = [endpoints.ALL] if given["all"] else given["types"]
    return {"url": given["url"].strip(), "description": given["description"], "types": types}


def _faults(refusal: Problem | None) -> dict[str, str]:
    """What is wrong with which field, as a sentence."""
    errors = refusal.errors if refusal else ()
    return {error["pointer"]: f"{error['detail'][:1].upper()}{error['detail'][1:]}." for error in errors}


def _since(given: str) -> datetime:
    try:
        return datetime.fromisoformat(given).replace(tzinfo=UTC)
    except ValueError:
        raise Invalid("Say since when, as a date and a time.") from None


def _what_came_of(services: Services, event_id: str) -> str:
    with db.reading(services) as s:
        tried = s.scalars(select(Delivery).where(Delivery.event_id == event_id, Delivery.tried_at.is_not(None))).first()
    if tried is None:
        return "waiting"
    return "arrived" if tried.state == DeliveryState.DELIVERED else "missed"


def _list(
    request: Request, who: Principal, *, refusal: Problem | None = None, given: dict[str, Any] | None = None
) -> Response:
    with db.reading(request.app.state.services) as s:
        rows = s.scalars(select(Endpoint).order_by(Endpoint.id.desc())).all()
    return render(
        request,
        who,
        "webhooks/list.html",
        section="webhooks",
        heading="Webhooks",
        status=refusal.status if refusal else 200,
        rows=rows,
        now=db.now(),
        types=TYPES,
        form=given or {"url": "", "description": "", "all": True, "types": []},
        problem=(refusal.detail or refusal.title) if refusal else "",
        faults=_faults(refusal),
        may_change=who.can(Permission.WEBHOOKS_WRITE),
    )


def _page(
    request: Request,
    who: Principal,
    endpoint_id: str,
    *,
    secret: str = "",
    done: str = "",
    refusal: Problem | None = None,
    given: dict[str, Any] | None = None,
) -> Response:
    state = request.query_params.get("state")
    wanted = DeliveryState(state) if state in set(DeliveryState) else None
    with db.reading(request.app.state.services) as s:
        row = endpoints.get(s, endpoint_id)
        query = select(Delivery).where(Delivery.endpoint_id == row.id)
        sent, older = http.page(request, s, query.where(Delivery.state == wanted) if wanted else query, Delivery.id)
        kinds = outbox.types(s, [one.event_id for one in sent])
        attempts = deliveries.attempts(s, [one.id for one in sent])
    kept = {"url": row.url, "description": row.description, "all": endpoints.ALL in row.types, "types": row.types}
    return render(
        request,
        who,
        "webhooks/endpoint.html",
        section="webhooks",
        heading=row.description or row.url,
        status=refusal.status if refusal else 200,
        row=row,
        now=db.now(),
        reason=REASONS.get(row.disabled_reason or "", ""),
        sent=sent,
        kinds=kinds,
        attempts=attempts,
        older=older,
        state=wanted,
        states=STATES,
        types=TYPES,
        overlaps=OVERLAPS,
        form=given or kept,
        secret=secret,
        done=DONE.get(done, ""),
        missed=done == "missed",
        problem=(refusal.detail or refusal.title) if refusal else "",
        faults=_faults(refusal),
        may_change=who.can(Permission.WEBHOOKS_WRITE),
    )
