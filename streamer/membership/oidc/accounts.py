"""Whose account it is that comes by a provider: the one linked to them, one with their proved address, or a new one, as the configuration allows."""

from contextlib import suppress
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from streamer import db, ids
from streamer.accounts import audit, passwords, rolebook, users
from streamer.accounts.tables import User
from streamer.errors import Conflict, Forbidden, Invalid
from streamer.jobs import queues
from streamer.jobs.tables import Job
from streamer.membership import outgoing
from streamer.membership.oidc.flow import Identity
from streamer.membership.outgoing import Kind
from streamer.membership.tables import ProviderLink
from streamer.sections import Provider
from streamer.services import Services

SUBJECT_MAX = 255


class NoAccount(Forbidden):
    """The provider is believed, but nobody here is meant."""

    default_code, title = "no_account", "There is no account for you here"


def enter(services: Services, provider: Provider, identity: Identity) -> User:
    """The account, linked from now on; NoAccount with the reason otherwise. The owner of one that was there before is told by letter."""
    user, letters = db.retrying(services, lambda s: _owner(s, provider, identity))
    queues.dispatch(services, letters)
    return user


def _owner(s: Session, provider: Provider, identity: Identity) -> tuple[User, list[Job]]:
    letters: list[Job] = []
    user = _linked(s, provider, identity)
    if user is None:
        user, letters = _link(s, provider, identity)
    if user.disabled_at is not None:
        raise NoAccount("This account is shut out.")
    _follow_role(s, provider, identity, user)
    return user, letters


def _linked(s: Session, provider: Provider, identity: Identity) -> User | None:
    if not identity.subject.isascii() or len(identity.subject) > SUBJECT_MAX:
        raise NoAccount("The provider names you in a way that no provider should.")
    theirs = ProviderLink.issuer == provider.issuer, ProviderLink.subject == identity.subject
    link = s.scalars(select(ProviderLink).where(*theirs)).one_or_none()
    if link is None:
        return None
    link.last_used_at = db.now()
    return users.get(s, link.user_id)


def _link(s: Session, provider: Provider, identity: Identity) -> tuple[User, list[Job]]:
    """By the address, which anybody could claim: so only if the provider has proved it. The letters are to be dispatched."""
    if not identity.email or not identity.email_verified:
        raise NoAccount("The provider does not say that your e-mail address is yours. Confirm it there first.")
    try:
        email = users.clean_address(identity.email)
    except Invalid:
        raise NoAccount("The provider tells no e-mail address that can be used here.") from None
    user = s.scalars(users.listed().where(User.email == email)).one_or_none()
    if user is not None and not provider.link:
        raise NoAccount("There is an account with your address. Sign in with its password.")
    if user is None and not provider.sign_up:
        raise NoAccount("Nobody gets an account here by themselves. Ask an administrator for one.")
    if user is None:
        user, letters = _made(s, provider, identity, email), []
    else:
        facts = {"name": user.name, "provider": provider.shown}
        letters = [outgoing.post(s, Kind.LINKED, email, subject_id=user.id, **facts)]
    _add(s, provider, identity, user)
    return user, letters


def _made(s: Session, provider: Provider, identity: Identity, email: str) -> User:
    role = _role(provider, identity) or provider.role
    rolebook.check_gift(s, role, None)
    try:
        called = users.clean_name(identity.name)
    except Invalid:
        called = email
    return users.add(s, email=email, name=called, role=role, password_hash=passwords.NONE, verified=True)


def _add(s: Session, provider: Provider, identity: Identity, user: User) -> None:
    now = db.now()
    link = ProviderLink(id=ids.new("idp"), user_id=user.id, provider=provider.name, issuer=provider.issuer, subject=identity.subject, created_at=now, last_used_at=now)  # fmt: skip
    s.add(link)
    try:
        s.flush()
    except IntegrityError:
        raise Conflict("You came twice at the same moment. Sign in again.", code="came_twice") from None
    user.email_verified_at = user.email_verified_at or now
    audit.record(s, "identity.link", user.id, after={"provider": provider.name}, by=user.id)


def _follow_role(s: Session, provider: Provider, identity: Identity, user: User) -> None:
    """At each sign-in, if the claim names a role. The last administrator stays one."""
    role = _role(provider, identity)
    if role is None or role == user.role:
        return
    with suppress(Conflict, Invalid):
        users.set_role(s, user.id, role)


def _role(provider: Provider, identity: Identity) -> str | None:
    """The first of the configuration's roles whose value the claim has."""
    told: Any = identity.claims.get(provider.role_claim) if provider.role_claim else None
    values = told if isinstance(told, list) else [told]
    return next((role for value, role in provider.roles.items() if value in values), None)
