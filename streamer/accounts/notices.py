"""Letters to the owner of an account, whoever it was that changed what guards it. A later room writes them, and is named by dotted path."""

import importlib
from enum import StrEnum

from sqlalchemy.orm import Session

TELL = "streamer.membership.outgoing:tell_owner"
"""`tell(session, user_id, notice, facts)`, in the transaction of the change: no letter without it, no change without a letter."""


class Notice(StrEnum):
    """What happened."""

    PASSWORD = "password"
    FACTOR_ON = "on"
    FACTOR_OFF = "off"
    FACTOR_TAKEN = "taken"
    CODES_RENEWED = "renewed"
    CODE_USED = "used"


def tell(s: Session, user_id: str, notice: Notice, **facts: str) -> None:
    """Have the owner told. The scheduler hands the letter out, a sweep later at most."""
    module, _, function = TELL.partition(":")
    getattr(importlib.import_module(module), function)(s, user_id, notice, facts)
