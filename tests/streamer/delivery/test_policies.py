"""Every combination of who asks, what the film is and how its playback id is meant."""

from __future__ import annotations

import pytest

from streamer import db
from streamer.accounts.logins import Principal
from streamer.accounts.roles import PERMISSIONS, Role
from streamer.catalog.tables import Asset, PlaybackId, Policy, Publication
from streamer.delivery.policies import Verdict, decide

PLAY, MISSING, SIGN_IN, FORBIDDEN = Verdict.PLAY, Verdict.MISSING, Verdict.SIGN_IN, Verdict.FORBIDDEN


def somebody(user_id: str, role: Role) -> Principal:
    return Principal(user_id, f"{user_id}@example.org", user_id, role, PERMISSIONS[role])


WHO = {
    "nobody": None,
    "owner": Principal("usr_owner", "o@example.org", "O", "none", frozenset()),
    "stranger": Principal("usr_stranger", "s@example.org", "S", "none", frozenset()),
    "viewer": somebody("usr_viewer", Role.VIEWER),
    "editor": somebody("usr_editor", Role.EDITOR),
}

# playback policy, publication -> verdict for each of WHO, in order
TABLE = [
    (Policy.PUBLIC, Publication.PUBLISHED, (PLAY, PLAY, PLAY, PLAY, PLAY)),
    (Policy.PUBLIC, Publication.UNLISTED, (PLAY, PLAY, PLAY, PLAY, PLAY)),
    (Policy.PRIVATE, Publication.PUBLISHED, (SIGN_IN, PLAY, FORBIDDEN, PLAY, PLAY)),
    (Policy.PRIVATE, Publication.UNLISTED, (SIGN_IN, PLAY, FORBIDDEN, PLAY, PLAY)),
    *(
        (policy, publication, (MISSING, PLAY, MISSING, MISSING, PLAY))
        for policy in Policy
        for publication in (Publication.DRAFT, Publication.IN_REVIEW, Publication.SCHEDULED, Publication.ARCHIVED)
    ),
    *((policy, Publication.REMOVED, (MISSING,) * 5) for policy in Policy),
]
CASES = [
    pytest.param(policy, publication, who, verdict, id=f"{policy}-{publication}-{who}")
    for policy, publication, verdicts in TABLE
    for who, verdict in zip(WHO, verdicts, strict=True)
]


def film(policy: Policy, publication: Publication) -> tuple[PlaybackId, Asset]:
    asset = Asset(id="ast_1", owner_id="usr_owner", title="T", publication=publication)
    return PlaybackId(id="plb_1", asset_id="ast_1", policy=policy), asset


@pytest.mark.parametrize(("policy", "publication", "who", "verdict"), CASES)
def test_the_verdict(policy: Policy, publication: Publication, who: str, verdict: Verdict) -> None:
    decision = decide(*film(policy, publication), WHO[who], cap=1080)
    assert decision.verdict is verdict
    assert decision.trace, "a decision says how it came about"


def test_every_publication_is_decided() -> None:
    assert {publication for _, publication, _ in TABLE} == set(Publication)


@pytest.mark.parametrize("who", WHO)
def test_a_revoked_playback_id_and_a_deleted_film_open_nothing_for_anyone(who: str) -> None:
    playback, asset = film(Policy.PUBLIC, Publication.PUBLISHED)
    playback.revoked_at = db.now()
    assert decide(playback, asset, WHO[who], cap=1080).verdict is MISSING
    playback, asset = film(Policy.PUBLIC, Publication.PUBLISHED)
    asset.deleted_at = db.now()
    assert decide(playback, asset, WHO[who], cap=1080).verdict is MISSING


def test_the_cap_of_the_installation_is_granted_and_named() -> None:
    decision = decide(*film(Policy.PRIVATE, Publication.PUBLISHED), WHO["viewer"], cap=720)
    assert decision.cap == 720
    assert decision.trace == (
        "the asset is published",
        "the playback id is private",
        "the principal has any:assets:read",
        "up to 720 pixels of short side",
    )
