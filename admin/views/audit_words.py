"""The audit log in plain words: what each action is called, and what changed as a small diff."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ACTIONS = {
    "api_key.create": "API key made",
    "api_key.revoke": "API key revoked",
    "asset.change": "Film changed",
    "asset.create": "Film added",
    "asset.delete": "Film deleted",
    "asset.owner": "Film given to another owner",
    "audit.forget": "Old addresses forgotten",
    "collection.change": "Collection changed",
    "collection.create": "Collection made",
    "collection.delete": "Collection deleted",
    "collection.film.add": "Film put into a collection",
    "collection.film.move": "Film moved within a collection",
    "collection.film.remove": "Film taken out of a collection",
    "collection.grant": "Somebody let into a collection",
    "collection.owner": "Collection given to another owner",
    "collection.revoke": "Access to a collection taken back",
    "identity.link": "Sign-in by a provider linked",
    "identity.unlink": "Sign-in by a provider ended",
    "invitation.accept": "Invitation accepted",
    "invitation.create": "Invitation sent",
    "invitation.revoke": "Invitation withdrawn",
    "job.cancel": "Job stopped",
    "job.requeue": "Job started again",
    "plan.change": "Plan changed",
    "plan.create": "Plan made",
    "plan.delete": "Plan deleted",
    "playback_id.create": "Link made",
    "playback_id.revoke": "Link ended",
    "playback_session.kill": "Playback ended by force",
    "role.change": "Role changed",
    "role.create": "Role made",
    "role.delete": "Role deleted",
    "second_factor.off": "Second factor turned off",
    "second_factor.on": "Second factor turned on",
    "second_factor.renew": "Recovery codes made anew",
    "session.create": "Signed in",
    "session.end": "Signed out",
    "session.refuse": "Sign-in refused",
    "upload.create": "Upload begun",
    "upload.end": "Upload ended",
    "upload.fail": "Upload failed",
    "user.address": "E-mail address changed",
    "user.create": "Account made",
    "user.disable": "Account shut out",
    "user.enable": "Account let in again",
    "user.erase": "Account erased",
    "user.export": "Personal data exported",
    "user.password": "Password changed",
    "user.plan": "Another plan given",
    "user.role": "Another role given",
    "user.verify": "E-mail address confirmed",
    "version.create": "Version begun",
    "version.delete": "Version deleted",
    "version.publish": "Version published",
    "webhook.change": "Webhook changed",
    "webhook.create": "Webhook added",
    "webhook.delete": "Webhook deleted",
    "webhook.ping": "Webhook tried out",
    "webhook.replay": "Events sent again",
    "webhook.resend": "Delivery sent again",
    "webhook.rotate": "Webhook given a new secret",
    "worker.pause": "Worker paused",
    "worker.resume": "Worker resumed",
}
WAYS = {
    "session": "signed in",
    "key": "with an API key",
    "link": "with a link from a letter",
    "visitor": "not signed in",
    "command_line": "on the command line",
    "server": "the server itself",
}
_REFUSED = ("session.refuse",)
_CODES = ("reason",)
_NAMES = {"asset_id": "film", "user_id": "person"}


@dataclass(frozen=True, slots=True)
class Change:
    """One fact, as it was and as it is; empty for what was not there."""

    name: str
    before: str
    after: str


def said(action: str) -> str:
    """What an action is called; of one that has no words yet, its name."""
    return ACTIONS.get(action) or action.replace("_", " ").replace(".", " ").capitalize()


def is_refused(action: str) -> bool:
    """Whether somebody was turned away."""
    return action in _REFUSED


def changes(before: Mapping[str, Any], after: Mapping[str, Any], named: Callable[[str], str]) -> Iterator[Change]:
    """What is not as it was; `named` says what an id stands for. Of lists, what came and what went."""
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, list) and isinstance(new, list):
            old, new = [one for one in old if one not in new], [one for one in new if one not in old]
        if name in _CODES:
            old, new = (str(one or "").replace("_", " ") for one in (old, new))
        told = Change(_name(name), _value(old, named), _value(new, named))
        if told.before != told.after:
            yield told


def _name(fact: str) -> str:
    return _NAMES.get(fact) or fact.removesuffix("_id").replace("_", " ")


def _value(value: Any, named: Callable[[str], str]) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(_value(one, named) for one in value)
        case dict():
            return ", ".join(f"{_name(key)} {_value(one, named)}" for key, one in value.items())
        case str():
            return named(value)
    return str(value)
