"""Who is asking: a bearer key or a login cookie, and whether the request may be believed.

    logins.require(request, Permission.ASSETS_WRITE) -> Principal    # or Unauthenticated / Forbidden; in a plain `def` endpoint
    logins.principal(request) -> Principal | None                    # None: anonymous
    logins.in_person(request) -> Principal                           # with a session, not a key: for one's own account
    await logins.require_async(request, …), principal_async(request) # the same on the event loop
    form = await logins.form(request)                                # an HTML form; its csrf_token counts as the header does

A cookie comes along with requests that other sites make, so a request that changes state counts as the cookie owner's only
if the browser says it is same-origin (Sec-Fetch-Site, else Origin) and it carries the session's token in `X-CSRF-Token` or
the form field `csrf_token`. Without that proof `principal` is None and `require` says why. Bearer keys need no proof.

Whose account has a second factor gets no session for the password alone: `sign_in` raises SecondFactorNeeded, whose challenge `answer` takes with a code.
Whose role asks for one that is not there yet may set it up (`in_person(request, enrolling=True)`) and is nobody for everything else.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select, update
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from streamer import db, ids
from streamer.accounts import (
    audit,
    challenges,
    cookies,
    csrf,
    known_devices,
    login_sessions,
    passwords,
    standing,
    throttle,
)
from streamer.accounts import second_factor as factors
from streamer.accounts.audit import Actor
from streamer.accounts.principals import Principal as Principal
from streamer.accounts.roles import Permission, in_words
from streamer.accounts.standing import Standing
from streamer.accounts.tables import User
from streamer.errors import Forbidden, Problem, Unauthenticated
from streamer.services import Services

_FORM_FIELDS = 200


class SecondFactorNeeded(Unauthenticated):
    """The password was right. The challenge, and a code of the app, open a session."""

    default_code, title = "second_factor_needed", "A code of your app is needed"

    def __init__(self, challenge: str) -> None:
        super().__init__("Send the challenge with a code to /api/v1/session/second-factor.")
        self.challenge = challenge

    def body(self) -> dict[str, Any]:
        return {**super().body(), "challenge": self.challenge}


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new login: `secret` is the cookie's value, see `set_cookie`."""

    user: User
    secret: str = field(repr=False)
    csrf_token: str = field(repr=False)


def principal(request: Request) -> Principal | None:
    """The account behind the request, looked up once; Unauthenticated for a bearer key that is not valid. Blocks."""
    if not hasattr(request.state, "principal"):
        request.state.refusal = request.state.enrolling = None
        request.state.principal = _identify(request)
    found: Principal | None = request.state.principal
    _say_who_acts(request, found or request.state.enrolling)
    return found


def require(request: Request, permission: Permission | None = None) -> Principal:
    """The principal, which has `permission` (None: anyone signed in), or the refusal that fits. Blocks."""
    found = principal(request)
    if found is None:
        refusal: Problem | None = request.state.refusal
        raise refusal or Unauthenticated()
    if permission is not None and not found.can(permission):
        raise Forbidden(f"This needs the permission {in_words([permission])}, which {_without(found)}")
    return found


def in_person(request: Request, *, enrolling: bool = False) -> Principal:
    """Somebody with a session: a key in wrong hands must not take the account with it. `enrolling` lets in who has to set up a second factor first."""
    found = principal(request) or (request.state.enrolling if enrolling else None)
    if found is None:
        return require(request)
    if found.session_id is None:
        raise Forbidden("This is done in person: sign in.", code="session_needed")
    return found


def check_password(request: Request, who: Principal, password: str) -> None:
    """Before what a session that was left open must not be enough for. Forbidden when it is wrong; tries are counted as at the door."""
    services, tries = request.app.state.services, _tries(request, who.email)
    throttle.count_try(services, *tries)
    with db.reading(services) as s:
        user = s.get_one(User, who.user_id)
    if not passwords.verify(services.config.accounts, user.password_hash, password):
        raise Forbidden("The password is wrong.", code="wrong_password")
    throttle.forgive(services, *tries)


async def principal_async(request: Request) -> Principal | None:
    """`principal` without holding up the event loop."""
    if hasattr(request.state, "principal") or _anonymous(request):
        return principal(request)
    return await run_in_threadpool(principal, request)


