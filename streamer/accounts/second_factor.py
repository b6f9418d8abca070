"""The second factor of a sign-in: codes from an app, and recovery codes for when the app is lost.

The shared secret has to be read again, so it is sealed (see `streamer.sealing`); recovery codes are 80 random bits each, kept as SHA-256. A code is used
once. The owner is told of each change by letter. All functions work inside the caller's transaction.
"""

import base64
import hashlib
import secrets
import time

import structlog
from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.orm import Session

from streamer import db, ids, sealing
from streamer.accounts import audit, notices, totp, users
from streamer.accounts.notices import Notice
from streamer.accounts.rolebook import Held
from streamer.accounts.tables import RecoveryCode, SecondFactor, User
from streamer.config import Accounts
from streamer.errors import Conflict, Forbidden, NotFound
from streamer.keyring import Secrets

_PURPOSE = "second-factor"
_CODES = 10
_CODE_BYTES = 10

log = structlog.get_logger(__name__)


class WrongCode(Forbidden):
    """Neither a code of about now nor an unused recovery code."""

    default_code, title = "wrong_code", "The code is not right"

    def __init__(self) -> None:
        super().__init__("It may be too old, or was used already. Wait for the next one that the app shows.")


def is_on(s: Session, user_id: str) -> bool:
    """Whether signing in takes a code."""
    factor = s.get(SecondFactor, user_id)
    return factor is not None and factor.confirmed_at is not None


def is_due(s: Session, config: Accounts, user: User) -> bool:
    """Whether the account's role asks for a second factor that is not there yet."""
    return user.role in config.second_factor_roles and not is_on(s, user.id)


def begin(s: Session, keys: Secrets, user: User) -> str:
    """A new secret for the user's app; nothing asks for its codes before `confirm`. Conflict when one is on."""
    factor = s.get(SecondFactor, user.id, with_for_update=True)
    if factor is not None and factor.confirmed_at is not None:
        raise Conflict("A second factor is on already. Turn it off first.", code="second_factor_on")
    secret = totp.new_secret()
    sealed = sealing.seal(keys, _PURPOSE, user.id, secret)
    if factor is None:
        s.add(SecondFactor(user_id=user.id, secret=sealed, created_at=db.now(), last_step=0))
    else:
        factor.secret, factor.created_at = sealed, db.now()
    return secret


def confirm(s: Session, keys: Secrets, user_id: str, given: str) -> list[str]:
    """The app shows the right codes, so from now on they are asked for; the recovery codes, which nobody can see again."""
    factor = _locked(s, user_id)
    if factor.confirmed_at is not None:
        raise Conflict("A second factor is on already.", code="second_factor_on")
    _use_code(s, keys, factor, _plain(given))
    factor.confirmed_at = db.now()
    audit.record(s, "second_factor.on", user_id)
    notices.tell(s, user_id, Notice.FACTOR_ON)
    return _new_codes(s, user_id)


def secret_of(s: Session, keys: Secrets, user_id: str) -> str:
    """The secret that waits to be confirmed, to be shown again."""
    factor = _locked(s, user_id)
    if factor.confirmed_at is not None:
        raise Conflict("A second factor is on already.", code="second_factor_on")
    return sealing.unseal(keys, _PURPOSE, user_id, factor.secret)


def check(s: Session, keys: Secrets, user_id: str, given: str) -> None:
    """Use up a code of the app or a recovery code, or WrongCode."""
    factor, plain = _locked(s, user_id), _plain(given)
    if len(plain) == totp.DIGITS:
        _use_code(s, keys, factor, plain)
    else:
        _use_recovery(s, user_id, plain)


def renew_codes(s: Session, user_id: str) -> list[str]:
    """New recovery codes; the older ones are worth nothing any more."""
    notices.tell(s, user_id, Notice.CODES_RENEWED)
    return _new_codes(s, user_id)


def codes_left(s: Session, user_id: str) -> int:
    """Recovery codes that were not used."""
    unused = RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None)
    return s.scalar(select(func.count()).select_from(RecoveryCode).where(*unused)) or 0


def turn_off(s: Session, user_id: str) -> None:
    """Signing in takes the password alone again, for whoever has just shown a code. Off already is fine."""
    _drop(s, user_id, Notice.FACTOR_OFF)


def take_away(s: Session, user_id: str, held: Held = None, by: str | None = None) -> None:
    """The same of somebody who has lost app and codes, for who may change the account. One's own goes by a code alone: Conflict."""
    user = users.changeable(s, user_id, held)
    if user.id == by:
        raise Conflict("This is your own second factor. Turn it off in your account, with a code.", code="own_account")
    _drop(s, user.id, Notice.FACTOR_TAKEN)


def _new_codes(s: Session, user_id: str) -> list[str]:
    s.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    made = [base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode().lower() for _ in range(_CODES)]
    audit.record(s, "second_factor.renew", user_id)
    s.add_all(RecoveryCode(id=ids.new("rec"), user_id=user_id, code_sha256=_digest(user_id, one)) for one in made)
    return ["-".join(one[at : at + 4] for at in range(0, len(one), 4)) for one in made]


def _drop(s: Session, user_id: str, notice: Notice) -> None:
    s.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    gone = s.execute(delete(SecondFactor).where(SecondFactor.user_id == user_id))
    assert isinstance(gone, CursorResult)
    if gone.rowcount:
        audit.record(s, "second_factor.off", user_id)
        notices.tell(s, user_id, notice)


def _locked(s: Session, user_id: str) -> SecondFactor:
    mine = select(SecondFactor).where(SecondFactor.user_id == user_id).with_for_update()
    factor = s.scalars(mine.execution_options(populate_existing=True)).one_or_none()
    if factor is None:
        raise NotFound("There is no second factor here.", code="no_second_factor")
    return factor


def _use_code(s: Session, keys: Secrets, factor: SecondFactor, given: str) -> None:
    try:
        secret = sealing.unseal(keys, _PURPOSE, factor.user_id, factor.secret)
    except sealing.Unreadable:
        log.error(
            "the secret of a second factor can't be read: was accounts.session_secret changed?", user=factor.user_id
        )
        raise WrongCode from None  # recovery codes still work
    step = totp.matching_step(secret, given, time.time(), after=factor.last_step)
    if step is None:
        raise WrongCode
    factor.last_step = step  # the row is locked: of two who bring one code at once, the second finds it used


def _use_recovery(s: Session, user_id: str, given: str) -> None:
    unused = (
        RecoveryCode.user_id == user_id,
        RecoveryCode.code_sha256 == _digest(user_id, given),
        RecoveryCode.used_at.is_(None),
    )
    result = s.execute(update(RecoveryCode).where(*unused).values(used_at=db.now()))
    assert isinstance(result, CursorResult)
    if result.rowcount != 1:
        raise WrongCode
    notices.tell(s, user_id, Notice.CODE_USED, left=str(codes_left(s, user_id)))


def _plain(given: str) -> str:
    return "".join(given.split()).replace("-", "").lower()[:64]


def _digest(user_id: str, code: str) -> str:
    return hashlib.sha256(f"{user_id}\n{code}".encode()).hexdigest()
