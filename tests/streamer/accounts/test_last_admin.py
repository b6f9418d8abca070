"""There is always somebody who can administrate: the last active administrator stays one, whoever comes at the same moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from streamer import db
from streamer.accounts import holdings, users
from streamer.accounts.tables import User
from streamer.errors import Conflict
from streamer.services import Services
from tests.streamer.accounts.conftest import PASSWORD

Ending = Callable[[Session, User], object]
ENDINGS: dict[str, Ending] = {
    "demoted": lambda s, user: users.set_role(s, user.id, "viewer"),
    "shut out": lambda s, user: users.set_disabled(s, user.id, True),
    "erased": lambda s, user: holdings.erase(s, holdings.Erasure(user, None)),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_of_two_administrators_who_end_each_other_at_once_one_stays(services: Services, ending: str) -> None:
    with db.session(services) as s:
        ann, ben = (administrator(s, services, name).id for name in ("ann", "ben"))
    with ThreadPoolExecutor(1) as elsewhere:
        with db.session(services) as s:
            ENDINGS[ending](s, users.get(s, ben))
            s.flush()
            late = elsewhere.submit(db.retrying, services, lambda s: ENDINGS[ending](s, users.get(s, ann)))
            with pytest.raises(TimeoutError):
                late.result(0.3)  # it waits for the first
        assert isinstance(late.exception(10), Conflict)
    with db.reading(services) as s:
        assert users.get(s, ann).role == "admin" and users.get(s, ann).disabled_at is None


def test_who_became_an_administrator_a_moment_ago_counts_as_one(services: Services) -> None:
    with db.session(services) as s:
        ann, ben = administrator(s, services, "ann").id, administrator(s, services, "ben", role="viewer").id
    with db.reading(services) as stale:
        known = stale.get_one(User, ben)
        with db.session(services) as s:
            users.set_role(s, ben, "admin")
        with db.session(services) as s:
            users.set_role(s, ann, "viewer")
        stale.expunge(known)
    with db.session(services) as s, pytest.raises(Conflict):
        s.add(known)
        users.refuse_last_admin(s, known)


def administrator(s: Session, services: Services, name: str, role: str = "admin") -> User:
    rules = services.config.accounts
    return users.create(s, rules, email=f"{name}@example.org", name=name, role=role, password=PASSWORD)
