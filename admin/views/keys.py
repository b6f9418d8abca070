"""A person's own API keys: made, with the secret shown once, and revoked."""

from sqlalchemy import select
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import see, text
from admin.views.rendering import render
from streamer import db
from streamer.accounts import apikeys, users
from streamer.accounts.logins import Principal
from streamer.accounts.tables import ApiKey

HERE = "/admin/api-keys"
_SHOWN = 200


def show(request: Request, who: Principal) -> Response:
    """The keys of whoever is signed in."""
    return _page(request, who)


def make(request: Request, who: Principal, form: FormData) -> Response:
    """A new key. The answer is the page itself, not a redirect: the secret exists only in it."""
    services = request.app.state.services
    _, secret = db.retrying(services, lambda s: apikeys.issue(s, users.get(s, who.user_id), name=text(form, "name")))
    return _page(request, who, secret=secret)


def revoke(request: Request, who: Principal, form: FormData) -> Response:
    """Ends a key at once."""
    key_id = request.path_params["id"]
    db.retrying(request.app.state.services, lambda s: apikeys.revoke(s, key_id, owner_id=who.user_id))
    return see(HERE)


def _page(request: Request, who: Principal, secret: str = "") -> Response:
    mine = select(ApiKey).where(ApiKey.user_id == who.user_id).order_by(ApiKey.revoked_at.isnot(None), ApiKey.id.desc())
    with db.reading(request.app.state.services) as s:
        keys = s.scalars(mine.limit(_SHOWN)).all()
    return render(request, who, "keys/list.html", section="keys", heading="API keys", keys=keys, secret=secret)
