"""What letters say. Pure: from facts to a subject and a plain text, which every mail program shows and no filter distrusts."""

from dataclasses import dataclass

from streamer.accounts.notices import Notice

_OFF = "The password alone opens it again."
_SECOND_FACTOR: dict[Notice, tuple[str, str]] = {
    Notice.FACTOR_ON: (
        "A second factor was turned on",
        "a second factor was turned on for your account at Streamer. Signing in asks for a code of your app from now on.",
    ),
    Notice.FACTOR_OFF: (
        "Your second factor was turned off",
        f"the second factor of your account at Streamer was turned off. {_OFF}",
    ),
    Notice.FACTOR_TAKEN: (
        "Your second factor was taken away",
        f"an administrator took the second factor from your account at Streamer. {_OFF}",
    ),
    Notice.CODES_RENEWED: (
        "You have new recovery codes",
        "new recovery codes were made for your account at Streamer. The older ones open nothing any more.",
    ),
    Notice.CODE_USED: (
        "A recovery code was used",
        "a recovery code of your account at Streamer was used. {left} left.",
    ),
}
_END = "\n\nThis letter was sent by a machine; nobody reads answers to it.\n"


@dataclass(frozen=True, slots=True)
class Letter:
    """`text` ends in a newline."""

    subject: str
    text: str


def invitation(inviter: str, role: str, link: str, lifetime_s: int) -> Letter:
    """To somebody without an account."""
    first = f"{inviter} invites you to Streamer as {role}." if inviter else f"You are invited to Streamer as {role}."
    return _letter(
        "You are invited to Streamer",
        f"{first}\n\nChoose a name and a password here, within {_span(lifetime_s)}:\n\n{link}\n\n"
        "The link works once. If you don't know what this is about, do nothing.",
    )


def sign_up(name: str, link: str, lifetime_s: int) -> Letter:
    """To an address that is free."""
    return _letter(
        "Confirm your e-mail address",
        f"Hello {name},\n\nsomebody, probably you, wants an account at Streamer with this address. "
        f"Confirm it within {_span(lifetime_s)}:\n\n{link}\n\nIf it was not you, do nothing, and there will be no account.",
    )


def sign_up_taken(sign_in: str, forgotten: str) -> Letter:
    """To an address that has an account: whoever tried to sign up is told nothing else than everybody."""
    return _letter(
        "You have an account already",
        "Somebody, probably you, wanted an account at Streamer with this address. There is one already.\n\n"
        f"Sign in: {sign_in}\nSet a new password: {forgotten}\n\nIf it was not you, do nothing.",
    )


def verify(link: str, lifetime_s: int) -> Letter:
    """To somebody whose account was made for them."""
    return _letter(
        "Confirm your e-mail address",
        f"Confirm that this is the address of your account at Streamer, within {_span(lifetime_s)}:\n\n{link}",
    )


def change_address(name: str, link: str, lifetime_s: int) -> Letter:
    """To the new address."""
    return _letter(
        "Confirm your new e-mail address",
        f"Hello {name},\n\nyour account at Streamer is to have this address. Confirm it within {_span(lifetime_s)}:\n\n{link}\n\n"
        "Until then nothing changes. If it was not you who asked for it, do nothing.",
    )


def change_taken() -> Letter:
    """To a new address that has an account of its own."""
    return _letter(
        "Nothing was changed",
        "Somebody wanted to give their account at Streamer this address, which an account of yours has. Nothing was changed.",
    )


def address_changed(name: str, new: str) -> Letter:
    """To the old address, afterwards."""
    return _letter(
        "Your e-mail address was changed",
        f"Hello {name},\n\nyour account at Streamer has another e-mail address now: {new}.\n\n"
        "If it was not you, tell an administrator at once.",
    )


def reset(name: str, link: str, lifetime_s: int) -> Letter:
    """To an account's address."""
    return _letter(
        "Set a new password",
        f"Hello {name},\n\nsomebody, probably you, forgot the password of your account at Streamer. "
        f"Set a new one within {_span(lifetime_s)}:\n\n{link}\n\nIf it was not you, do nothing, and the old one stays.",
    )


def password_changed(name: str, forgotten: str) -> Letter:
    """To an account's address, afterwards."""
    return _letter(
        "Your password was changed",
        f"Hello {name},\n\nthe password of your account at Streamer was changed. All devices that were signed in before are signed out.\n\n"
        f"If it was not you, set a new one now: {forgotten}",
    )


def second_factor(name: str, change: Notice, left: str, account: str, forgotten: str) -> Letter:
    """To an account's address, afterwards. `left` is how many recovery codes there still are, where that is told."""
    subject, sentence = _SECOND_FACTOR[change]
    told = sentence.replace("{left}", {"0": "None is", "1": "One is"}.get(left, f"{left} are"))
    return _letter(
        subject,
        f"Hello {name},\n\n{told}\n\nYour account: {account}\n\n"
        f"If it was not you, set a new password now, and tell an administrator: {forgotten}",
    )


def linked(name: str, provider: str, account: str) -> Letter:
    """To the owner of an account that somebody came into by a provider for the first time."""
    return _letter(
        "Your account is linked",
        f"Hello {name},\n\nyour account at Streamer is linked to {provider} now: whoever signs in there as you gets in here.\n\n"
        f"If it was not you, end the link on the page of your account, and tell an administrator: {account}",
    )


def erased(name: str) -> Letter:
    """To the address of an account that is no more."""
    return _letter(
        "Your account was erased",
        f"Hello {name},\n\nyour account at Streamer, and what was known of you there, was erased. This letter is the last one.",
    )


def _letter(subject: str, text: str) -> Letter:
    return Letter(subject, text + _END)


def _span(seconds: int) -> str:
    for unit, size in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{max(2, seconds // 60)} minutes"
