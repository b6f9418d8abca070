"""One's own second factor: set up in two steps, its recovery codes, and turned off."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from admin.views.guard import SECOND_FACTOR, see, text
from admin.views.rendering import render
from streamer import db, http
from streamer.accounts import logins, second_factor, throttle, totp, users
from streamer.accounts.logins import Principal
from streamer.errors import Conflict, Forbidden, Problem, RateLimited

T = TypeVar("T")
_QUIET = 4  # light modules around the code, as its standard asks for


@dataclass(frozen=True, slots=True)
class Qr:
    """A QR code as the outline of its dark modules, each one unit wide."""

    size: int
    path: str


def show(request: Request, who: Principal) -> Response:
    """On or off, and what can be done about it."""
    return _page(request, who)


def begin(request: Request, who: Principal, form: FormData) -> Response:
    """A secret for the app, for whoever knows the password."""
    services = http.services(request)
    try:
        logins.check_password(request, who, text(form, "password"))
        secret = db.retrying(services, lambda s: second_factor.begin(s, services.secrets, users.get(s, who.user_id)))
    except (Conflict, Forbidden, RateLimited) as refusal:
        return _page(request, who, refusal=refusal)
    return _page(request, who, secret=secret)


def confirm(request: Request, who: Principal, form: FormData) -> Response:
    """On, if the app shows the right code. The answer is the page itself: the recovery codes exist only in it."""
    services, code = http.services(request), text(form, "code")
    try:
        throttle.count_code(services, who.user_id)
        codes = db.retrying(services, lambda s: second_factor.confirm(s, services.secrets, who.user_id, code))
    except Conflict:
        return see(SECOND_FACTOR)
    except (Forbidden, RateLimited) as refusal:
        with db.reading(services) as s:
            secret = second_factor.secret_of(s, services.secrets, who.user_id)
        return _page(request, who, refusal=refusal, secret=secret)
    throttle.forgive_codes(services, who.user_id)
    return _page(request, who, codes=codes)


def renew_codes(request: Request, who: Principal, form: FormData) -> Response:
    """New recovery codes, shown this once."""
    try:
        codes = _with_code(request, who, form, lambda s: second_factor.renew_codes(s, who.user_id))
    except (Forbidden, RateLimited) as refusal:
        return _page(request, who, refusal=refusal)
    return _page(request, who, codes=codes)


def turn_off(request: Request, who: Principal, form: FormData) -> Response:
    """Off."""
    try:
        _with_code(request, who, form, lambda s: second_factor.turn_off(s, who.user_id))
    except (Forbidden, RateLimited) as refusal:
        return _page(request, who, refusal=refusal)
    return see(SECOND_FACTOR)


def drawn(words: str) -> Qr:
    """The QR code of a text."""
    import qrcode  # here, because hardly any web process ever draws one

    code = qrcode.QRCode(border=_QUIET)
    code.add_data(words)
    rows: list[list[bool]] = code.get_matrix()
    dark = [f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark]
    return Qr(len(rows), "".join(dark))


def _with_code(request: Request, who: Principal, form: FormData, work: Callable[[Session], T]) -> T:
    services, code = http.services(request), text(form, "code")
    throttle.count_code(services, who.user_id)

    def write(s: Session) -> T:
        second_factor.check(s, services.secrets, who.user_id, code)
        return work(s)

    done = db.retrying(services, write)
    throttle.forgive_codes(services, who.user_id)
    return done


def _page(
    request: Request,
    who: Principal,
    *,
    refusal: Problem | None = None,
    secret: str = "",
    codes: list[str] | None = None,
) -> Response:
    services = http.services(request)
    with db.reading(services) as s:
        on, left = second_factor.is_on(s, who.user_id), second_factor.codes_left(s, who.user_id)
        due = second_factor.is_due(s, services.config.accounts, users.get(s, who.user_id))
    uri = totp.uri(secret, who.email)
    return render(
        request,
        who,
        "account/second_factor.html",
        section="account",
        heading="Second factor",
        status=refusal.status if refusal else 200,
        problem=(refusal.detail or refusal.title) if refusal else "",
        on=on,
        left=left,
        due=due,
        codes=codes or [],
        secret=secret,
        secret_shown=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        uri=uri,
        qr=drawn(uri) if secret else None,
    )