async def require_async(request: Request, permission: Permission | None = None) -> Principal:
    """`require` without holding up the event loop."""
    await principal_async(request)
    return require(request, permission)


async def form(request: Request) -> FormData:
    """The fields of an HTML form. Read it before `principal` or `require`: its token is the proof they look for."""
    fields = await request.form(max_files=0, max_fields=_FORM_FIELDS)
    csrf.note(request, fields)
    return fields


def sign_in(request: Request, email: str, password: str) -> SignedIn:
    """Start a session, always under a new id. The refusal is the same for a wrong password and an unknown or disabled account."""
    refuse_foreign(request)
    services: Services = request.app.state.services
    tries = _tries(request, email)
    throttle.count_try(services, *tries)
    with db.reading(services) as s:
        user = s.scalar(select(User).where(User.email == email.strip().casefold(), User.disabled_at.is_(None)))
        asks_more = user is not None and factors.is_on(s, user.id)
    if not passwords.verify(services.config.accounts, user.password_hash if user else None, password) or user is None:
        _note_refusal(services, user, "wrong_password")
        raise Unauthenticated("The e-mail address or the password is wrong.", code="wrong_credentials")
    throttle.forgive(services, *tries)
    if passwords.is_outdated(services.config.accounts, user.password_hash):
        _renew_hash(services, user, password)
    if asks_more:
        raise SecondFactorNeeded(challenges.make(services.secrets, user))
    return _start(request, user)


def answer(request: Request, challenge: str, code: str) -> SignedIn:
    """The second half of signing in. WrongCode, or Unauthenticated when the challenge is not good (any more)."""
    refuse_foreign(request)
    services: Services = request.app.state.services
    owner_id = challenges.owner_id(challenge)
    with db.reading(services) as s:
        user = s.get(User, owner_id) if ids.is_id(owner_id) else None
    if user is None or user.disabled_at is not None or not challenges.is_good(services.secrets, challenge, user):
        raise Unauthenticated("That took too long. Sign in again.", code="challenge_over")
    device = known_device(request, user.email)
    throttle.count_code(services, user.id, device)
    try:
        db.retrying(services, lambda s: factors.check(s, services.secrets, user.id, code))
    except Forbidden:
        _note_refusal(services, user, "wrong_code")
        raise
    throttle.forgive_codes(services, user.id, device)
    if not challenges.spend(services, challenge):
        raise Unauthenticated("This sign-in was finished already. Sign in again.", code="challenge_over")
    return _start(request, user)


def enter_by_provider(request: Request, user: User, *, second_factor: bool) -> SignedIn:
    """Start a session for whoever an identity provider vouches for; SecondFactorNeeded unless it vouches for that too."""
    services: Services = request.app.state.services
    with db.reading(services) as s:
        asks_more = not second_factor and factors.is_on(s, user.id)
    if asks_more:
        raise SecondFactorNeeded(challenges.make(services.secrets, user))
    return _start(request, user, second_factor=second_factor)


def renew(request: Request, user: User) -> SignedIn:
    """A new session in place of the one that asks, which ends: after what makes an old cookie worth less than before."""
    who: Principal | None = principal(request)
    return _start(request, user, second_factor=who is not None and who.second_factor)


def _renew_hash(services: Services, user: User, password: str) -> None:
    """At the only moment when the password is known. Nothing happens if it was changed in this very moment."""
    renewed = passwords.renew(services.config.accounts, password)
    same = User.id == user.id, User.password_hash == user.password_hash
    db.retrying(services, lambda s: s.execute(update(User).where(*same).values(password_hash=renewed)))
    user.password_hash = renewed


def _note_refusal(services: Services, user: User | None, why: str) -> None:
    """What was typed as an address that has no account may be a password, so it is not kept."""
    facts = {"reason": why}
    subject, person = (user.id, user.id) if user else (audit.UNKNOWN, None)
    db.retrying(services, lambda s: audit.record(s, "session.refuse", subject, after=facts, person=person))


def _start(request: Request, user: User, *, second_factor: bool = False) -> SignedIn:
    services: Services = request.app.state.services
    audit.acting(Actor("session", user.id, address=client_address(request)))
    if old := cookies.read(request, cookies.SESSION):
        login_sessions.end(services, old)
    agent = request.headers.get("user-agent", "")
    address = client_address(request)
    session_id, secret = login_sessions.start(
        services, user.id, user_agent=agent, address=address, second_factor=second_factor
    )
    return SignedIn(user, secret, csrf.token(services, session_id))


def as_visitor(request: Request) -> None:
    """To the audit log: nobody is signed in yet."""
    audit.acting(Actor("visitor", address=client_address(request)))


def refuse_foreign(request: Request) -> None:
    """For what needs no session, such as signing in: Forbidden when another site made the browser ask."""
    as_visitor(request)
    if not csrf.same_origin(request, strict=False):
        raise csrf.foreign()


def sign_out(request: Request) -> None:
    """End the request's login session, if there is one."""
    if secret := cookies.read(request, cookies.SESSION):
        login_sessions.end(request.app.state.services, secret)


def set_cookie(request: Request, response: Response, signed_in: SignedIn) -> None:
    """Give the browser its session, and what it is known by from now on."""
    services: Services = request.app.state.services
    known = known_devices.remember(services.secrets, cookies.read(request, cookies.DEVICE), signed_in.user.email)
    cookies.give(request, response, cookies.SESSION, signed_in.secret, services.config.accounts.session_max_s)
    cookies.give(request, response, cookies.DEVICE, known, known_devices.KEEP_S)


def clear_cookie(request: Request, response: Response) -> None:
    """Take the session's cookie away."""
    cookies.take(request, response, cookies.SESSION)


def known_device(request: Request, email: str) -> str | None:
    """The browser, if this account was opened in it before."""
    return known_devices.find(request.app.state.services.secrets, cookies.read(request, cookies.DEVICE), email)


def client_address(request: Request) -> str:
    """The client's address, as the configured proxies tell it (see streamer.middleware)."""
    return request.client.host if request.client else "unknown"


def _say_who_acts(request: Request, found: Principal | None) -> None:
    """To the audit log, at each asking: threads and the event loop have contexts of their own."""
    if found is not None:
        way = "key" if found.key_id else "session"
        audit.acting(Actor(way, found.user_id, found.key_id, client_address(request)))


def _identify(request: Request) -> Principal | None:
    services: Services = request.app.state.services
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _by_key(services, secret.strip())
    if cookie := cookies.read(request, cookies.SESSION):
        return _by_cookie(request, services, cookie)
    return None


def _by_key(services: Services, secret: str) -> Principal:
    found = standing.by_key(services, secret)
    if found is None:
        raise Unauthenticated("The API key is unknown, revoked, or of a disabled account.", code="bad_key")
    if found.owner.owes_second_factor(services.config.accounts):
        raise Forbidden(
            f"The role {found.owner.role} needs a second factor, and the owner of this API key has none. It works again once they have set one up.",
            code="second_factor_due",
        )
    standing.note_use(services, secret, found)
    return _principal(found.owner, found.permissions, key_id=found.key_id, narrowed=found.narrowed)


def _by_cookie(request: Request, services: Services, cookie: str) -> Principal | None:
    known = login_sessions.find(services, cookie)
    account = standing.of(services, known.user_id) if known else None
    if known is None or account is None:
        return None
    token = csrf.token(services, known.id)
    request.state.refusal = csrf.refusal(request, token)
    if request.state.refusal is not None:
        return None
    found = _principal(
        account, account.permissions, session_id=known.id, csrf_token=token, second_factor=known.second_factor
    )
    if known.second_factor or not account.owes_second_factor(services.config.accounts):
        return found
    request.state.enrolling = replace(found, permissions=frozenset())
    request.state.refusal = Forbidden(
        f"The role {account.role} needs a second factor. Set it up in your account.", code="second_factor_due"
    )
    return None


def _principal(account: Standing, permissions: frozenset[Permission], **way: Any) -> Principal:
    return Principal(account.user_id, account.email, account.name, account.role, permissions, **way)


def _anonymous(request: Request) -> bool:
    return "authorization" not in request.headers and not cookies.read(request, cookies.SESSION)


def _tries(request: Request, email: str) -> tuple[str, str, str | None]:
    """Whose tries they are, as `throttle` counts them."""
    return email, client_address(request), known_device(request, email)


def _without(found: Principal) -> str:
    """Who lacks something, and who can help."""
    if found.unrestricted:
        return f"the role {found.role} does not have. An administrator can give you a role that has it."
    return "this API key does not have. Use one with this scope, or ask an administrator for a role that has it."
